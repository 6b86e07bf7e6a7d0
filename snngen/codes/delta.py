"""delta: one event that carries the change since the last token (sigma-delta)."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode, signed_bits
from snngen.kernels import ticked


@dataclass(frozen=True)
class Delta(SpikeCode):
    """a after b -> (tick 0, payload a - b), if a != b; the targets keep their drive from token to token.

    Where the weights themselves change with the token (rotary positions, keys, values), the value is sent in full.
    Source: sigma-delta networks, O'Connor and Welling 2016; lava-dl's SDNN.
    """

    mode = ticked.GRADED
    persistent = True

    def ticks(self, low: int, high: int) -> int:
        return 1

    def events(self, low: int, high: int) -> int:
        return 1

    def payload_bits(self, low: int, high: int) -> int:
        return signed_bits(low, high) + 1

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        return [(0, value)] if value else []
