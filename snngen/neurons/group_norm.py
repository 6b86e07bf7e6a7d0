"""GroupNorm: a threshold made from the standard deviation of what a block reads (LayerNorm is one block)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding, square_root
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range
from snngen.neurons.rms_norm import FRACTION_BITS, GAIN_LIMIT, INPUT_LIMIT

BIAS_LIMIT = 2**20  # in units of 2**-8 of a code


@dataclass(frozen=True, eq=False)
class GroupNorm(Neuron):
    """code = clip(floor((gain * x + floor(bias * theta / 2**8) + theta // 2) / theta), low, high), block by block.

    y = clip(drive, -(2**23 - 1), 2**23 - 1)
    x = y - floor((sum(y) + n // 2) / n) over the n neurons of the block; y itself where it is not centred
    theta = max(1, isqrt(floor(2**16 * sum(x**2) / n) + epsilon)), that is 2**8 times the standard deviation.

    gain: (size,) int64: round(2**8 * weight / output scale). bias: (size,) int64: round(2**8 * bias / output scale).
    epsilon: the model's epsilon in units of (grid / 2**8)**2. blocks: equal blocks of neighbours.
    centred: 1, or 0 to leave the mean in (a root mean square per block).
    low, high: smallest and largest code.
    Source: Wu and He 2018 (Group Normalization), equations 1 to 3, in integers.
    """

    gain: IntArray
    bias: IntArray
    epsilon: int
    blocks: int
    centred: int
    low: int
    high: int

    opcode = evaluate.GROUP_NORM

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", checked(self.gain, np.int64, "GroupNorm.gain"))
        object.__setattr__(self, "bias", checked(self.bias, np.int64, "GroupNorm.bias"))
        if self.gain.size == 0 or self.blocks < 1 or self.gain.size % self.blocks:
            raise NetworkError("GroupNorm", f"{self.gain.size} neurons, {self.blocks} blocks", "equal blocks")
        if self.gain.size // self.blocks > 2**15:
            raise NetworkError("GroupNorm", f"blocks of {self.gain.size // self.blocks}", "at most 32768")
        if self.bias.shape != self.gain.shape or int(np.abs(self.bias).max()) > BIAS_LIMIT:
            raise NetworkError("GroupNorm.bias", f"shape {self.bias.shape}", f"{self.gain.shape}, within {BIAS_LIMIT}")
        largest = int(np.abs(self.gain).max())
        if largest > GAIN_LIMIT:
            raise NetworkError("GroupNorm.gain", f"magnitude {largest}", f"at most {GAIN_LIMIT}", "a coarser grid")
        if not 0 <= self.epsilon < 2**62 or self.centred not in (0, 1):
            raise NetworkError("GroupNorm", f"epsilon {self.epsilon}, centred {self.centred}", "0..2**62 and 0 or 1")
        check_range("GroupNorm", self.low, self.high)

    @property
    def size(self) -> int:
        return int(self.gain.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        width = self.size // self.blocks
        x = np.clip(drive, -INPUT_LIMIT, INPUT_LIMIT).reshape(-1, self.blocks, width)
        if self.centred:
            x = x - divide_rounding(x.sum(axis=-1, keepdims=True), width)
        whole, rest = np.divmod((x * x).sum(axis=-1, keepdims=True), width)
        mean = (whole << 2 * FRACTION_BITS) + (rest << 2 * FRACTION_BITS) // width
        theta = np.maximum(1, square_root(mean + self.epsilon))
        gain, bias = (values.reshape(self.blocks, width) for values in (self.gain, self.bias))
        codes = divide_rounding(x * gain + (bias * theta >> FRACTION_BITS), theta)
        return np.clip(codes, self.low, self.high).reshape(-1, self.size)

    def constants(self) -> list[int | IntArray]:
        scalars = [self.low, self.high, INPUT_LIMIT, FRACTION_BITS, self.epsilon, self.blocks, self.centred]
        return [*scalars, self.gain, self.bias]
