"""ClockedEngine: a network of continuous time in fixed steps, under one of the rules of `snngen/dynamics/rules`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snngen.dynamics import rules
from snngen.dynamics.counts import Counts
from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.rules import Floats
from snngen.dynamics.spikes import Spikes
from snngen.errors import NetworkError, PromptError
from snngen.integers import FloatArray, IntArray


class ClockedEngine:
    """Every population makes a step of dt, in the network's order; an event of one step reaches later populations in
    the same step, and those behind a delay so many steps later.

    network: what to run. dt: seconds per step. rule: the name of a rule.
    current: what an event of weight w is: "pulse", the current w / dt for one step, as in continuous time; "step", the
        current w for one step, as in NIR's clocked tests (a weight of w * dt).
    record: populations whose spikes are returned; the network's outputs if not given.
    raises: UnsupportedError for an unknown rule; PromptError for a bad `dt` or `current`; NetworkError for delays that
    are no whole steps.
    """

    def __init__(
        self,
        network: DynamicNetwork,
        dt: float,
        rule: str = "euler",
        current: str = "pulse",
        record: tuple[str, ...] | None = None,
    ) -> None:
        self.network, self.dt, self.rule = network, float(dt), rules.by_name(rule)
        if current not in ("pulse", "step"):
            raise PromptError("ClockedEngine.current", repr(current), "'pulse' or 'step'")
        if current == "step" and self.rule.dimensionless:
            raise PromptError(
                "ClockedEngine.current", f"'step' with the rule {rule!r}", "'pulse', as that library sums"
            )
        self.charge = 1.0 if current == "pulse" else self.dt
        if not 1e-9 <= self.dt < 1e9:
            raise PromptError("ClockedEngine.dt", f"{dt} s", "a step of 1 ns or more")
        self.recorded = tuple(network.outputs if record is None else record)
        for name in self.recorded:
            if name not in network.order:
                raise PromptError("ClockedEngine.record", repr(name), "one of " + ", ".join(network.order))
        self._lags = [self._lag(index) for index in range(len(network.projections))]
        self._fan_out = [projection.synapse.fan_out for projection in network.projections]
        self.reset()

    def _lag(self, index: int) -> IntArray:
        """(1,) or (sources,) int64: delays of a projection in steps."""
        projection = self.network.projections[index]
        steps = projection.delays_us * 1e-6 / self.dt
        whole: IntArray = np.rint(steps).astype(np.int64)
        if (np.abs(steps - whole) > 1e-6 * np.maximum(steps, 1)).any():
            got, mend = f"delays of {projection.delay_us} us in steps of {self.dt} s", "another dt, or whole steps"
            raise NetworkError(projection.name, got, "whole steps", mend)
        return whole

    def reset(self) -> None:
        """Back to the initial state, before step 0."""
        self.steps = 0
        self._rules = {
            population.name: self.rule(population.neuron, self.dt)
            for population in self.network.populations
            if not isinstance(population.neuron, Input)
        }
        self._waiting: dict[int, dict[str, Floats]] = {}  # step -> drive by population
        self._events = dict.fromkeys(self.network.order, 0)
        self._later: dict[int, list[tuple[int, int]]] = {}  # step -> projection, operations
        self._operations = [0] * len(self.network.projections)

    def step(self, inputs: dict[str, FloatArray] | None = None) -> dict[str, IntArray]:
        """One step. inputs: by input, (n,) sum of the weights of its events in this step.

        returns: by population, (n,) int64, how often each neuron fired.
        raises: PromptError for inputs that are not there.
        """
        given = inputs or {}
        for name, values in given.items():
            if name not in self.network.inputs or np.shape(values) != (self.network[name].size,):
                raise PromptError("step", f"{name!r}, shape {np.shape(values)}", f"inputs {self.network.inputs}")
        drives = self._waiting.pop(self.steps, {})
        for projection, operations in self._later.pop(self.steps, []):
            self._operations[projection] += operations
        fired: dict[str, IntArray] = {}
        for population in self.network.populations:
            name = population.name
            if name in self._rules:
                drive = drives.get(name, np.zeros(population.size, dtype=self.rule.dtype))
                fired[name] = self._rules[name].step(drive)
                sent = fired[name].astype(self.rule.dtype)
                self._events[name] += int(fired[name].sum())
            else:
                sent = np.asarray(given.get(name, np.zeros(population.size)), dtype=self.rule.dtype)
                self._events[name] += int(np.count_nonzero(sent))
            if sent.any():
                self._send(name, sent, drives)
        self.steps += 1
        return fired

    def _send(self, name: str, sent: Floats, drives: dict[str, Floats]) -> None:
        outside = name in self.network.inputs
        for index, projection in enumerate(self.network.projections):
            if projection.source != name:
                continue
            synapses = ((sent != 0) if outside else sent.astype(np.int64)) * self._fan_out[index]
            lags = self._lags[index]
            for lag in np.unique(lags[sent != 0] if lags.size > 1 else lags).tolist():
                part = np.where(lags == lag, sent, 0).astype(self.rule.dtype)
                self._count(self.steps + lag, index, int(synapses[np.broadcast_to(lags == lag, synapses.shape)].sum()))
                target = drives if lag == 0 else self._waiting.setdefault(self.steps + lag, {})
                drive = self._rules[projection.target].deliver(projection.synapse, part, lag == 0)
                drive = drive if self.charge == 1.0 else (drive * self.charge).astype(self.rule.dtype)
                target[projection.target] = target[projection.target] + drive if projection.target in target else drive

    def _count(self, step: int, projection: int, operations: int) -> None:
        """Count operations in the step in which they are done."""
        if step == self.steps:
            self._operations[projection] += operations
        else:
            self._later.setdefault(step, []).append((projection, operations))

    def run(
        self,
        times_us: npt.ArrayLike,
        neurons: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        population: str | None = None,
        until_us: int | None = None,
    ) -> Spikes:
        """Run a recording from the next step on. An event belongs to the step in whose time it falls.

        times_us, neurons: (m,) integers, none before the next step. weights: (m,) numbers, 1 if not given.
        population: the name of an input; the first if not given. until_us: the last step begins before it; if not
        given, one step after the last event.
        returns: spikes of the recorded populations, at the times at which their steps begin.
        raises: PromptError for events before the next step, or neurons that are not there.
        """
        name = population if population is not None else (self.network.inputs or ("",))[0]
        if name not in self.network.inputs:
            raise PromptError("run", f"population {name!r}", f"one of the inputs {self.network.inputs}")
        times, numbers = np.asarray(times_us, dtype=np.int64), np.asarray(neurons, dtype=np.int64)
        worth = np.ones(times.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        size = self.network[name].size
        if not times.shape == numbers.shape == worth.shape or times.ndim != 1:
            raise PromptError("run", f"shapes {times.shape}, {numbers.shape}, {worth.shape}", "as many of each")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < size:
            raise PromptError("run", f"neurons {numbers.min()}..{numbers.max()}", f"0..{size - 1} of {name!r}")
        steps = np.floor(times * 1e-6 / self.dt + 1e-6).astype(np.int64)
        if steps.size and steps.min() < self.steps:
            raise PromptError("run", f"an event at step {steps.min()}", f"step {self.steps} or later")
        order = np.argsort(steps, kind="stable")
        steps, numbers, worth = steps[order], numbers[order], worth[order]
        last = int(steps.max(initial=self.steps)) + 2
        end = last if until_us is None else int(np.ceil(until_us * 1e-6 / self.dt - 1e-6))
        return self._steps(end, name, steps, numbers, worth)

    def _steps(self, end: int, name: str, steps: IntArray, numbers: IntArray, worth: FloatArray) -> Spikes:
        names = tuple(self.network.order)
        parts = []
        while self.steps < end:
            part = slice(*np.searchsorted(steps, [self.steps, self.steps + 1]))
            inputs: FloatArray = np.bincount(
                numbers[part], weights=worth[part], minlength=self.network[name].size
            ).astype(np.float64)
            now = round(self.steps * self.dt * 1e9)
            for source, fires in self.step({name: inputs}).items():
                if source in self.recorded and fires.any():
                    k = np.repeat(np.arange(fires.size, dtype=np.int32), fires)
                    where = np.full(k.size, self.network.order[source], dtype=np.int32)
                    parts.append(Spikes(np.full(k.size, now, dtype=np.int64), where, k, names))
        return Spikes.joined(parts, names)

    def potential(self, name: str) -> Floats:
        """(n,) potentials of a population after the last step. raises: PromptError for a name that is none."""
        if name not in self._rules:
            raise PromptError("potential", f"population {name!r}", "one of " + ", ".join(self._rules))
        v: Floats = self._rules[name].v.copy()
        return v

    @property
    def counts(self) -> Counts:
        """What was done since the last reset; every neuron is updated in every step."""
        updates = {p.name: self.steps * p.size if p.name in self._rules else 0 for p in self.network.populations}
        return Counts(dict(self._events), tuple(self._operations), updates, self.steps, 0)
