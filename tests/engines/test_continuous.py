"""The continuous engine equals the event-by-event reference, whatever the network and the order of arrival."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from dynamic_networks import random_events, random_network
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.reference import euler, exact
from snngen.dynamics.spikes import Spikes
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse
from snngen.engines.continuous import ContinuousEngine
from snngen.errors import CapacityError, PromptError


def rows(spikes: Spikes) -> list[tuple[int, str, int]]:
    triples = zip(spikes.times_ns.tolist(), spikes.populations.tolist(), spikes.neurons.tolist(), strict=True)
    return [(t, spikes.names[p], k) for t, p, k in triples]


def columns(events) -> tuple[list[int], list[int], list[float]]:
    return [e[0] for e in events], [e[2] for e in events], [e[3] for e in events]


def one(neuron: DynamicNeuron, weight: float = 1.0, inputs: int = 1, delay_us=0) -> DynamicNetwork:
    """`inputs` neurons that all reach all of one population."""
    populations = DynamicPopulation("in", Input(inputs)), DynamicPopulation("out", neuron)
    synapse = Dense(np.full((inputs, neuron.size), weight))
    return DynamicNetwork(populations, (DynamicProjection("in", "out", synapse, delay_us),))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias=st.booleans(), equal=st.booleans())
def test_it_equals_the_reference(seed: int, bias: bool, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, bias=bias, equal=equal)
    events = random_events(rng, network, 20, 12_000)
    wanted = exact(network, events, 15_000)
    engine = ContinuousEngine(network)
    found = engine.run(*columns([events[k] for k in rng.permutation(len(events))]), until_us=15_000)
    assert [row[1:] for row in rows(found)] == [row[1:] for row in wanted.spikes]
    times = np.array([row[0] for row in wanted.spikes], dtype=np.int64)
    assert np.abs(found.times_ns - times).max(initial=0) <= 1  # nanoseconds: exp is rounded
    for name, potential in wanted.potentials.items():
        if name != "in":
            np.testing.assert_allclose(engine.potential(name), potential, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_neither_order_of_arrival_nor_portions_play_a_part(seed: int) -> None:
    """Bit for bit: the same events shuffled, pushed in portions, with the clock stopped anywhere in between."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, bias=bool(seed % 2))
    events = random_events(rng, network, 60, 5000, 50)
    whole, portions = ContinuousEngine(network), ContinuousEngine(network)
    wanted = whole.run(*columns(events), until_us=9000)
    shuffled = [events[k] for k in rng.permutation(len(events))]
    found = []
    for start in range(0, 9000, 450):
        part = [e for e in shuffled if start <= e[0] < start + 450]
        portions.push(*columns(part[::2]))
        portions.push(*columns(part[1::2]))
        found += rows(portions.advance(start + int(rng.integers(450))))
        found += rows(portions.advance(start + 450))
    assert found == rows(wanted)
    for name in network.outputs:
        np.testing.assert_array_equal(portions.potential(name), whole.potential(name))
    assert portions.counts == whole.counts


def test_simultaneous_events_are_summed_before_thresholds_and_fire_in_order() -> None:
    neuron = IntegrateAndFire(np.ones(3))
    engine = ContinuousEngine(one(neuron, inputs=3))
    assert rows(engine.run([7, 7, 7], [2, 0, 1], [2.0, -3.0, 1.0])) == []  # 2 alone would have fired
    assert engine.potential("out").tolist() == [0.0] * 3
    assert rows(engine.run([8, 8], [1, 0], [1.0, 0.5])) == [(8000, "out", k) for k in range(3)]


def test_many_events_of_one_moment_come_in_any_order() -> None:
    """Few are ordered by insertion, many by merging: sums of floats show any other order."""
    rng = np.random.default_rng(1)
    for count in (2, 32, 33, 500):
        numbers, weights = rng.integers(0, 3, count), rng.normal(size=count)
        ends = []
        for order in (np.arange(count), rng.permutation(count), rng.permutation(count)):
            engine = ContinuousEngine(one(LeakyIntegrator(np.full(1, 0.01)), 0.3, inputs=3))
            engine.run(np.full(count, 4), numbers[order], weights[order])
            ends.append(engine.potential("out")[0])
        assert ends[0] == ends[1] == ends[2]


