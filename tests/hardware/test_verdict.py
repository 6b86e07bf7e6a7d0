"""Verdicts on networks small enough to be judged by hand, on a run that wins and on one that loses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from snngen.engines.settled import SettledEngine
from snngen.errors import UnsupportedError
from snngen.hardware.chips import by_name, chips
from snngen.hardware.placement import Unplaced, place
from snngen.hardware.price import price
from snngen.hardware.quantity import PriceError
from snngen.hardware.verdict import (
    CONSTANTS,
    DEVICE,
    EVEN,
    LOSES,
    OPEN,
    SILICON,
    SPIKE_RATE,
    UNPROVEN,
    WINS,
    WINS_NARROWLY,
    Against,
    judge,
)
from snngen.ledger import CODES, GENERATE, PREFILL, Ledger
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense


def run(codes: list[int], phase: str = GENERATE, targets: int = 50) -> Ledger:
    """Sources of -127..127 into accumulators, one token."""
    matrix = np.ones((len(codes), targets), dtype=np.int8)
    network = Network(
        populations=(
            Population("input", Source(len(codes), low=-127, high=127)),
            Population("output", Accumulator(np.zeros(targets, dtype=np.int32))),
        ),
        projections=(Projection("input", "output", Dense(matrix, np.ones(targets, dtype=np.int32))),),
    )
    engine, ledger = SettledEngine(network), Ledger(network)
    engine.step(codes={"input": np.array(codes)})
    ledger.record(phase, *engine.counted())
    return ledger


SPARSE, BUSY = run([3, *[0] * 39]), run([85] * 40)  # 1 of 40 neurons; all, of 4 one bits each


UNPLACED = Unplaced("for this test")


def same_chip(ledger: Ledger, chip: str, code: str) -> Against:
    return judge(ledger, by_name(chip), code, UNPLACED).against[0]


def test_the_asic_by_hand() -> None:
    one = same_chip(SPARSE, "asic-45nm", "graded")
    assert one.basis == SILICON
    assert one.spiking.value == pytest.approx(50 * 12.6e-12)
    assert one.ann.value == pytest.approx(40 * 50 * (0.23e-12 + 2.5e-12))
    assert one.factor == pytest.approx(50 * 12.6 / (2000 * 2.73))
    assert one.break_even == pytest.approx(2.73 / 12.6, rel=1e-5)


def test_the_same_constants_by_hand() -> None:
    one = same_chip(BUSY, "loihi1", "bitwise")
    assert one.basis == CONSTANTS
    shared = 90 * 81e-12
    ticks = (7 + 1, 2)  # bits of -127..127, then a potential; one tick for each of two stages
    static = [count * 113e-9 * 0.104 for count in ticks]
    assert one.spiking.value == pytest.approx(8000 * 23.6e-12 + shared + 160 * 1.7e-12 + static[0])
    assert one.ann.value == pytest.approx(2000 * 23.6e-12 + shared + 40 * 1.7e-12 + static[1])


def test_sparse_wins_and_busy_loses() -> None:
    assert same_chip(SPARSE, "loihi1", "graded").outcome == WINS
    for chip in ("loihi1", "loihi1-fitted", "loihi2", "spinnaker2", "truenorth"):
        one = same_chip(BUSY, chip, "bitwise")
        assert one.outcome == LOSES
        assert one.factor is not None
        assert one.factor > 1
        assert "spiking loses" in one.sentence
    assert same_chip(BUSY, "asic-45nm", "unary").outcome == LOSES


def test_alike_is_even() -> None:
    assert same_chip(BUSY, "spinnaker2", "graded").outcome == EVEN  # every neuron is active: the two are one


def test_a_range_with_both_outcomes_decides_nothing() -> None:
    one = same_chip(BUSY, "asic-45nm", "graded")
    assert one.outcome == OPEN
    assert one.low < 1 < one.high
    assert one.sentence.startswith(f"undecided: {one.factor:.3g} ({one.low:.3g}..{one.high:.3g}) times the energy of")
    assert one.sentence.endswith("more at the best figures of the constants, but not over their range")


def test_the_range_of_a_factor_by_hand() -> None:
    one = same_chip(
        SPARSE, "spinnaker2", "graded"
    )  # 50 of 2,000 operations, at 10..450 pJ, and 90 updates on both sides
    updates = 90 * 2.19e-9
    ends = [(50 * joules + updates) / (2000 * joules + updates) for joules in (10e-12, 450e-12)]
    assert (one.high, one.low) == pytest.approx(ends)
    assert one.factor == pytest.approx(ends[0])
    one = same_chip(SPARSE, "asic-45nm", "graded")  # two constants: each at its own end
    chip = by_name("asic-45nm").quantities
    other = 2000 * (chip["multiplications"].low + chip["weight reads"].low)
    assert one.high == pytest.approx(50 * chip["synapses"].high / other)


def test_a_shared_constant_does_not_hide_a_win() -> None:
    one = same_chip(SPARSE, "spinnaker2", "graded")
    assert one.spiking.high > one.ann.low  # the energies overlap, by a constant that is the same on both sides
    assert one.high < 1
    assert one.outcome == WINS_NARROWLY
    assert replace(one, high=1.0).outcome == OPEN


def test_a_narrow_win_is_called_narrow() -> None:
    one = same_chip(run([1] * 36 + [0] * 4), "spinnaker2", "graded")
    assert one.outcome == WINS_NARROWLY
    assert one.factor is not None
    assert 0.9 < one.factor < 0.995
    assert one.sentence == (
        f"spiking wins narrowly: {one.times} times the energy of the same network without spikes on spinnaker2, "
        f"{100 * (1 - one.factor):.1f} % less of what has a price"
    )
    assert replace(one, low=0.5, high=one.factor).outcome == WINS_NARROWLY
    assert replace(one, low=one.factor, high=1.2).outcome == OPEN


@pytest.mark.parametrize("name", ["loihi1", "loihi1-fitted", "loihi2", "asic-45nm", "truenorth"])
@pytest.mark.parametrize("code", ["graded", "bitwise"])
def test_no_constants_in_their_ranges_leave_the_range_of_the_factor(name: str, code: str) -> None:
    chip, generator = by_name(name), np.random.default_rng(0)
    for ledger in (SPARSE, BUSY):
        one = judge(ledger, chip, code).against[0]
        for _ in range(30):
            drawn = {cause: generator.uniform(known.low, known.high) for cause, known in chip.quantities.items()}
            fixed = {
                cause: replace(known, value=drawn[cause], low=drawn[cause], high=drawn[cause])
                for cause, known in chip.quantities.items()
            }
            there = judge(ledger, replace(chip, quantities=fixed), code).against[0].factor
            assert there is not None
            assert one.low * (1 - 1e-9) <= there <= one.high * (1 + 1e-9)


@pytest.mark.parametrize("chip", ["asic-45nm", "spinnaker2"])
def test_at_break_even_both_cost_the_same(chip: str) -> None:
    matched = [same_chip(run([1] * active + [0] * (400 - active)), chip, "graded") for active in range(1, 400, 7)]
    assert all(
        (one.spiking.value < one.ann.value) == (spikes < one.break_even)
        for one, spikes in zip(matched, (active / 400 for active in range(1, 400, 7)), strict=True)
        if one.break_even is not None
    )


def test_no_activity_breaks_even_where_ticks_alone_cost_more() -> None:
    one = same_chip(BUSY, "truenorth", "unary")
    assert one.break_even == 0
    (row,) = judge(BUSY, by_name("truenorth"), "unary").rows()
    assert row["factor"] == one.times
    assert row["break-even, spikes per synapse"].startswith("none")


def test_silence_has_no_break_even() -> None:
    assert same_chip(run([0] * 40), "loihi1", "graded").break_even is None


def test_a_placement_is_judged_on_both_sides() -> None:
    chip = by_name("loihi1")
    placement = place(BUSY.network, "loihi1")
    verdict = judge(BUSY, chip, "bitwise", placement)
    one = verdict.against[0]
    assert one.spiking == price(BUSY, chip, "bitwise", placement)[GENERATE].total
    assert one.ann.value < one.spiking.value
    assert one.break_even is not None
    assert 0 < one.break_even < 4


def test_a_gpu_is_another_device_with_another_model() -> None:
    verdict = judge(SPARSE, by_name("loihi1"), "graded", gpu=by_name("h100"))
    assert [one.basis for one in verdict.against] == [CONSTANTS, DEVICE, DEVICE]
    assert [one.outcome for one in verdict.against[1:]] == [UNPROVEN, UNPROVEN]  # a lower bound proves no win
    assert all("another model" in one.note for one in verdict.against[1:])
    one = verdict.against[1]
    assert (one.low, one.high) == pytest.approx((one.spiking.low / one.ann.high, one.spiking.high / one.ann.low))
    spiking = replace(one.spiking, value=9, low=8, high=10)
    dear = replace(one, spiking=spiking, low=8 / one.ann.high, high=10 / one.ann.low)
    assert dear.outcome == LOSES
    with pytest.raises(PriceError, match="in its range"):
        replace(one, spiking=spiking)
    with pytest.raises(UnsupportedError, match="conventional"):
        judge(SPARSE, by_name("loihi1"), gpu=by_name("loihi2"))


def test_thresholds_beside_the_runs_own() -> None:
    davidson, dampfhoffer, yan = judge(BUSY, by_name("loihi1"), "bitwise").thresholds
    assert davidson.own == dampfhoffer.own == pytest.approx(4.0)
    assert (davidson.low, davidson.high, dampfhoffer.low, dampfhoffer.high) == (1.72, 1.72, 0.15, 1.38)
    assert davidson.outcome.startswith("above")
    assert (yan.figure, yan.low) == (SPIKE_RATE, 0.057)
    within = judge(run([1] * 20 + [0] * 20), by_name("loihi1"), "unary").thresholds
    assert [one.outcome.split(":")[0] for one in within] == ["below", "within", "does not apply"]
    sparse = judge(SPARSE, by_name("loihi1"), "unary").thresholds
    assert [one.outcome.split(":")[0] for one in sparse[:2]] == ["below", "below"]


def test_a_rate_is_events_per_neuron_and_tick() -> None:
    yan = judge(BUSY, by_name("loihi1"), "ttfs").thresholds[2]
    slots = 90 * (255 + 1) / 2  # 90 neurons, the mean ticks of two stages
    assert yan.own == pytest.approx((40 + 50) / slots)
    assert yan.applies


def test_prefill_is_judged_where_nothing_was_generated() -> None:
    assert judge(run([1] * 40, PREFILL), by_name("loihi1")).phase == PREFILL
    with pytest.raises(UnsupportedError, match="without tokens"):
        judge(Ledger(BUSY.network), by_name("loihi1"))


@pytest.mark.parametrize("name", sorted(chips()))
@pytest.mark.parametrize("code", CODES)
def test_rows_and_json(name: str, code: str) -> None:
    verdict = judge(SPARSE, by_name(name), code, gpu=by_name("jetson-orin-nano"))
    plain = verdict.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert len({tuple(row) for row in verdict.rows()}) <= 1
    assert len({tuple(row) for row in verdict.threshold_rows()}) == 1
    assert len(verdict.threshold_rows()) == 3
    if not verdict.breakdown.phases:
        assert verdict.rows() == []


def test_against_refuses_other_units() -> None:
    one = same_chip(SPARSE, "loihi1", "graded")
    watts = by_name("loihi1").quantities["static power"]
    with pytest.raises(PriceError):
        replace(one, ann=watts)
    with pytest.raises(PriceError):
        replace(one, basis="hearsay")
