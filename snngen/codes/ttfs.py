"""ttfs: time to first spike; the tick is the value."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode
from snngen.kernels import ticked


@dataclass(frozen=True)
class Ttfs(SpikeCode):
    """a -> (tick high - a), if a != 0: the largest value first, no payload at all.

    The receiving side knows the tick and so the payload a = high - tick. Source: time-to-first-spike coding,
    Stanojevic et al., Nature Communications 2024, here with a tick per level.
    """

    mode = ticked.TTFS

    def ticks(self, low: int, high: int) -> int:
        return high - low + 1

    def events(self, low: int, high: int) -> int:
        return 1

    def payload_bits(self, low: int, high: int) -> int:
        return 0

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        return [(high - value, value)] if value else []