def test_a_chain_without_delays_fires_in_one_moment_and_delays_are_kept() -> None:
    names = ("a", "b", "c")
    populations = [
        DynamicPopulation("in", Input(2)),
        *(DynamicPopulation(n, IntegrateAndFire(np.full(2, 0.5))) for n in names),
    ]
    ends = [("in", "a", 0), ("a", "b", 0), ("b", "c", np.array([3, 1])), ("c", "a", 5)]
    network = DynamicNetwork(
        tuple(populations), tuple(DynamicProjection(s, t, OneToOne(np.ones(2)), d) for s, t, d in ends), outputs=names
    )
    engine = ContinuousEngine(network)
    found = engine.run([10, 10], [1, 0], until_us=24)
    wanted = [(10, n, k) for n in "ab" for k in (0, 1)] + [(11, "c", 1), (13, "c", 0), (16, "a", 1), (16, "b", 1)]
    wanted += [(17, "c", 1), (18, "a", 0), (18, "b", 0), (21, "c", 0), (22, "a", 1), (22, "b", 1), (23, "c", 1)]
    assert rows(found) == [(t * 1000, n, k) for t, n, k in wanted]
    counts = engine.counts
    assert counts.events == {"in": 2, "a": 5, "b": 5, "c": 5}
    assert counts.operations == (2, 5, 5, 3)  # two of c's are on their way
    assert engine.in_flight_now == 2


def test_silence_costs_nothing() -> None:
    """As many moments, operations and updates for a recording of milliseconds as for one of hours."""
    rng = np.random.default_rng(0)
    network = random_network(rng)
    counts = []
    for stretch in (1, 1_000_000):
        engine = ContinuousEngine(one(LeakyIntegrator(np.full(3, 0.01)), inputs=4))
        engine.run(np.arange(100) * 37 * stretch, np.arange(100) % 4)
        counts.append(engine.counts)
        assert (engine.counts.moments, engine.counts.operations) == (100, (300,))
    assert counts[0] == counts[1]
    engine = ContinuousEngine(network)
    engine.advance(10**12)
    assert engine.counts.moments == 0


def test_memory_does_not_grow() -> None:
    network = random_network(np.random.default_rng(3))
    engine = ContinuousEngine(network)
    sizes, rng = [], np.random.default_rng(4)
    for start in range(0, 2_000_000, 20_000):
        engine.push(start + rng.integers(0, 20_000, 50), rng.integers(0, network["in"].size, 50))
        engine.advance(start + 20_000)
        sizes.append(sum(array.nbytes for array in engine._tables) + engine.pending)
    assert len(set(sizes)) == 1


def test_kernels_without_reference_counts_leave_those_of_python_alone() -> None:
    engine = ContinuousEngine(one(LeakyIntegrateAndFire(np.full(3, 0.01), np.ones(3)), 0.02))
    engine.run([0], [0], until_us=10)
    before = [sys.getrefcount(array) for array in engine._tables]
    for k in range(1, 50):
        engine.run([10 * k], [0], until_us=10 * k + 10)
    assert [sys.getrefcount(array) for array in engine._tables] == before


def test_potentials_can_be_read_at_any_time() -> None:
    engine = ContinuousEngine(one(LeakyIntegrator(np.array([0.01, 0.02])), 0.01))
    engine.run([1000], [0], until_us=1001)
    for at in (1001, 5000, 3_601_000_000):
        wanted = 0.01 / np.array([0.01, 0.02]) * np.exp(-(at - 1000) * 1e-6 / np.array([0.01, 0.02]))
        np.testing.assert_allclose(engine.potential("out", at), wanted, rtol=1e-12)
    assert engine.time_us == 1001
    engine.push([2000], [0])
    with pytest.raises(PromptError, match=r"engine\.advance\(2001\) first"):
        engine.potential("out", 2001)
    assert engine.potential("out", 2000).shape == (2,)
    with pytest.raises(PromptError, match="nothing separates"):
        engine.potential("out", 1000)
    with pytest.raises(PromptError, match="the input"):
        engine.potential("in")


def test_a_current_lifts_a_potential_over_the_threshold_after_the_event() -> None:
    """tau_mem = tau_syn = tau: v = a (t / tau) exp(-t / tau) is highest at tau, a / e."""
    tau, e = 0.01, float(np.e)
    for height, fires in ((1 + 1e-9, True), (1 - 1e-9, False)):
        neuron = CurrentLif(np.full(1, tau), np.full(1, tau), np.ones(1), w_in=np.full(1, tau * e * height))
        engine = ContinuousEngine(one(neuron))
        spikes = engine.run([0], [0], until_us=100_000)
        assert len(spikes) == fires
        assert engine.current("out")[0] == pytest.approx(e * height * np.exp(-10))
        if fires:
            assert 9_998_000 < spikes.times_ns[0] < 10_000_000


