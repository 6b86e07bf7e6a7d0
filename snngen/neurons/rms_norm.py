"""RMSNorm: a population whose threshold is the root mean square of what it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding, square_root
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range

INPUT_LIMIT = 2**23 - 1  # a 24-bit potential, as Loihi 2 keeps it; squares of 2**15 of them fit int64
FRACTION_BITS = 8
GAIN_LIMIT = 2**28  # gain * input stays below 2**52, where float64 division floors exactly


@dataclass(frozen=True, eq=False)
class RMSNorm(Neuron):
    """code = clip(floor((gain * x + theta // 2) / theta), low, high) with a threshold made from the input.

    x = clip(drive, -(2**23 - 1), 2**23 - 1)
    theta = max(1, isqrt(floor(2**16 * sum(x**2) / n) + epsilon)), that is 2**8 times the root mean square.

    gain: (n,) int64: round(2**8 * weight / output scale); the output scale may differ per channel.
    epsilon: the model's epsilon in units of (grid / 2**8)**2.
    low, high: smallest and largest code.
    Source: Zhang and Sennrich 2019 (RMSNorm), in integers.
    """

    gain: IntArray
    epsilon: int
    low: int
    high: int

    opcode = evaluate.RMS_NORM

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", checked(self.gain, np.int64, "RMSNorm.gain"))
        if not 1 <= self.gain.size <= 2**15:
            raise NetworkError("RMSNorm.gain", f"{self.gain.size} channels", "1 to 32768, so that squares fit int64")
        largest = int(np.abs(self.gain).max())
        if largest > GAIN_LIMIT:
            raise NetworkError("RMSNorm.gain", f"magnitude {largest}", f"at most {GAIN_LIMIT}", "use a coarser grid")
        if not 0 <= self.epsilon < 2**62:
            raise NetworkError("RMSNorm.epsilon", str(self.epsilon), "0 <= epsilon < 2**62")
        check_range("RMSNorm", self.low, self.high)

    @property
    def size(self) -> int:
        return int(self.gain.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        x = np.clip(drive, -INPUT_LIMIT, INPUT_LIMIT)
        squares = (x * x).sum(axis=-1, keepdims=True)
        whole, rest = np.divmod(squares, self.size)
        mean = (whole << 2 * FRACTION_BITS) + (rest << 2 * FRACTION_BITS) // self.size
        theta = np.maximum(1, square_root(mean + self.epsilon))
        return np.clip(divide_rounding(x * self.gain, theta), self.low, self.high)

    def constants(self) -> list[int | IntArray]:
        return [self.low, self.high, INPUT_LIMIT, 2 * FRACTION_BITS, self.epsilon, self.gain]
