"""bitwise: one spike per one bit, worth a power of two by its tick (radix, phase coding)."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode
from snngen.kernels import ticked


@dataclass(frozen=True)
class Bitwise(SpikeCode):
    """a -> for each one bit k of abs(a): (tick bits - 1 - k, payload sign(a) * 2**k), the largest first.

    Source: phase coding, Kim et al. 2018; radix coding, Wang et al. 2021.
    """

    mode = ticked.BITWISE

    def ticks(self, low: int, high: int) -> int:
        return max(abs(low), abs(high)).bit_length()

    def events(self, low: int, high: int) -> int:
        return self.ticks(low, high)

    def payload_bits(self, low: int, high: int) -> int:
        return 1 if low >= 0 else 2

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        bits, sign, magnitude = self.ticks(low, high), 1 if value > 0 else -1, abs(value)
        return [(bits - 1 - k, sign * 2**k) for k in reversed(range(bits)) if magnitude >> k & 1]
