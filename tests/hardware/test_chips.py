"""Laws over every chip of the folder, and the published cases that the figures must reproduce."""

import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    ACCOUNTED,
    CAUSES,
    CONVENTIONAL,
    ENERGY,
    KINDS,
    MEASURED,
    MEMORY,
    MULTIPLICATIONS,
    NEURON_UPDATES,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    WEIGHT_READS,
    Chip,
    Cited,
)
from snngen.hardware.chips import __path__ as folder
from snngen.hardware.chips import by_name, chips
from snngen.hardware.chips.cpu import counters, this_machine
from snngen.hardware.quantity import ALL_IN, EVIDENCE, PER_OPERATION, SCOPES, UNITS, PriceError, Quantity
from snngen.ledger import PHASES

ALL = sorted(chips())


def counted(value: float, unit: str) -> Quantity:
    return Quantity(value, value, value, unit, PER_OPERATION, "counted", "this test")


def quantities(chip: Chip) -> Iterator[Quantity]:
    yield from chip.quantities.values()
    for row in chip.cited:
        yield row.energy
        if row.rate is not None:
            yield row.rate


def test_one_chip_per_file_under_its_name() -> None:
    files = sorted(module.name for module in pkgutil.iter_modules(folder))
    assert [name.replace("-", "_") for name in ALL] == files
    named = "loihi1 loihi1-fitted loihi2 truenorth spinnaker2 speck asic-45nm jetson-orin-nano desktop-gpu h100 cpu"
    assert {*named.split(), "raspberry-pi"} == set(ALL)
    for name in ALL:
        assert by_name(name).name == name


def test_unknown_name() -> None:
    with pytest.raises(UnsupportedError, match=r"loihi3.*jetson-orin-nano.*loihi1.*loihi2"):
        by_name("loihi3")


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_sourced(name: str) -> None:
    figures = list(quantities(by_name(name)))
    assert figures or by_name(name).missing
    for quantity in figures:
        assert quantity.source.strip()
        assert quantity.evidence in EVIDENCE
        assert quantity.evidence != "counted"  # only a run counts
        assert quantity.unit in UNITS
        assert quantity.scope in SCOPES
        assert 0 <= quantity.low <= quantity.value <= quantity.high


@pytest.mark.parametrize("name", ALL)
def test_scopes_are_kept_apart(name: str) -> None:
    chip = by_name(name)
    assert chip.kind in KINDS
    assert chip.notes
    assert all(quantity.scope == PER_OPERATION for quantity in chip.quantities.values())
    assert all(row.energy.scope == ALL_IN and row.phase in PHASES for row in chip.cited)
    if chip.kind == CONVENTIONAL:
        assert not chip.quantities
        assert bool(chip.cited) != bool(chip.missing)
    else:
        assert not chip.cited
        assert all((cause in chip.quantities) != (cause in chip.missing) for cause in ACCOUNTED)
        assert set(ENERGY) < set(ACCOUNTED)
        assert all(chip.quantities[cause].unit == CAUSES[cause] for cause in chip.quantities)


def test_frozen() -> None:
    chip = by_name("loihi1")
    with pytest.raises(AttributeError):
        chip.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        chip.quantities[SYNAPSES] = chip.quantities[SYNAPSES]  # type: ignore[index]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Loihi 1"},
        {"name": "../loihi1"},
        {"title": " "},
        {"kind": "quantum"},
        {"kind": CONVENTIONAL},
        {"quantities": {}},
        {"quantities": {TICK: by_name("loihi1").quantities[TICK], MEMORY: by_name("loihi1").quantities[MEMORY]}},
        {"quantities": dict(by_name("loihi1").quantities) | {SYNAPSES: by_name("loihi1").quantities[NEURON_UPDATES]}},
        {"quantities": dict(by_name("loihi1").quantities) | {"luck": by_name("loihi1").quantities[SYNAPSES]}},
        {
            "quantities": dict(by_name("loihi1").quantities)
            | {SYNAPSES: replace(by_name("loihi1").quantities[SYNAPSES], scope=ALL_IN)}
        },
        {"missing": {SYNAPSES: "priced already"}},
        {"cited": by_name("jetson-orin-nano").cited},
    ],
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PriceError):
        replace(by_name("loihi1"), **changes)


def test_a_cause_without_figure_needs_a_reason() -> None:
    with pytest.raises(PriceError, match=r"a figure or a reason"):
        replace(by_name("loihi2"), missing={})
    with pytest.raises(PriceError, match=r"a figure or a reason"):
        replace(by_name("loihi2"), missing={NEURON_UPDATES: ""})


def test_conventional_chips_only_cite() -> None:
    with pytest.raises(PriceError):
        replace(by_name("jetson-orin-nano"), cited=())
    with pytest.raises(PriceError):
        replace(by_name("jetson-orin-nano"), quantities=by_name("loihi1").quantities)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ""},
        {"boundary": ""},
        {"phase": "training"},
        {"energy": by_name("loihi1").quantities[SYNAPSES]},
        {"rate": by_name("jetson-orin-nano").cited[0].energy},
    ],
)
def test_cited_refused(changes: dict[str, Any]) -> None:
    row: Cited = by_name("jetson-orin-nano").cited[0]
    with pytest.raises(PriceError):
        replace(row, **changes)