def test_a_neuron_above_its_threshold_at_rest_fires_by_itself() -> None:
    neuron = LeakyIntegrateAndFire(np.full(1, 0.01), np.ones(1), v_leak=np.full(1, 2.0))
    spikes = ContinuousEngine(one(neuron)).advance(50_000)
    period = 0.01 * np.log(2) * 1e9  # from 0 to half of 2
    wanted = np.concatenate([[0], np.cumsum(np.full(7, np.floor(period) + 1))])
    assert spikes.times_ns.tolist() == wanted.tolist()
    drifting = ContinuousEngine(one(IntegrateAndFire(np.ones(1), bias=np.full(1, 1000.0), reset="subtract")))
    assert len(drifting.advance(10_500)) == 10


def test_a_subtracted_threshold_fires_as_often_as_it_fits() -> None:
    engine = ContinuousEngine(one(IntegrateAndFire(np.ones(1), reset="subtract")))
    assert rows(engine.run([5, 6], [0, 0], [3.5, 0.5])) == [(5000, "out", 0)] * 3
    assert engine.potential("out").tolist() == [1.0]  # not above
    assert engine.counts.events["out"] == 3
    with pytest.raises(CapacityError, match=r"out\[0\].*100000 spikes at one moment"):
        engine.run([7], [0], [1e9])


def test_the_spikes_of_small_steps_come_to_the_same() -> None:
    rng = np.random.default_rng(5)
    weights = rng.uniform(0, 0.02, (4, 6))
    populations = (
        DynamicPopulation("in", Input(4)),
        DynamicPopulation("out", LeakyIntegrateAndFire(np.full(6, 0.01), 1.0)),
    )
    network = DynamicNetwork(populations, (DynamicProjection("in", "out", Dense(weights)),))
    events = random_events(rng, network, 40, 20_000, 100)
    found = ContinuousEngine(network).run(*columns(events))
    stepped = euler(network, events, 1e-6, 20_001).spikes
    assert len(found) > 20
    assert [row[1:] for row in rows(found)] == [row[1:] for row in stepped]
    np.testing.assert_allclose(found.times_ns, [row[0] for row in stepped], atol=1000)


