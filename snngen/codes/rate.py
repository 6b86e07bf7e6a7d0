"""rate: a classic spike count over a fixed number of ticks; lossy, kept to compare with the literature."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode
from snngen.errors import UnsupportedError
from snngen.kernels import ticked


@dataclass(frozen=True)
class Rate(SpikeCode):
    """a -> n = min((abs(a) + step // 2) // step, bound // step) spikes of payload sign(a) * step.

    step = ceil(max abs(code) / T); bound is the end of the range on the side of `a`, which the sum never passes. It
    differs from `a` by at most step // 2, or by bound mod step at the ends. window: T, in ticks.
    """

    window: int = 16

    mode = ticked.UNARY
    exact = False

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 2**16:
            raise UnsupportedError("rate", f"{self.window} ticks", "1..65536")

    @property
    def name(self) -> str:
        return f"rate:{self.window}"

    def step(self, low: int, high: int) -> int:
        return -(-max(abs(low), abs(high)) // self.window)

    def error_bound(self, low: int, high: int) -> int:
        step = self.step(low, high)
        return max(step // 2, high % step, -low % step)

    def ticks(self, low: int, high: int) -> int:
        return max(abs(low), abs(high)) // self.step(low, high)

    def events(self, low: int, high: int) -> int:
        return self.ticks(low, high)

    def payload_bits(self, low: int, high: int) -> int:
        return 1 if low >= 0 else 2

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        step = self.step(low, high)
        sign, bound = (1, high) if value > 0 else (-1, -low)
        count = min((abs(value) + step // 2) // step, bound // step)
        return [(tick, sign * step) for tick in range(count)]
