"""Measured energy: windows, idle power, and a plain word where there are no counters."""

import pytest

from snngen.errors import UnsupportedError
from snngen.hardware.measure import Measurement, measure
from snngen.hardware.quantity import PriceError


def test_idle_power_is_subtracted_and_stated() -> None:
    energy = Measurement(("CPU (RAPL)",), tokens=50, seconds=2.0, joules=30.0, idle_watts=5.0).energy
    assert (energy.value, energy.low, energy.high) == (0.4, 0.4, 0.6)  # (30 - 5 * 2) / 50, and 30 / 50
    assert energy.evidence == "measured"
    assert "idle 5.00 W" in energy.source


@pytest.mark.parametrize(
    "change", [{"seconds": 0.5}, {"tokens": 0}, {"counters": ()}, {"joules": -1.0}, {"idle_watts": -1.0}]
)
def test_unsound_windows_are_refused(change: dict[str, object]) -> None:
    sound = {"counters": ("CPU (RAPL)",), "tokens": 5, "seconds": 1.5, "joules": 3.0, "idle_watts": 1.0}
    with pytest.raises(PriceError):
        Measurement(**{**sound, **change})  # type: ignore[arg-type]


def test_without_counters_it_says_so_and_never_guesses() -> None:
    """Where counters are there, it measures; elsewhere the error names what is missing."""
    refusal = ""
    try:
        measured = measure(lambda: sum(range(1000)) and 1)
    except UnsupportedError as error:
        refusal = str(error)
    if refusal:
        assert "zeus" in refusal or "no energy counter" in refusal
    else:
        assert measured.tokens > 0
        assert measured.energy.high >= measured.energy.value
