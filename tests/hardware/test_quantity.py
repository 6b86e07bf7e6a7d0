"""A quantity cannot be built without what makes it honest, and cannot be combined against its units or its scope."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.hardware.quantity import (
    ALL_IN,
    PER_OPERATION,
    PRODUCTS,
    UNITS,
    PriceError,
    Quantity,
)

FIGURE: dict[str, Any] = {
    "value": 2e-12,
    "low": 1e-12,
    "high": 3e-12,
    "unit": "J/synaptic operation",
    "scope": PER_OPERATION,
    "evidence": "measured",
    "source": "this test",
}


def figure(**changes: Any) -> Quantity:
    return Quantity(**(FIGURE | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"source": ""},
        {"source": "  "},
        {"evidence": "guessed"},
        {"evidence": ""},
        {"scope": "total"},
        {"unit": "pJ/synaptic operation"},
        {"unit": "J"},
        {"low": 2.5e-12},
        {"high": 1.5e-12},
        {"low": -1e-12},
        {"value": math.nan},
        {"high": math.inf},
        {"value": True},
        {"value": "2e-12"},
    ],
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PriceError):
        figure(**changes)


@pytest.mark.parametrize("name", list(FIGURE))
def test_nothing_has_a_default(name: str) -> None:
    with pytest.raises(TypeError):
        Quantity(**{key: value for key, value in FIGURE.items() if key != name})


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        figure().value = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("first", UNITS)
@pytest.mark.parametrize("second", UNITS)
def test_only_known_products_and_like_sums(first: str, second: str) -> None:
    one, other = figure(unit=first), figure(unit=second)
    if (first, second) in PRODUCTS:
        assert (one * other).unit == PRODUCTS[first, second]
    else:
        with pytest.raises(PriceError, match=r"product of quantities"):
            one * other
    if first == second:
        assert (one + other).unit == first
    else:
        with pytest.raises(PriceError, match=r"sum of quantities"):
            one + other


def test_scopes_never_mix() -> None:
    energy = figure(unit="J/token")
    with pytest.raises(PriceError, match=r"per operation with all-in"):
        energy + figure(unit="J/token", scope=ALL_IN)
    with pytest.raises(PriceError, match=r"scope"):
        figure() * figure(unit="synaptic operation/token", scope=ALL_IN)


def test_result_keeps_the_weakest_evidence_and_all_sources() -> None:
    one = figure(unit="J/token", evidence="measured", source="A; B")
    other = figure(unit="J/token", evidence="assumed", source="B; C")
    assert (one + other).evidence == (other + one).evidence == "assumed"
    assert (one + other).source == "A; B; C"


def test_arithmetic() -> None:
    count = figure(unit="synaptic operation/token", value=1000, low=500, high=2000)
    energy = figure() * count
    assert (energy.value, energy.low, energy.high) == pytest.approx((2e-9, 5e-10, 6e-9))
    twice = energy + energy
    assert (twice.value, twice.low, twice.high) == pytest.approx((4e-9, 1e-9, 12e-9))


def test_watts_and_seconds_are_joules() -> None:
    power = figure(unit="W/chip", value=0.5, low=0.5, high=0.5)
    chips = figure(unit="chip", value=3, low=3, high=3)
    time = figure(unit="s/token", value=0.02, low=0.02, high=0.02)
    energy = power * chips * time
    assert energy.value == pytest.approx(0.03)
    assert energy.unit == "J/token"


def test_maximum_is_end_by_end() -> None:
    one = figure(unit="s/token", value=2.0, low=1.0, high=9.0, source="A")
    other = figure(unit="s/token", value=3.0, low=0.0, high=4.0, source="B", evidence="assumed")
    for most in (one.maximum(other), other.maximum(one)):
        assert (most.low, most.value, most.high) == (1.0, 3.0, 9.0)
        assert most.evidence == "assumed"
    with pytest.raises(PriceError, match="maximum of quantities"):
        one.maximum(figure())
    with pytest.raises(PriceError, match="scope"):
        one.maximum(figure(unit="s/token", scope=ALL_IN))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "2 (1..3) pJ/synaptic operation"),
        ({"unit": "J/token", "value": 0.405, "low": 0.303, "high": 0.405}, "405 (303..405) mJ/token"),
        ({"unit": "J/token", "value": 1.5, "low": 1.5, "high": 1.5}, "1.5 J/token"),
        ({"unit": "J/token", "value": 3.699e-6, "low": 0, "high": 1.2e-3}, "3.7 (0..1,200) uJ/token"),
        ({"unit": "J/token", "value": 0, "low": 0, "high": 0}, "0 J/token"),
        ({"unit": "J/token", "value": 0, "low": 0, "high": 2e-9}, "0 (0..2) nJ/token"),
        ({"unit": "s/tick", "value": 2e-7, "low": 2e-7, "high": 2e-7}, "200 ns/tick"),
        ({"unit": "W/chip", "value": 0.104, "low": 0.104, "high": 0.104}, "104 mW/chip"),
        ({"unit": "token/s", "value": 3861, "low": 627, "high": 3861}, "3,861 (627..3,861) token/s"),
        ({"unit": "bytes/chip", "value": 2**24, "low": 2**24, "high": 2**24}, "16,777,216 bytes/chip"),
    ],
)
def test_text(changes: dict[str, Any], text: str) -> None:
    assert str(figure(**changes)) == text


numbers = st.floats(0, 1e6)
ranges = st.tuples(numbers, numbers, numbers).map(sorted)


@given(ranges, ranges)
def test_results_are_ranges_too(first: list[float], second: list[float]) -> None:
    (low, value, high), (less, much, more) = first, second
    one = figure(low=low, value=value, high=high, unit="W")
    other = figure(low=less, value=much, high=more, unit="s/token")
    product = one * other
    assert 0 <= product.low <= product.value <= product.high
    both = product + product
    assert product.value <= both.value
    assert str(both)
