"""Settings: how fine the integers of a conversion are."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.errors import UnsupportedError

STATE_HIGH = 2**15 - 1  # of values that are kept from token to token and pass no weight


@dataclass(frozen=True)
class Settings:
    """How fine the integers are.

    weight_bits: of constant weights, 2..8. activation_bits: of codes that pass weights, 2..8.
    wide_bits: of codes that pass no weight (queries and keys before they turn, gates before their product).
    probability_bits: of attention probabilities, unsigned.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    wide_bits: int = 12
    probability_bits: int = 8

    def __post_init__(self) -> None:
        limits = {"weight_bits": (2, 8), "activation_bits": (2, 8), "wide_bits": (2, 12), "probability_bits": (2, 12)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UnsupportedError(f"Settings.{name}", str(getattr(self, name)), f"{low}..{high}")

    @property
    def weight_high(self) -> int:
        return int(2 ** (self.weight_bits - 1) - 1)

    @property
    def high(self) -> int:
        return int(2 ** (self.activation_bits - 1) - 1)

    @property
    def wide_high(self) -> int:
        return int(2 ** (max(self.wide_bits, self.activation_bits) - 1) - 1)
