"""rate: a classic spike count over a fixed number of ticks; lossy, kept to compare with the literature."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode
from snngen.errors import UnsupportedError
from snngen.kernels import ticked


@dataclass(frozen=True)
class Rate(SpikeCode):
    """a -> n = (abs(a) + step // 2) // step spikes of payload sign(a) * step, step = ceil(max abs(code) / T).

    What the events add up to differs from `a` by at most step // 2. window: T, in ticks.
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
        return self.step(low, high) // 2

    def ticks(self, low: int, high: int) -> int:
        step = self.step(low, high)
        return (max(abs(low), abs(high)) + step // 2) // step

    def events(self, low: int, high: int) -> int:
        return self.ticks(low, high)

    def payload_bits(self, low: int, high: int) -> int:
        return 1 if low >= 0 else 2

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        step = self.step(low, high)
        sign, count = 1 if value > 0 else -1, (abs(value) + step // 2) // step
        return [(tick, sign * step) for tick in range(count)]
