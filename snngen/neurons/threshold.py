"""Threshold: signed integrate-and-fire neurons, whose threshold is the quantizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range, check_thresholds


@dataclass(frozen=True, eq=False)
class Threshold(Neuron):
    """code = clip(floor((drive + bias + theta // 2) / theta), low, high).

    A signed integrate-and-fire (ST-BIF) neuron starts at potential theta // 2 + bias, fires +1 at potential >= theta
    while its count is below high, -1 at potential < 0 while it is above low, and subtracts what it fires. Firing
    leaves potential + theta * count unchanged, so once it is quiet its count is the formula above, whatever the
    order of arrival.

    theta: (n,) int32, > 0, in units of drive.
    bias: (n,) int32, in units of drive.
    low, high: smallest and largest code; low = 0 is a ReLU.
    Source: SpikeZIP-TF (You et al., ICML 2024), ST-BIF neuron; the proof in integers is ours.
    """

    theta: IntArray
    bias: IntArray
    low: int
    high: int

    opcode = evaluate.THRESHOLD

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", checked(self.theta, np.int32, "Threshold.theta"))
        object.__setattr__(self, "bias", checked(self.bias, np.int32, "Threshold.bias"))
        check_thresholds("Threshold", self.theta)
        if self.bias.shape != self.theta.shape:
            raise NetworkError("Threshold.bias", f"shape {self.bias.shape}", f"shape {self.theta.shape}")
        check_range("Threshold", self.low, self.high)

    @property
    def size(self) -> int:
        return int(self.theta.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        return np.clip(divide_rounding(drive + self.bias, self.theta.astype(np.int64)), self.low, self.high)

    def constants(self) -> list[int | IntArray]:
        return [self.low, self.high, self.theta, self.bias]
