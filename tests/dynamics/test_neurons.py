"""Laws of every neuron model of continuous time: its solution solves its equation."""

from __future__ import annotations

import numpy as np
import pytest
from dynamic_networks import FIRING, SILENT, random_neuron

from snngen.dynamics import neurons
from snngen.dynamics.neurons import two_exponentials
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.errors import NetworkError, UnsupportedError

KINDS = FIRING + SILENT
STATES = [(kind, seed) for kind in KINDS for seed in range(6)]


def states(kind: str, seed: int):
    rng = np.random.default_rng(seed)
    neuron = random_neuron(rng, kind, 5, bias=True, equal=seed % 2 == 0)
    i = rng.normal(size=5) if neuron.current_based else np.zeros(5)
    return neuron, rng.normal(size=5), i


def test_every_file_is_found() -> None:
    assert {*KINDS, "input"} <= set(neurons.kinds())
    for kind in KINDS:
        assert neurons.by_kind(kind).fires == (kind in FIRING)
        assert random_neuron(np.random.default_rng(0), kind, 3).kind == kind
    with pytest.raises(UnsupportedError, match="current_lif"):
        neurons.by_kind("nonsense")


@pytest.mark.parametrize(("kind", "seed"), STATES)
def test_the_solution_has_the_slope_of_the_equation(kind: str, seed: int) -> None:
    neuron, v, i = states(kind, seed)
    step = 1e-7
    before, after = neuron.evolve(v, i, 0.003 - step), neuron.evolve(v, i, 0.003 + step)
    slopes = neuron.slope(*neuron.evolve(v, i, 0.003), np.zeros(5))
    for a, b, slope in zip(before, after, slopes, strict=True):
        np.testing.assert_allclose((b - a) / (2 * step), slope, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("kind", "seed"), STATES)
def test_two_times_after_one_another_are_their_sum(kind: str, seed: int) -> None:
    neuron, v, i = states(kind, seed)
    np.testing.assert_allclose(
        neuron.evolve(*neuron.evolve(v, i, 0.001), 0.004), neuron.evolve(v, i, 0.005), atol=1e-12
    )
    np.testing.assert_allclose(neuron.evolve(v, i, 0.0), (v, i), atol=1e-15)


@pytest.mark.parametrize(("kind", "seed"), STATES)
def test_a_jump_is_the_integral_of_a_short_pulse(kind: str, seed: int) -> None:
    """The current w / dt for a time dt moves the state by w * jump as dt -> 0: the one convention of this package."""
    neuron, v, i = states(kind, seed)
    weight, dt = 0.7, 1e-9
    v_slope, i_slope = neuron.slope(v, i, np.full(5, weight / dt))
    moved, other = (i_slope, v_slope) if neuron.current_based else (v_slope, i_slope)
    np.testing.assert_allclose(moved * dt, weight * neuron.jump, atol=1e-4)
    np.testing.assert_allclose(other * dt, 0, atol=1e-4)


def test_the_units_of_a_jump() -> None:
    assert IntegrateAndFire(np.ones(1), r=np.full(1, 3.0)).jump == 3.0
    assert LeakyIntegrateAndFire(np.full(1, 0.5), np.ones(1), r=np.full(1, 3.0)).jump == 6.0
    assert CurrentLif(np.ones(1), np.full(1, 0.5), np.ones(1), w_in=np.full(1, 3.0)).jump == 6.0


@pytest.mark.parametrize("kind", KINDS)
def test_single_values_are_for_all_neurons(kind: str) -> None:
    wanted = {"tau_mem": np.full(4, 0.01), "tau_syn": 0.02, "v_threshold": np.array([1.5])}
    model = neurons.by_kind(kind)
    names = [name for name in wanted if name in model.__dataclass_fields__] or ["r"]
    neuron = model(**{name: wanted.get(name, 1.0) for name in names}, bias=np.zeros(4))
    assert neuron.size == 4
    for name in names:
        assert getattr(neuron, name).shape == (4,)
        with pytest.raises(ValueError, match="read-only"):
            getattr(neuron, name)[0] = 1


def test_the_current_based_solution_is_smooth_where_time_constants_meet() -> None:
    """A difference of exponentials loses digits there; the sum of the series is the witness."""
    mem, seconds = 0.01, np.array([1e-6, 1e-3, 0.05])
    exact = seconds / mem * np.exp(-seconds / mem)
    for relative in (0.0, 1e-15, 1e-12, 1e-9):
        found = two_exponentials(seconds, np.full(3, mem), np.full(3, mem * (1 + relative)))
        np.testing.assert_allclose(found, exact, rtol=1e-8 + 10 * relative)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyIntegrateAndFire(np.zeros(2), np.ones(2)), "tau_mem.*more than 0"),
        (lambda: LeakyIntegrateAndFire(np.ones(2), np.ones(3)), "one size"),
        (lambda: LeakyIntegrateAndFire(np.ones(0), np.ones(0)), "at least 1"),
        (lambda: IntegrateAndFire(np.array([np.nan])), "finite"),
        (lambda: IntegrateAndFire(np.ones((2, 2))), "1 axes"),
        (lambda: IntegrateAndFire(np.ones(1), reset="zero"), "'value' or 'subtract'"),
        (lambda: IntegrateAndFire(np.ones(1), v_reset=np.full(1, 2.0)), "at most v_threshold"),
        (lambda: IntegrateAndFire(np.zeros(1), reset="subtract"), "more than 0"),
        (lambda: CurrentLif(np.ones(1), -np.ones(1), np.ones(1)), "tau_syn.*more than 0"),
        (lambda: Input(0), "1 to"),
    ],
)
def test_what_is_no_neuron_is_refused(make, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()
