"""Prices of a network small enough to be priced by hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.engines.settled import SettledEngine
from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    ENERGY,
    MEMORY,
    MESSAGES,
    NEURON_UPDATES,
    ROUTING,
    SPIKE_OUTPUT,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    Chip,
)
from snngen.hardware.chips import by_name, chips
from snngen.hardware.placement import Unplaced, place
from snngen.hardware.price import Breakdown, Phase, Term, chips_needed, price, rows, time_bound
from snngen.hardware.quantity import ALL_IN, PER_OPERATION, PriceError, Quantity
from snngen.hardware.work import Work, dense, spiking
from snngen.integers import FloatArray
from snngen.kernels import settled
from snngen.ledger import CODES, GENERATE, PREFILL, Ledger
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory

PICO = 1e-12
UNPLACED = Unplaced("for this test")


def small_network() -> Network:
    """4 sources -> 3 thresholds -> 2 accumulators.

    Codes 2, 0, -1, 0 drive 6, -4, -5, and (drive + 1) // 2 in 0..7 is 3, 0, 0.
    """
    first = np.array([[3, 0, -2], [1, 1, 1], [0, 4, 1], [5, 5, 5]], dtype=np.int8)
    second = np.array([[1, -1], [2, 2], [3, 3]], dtype=np.int8)
    return Network(
        populations=(
            Population("input", Source(4, low=-7, high=7)),
            Population("hidden", Threshold(np.full(3, 2), np.zeros(3, dtype=np.int32), low=0, high=7)),
            Population("output", Accumulator(np.zeros(2, dtype=np.int32))),
        ),
        projections=(
            Projection("input", "hidden", Dense(first, np.ones(3, dtype=np.int32))),
            Projection("hidden", "output", Dense(second, np.ones(2, dtype=np.int32))),
        ),
    )


def run(phases: Sequence[str]) -> Ledger:
    network = small_network()
    engine, ledger = SettledEngine(network), Ledger(network)
    for phase in phases:
        engine.step(codes={"input": np.array([2, 0, -1, 0])})
        ledger.record(phase, *engine.counted())
    assert engine.output.tolist() == [3, -3]
    return ledger


LEDGER = run([PREFILL, GENERATE, GENERATE])


def energies(phase: Phase) -> dict[str, Quantity]:
    return {term.cause: term.energy for term in phase.terms}


# synaptic operations: events under the code * 3 targets, then * 2. The graded events are 2 and 1.
@pytest.mark.parametrize(
    ("code", "operations", "ticks", "messages"),
    [
        ("graded", 2 * 3 + 1 * 2, 1 + 1 + 1, 2 + 1),
        ("unary", 3 * 3 + 3 * 2, 2 + 3 + 1, 3 + 3),  # |2| + |-1|, and 3
        ("bitwise", 2 * 3 + 2 * 2, 3 + 3 + 1, 2 + 2),  # 10, 1, and 11; the ranges are 3 bits wide
        ("ttfs", 2 * 3 + 1 * 2, 15 + 8 + 1, 2 + 1),  # -7..7, and 0..7
        ("delta", 0, 1 + 1 + 1, 0),  # nothing changed since the token before
    ],
)
def test_loihi1_by_hand(code: str, operations: int, ticks: int, messages: int) -> None:
    breakdown = price(LEDGER, by_name("loihi1"), code)
    phase = breakdown[GENERATE]
    assert (phase.tokens, breakdown.chips, breakdown.code) == (2, 1, code)
    found = energies(phase)
    assert found[SYNAPSES].value == pytest.approx(operations * 23.6 * PICO)
    assert found[SYNAPSES].high == pytest.approx(operations * 35.5 * PICO)
    assert found[NEURON_UPDATES].value == pytest.approx((4 + 3 + 2) * 81 * PICO)
    assert found[NEURON_UPDATES].low == pytest.approx((4 + 3 + 2) * 52 * PICO)
    assert phase.time.value == phase.time.low == pytest.approx(ticks * 113e-9)
    assert phase.time.high == pytest.approx(ticks * 465e-9)
    assert found[STATIC_POWER].value == pytest.approx(0.104 * 1 * ticks * 113e-9)
    assert found[MESSAGES].value == pytest.approx(messages * 1.7 * PICO)  # the output is heard by nobody
    by_hand = operations * 23.6e-12 + 9 * 81e-12 + messages * 1.7e-12 + 0.104 * ticks * 113e-9
    assert phase.total.value == pytest.approx(by_hand)
    assert phase.total.unit == "J/token"


def test_loihi2_by_hand() -> None:
    breakdown = price(LEDGER, by_name("loihi2"))
    phase = breakdown[GENERATE]
    found = energies(phase)
    assert set(found) == {SYNAPSES, STATIC_POWER}
    assert found[SYNAPSES].value == pytest.approx(8 * 3.8 * PICO)
    assert phase.time.value == pytest.approx(3 * 200e-9)
    assert found[STATIC_POWER].value == pytest.approx(16.76 / 24 * 600e-9)
    assert found[STATIC_POWER].low == pytest.approx(16.76 / 32 * 600e-9)
    assert NEURON_UPDATES in {item.cause for item in breakdown.unpriced}


def test_prompt_tokens_may_follow_each_other_a_tick_apart() -> None:
    phase = price(LEDGER, by_name("loihi1"))[PREFILL]
    assert phase.tokens == 1
    assert phase.time.low == pytest.approx(113e-9)
    assert phase.time.value == pytest.approx(3 * 113e-9)


def test_the_first_token_changes_everything_under_delta() -> None:
    phase = price(LEDGER, by_name("loihi1"), "delta")[PREFILL]
    assert energies(phase)[SYNAPSES].value == pytest.approx(8 * 23.6 * PICO)


def test_absent_phases() -> None:
    breakdown = price(run([PREFILL]), by_name("loihi1"))
    assert breakdown.columns == (PREFILL,)
    with pytest.raises(UnsupportedError, match="generate"):
        breakdown[GENERATE]
    empty = price(Ledger(small_network()), by_name("loihi1"))
    assert empty.columns == ()
    assert rows(empty) == []


def test_unpriced_causes_make_a_lower_bound() -> None:
    breakdown = price(LEDGER, by_name("loihi1"), placement=UNPLACED)
    assert breakdown.at_least
    names = {item.cause for item in breakdown.unpriced}
    assert {"routing", "host link", "barriers", "compute time within a tick"} <= names
    assert "written weights" not in names  # nothing was written
    assert all(item.why for item in breakdown.unpriced)
    assert [term.at_least for term in breakdown[GENERATE].terms] == [False, False, True, True]


def test_written_weights_are_unpriced() -> None:
    populations = LEDGER.network.populations
    memory = Projection("input", "hidden", KeyMemory(heads=1, groups=1, width=4, context=3), writer="key")
    key = Population("key", Source(4, low=-7, high=7))
    hidden = Population("hidden", Threshold(np.full(3, 2), np.zeros(3, dtype=np.int32), low=0, high=7))
    network = Network((populations[0], key, hidden), (memory,))
    engine, ledger = SettledEngine(network), Ledger(network)
    engine.step(codes={"input": np.array([2, 0, -1, 0]), "key": np.array([1, 1, 1, 1])})
    ledger.record(GENERATE, *engine.counted())
    assert "written weights" in {item.cause for item in price(ledger, by_name("loihi1")).unpriced}


def test_unknown_code() -> None:
    with pytest.raises(UnsupportedError, match=r"morse.*graded"):
        price(LEDGER, by_name("loihi1"), "morse")


def with_memory(stored: int) -> Chip:
    chip = by_name("loihi1")
    memory = replace(chip.quantities[MEMORY], value=stored, low=stored, high=stored)
    return replace(chip, quantities=dict(chip.quantities) | {MEMORY: memory})


@pytest.mark.parametrize(("memory", "needed"), [(18, 1), (17, 2), (9, 2), (8, 3), (1, 18)])
def test_chips_hold_the_weights(memory: int, needed: int) -> None:
    chip = with_memory(memory)  # the network stores 4 * 3 + 3 * 2 bytes
    assert chips_needed(LEDGER.network, chip) == needed
    static = energies(price(LEDGER, chip, placement=UNPLACED)[GENERATE])[STATIC_POWER]
    assert static.value == pytest.approx(needed * 0.104 * 3 * 113e-9)


def test_chips_needed_wants_synaptic_memory() -> None:
    with pytest.raises(PriceError, match="synaptic memory"):
        chips_needed(LEDGER.network, by_name("jetson-orin-nano"))


def test_conventional_chips_cite_and_price_nothing() -> None:
    chip = by_name("jetson-orin-nano")
    breakdown = price(LEDGER, chip)
    assert breakdown.cited == chip.cited
    assert breakdown.phases == ()
    assert breakdown.unpriced == ()
    assert not breakdown.at_least
    assert breakdown.columns == (PREFILL, GENERATE)
    lines = rows(breakdown)
    assert "SmolLM2-135M" in lines[0].cause
    assert lines[0].cells == ("", "44.2 (33..44.2) mJ/token")
    assert lines[2].cells == ("4.4 (4.4..17.9) mJ/token", "")
    with pytest.raises(UnsupportedError, match="nothing is priced"):
        breakdown[GENERATE]


def test_scopes_never_meet() -> None:
    measured = by_name("jetson-orin-nano").cited[0].energy
    phase = price(LEDGER, by_name("loihi1"))[GENERATE]
    with pytest.raises(PriceError, match="scope"):
        phase.total + measured
    with pytest.raises(PriceError, match="scope"):
        replace(phase, terms=(*phase.terms, Term("board", measured)))
    with pytest.raises(PriceError, match="priced terms and cited figures"):
        replace(price(LEDGER, by_name("loihi1")), cited=by_name("jetson-orin-nano").cited)


def test_phase_refused() -> None:
    phase = price(LEDGER, by_name("loihi1"))[GENERATE]
    watts = Quantity(1, 1, 1, "W", PER_OPERATION, "assumed", "this test")
    with pytest.raises(PriceError):
        replace(phase, terms=())
    with pytest.raises(PriceError):
        replace(phase, tokens=0)
    with pytest.raises(PriceError):
        replace(phase, name="training")
    with pytest.raises(PriceError):
        replace(phase, time=watts)
    with pytest.raises(PriceError):
        replace(phase, terms=(Term("heat", watts),))
    with pytest.raises(PriceError, match="sum of quantities"):
        replace(phase, terms=(*phase.terms, Term("heat", watts)))


def test_rows() -> None:
    lines = rows(price(LEDGER, by_name("loihi1"), placement=UNPLACED))
    assert [line.cause for line in lines] == [SYNAPSES, NEURON_UPDATES, MESSAGES, STATIC_POWER, "total", "time"]
    assert lines[0].cells == ("189 (189..284) pJ/token", "189 (189..284) pJ/token")
    assert lines[1].cells[1] == "729 (468..729) pJ/token"
    assert lines[2].cells[1] == "at least 5.1 pJ/token"
    assert lines[3].cells[1] == "at least 35.3 (35.3..145) nJ/token"
    assert lines[3].cells[0] == "at least 35.3 (11.8..145) nJ/token"
    assert lines[4].cells[1].startswith("at least 36.2")
    assert lines[5].cells[1] == "at least 339 (339..1,395) ns/token"
    assert (lines[0].evidence, lines[3].evidence) == ("simulated", "cited")
    assert all(line.source for line in lines)


@pytest.mark.parametrize("name", sorted(chips()))
@pytest.mark.parametrize("code", CODES)
def test_as_dict_is_json_and_agrees(name: str, code: str) -> None:
    breakdown = price(LEDGER, by_name(name), code)
    plain = breakdown.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert (plain["chip"], plain["code"], plain["at_least"]) == (name, code, breakdown.at_least)
    for phase in breakdown.phases:
        written = plain["phases"][phase.name]
        for end in ("value", "low", "high"):
            terms = sum(term[end] for term in written["terms"].values())
            assert written["total"][end] == pytest.approx(terms) == getattr(phase.total, end)
    assert len(plain["cited"]) == len(breakdown.cited)
    assert bool(plain["phases"]) + bool(plain["cited"]) + bool(by_name(name).missing) >= 1
    assert not (plain["phases"] and plain["cited"])


counts = st.integers(0, 10**9)


def counted(operations: int, updates: int = 9) -> Breakdown:
    """The price on Loihi 1 of a token with these counts."""
    ledger = Ledger(small_network())
    populations, projections = np.zeros((3, 6), dtype=np.int64), np.zeros((2, 6), dtype=np.int64)
    populations[0, settled.UPDATES] = updates
    projections[0, settled.GRADED] = operations
    ledger.record(GENERATE, populations, projections)
    return price(ledger, by_name("loihi1"))


@given(counts, counts, counts)
def test_more_synaptic_operations_never_cost_less(operations: int, more: int, updates: int) -> None:
    less = counted(operations, updates)[GENERATE].total
    much = counted(operations + more, updates)[GENERATE].total
    assert less.low <= much.low
    assert less.value <= much.value
    assert less.high <= much.high


@given(counts, counts, counts)
def test_more_neuron_updates_never_cost_less(operations: int, updates: int, more: int) -> None:
    less = counted(operations, updates)[GENERATE].total
    much = counted(operations, updates + more)[GENERATE].total
    assert less.value <= much.value


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_less_memory_never_costs_less(memory: int, more: int) -> None:
    small, large = (
        price(LEDGER, with_memory(size), placement=UNPLACED)[GENERATE].total for size in (memory, memory + more)
    )
    assert large.value <= small.value


def test_an_all_in_figure_is_no_price_of_a_cause() -> None:
    chip = by_name("loihi2")
    with pytest.raises(PriceError, match="all-in"):
        replace(
            chip,
            quantities=dict(chip.quantities) | {STATIC_POWER: replace(chip.quantities[STATIC_POWER], scope=ALL_IN)},
        )


@dataclass(frozen=True)
class OnTwoCores:
    """A placement by hand: input and hidden on one core, output on another, 2 hops and one chip away."""

    chips: int = 2
    cores: int = 2

    def hops(self, index: int, written: bool = False) -> float:
        return (0.0, 2.0)[index]

    def crossings(self, index: int, written: bool = False) -> float:
        return (0.0, 1.0)[index]

    def fan(self, index: int, written: bool = False) -> float:
        return (1.0, 1.5)[index]

    def busiest(self, updates: FloatArray, operations: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.maximum(updates[..., :2].sum(axis=-1), updates[..., 2]), operations.max(axis=-1)


def test_placed_by_hand() -> None:
    breakdown = price(LEDGER, by_name("loihi1"), placement=OnTwoCores())
    assert (breakdown.chips, breakdown.placed) == (2, True)
    phase = breakdown[GENERATE]
    found = energies(phase)
    assert found[MESSAGES].value == pytest.approx((2 * 1 + 1 * 1.5) * 1.7 * PICO)
    assert found[ROUTING].value == pytest.approx(1 * 2 * 3.5 * PICO)
    assert (found[ROUTING].low, found[ROUTING].high) == pytest.approx((2 * 3.0 * PICO, 2 * 4.0 * PICO))
    # stages: 4 updates; 3 updates and 6 operations; 2 updates and 2 operations. 8.4 and 3.5 ns
    compute = 4 * 8.4e-9 + max(3 * 8.4e-9, 6 * 3.5e-9) + max(2 * 8.4e-9, 2 * 3.5e-9)
    assert phase.time.value == pytest.approx(max(3 * 113e-9, compute)) == pytest.approx(3 * 113e-9)
    assert found[STATIC_POWER].value == pytest.approx(2 * 0.104 * 3 * 113e-9)
    assert [term.at_least for term in phase.terms] == [False, False, False, False, True]
    names = {item.cause for item in breakdown.unpriced}
    assert "links between chips" in names
    assert not names & {ROUTING, "compute time within a tick", "messages to more cores"}


def test_the_busiest_core_sets_the_time() -> None:
    chip = by_name("loihi1")
    fast = replace(chip, quantities=dict(chip.quantities) | {TICK: replace(chip.quantities[TICK], value=1e-9, low=0)})
    phase = price(LEDGER, fast, placement=OnTwoCores())[GENERATE]
    assert phase.time.value == pytest.approx((4 + 3 + 2) * 8.4e-9)
    assert phase.time.low == pytest.approx((4 + 3 + 2) * 5.3e-9)
    first = price(LEDGER, fast, placement=OnTwoCores())[PREFILL]  # stages overlap: 7 updates on one core
    assert first.time.low == pytest.approx(7 * 5.3e-9)
    assert first.time.value == phase.time.value


def test_without_rates_a_placement_leaves_ticks() -> None:
    breakdown = price(LEDGER, by_name("loihi2"), placement=OnTwoCores())
    assert breakdown[GENERATE].time.value == pytest.approx(3 * 200e-9)
    why = {item.cause: item.why for item in breakdown.unpriced}
    assert "not published" in why["compute time within a tick"]
    assert ROUTING in why


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
@pytest.mark.parametrize("code", CODES)
def test_a_real_placement_never_lowers_the_bound(name: str, code: str) -> None:
    chip, placement = by_name(name), place(LEDGER.network, name)
    free, placed = price(LEDGER, chip, code, UNPLACED), price(LEDGER, chip, code, placement)
    for phase in free.phases:
        assert phase.total.value <= placed[phase.name].total.value
        assert phase.time.value <= placed[phase.name].time.value
        assert phase.total.low <= placed[phase.name].total.low


@pytest.mark.parametrize("name", [name for name, chip in chips().items() if chip.kind == "neuromorphic"])
@pytest.mark.parametrize("placement", [UNPLACED, OnTwoCores()])
def test_every_cause_is_a_term_or_named(name: str, placement: OnTwoCores | Unplaced) -> None:
    breakdown = price(LEDGER, by_name(name), placement=placement)
    unpriced = {item.cause for item in breakdown.unpriced}
    assert all(item.why.strip() for item in breakdown.unpriced)
    for phase in breakdown.phases:
        causes = {term.cause for term in phase.terms}
        assert set(ENERGY) <= causes | unpriced
        assert not causes & unpriced
    assert {"barriers", "host link"} <= unpriced
    if not breakdown.phases:
        assert set(ENERGY) - {STATIC_POWER} <= unpriced


@pytest.mark.parametrize("placement", [UNPLACED, OnTwoCores()])
def test_populations_add_up(placement: OnTwoCores | Unplaced) -> None:
    breakdown = price(LEDGER, by_name("loihi1-fitted"), "bitwise", placement)
    phase = breakdown[GENERATE]
    assert [share.population for share in phase.shares] == ["input", "hidden", "output"]
    for term in phase.terms:
        parts = [part.energy.value for share in phase.shares for part in share.terms if part.cause == term.cause]
        if term.cause != STATIC_POWER:
            assert sum(parts) == pytest.approx(term.energy.value)
    hidden = {term.cause: term.energy.value for term in phase.shares[1].terms}
    assert hidden[SYNAPSES] == pytest.approx(6 * 35.5 * PICO)  # 2 bits of the input, 3 targets
    assert hidden[NEURON_UPDATES] == pytest.approx(3 * 72.8 * PICO)
    assert hidden[SPIKE_OUTPUT] == pytest.approx(2 * 69.3 * PICO)
    written = breakdown.as_dict()["phases"][GENERATE]["populations"]["hidden"]
    assert written == pytest.approx(hidden)


def test_a_chip_without_a_figure_prices_nothing_and_says_why() -> None:
    breakdown = price(LEDGER, by_name("cpu"))
    assert (breakdown.phases, breakdown.cited, rows(breakdown)) == ((), (), [])
    assert [item.cause for item in breakdown.unpriced] == ["measured energy"]


def test_a_chip_without_time_has_no_static_energy() -> None:
    breakdown = price(LEDGER, by_name("speck"))
    assert breakdown.phases == ()
    assert {TICK, STATIC_POWER} <= {item.cause for item in breakdown.unpriced}
    placed = price(LEDGER, by_name("speck"), placement=OnTwoCores())[GENERATE]
    assert placed.time.value == pytest.approx((6 + 2) * 10e-9)
    assert energies(placed)[STATIC_POWER].value == pytest.approx(2 * 0.42e-3 * 80e-9)
    assert price(LEDGER, by_name("asic-45nm"))[GENERATE].time is None


def test_dense_work_by_hand() -> None:
    work = dense(LEDGER, GENERATE)
    assert work.operations.tolist() == [12, 6]
    assert work.bytes_read.tolist() == [12, 6]
    assert work.events.tolist() == work.updates.tolist() == [4, 3, 2]
    assert (work.ticks, work.follow) == (3, 3)
    assert dense(LEDGER, PREFILL).follow == 1


def test_dense_work_looks_one_token_up() -> None:
    network = small_network()
    engine, ledger = SettledEngine(network), Ledger(network)
    engine.step(1)
    ledger.record(GENERATE, *engine.counted())
    assert dense(ledger, GENERATE).operations.tolist() == [3, 6]  # one row of the first, all of the second


def test_work_refused() -> None:
    work = spiking(LEDGER, "graded", GENERATE)
    assert time_bound(work, by_name("speck")) is None
    for changes in ({"updates": np.zeros(2)}, {"operations": np.array([-1.0, 0])}, {"events": np.full(3, np.nan)}):
        with pytest.raises(PriceError):
            replace(work, **changes)
    with pytest.raises(PriceError, match="follow"):
        replace(work, follow=work.ticks + 1)
    assert isinstance(work, Work)


@pytest.mark.parametrize("name", ["loihi1", "loihi1-fitted", "loihi2"])
@pytest.mark.parametrize("code", CODES)
def test_a_price_is_that_on_cores_where_limits_are_known(name: str, code: str) -> None:
    breakdown = price(LEDGER, by_name(name), code)
    by_hand = price(LEDGER, by_name(name), code, place(LEDGER.network, name))
    assert breakdown.placed
    assert breakdown.where == "1 chip, 1 core"
    assert breakdown.as_dict() == by_hand.as_dict()


def test_what_static_power_rests_on_is_said() -> None:
    said = {name: price(LEDGER, chip).rests_on for name, chip in chips().items()}
    assert said["loihi1"] == (
        "static power is counted over the work of the busiest core, at 8.4 (5.3..8.4) ns/neuron update and "
        "3.5 (0..3.5) ns/synaptic operation"
    )
    assert said["loihi2"].startswith("static power over the work of the cores not counted, only that over the ticks")
    assert said["loihi2"].endswith("no rate of a core is published")
    assert said["truenorth"].endswith("not placed: the limits of its cores are not known")
    assert said["spinnaker2"].startswith("static power not counted: not published apart")
    assert said["jetson-orin-nano"] == price(LEDGER, by_name("jetson-orin-nano")).where == ""
    unplaced = price(LEDGER, by_name("loihi1"), placement=UNPLACED)
    assert (unplaced.placed, unplaced.where) == (False, "1 chip, not placed")
    assert unplaced.rests_on.endswith("not placed: for this test")
    assert unplaced.as_dict()["rests_on"] == unplaced.rests_on


def test_a_network_that_does_not_fit_is_priced_and_says_so() -> None:
    sources = 2**17 + 1  # bytes of weights that one neuron needs, one more than a core has
    network = Network(
        populations=(
            Population("input", Source(sources, low=0, high=1)),
            Population("output", Accumulator(np.zeros(1, dtype=np.int32))),
        ),
        projections=(
            Projection("input", "output", Dense(np.ones((sources, 1), dtype=np.int8), np.ones(1, dtype=np.int32))),
        ),
    )
    engine, ledger = SettledEngine(network), Ledger(network)
    engine.step(codes={"input": np.zeros(sources, dtype=np.int64)})
    ledger.record(GENERATE, *engine.counted())
    for name in ("loihi1", "loihi2"):
        breakdown = price(ledger, by_name(name))
        assert breakdown.where == "1 chip, not placed"
        assert "not placed: the network does not fit, output, neuron 0" in breakdown.rests_on
        assert "for this neuron alone" in breakdown.rests_on
        assert breakdown[GENERATE].total == price(ledger, by_name(name), placement=UNPLACED)[GENERATE].total
