"""Laws over every chip of the folder, and the published cases that the figures must reproduce."""

import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    CAUSES,
    CONVENTIONAL,
    ENERGY,
    KINDS,
    MEMORY,
    NEURON_UPDATES,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    Chip,
    Cited,
)
from snngen.hardware.chips import __path__ as folder
from snngen.hardware.chips import by_name, chips
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
    assert {"loihi1", "loihi2", "jetson-orin-nano"} <= set(ALL)
    for name in ALL:
        assert by_name(name).name == name


def test_unknown_name() -> None:
    with pytest.raises(UnsupportedError, match=r"loihi3.*jetson-orin-nano, loihi1, loihi2"):
        by_name("loihi3")


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_sourced(name: str) -> None:
    figures = list(quantities(by_name(name)))
    assert figures
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
    assert bool(chip.quantities) != bool(chip.cited)
    if chip.kind != CONVENTIONAL:
        assert all((cause in chip.quantities) != (cause in chip.missing) for cause in ENERGY)
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


@pytest.mark.parametrize("spikes", [667, 750])
def test_loihi1_against_the_measured_neighbour_search(spikes: int) -> None:
    # Frady et al. 2020, Table 2: 76,800 neurons, 60 steps, 1.33 mJ per query; neurons are inactive, the low end.
    figures = by_name("loihi1").quantities
    synapses = figures[SYNAPSES] * counted(spikes * 76_800, "synaptic operation/token")
    updates = figures[NEURON_UPDATES] * counted(76_800 * 60, "neuron update/token")
    energy = synapses + updates
    assert energy.low == pytest.approx(1.33e-3, rel=0.25)
    assert energy.low <= energy.value <= energy.high


def test_loihi1_static_power_of_the_measured_board() -> None:
    board = by_name("loihi1").quantities[STATIC_POWER] * counted(32, "chip")
    assert board.value == pytest.approx(3.34, abs=0.02)
