"""Quantity: a number that says its range, unit, scope, evidence and source. None of them can be left out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snngen.errors import SnngenError

# What a figure contains: one cause alone, or everything that a meter saw, static power included.
PER_OPERATION, ALL_IN = "per operation", "all-in"
SCOPES = (PER_OPERATION, ALL_IN)

# How a figure is known, strongest first: a result is worth what its weakest part is worth.
EVIDENCE = {
    "counted": "by the simulator, while it ran",
    "measured": "on silicon, by those who report it",
    "simulated": "by the maker, before there was silicon",
    "fitted": "to measured totals of another workload",
    "stated": "by the maker, without a method",
    "cited": "measured by others, read in a source that quotes it",
    "inherited": "from another chip",
    "assumed": "by nobody's measurement",
}

# Unit of each product that means something; no other two units may be multiplied.
PRODUCTS = {
    ("J/synaptic operation", "synaptic operation/token"): "J/token",
    ("J/neuron update", "neuron update/token"): "J/token",
    ("J/event", "event/token"): "J/token",
    ("J/message", "message/token"): "J/token",
    ("J/hop", "hop/token"): "J/token",
    ("J/multiply-accumulate", "multiply-accumulate/token"): "J/token",
    ("J/byte", "byte/token"): "J/token",
    ("s/tick", "tick/token"): "s/token",
    ("s/synaptic operation", "synaptic operation/token"): "s/token",
    ("s/neuron update", "neuron update/token"): "s/token",
    ("W/chip", "chip"): "W",
    ("W", "s/token"): "J/token",
}
UNITS = tuple(
    dict.fromkeys(
        (
            *(unit for pair, product in PRODUCTS.items() for unit in (*pair, product)),
            "bytes/chip",
            "token/s",
        )
    )
)

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M"}
PREFIXED = ("J", "W", "s")


class PriceError(SnngenError):
    """A figure, a chip or a sum of figures that does not hold."""


@dataclass(frozen=True)
class Quantity:
    """A figure of a chip, a count of a run, or what follows from them.

    value, low, high: best figure and its range, low <= value <= high, finite and not negative, in `unit`.
    unit: one of UNITS.
    scope: PER_OPERATION (one cause alone) or ALL_IN (everything that a meter saw).
    evidence: one of EVIDENCE.
    source: where the figure is found; several are parted by "; ".
    raises: PriceError for anything else.
    """

    value: float
    low: float
    high: float
    unit: str
    scope: str
    evidence: str
    source: str

    def __post_init__(self) -> None:
        where, numbers = f"Quantity of {self.unit}", (self.low, self.value, self.high)
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in numbers):
            raise PriceError(where, f"low, value, high = {numbers}", "finite numbers")
        if not 0 <= self.low <= self.value <= self.high:
            raise PriceError(where, f"low, value, high = {numbers}", "0 <= low <= value <= high")
        for name, known in (("unit", UNITS), ("scope", SCOPES), ("evidence", tuple(EVIDENCE))):
            if getattr(self, name) not in known:
                raise PriceError(f"{where}: {name}", repr(getattr(self, name)), "one of " + ", ".join(known))
        if not self.source.strip():
            raise PriceError(f"{where}: source", "none", "where the figure is found")
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def __add__(self, other: Quantity) -> Quantity:
        """Sum of two figures of one unit and one scope; the ranges add as well.

        raises: PriceError for two units, or for a per-operation and an all-in figure, which holds the other already.
        """
        if self.unit != other.unit:
            raise PriceError("sum of quantities", f"{self.unit} + {other.unit}", "one unit")
        values = (self.value + other.value, self.low + other.low, self.high + other.high)
        return self._with(other, values, self.unit)

    def __mul__(self, other: Quantity) -> Quantity:
        """Product of a figure and how often it is due, low with low and high with high.

        raises: PriceError for units whose product is not in PRODUCTS, or for two scopes.
        """
        unit = PRODUCTS.get((self.unit, other.unit))
        if unit is None:
            products = ", ".join(f"{first} * {second}" for first, second in PRODUCTS)
            raise PriceError("product of quantities", f"{self.unit} * {other.unit}", f"one of {products}")
        values = (self.value * other.value, self.low * other.low, self.high * other.high)
        return self._with(other, values, unit)

    def maximum(self, other: Quantity) -> Quantity:
        """The larger of two figures of one unit and one scope, end by end: both are lower bounds of the same thing.

        raises: PriceError for two units or two scopes.
        """
        if self.unit != other.unit:
            raise PriceError("maximum of quantities", f"{self.unit}, {other.unit}", "one unit")
        values = (max(self.value, other.value), max(self.low, other.low), max(self.high, other.high))
        return self._with(other, values, self.unit)

    def _with(self, other: Quantity, values: tuple[float, float, float], unit: str) -> Quantity:
        if self.scope != other.scope:
            raise PriceError(
                "scope of quantities", f"{self.scope} with {other.scope}", "one scope", "report the two side by side"
            )
        evidence = max(self.evidence, other.evidence, key=tuple(EVIDENCE).index)
        source = "; ".join(dict.fromkeys([*self.source.split("; "), *other.source.split("; ")]))
        return Quantity(*values, unit, self.scope, evidence, source)

    def __str__(self) -> str:
        """``value (low..high) unit`` to three digits; J, W and s take a prefix: 3.8e-9 J/token is 3.8 nJ/token."""
        exponent, largest = 0, self.value or self.high
        if largest > 0 and self.unit.split("/")[0] in PREFIXED:
            exponent = min(max(3 * math.floor(math.log10(largest) / 3), min(PREFIXES)), max(PREFIXES))
        value, low, high = (_digits(number / 10.0**exponent) for number in (self.value, self.low, self.high))
        range_ = "" if low == value == high else f" ({low}..{high})"
        return f"{value}{range_} {PREFIXES[exponent]}{self.unit}"


def _digits(number: float) -> str:
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"
