"""Published closed cases: what silicon took, from its census and the chips' constants."""

import json
from dataclasses import replace

import pytest

from snngen.hardware import validate
from snngen.hardware.quantity import ALL_IN, PER_OPERATION, PriceError

CASES = {case.name: case for case in validate.cases()}


@pytest.mark.parametrize("name", CASES)
def test_within_a_quarter(name: str) -> None:
    case = CASES[name]
    assert case.passed
    assert 0.75 <= case.ratio <= 1.25
    assert (case.published.scope, case.computed.scope) == (ALL_IN, PER_OPERATION)


def test_all_pass_and_say_so() -> None:
    assert validate.passed()
    assert {row["pass"] for row in validate.rows()} == {"yes"}
    assert len({tuple(row) for row in validate.rows()}) == 1
    assert all(row["source"] and row["census"] for row in validate.rows())
    assert [row["kind"] for row in validate.rows()].count("test") == 3


@pytest.mark.parametrize(("spikes", "ratio"), [(667, 1.089), (750, 1.202)])
def test_neighbour_search_by_hand(spikes: int, ratio: float) -> None:
    (case,) = (case for name, case in CASES.items() if f"{spikes} spikes" in name)
    assert case.ratio == pytest.approx((spikes * 76_800 * 23.6e-12 + 76_800 * 60 * 52e-12) / 1.33e-3)
    assert case.ratio == pytest.approx(ratio, abs=1e-3)
    assert case.kind == validate.TEST


def test_the_held_out_point() -> None:
    case = CASES["power at 20.07 Hz (a token here is one second)"]
    assert case.kind == validate.TEST
    assert case.ratio == pytest.approx(0.995, abs=1e-3)


def test_the_language_model_is_a_fit_from_its_shapes() -> None:
    assert validate.block_weights() == 24 * (4 * 1024**2 + 3 * 1024 * 2816) == 308_281_344
    rows = [case for case in CASES.values() if case.chip == "loihi2"]
    assert {case.kind for case in rows} == {validate.FIT}
    assert [case.computed.value for case in rows] == pytest.approx([0.405, 3.7e-3], rel=2e-3)
    assert [case.published.value for case in rows] == [0.405, 3.7e-3]
    assert all(case.computed.evidence in ("fitted", "cited") for case in rows)


def test_out_of_band_fails() -> None:
    case = next(iter(CASES.values()))
    wrong = replace(case, published=replace(case.published, value=1.0, low=1.0, high=1.0))
    assert not wrong.passed
    assert wrong.row()["pass"] == "NO"
    assert not validate.passed((case, wrong))


def test_refused() -> None:
    case = next(iter(CASES.values()))
    for changes in ({"kind": "guess"}, {"census": " "}, {"published": replace(case.published, unit="W")}):
        with pytest.raises(PriceError):
            replace(case, **changes)
    with pytest.raises(PriceError, match="above 0"):
        replace(case, published=replace(case.published, value=0.0, low=0.0, high=0.0))


def test_as_dict_is_json() -> None:
    for case in CASES.values():
        plain = case.as_dict()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert plain["pass"] is True
