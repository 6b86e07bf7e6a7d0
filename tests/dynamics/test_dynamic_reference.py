"""The two references agree: Euler's steps approach the exact solution, by half with half the step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dynamic_networks import FIRING, SILENT, random_events, random_neuron

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.reference import euler, exact
from snngen.dynamics.synapses.dense import Dense


def network(kind: str, seed: int, bias: bool) -> DynamicNetwork:
    rng = np.random.default_rng(seed)
    populations = DynamicPopulation("in", Input(4)), DynamicPopulation("out", random_neuron(rng, kind, 4, bias))
    return DynamicNetwork(populations, (DynamicProjection("in", "out", Dense(rng.uniform(0, 1, (4, 4)))),))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", SILENT)
def test_the_error_of_euler_halves_with_the_step(kind: str, bias: bool) -> None:
    made = network(kind, 1, bias)
    events = random_events(np.random.default_rng(2), made, 12, 9000, 100)
    wanted = exact(made, events, 10_000).potentials["out"]
    errors = [
        np.abs(euler(made, events, dt, 10_000).potentials["out"] - wanted).max() for dt in (1e-4, 5e-5, 2.5e-5, 1.25e-5)
    ]
    if kind == "integrator":  # its steps make no error at all
        np.testing.assert_allclose(errors, 0, atol=1e-11)
        return
    assert errors[0] > 1e-4
    for coarse, fine in itertools.pairwise(errors):
        assert 1.8 < coarse / fine < 2.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", FIRING)
def test_the_spikes_of_euler_are_the_exact_ones_but_for_a_step_each(kind: str, seed: int) -> None:
    made = network(kind, seed, bias=False)
    events = random_events(np.random.default_rng(seed), made, 25, 15_000, 100)
    wanted, found = exact(made, events, 20_000).spikes, euler(made, events, 2e-6, 20_000).spikes
    assert len(wanted) > 5
    for neuron in range(4):
        a, b = ([t for t, _, k in spikes if k == neuron] for spikes in (wanted, found))
        assert len(a) == len(b)
        late = np.abs(np.array(a) - np.array(b))
        assert (late <= 2000 * np.arange(1, len(a) + 1)).all()  # nanoseconds: each reset comes up to a step late
