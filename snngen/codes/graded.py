"""graded: one event that carries the whole value."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode, signed_bits
from snngen.kernels import ticked


@dataclass(frozen=True)
class Graded(SpikeCode):
    """a -> (tick 0, payload a), if a != 0. Source: Loihi 2's graded spikes."""

    mode = ticked.GRADED

    def ticks(self, low: int, high: int) -> int:
        return 1

    def events(self, low: int, high: int) -> int:
        return 1

    def payload_bits(self, low: int, high: int) -> int:
        return signed_bits(low, high)

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        return [(0, value)] if value else []
