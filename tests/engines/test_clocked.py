"""The clocked engine: on a grid its exact rule is the continuous engine, its Euler rule the Euler reference."""

from __future__ import annotations

import numpy as np
import pytest
from dynamic_networks import random_events, random_network
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.dynamics import rules
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.reference import euler
from snngen.dynamics.spikes import Spikes
from snngen.dynamics.synapses.dense import Dense
from snngen.engines.clocked import ClockedEngine
from snngen.engines.continuous import ContinuousEngine
from snngen.errors import CapacityError, NetworkError, PromptError, UnsupportedError


def rows(spikes: Spikes) -> list[tuple[int, str, int]]:
    triples = zip(spikes.times_ns.tolist(), spikes.populations.tolist(), spikes.neurons.tolist(), strict=True)
    return [(t, spikes.names[p], k) for t, p, k in triples]


def on_a_grid(network: DynamicNetwork, step_us: int) -> DynamicNetwork:
    """The same with delays of whole steps."""
    rounded = []
    for p in network.projections:
        delays = -(-p.delays_us // step_us) * step_us
        delay = int(delays[0]) if delays.size == 1 else delays
        rounded.append(DynamicProjection(p.source, p.target, p.synapse, delay))
    return DynamicNetwork(network.populations, tuple(rounded), outputs=network.outputs)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_on_a_grid_the_exact_rule_spikes_as_the_continuous_engine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = on_a_grid(random_network(rng, ("integrate_and_fire", "leaky_integrate_and_fire")), 100)
    events = random_events(rng, network, 40, 20_000, 100)
    recording = [e[0] for e in events], [e[2] for e in events], [e[3] for e in events]
    continuous, clocked = ContinuousEngine(network), ClockedEngine(network, 1e-4, "exact")
    assert rows(continuous.run(*recording, until_us=25_000)) == rows(clocked.run(*recording, until_us=25_000))
    assert continuous.counts.events["layer0"] == clocked.counts.events["layer0"]
    inner = [index for index, projection in enumerate(network.projections) if projection.source != "in"]
    for index in inner:  # a step takes events of one input neuron as one
        assert continuous.counts.operations[index] == clocked.counts.operations[index]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_euler_rule_is_the_euler_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = on_a_grid(random_network(rng, bias=bool(seed % 2)), 100)
    events = random_events(rng, network, 30, 10_000, 100)
    wanted = euler(network, events, 1e-4, 12_000)
    engine = ClockedEngine(network, 1e-4, "euler")
    found = engine.run([e[0] for e in events], [e[2] for e in events], [e[3] for e in events], until_us=12_000)
    assert rows(found) == wanted.spikes
    for name, potential in wanted.potentials.items():
        if name != "in":
            np.testing.assert_allclose(engine.potential(name), potential, atol=1e-9)


def small(weight: float = 1.0, reset: str = "value", delay_us: int = 0, kind=LeakyIntegrateAndFire) -> DynamicNetwork:
    neuron = (
        IntegrateAndFire(np.ones(1), reset=reset) if kind is IntegrateAndFire else kind(np.full(1, 0.01), np.ones(1))
    )
    populations = DynamicPopulation("in", Input(1)), DynamicPopulation("out", neuron)
    projection = DynamicProjection("in", "out", Dense(np.full((1, 1), weight)), delay_us)
    return DynamicNetwork(populations, (projection,))


def test_a_current_of_one_step_is_a_pulse_of_its_length() -> None:
    """NIR's clocked tests give the current w for a step: after it, v = w dt / tau."""
    step, pulse = ClockedEngine(small(0.5), 1e-3, current="step"), ClockedEngine(small(0.5e-3), 1e-3)
    for engine in (step, pulse):
        engine.step({"in": np.ones(1)})
        assert engine.potential("out") == pytest.approx(0.5 * 1e-3 / 0.01)
        engine.step()
        assert engine.potential("out") == pytest.approx(0.05 * 0.9)


def test_the_threshold_is_strict_and_counts_are_kept() -> None:
    engine = ClockedEngine(small(1.0, "subtract", 2000, IntegrateAndFire), 1e-3, "exact")
    assert rows(engine.run([0], [0])) == []
    assert rows(engine.run([2000, 2000], [0, 0], [0.5, 3.0], until_us=6000)) == [(4_000_000, "out", 0)] * 4
    engine.reset()
    spikes = engine.run([0], [0], [3.5], until_us=5000)
    assert rows(spikes) == [(2_000_000, "out", 0)] * 3  # 3.5, 2.5, 1.5 are above 1
    counts = engine.counts
    assert (counts.events, counts.operations, counts.updates, counts.moments) == (
        {"in": 1, "out": 3}, (1,), {"in": 0, "out": 5}, 5,
    )  # fmt: skip


def test_what_it_cannot_run_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="euler"):
        ClockedEngine(small(), 1e-3, "nonsense")
    with pytest.raises(NetworkError, match="whole steps"):
        ClockedEngine(small(delay_us=1500), 1e-3)
    with pytest.raises(PromptError, match="'pulse' or 'step'"):
        ClockedEngine(small(), 1e-3, current="nonsense")
    with pytest.raises(PromptError, match="as that library sums"):
        ClockedEngine(small(), 1e-3, "snntorch", current="step")
    with pytest.raises(PromptError, match="1 ns or more"):
        ClockedEngine(small(), 0.0)
    with pytest.raises(PromptError, match="one of in, out"):
        ClockedEngine(small(), 1e-3, record=("x",))
    engine = ClockedEngine(small(), 1e-3)
    for times, numbers, message in (([0], [1], "0..0"), ([0, 1], [0], "as many"), ([-1], [0], "step 0 or later")):
        with pytest.raises(PromptError, match=message):
            engine.run(times, numbers)
    with pytest.raises(PromptError, match="inputs"):
        engine.step({"out": np.ones(1)})
    with pytest.raises(PromptError, match="one of out"):
        engine.potential("in")
    with pytest.raises(CapacityError, match="spikes in one step"):
        ClockedEngine(small(1e9, "subtract", kind=IntegrateAndFire), 1e-3).run([0], [0])
    assert {"euler", "exact"} <= set(rules.kinds())
