"""What a network of continuous time computes, twice, slowly, in plain Python: by small steps, and event by event.

`euler` knows only the differential equations (`slope`), `exact` only their solutions (`evolve`). Neither shares code
with the kernels. Events are (time in microseconds, input, neuron, weight); what they mean: `snngen/dynamics`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation
from snngen.dynamics.neurons import DynamicNeuron, Firing
from snngen.dynamics.neurons.input import Input
from snngen.integers import FloatArray, IntArray

Event = tuple[int, str, int, float]
GRID = 400  # points at which a membrane is looked at for a crossing


@dataclass
class Outcome:
    """What a reference run did. spikes: (nanoseconds, population, neuron) in order. potentials: (n,) at the end."""

    spikes: list[tuple[int, str, int]] = field(default_factory=list)
    potentials: dict[str, FloatArray] = field(default_factory=dict)


class _State:
    """Potentials and currents of all populations, and what fires."""

    def __init__(self, network: DynamicNetwork) -> None:
        self.network = network
        self.v: dict[str, FloatArray] = {
            p.name: np.array(p.neuron.start[0], dtype=np.float64) for p in network.populations
        }
        self.i: dict[str, FloatArray] = {
            p.name: np.array(p.neuron.start[1], dtype=np.float64) for p in network.populations
        }

    def fire(self, population: DynamicPopulation) -> list[tuple[int, int]]:
        """(neuron, how often) of all that are above their thresholds, which are reset."""
        fired: list[tuple[int, int]] = []
        if not population.neuron.fires:
            return fired
        neuron, v = _firing(population.neuron), self.v[population.name]
        for k in np.flatnonzero(v > neuron.v_threshold).tolist():
            times = 0
            while v[k] > neuron.v_threshold[k]:
                v[k] = neuron.v_reset[k] if neuron.reset == "value" else v[k] - neuron.v_threshold[k]
                times += 1
            fired.append((k, times))
        return fired


def euler(network: DynamicNetwork, events: Iterable[Event], dt: float, until_us: int) -> Outcome:
    """Forward Euler steps: state += dt * slope, a pulse of weight w is the current w / dt for one step.

    dt: seconds per step; a delay is rounded to whole steps. Spikes carry the time at which their step begins.
    """
    state, outcome = _State(network), Outcome()
    arriving: dict[int, list[tuple[int, int, float]]] = {}  # step -> (projection, neuron, weight)
    outside: dict[int, list[Event]] = {}
    for event in events:
        outside.setdefault(int(np.floor(event[0] * 1e-6 / dt + 1e-6)), []).append(event)
    for step in range(round(until_us * 1e-6 / dt)):
        charge: dict[str, FloatArray] = {p.name: np.zeros(p.size) for p in network.populations}

        def deliver(projection: int, neuron: int, weight: float, charge: dict[str, FloatArray] = charge) -> None:
            targets, weights = network.projections[projection].synapse.row(neuron)
            np.add.at(charge[network.projections[projection].target], targets, weights * weight)

        for arrival in arriving.pop(step, []):
            deliver(*arrival)
        for population in network.populations:
            name, neuron = population.name, population.neuron
            if isinstance(neuron, Input):
                sent = [(k, weight) for _, source, k, weight in outside.get(step, []) if source == name]
            else:
                v_slope, i_slope = neuron.slope(state.v[name], state.i[name], charge[name] / dt)
                state.v[name] += dt * v_slope
                state.i[name] += dt * i_slope
                sent = [(k, float(times)) for k, times in state.fire(population)]
                outcome.spikes += [(round(step * dt * 1e9), name, k) for k, times in sent for _ in range(int(times))]
            for index, projection in enumerate(network.projections):
                for k, weight in sent if projection.source == name else ():
                    later = round(float(projection.delays_us[k % projection.delays_us.size]) * 1e-6 / dt)
                    if later == 0 and network.order[projection.target] > network.order[name]:
                        deliver(index, k, weight)
                    else:
                        arriving.setdefault(step + max(later, 1), []).append((index, k, weight))
    outcome.potentials = state.v
    return outcome


def exact(network: DynamicNetwork, events: Iterable[Event], until_us: int) -> Outcome:
    """Event by event, all membranes evolved exactly at every moment; times in whole nanoseconds.

    Crossings between events are searched on a grid, around the highest grid point too, then by bisection.
    """
    state, outcome, until = _State(network), Outcome(), until_us * 1000
    outside: dict[int, list[Event]] = {}
    for event in sorted(events, key=lambda e: (e[0], network.order[e[1]], e[2], e[3])):
        outside.setdefault(event[0] * 1000, []).append(event)
    moments = sorted(outside)
    flying: list[tuple[int, int, int, float]] = []  # (time, projection, neuron, weight)
    now, position, first = 0, 0, True
    while True:
        following = moments[position] if position < len(moments) else until
        following = min(following, flying[0][0] if flying else until, until)
        crossing = now if first and _above(state) else _first_crossing(state, now, following)
        before, now, first = now, min(following, crossing), False
        for population in network.populations:
            name = population.name
            state.v[name], state.i[name] = (
                np.array(x) for x in population.neuron.evolve(state.v[name], state.i[name], (now - before) * 1e-9)
            )
        if now >= until:
            break
        arrivals = []
        while flying and flying[0][0] == now:
            arrivals.append(heapq.heappop(flying)[1:])
        if position < len(moments) and moments[position] == now:
            position += 1
        _moment(state, outcome, now, arrivals, outside.get(now, []), flying)
    outcome.potentials = state.v
    return outcome


def _moment(
    state: _State,
    outcome: Outcome,
    now: int,
    arrivals: Sequence[tuple[int, int, float]],
    outside: Sequence[Event],
    flying: list[tuple[int, int, int, float]],
) -> None:
    network = state.network

    def deliver(index: int, neuron: int, weight: float) -> None:
        projection = network.projections[index]
        target = network[projection.target]
        targets, weights = projection.synapse.row(neuron)
        states = state.i if target.neuron.current_based else state.v
        for k, w in zip(targets.tolist(), weights.tolist(), strict=True):
            states[target.name][k] += w * target.neuron.jump[k] * weight

    for arrival in arrivals:
        deliver(*arrival)
    for population in network.populations:
        if isinstance(population.neuron, Input):
            sent = [(k, weight) for _, source, k, weight in outside if source == population.name]
        else:
            fired = state.fire(population)
            outcome.spikes += [(now, population.name, k) for k, times in fired for _ in range(times)]
            sent = [(k, float(times)) for k, times in fired]
        for index, projection in enumerate(network.projections):
            for k, weight in sent if projection.source == population.name else ():
                delay = int(projection.delays_us[k % projection.delays_us.size])
                if delay == 0:
                    deliver(index, k, weight)
                else:
                    heapq.heappush(flying, (now + delay * 1000, index, k, weight))


def _above(state: _State) -> bool:
    return any(
        bool((state.v[p.name] > _firing(p.neuron).v_threshold).any())
        for p in state.network.populations
        if p.neuron.fires
    )


def _first_crossing(state: _State, now: int, until: int) -> int:
    """The first nanosecond after `now` and before `until` at which some neuron is above its threshold, else `until`."""
    earliest = until
    for population in state.network.populations:
        if population.neuron.fires and earliest > now + 1:
            v, i = state.v[population.name], state.i[population.name]
            earliest = min(earliest, now + _first_above(population.neuron, v, i, earliest - now))
    return earliest


def _first_above(neuron: DynamicNeuron, v: FloatArray, i: FloatArray, until: int) -> int:
    """Nanoseconds until the first neuron of a population is above its threshold, `until` if none is before."""
    form = neuron.form
    taus = [] if form is None else [float(tau.max()) for tau in (form.tau_mem, form.tau_syn) if tau is not None]
    span = min(until, int(40e9 * max(taus))) if taus else until

    def height(ticks: IntArray) -> FloatArray:
        return neuron.evolve(v, i, ticks * 1e-9)[0] - _firing(neuron).v_threshold

    grid = np.unique(np.linspace(0, span, GRID).astype(np.int64))
    heights = height(grid[:, None])
    # each neuron's highest point, between the neighbours of the highest grid point
    top = heights.argmax(axis=0)
    low, high = grid[np.maximum(top - 1, 0)], grid[np.minimum(top + 1, grid.size - 1)]
    while (high - low > 2).any():
        third = np.maximum((high - low) // 3, 1)
        a, b = low + third, high - third
        rising, wide = height(a) < height(b), high - low > 2
        low, high = np.where(wide & rising, a, low), np.where(wide & ~rising, b, high)
    highest = max((low, low + 1, high), key=lambda ticks: float(height(ticks).max()))
    for ticks in (low, low + 1, high):
        highest = np.where(height(ticks) > height(highest), ticks, highest)
    # or the first grid point above, where there is one
    over = heights[1:] > 0
    high = np.where(over.any(axis=0), grid[np.minimum(over.argmax(axis=0) + 1, grid.size - 1)], highest)
    found = height(high) > 0
    low = grid[np.maximum(np.searchsorted(grid, high) - 1, 0)]
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = height(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    first = np.where(found & (high > 0), high, until)
    return int(min(first.min(), until))


def _firing(neuron: DynamicNeuron) -> Firing:
    firing: Firing = neuron  # type: ignore[assignment]
    return firing
