"""unary: one spike per unit (ternary spikes -1, +1 of a signed integrate-and-fire neuron)."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.codes import SpikeCode
from snngen.kernels import ticked


@dataclass(frozen=True)
class Unary(SpikeCode):
    """a -> abs(a) events of payload sign(a), one per tick. Source: ST-BIF, SpikeZIP-TF (You et al., ICML 2024)."""

    mode = ticked.UNARY

    def ticks(self, low: int, high: int) -> int:
        return max(abs(low), abs(high))

    def events(self, low: int, high: int) -> int:
        return max(abs(low), abs(high))

    def payload_bits(self, low: int, high: int) -> int:
        return 1 if low >= 0 else 2

    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        sign = 1 if value > 0 else -1
        return [(tick, sign) for tick in range(abs(value))]
