"""DynamicNetwork refuses what does not fit, and says what would."""

from __future__ import annotations

import numpy as np
import pytest

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.integrator import Integrator
from snngen.dynamics.synapses.dense import Dense
from snngen.errors import NetworkError

IN, A, B = (
    DynamicPopulation("in", Input(2)),
    DynamicPopulation("a", IntegrateAndFire(np.ones(3))),
    DynamicPopulation("b", Integrator(np.ones(2))),
)


def projection(source: str, target: str, sizes: tuple[int, int], delay_us=0) -> DynamicProjection:
    return DynamicProjection(source, target, Dense(np.ones(sizes)), delay_us)


def test_inputs_and_outputs_are_found() -> None:
    network = DynamicNetwork((IN, A, B), (projection("in", "a", (2, 3)), projection("a", "b", (3, 2))))
    assert network.inputs == ("in",)
    assert network.outputs == ("b",)
    assert network.size == 7
    assert network["a"] is A
    with pytest.raises(NetworkError, match="one of in, a, b"):
        network["c"]


def test_a_loop_needs_a_delay() -> None:
    loop = DynamicNetwork((IN, A), (projection("in", "a", (2, 3)), projection("a", "a", (3, 3), 1)))
    assert loop.projections[1].delays_us.tolist() == [1]
    for delay in (0, np.array([0, 1, 1])):
        with pytest.raises(NetworkError, match="delay_us=1 or more in every cycle"):
            DynamicNetwork((IN, A), (projection("a", "a", (3, 3), delay),))
    assert DynamicNetwork((A, IN), (projection("in", "a", (2, 3), np.array([3, 1])),)).outputs == ("in",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DynamicNetwork(()), "at least one"),
        (lambda: DynamicNetwork((IN, IN)), "more than once"),
        (lambda: DynamicNetwork((IN, A), inputs=("a",)), "populations of Input"),
        (lambda: DynamicNetwork((IN, A), outputs=("x",)), "one of in, a"),
        (lambda: DynamicNetwork((IN, A), (projection("in", "x", (2, 3)),)), "one of in, a"),
        (lambda: DynamicNetwork((IN, A), (projection("in", "a", (3, 2)),)), "3 and 2, as its synapses"),
        (lambda: DynamicNetwork((A, IN), (projection("a", "in", (3, 2)),)), "takes events"),
        (lambda: DynamicNetwork((B, A), (projection("b", "a", (2, 3)),)), "neurons that fire"),
        (lambda: projection("in", "a", (2, 3), -1), "0..1000000000 us"),
        (lambda: projection("in", "a", (2, 3), 1.5), "whole microseconds"),
        (lambda: projection("in", "a", (2, 3), np.array([1, 2, 3])), "one per source neuron"),
        (lambda: DynamicPopulation("a/b", Input(1)), "without '/'"),
    ],
)
def test_what_does_not_fit_is_refused(make, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()