def test_cited_rows_name_other_models_with_their_energy() -> None:
    rows = by_name("jetson-orin-nano").cited
    smol, half_billion = rows[0], rows[1]
    assert "SmolLM2-135M" in smol.model
    assert [smol.energy.low, smol.energy.high] == pytest.approx([0.033, 0.044], abs=5e-4)
    assert "400-500M" in half_billion.model
    assert [half_billion.energy.low, half_billion.energy.high] == pytest.approx([0.72, 1.2], abs=5e-3)


@pytest.mark.parametrize(
    ("rate", "published", "rounding"), [(41.5, 405e-3, 0.5e-3), (6632, 3.7e-3, 0.05e-3)], ids=["generate", "prefill"]
)
def test_loihi2_reproduces_what_it_was_fitted_to(rate: float, published: float, rounding: float) -> None:
    # Abreu et al. 2025: 308.3 M block weights, 24 chips. A fit, not a test of the chip.
    figures = by_name("loihi2").quantities
    static = figures[STATIC_POWER] * counted(24, "chip") * counted(1 / rate, "s/token")
    dynamic = figures[SYNAPSES] * counted(308.3e6, "synaptic operation/token")
    energy = static + dynamic
    assert energy.value == pytest.approx(published, abs=rounding)
    assert energy.low <= published <= energy.high + rounding
    assert energy.evidence == "fitted"


def test_loihi2_energy_was_static() -> None:
    figures = by_name("loihi2").quantities
    static = figures[STATIC_POWER] * counted(24, "chip") * counted(1 / 41.5, "s/token")
    assert static.value / 405e-3 == pytest.approx(0.997, abs=1e-3)


def test_loihi2_fits_one_block_of_the_model_per_chip() -> None:
    assert by_name("loihi2").quantities[MEMORY].value >= 308.3e6 / 24


def test_a_chip_without_figures_says_why() -> None:
    chip = by_name("cpu")
    assert (chip.quantities, chip.cited) == ({}, ())
    assert chip.missing[MEASURED]
    with pytest.raises(PriceError, match="reason"):
        replace(chip, missing={MEASURED: " "})
    with pytest.raises(PriceError, match="reason"):
        replace(chip, missing={"luck": "none"})
    with pytest.raises(PriceError, match="reason"):
        replace(chip, cited=by_name("h100").cited)


def test_the_counters_of_this_machine(tmp_path: Path) -> None:
    assert "no RAPL counter" in this_machine(tmp_path).missing[MEASURED]
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("7")
    assert [path.parent.name for path in counters(tmp_path)] == ["intel-rapl:0"]
    assert "intel-rapl:0" in this_machine(tmp_path).missing[MEASURED]


def test_a_counter_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir(parents=True)  # not even root reads a folder
    assert counters(tmp_path) == ()


def test_both_figures_of_spinnaker2_stand() -> None:
    figure = by_name("spinnaker2").quantities[SYNAPSES]
    assert (figure.low, figure.high) == (10e-12, 450e-12)
    assert "SENECA" in figure.source
    assert "KerasSpiking" in figure.source


def test_the_all_in_figure_of_truenorth_is_no_price() -> None:
    chip = by_name("truenorth")
    assert all(quantity.high < 26e-12 for cause, quantity in chip.quantities.items() if cause == SYNAPSES)
    assert any("26 pJ" in note for note in chip.notes)


def test_truenorth_is_the_line_through_its_two_points() -> None:
    figures, events = by_name("truenorth").quantities, 1_048_576 * 128
    slope = (94e-3 - 68e-3) / ((95.93 - 11.58) * events)
    assert figures[SYNAPSES].value == pytest.approx(slope, rel=1e-3)
    assert figures[STATIC_POWER].value == pytest.approx(68e-3 - slope * 11.58 * events, rel=1e-3)


def test_the_asic_is_horowitz_by_hand() -> None:
    figures = by_name("asic-45nm").quantities
    assert figures[SYNAPSES].value == pytest.approx(0.1e-12 + 2.5e-12 + 10e-12)  # add, weight byte, accumulator
    assert figures[SYNAPSES].low == pytest.approx(0.03e-12 + 1.25e-12)
    assert figures[SYNAPSES].high == pytest.approx(0.23e-12 + 12.5e-12 + 20e-12)
    assert figures[MULTIPLICATIONS].value + figures[WEIGHT_READS].value == pytest.approx(2.73e-12)
    assert figures[SYNAPSES].evidence == "assumed"


def test_multiplications_and_weight_reads_come_together() -> None:
    chip = by_name("asic-45nm")
    without = {cause: quantity for cause, quantity in chip.quantities.items() if cause != WEIGHT_READS}
    with pytest.raises(PriceError, match="both"):
        replace(chip, quantities=without)
