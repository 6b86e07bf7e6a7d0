"""Settings: how fine the integers of a conversion are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from snngen.errors import UnsupportedError

ROUNDINGS = ("nearest", "compensated")
STATE_HIGH = 2**15 - 1  # of values that are kept from token to token and pass no weight


@dataclass(frozen=True)
class Settings:
    """How fine the integers are.

    weight_bits: of constant weights, 2..8. activation_bits: of codes that pass weights, 2..8.
    wide_bits: of codes that pass no weight (queries and keys before they turn, gates before their product).
    probability_bits: of attention probabilities, unsigned.
    rounding: of weights: ``nearest``, or ``compensated`` by later weights and maps (`compensation.py`).
    bits: weight bits of single nodes, by name, where they are not `weight_bits`.
    sparse_below: share of weights that are not zero below which a map is stored by its synapses (`Sparse`); None
        where that takes fewer bytes.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    wide_bits: int = 12
    probability_bits: int = 8
    rounding: str = "nearest"
    bits: Mapping[str, int] = field(default_factory=dict)
    sparse_below: float | None = None

    def __post_init__(self) -> None:
        limits = {"weight_bits": (2, 8), "activation_bits": (2, 8), "wide_bits": (2, 12), "probability_bits": (2, 12)}
        for name, (low, high) in limits.items():
            require_whole(f"Settings.{name}", getattr(self, name), low, high)
        if self.rounding not in ROUNDINGS:
            raise UnsupportedError(
                "Settings.rounding", repr(self.rounding), " or ".join(ROUNDINGS), "Settings(rounding='compensated')"
            )
        if not isinstance(self.bits, Mapping):
            raise UnsupportedError(
                "Settings.bits", type(self.bits).__name__, "bits by name of node", "Settings(bits={'logits': 8})"
            )
        for name, bits in self.bits.items():
            require_whole(f"Settings.bits[{name!r}]", bits, 2, 8)
        below: Any = self.sparse_below
        if below is not None and (not isinstance(below, Real) or not 0 <= float(below) <= 1.01):
            raise UnsupportedError(
                "Settings.sparse_below", repr(below), "a share of 0..1", "1.01 stores every map by its synapses, 0 none"
            )

    def bits_of(self, name: str) -> int:
        """Bits of the weights of a node."""
        return self.bits.get(name, self.weight_bits)

    @property
    def high(self) -> int:
        """Largest magnitude of a code that passes weights."""
        return int(2 ** (self.activation_bits - 1) - 1)

    @property
    def wide_high(self) -> int:
        """Largest magnitude of a code that passes no weight."""
        return int(2 ** (max(self.wide_bits, self.activation_bits) - 1) - 1)


def require_whole(where: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number of low..high, or from `low` on where `high` is None.

    raises: UnsupportedError.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        expected = f"at least {low}" if high is None else f"{low}..{high}"
        raise UnsupportedError(where, repr(value), expected, "Take a whole number of these, or leave it out")