def test_time_starts_where_it_is_told_to() -> None:
    """Cameras count microseconds since 1970."""
    start = 1_700_000_000_000_000
    network = random_network(np.random.default_rng(11), bias=True)
    events = random_events(np.random.default_rng(12), network, 30, 5000)
    times, neurons, weights = columns(events)
    wanted = ContinuousEngine(network).run(times, neurons, weights, until_us=8000)
    found = ContinuousEngine(network, start_us=start).run(
        np.array(times) + start, neurons, weights, until_us=start + 8000
    )
    assert len(wanted) > 0
    np.testing.assert_array_equal(found.times_ns - start * 1000, wanted.times_ns)
    np.testing.assert_array_equal(found.neurons, wanted.neurons)
    assert (found.times_us == found.times_ns // 1000).all()


def test_a_reset_is_a_new_engine() -> None:
    network = random_network(np.random.default_rng(13), bias=True)
    events = columns(random_events(np.random.default_rng(14), network, 30, 5000))
    engine = ContinuousEngine(network)
    first = rows(engine.run(*events))
    counts = engine.counts
    engine.reset()
    assert rows(engine.run(*events)) == first
    assert engine.counts == counts


def test_many_delayed_events_find_room_up_to_a_bound() -> None:
    network = one(IntegrateAndFire(np.ones(2)), inputs=2, delay_us=1_000_000)
    engine = ContinuousEngine(network)
    engine.push(np.arange(50_000), np.zeros(50_000, int))
    assert len(engine.advance(60_000)) == 0
    assert engine.in_flight_now == engine.counts.most_in_flight == 50_000
    assert len(engine.advance(2_000_000)) == 50_000  # two neurons, every second event
    tight = ContinuousEngine(network, in_flight=2000)
    tight.push(np.arange(50_000), np.zeros(50_000, int))
    with pytest.raises(CapacityError, match="at most 2000"):
        tight.advance(60_000)


def test_more_spikes_than_the_record_holds_come_all() -> None:
    engine = ContinuousEngine(one(IntegrateAndFire(np.full(100, 0.5)), inputs=1))
    spikes = engine.run(np.arange(2000), np.zeros(2000, int))
    assert len(spikes) == 200_000
    assert (np.diff(spikes.times_ns) >= 0).all()
    assert spikes.of("out").neurons.tolist() == list(range(100)) * 2000
    assert len(spikes.of("in")) == 0
    with pytest.raises(PromptError, match="one of in, out"):
        spikes.of("x")


def test_all_time_constants_and_long_silences_decay_alike() -> None:
    """Shared constants come from a table, for up to 2**20 ticks; others from exp."""
    shared, single = (LeakyIntegrator(np.full(2, 0.7)), LeakyIntegrator(np.array([0.7, 0.7000001])))
    sparse = Sparse.from_pairs([0, 0], [0, 1], [1.0, 1.0], 1, 2)
    for gap in (1, 1023, 1024, 2**20 - 1, 2**20, 2**20 + 1, 2**22):
        ends = []
        for neuron in (shared, single):
            populations = DynamicPopulation("in", Input(1)), DynamicPopulation("out", neuron)
            engine = ContinuousEngine(DynamicNetwork(populations, (DynamicProjection("in", "out", sparse),)))
            engine.run([5, 5 + gap], [0, 0])
            ends.append(engine.potential("out", 5 + gap + 1)[0])
        wanted = (1 + np.exp(-gap * 1e-6 / 0.7)) / 0.7 * np.exp(-1e-6 / 0.7)
        np.testing.assert_allclose(ends, wanted, rtol=1e-13)


def fully_connected(weights: np.ndarray, dense: bool) -> Dense | Sparse:
    """The same synapses, as a matrix or one by one."""
    ends = np.indices(weights.shape).reshape(2, -1)
    return Dense(weights) if dense else Sparse.from_pairs(*ends, weights.reshape(-1), *weights.shape)


@pytest.mark.parametrize("size", [1, 31, 32, 70])
@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("mixed", [False, True])
def test_dense_projections_do_to_the_bit_what_single_synapses_do(size: int, reset: str, mixed: bool) -> None:
    """Populations that are reached as a whole, and those of which another synapse reaches a part."""
    rng = np.random.default_rng(size)
    into, loop = rng.uniform(-0.3, 0.5, (9, size)), rng.uniform(-0.1, 0.1, (size, size))
    out = rng.normal(size=(size, 3))
    part = Sparse.from_pairs(rng.integers(0, 9, 20), rng.integers(0, size, 20), rng.uniform(0, 1, 20), 9, size)
    lif = LeakyIntegrateAndFire(
        np.full(size, 0.004), r=np.full(size, 0.004), v_leak=rng.uniform(-0.2, 0.2, size),
        v_threshold=rng.uniform(0.5, 1.5, size), v_reset=np.full(size, -0.2), reset=reset,
    )  # fmt: skip
    neurons = Input(9), lif, LeakyIntegrator(np.full(3, 0.01))
    populations = tuple(map(DynamicPopulation, ("in", "hidden", "out"), neurons))
    times = np.cumsum(np.where(rng.random(3000) < 0.3, 0, rng.integers(1, 400, 3000)))
    times[2000:] += 2**22
    numbers, weights = rng.integers(0, 9, 3000), rng.uniform(0.5, 2, 3000)
    found = []
    for dense in (True, False):
        projections = [
            DynamicProjection("in", "hidden", fully_connected(into, dense)),
            DynamicProjection("hidden", "hidden", fully_connected(loop, dense), 300),
            DynamicProjection("hidden", "out", fully_connected(out, dense)),
        ]
        projections += [DynamicProjection("in", "hidden", part)] * mixed
        engine = ContinuousEngine(DynamicNetwork(populations, tuple(projections), outputs=("hidden",)))
        spikes = engine.run(times, numbers, weights, until_us=int(times[-1]) + 1000)
        potentials = [engine.potential(name).tolist() for name in ("hidden", "out")]
        found.append((rows(spikes), engine.counts, potentials))
    assert len(found[0][0]) > 100
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (([1], [0]), "from 10 us, the engine's time"),
        (([10], [2]), r"0\.\.1 of 'in'"),
        (([10], [-1]), r"0\.\.1 of 'in'"),
        (([10, 11], [0]), "as many of each"),
        (([10.5], [0]), "integers"),
        (([10], [0], [np.nan]), "finite"),
        (([10], [0], None, "out"), "one of the inputs"),
        (([2**63 - 1], [0]), "the engine's time, to"),
    ],
)
def test_events_that_cannot_be_are_refused_and_none_is_taken(events, message: str) -> None:
    engine = ContinuousEngine(one(IntegrateAndFire(np.ones(1)), inputs=2))
    engine.advance(10)
    with pytest.raises(PromptError, match=message):
        engine.push(*events)
    assert engine.pending == 0


def test_times_that_have_passed_and_unknown_names_are_refused() -> None:
    network = one(IntegrateAndFire(np.ones(1)))
    engine = ContinuousEngine(network)
    engine.advance(10)
    with pytest.raises(PromptError, match="from 10 us"):
        engine.advance(9)
    with pytest.raises(PromptError, match="one of in, out"):
        ContinuousEngine(network, record=["x"])
    with pytest.raises(PromptError, match="microseconds"):
        engine.reset(-1)
