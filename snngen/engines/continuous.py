"""ContinuousEngine: events with time stamps in, events with time stamps out; nothing is computed in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.dynamics.counts import Counts
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import Firing, Form
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.spikes import Spikes
from snngen.dynamics.synapses import CONVOLUTION, DENSE, SPARSE
from snngen.errors import CapacityError, PromptError
from snngen.integers import FloatArray, IntArray
from snngen.kernels import continuous as kernel
from snngen.kernels.crossing import TABLE

LATEST_US = (2**63 - 1) // 1000 - 10**10  # microseconds that are still nanoseconds in 63 bits, the longest delay added
SETTLING_US = 1_000_000  # how long `run` waits for a network to fall silent
ROWS = 2**16  # spikes that the kernel records before it hands them over
IN_FLIGHT = 2**22  # delayed events on their way at once


@dataclass(frozen=True, eq=False)
class Events:
    """Events from outside, ordered by time: ticks (m,) int64, populations, neurons (m,) int32, weights (m,) float64."""

    ticks: IntArray
    populations: IntArray
    neurons: IntArray
    weights: FloatArray

    def part(self, part: slice) -> Events:
        """Some of them."""
        return Events(self.ticks[part], self.populations[part], self.neurons[part], self.weights[part])


class ContinuousEngine:
    """A network of continuous time, run event by event.

    Events wait in queues by time stamp; membranes decay exactly when they are reached, so that silence costs nothing.
    What an event means, when a neuron fires and the order of simultaneous events: `snngen/dynamics/__init__.py`.
    Time is counted in microseconds, or in nanoseconds where a neuron can fire between events.

        engine = ContinuousEngine(network)
        engine.push(times_us, neurons)
        spikes = engine.advance(until_us)     # everything before until_us; state stays

    network: what to run. record: names of the populations whose spikes are returned; the network's outputs if not
    given. start_us: the time of the initial state. in_flight: most delayed events on their way at once.
    raises: PromptError for unknown names.
    """

    def __init__(
        self,
        network: DynamicNetwork,
        record: Sequence[str] | None = None,
        start_us: int = 0,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self.network, self.in_flight = network, in_flight
        self.names = tuple(population.name for population in network.populations)
        self.recorded = tuple(network.outputs if record is None else record)
        for name in self.recorded:
            if name not in network.order:
                raise PromptError("ContinuousEngine.record", repr(name), "one of " + ", ".join(self.names))
        layout = Layout(network, self.recorded)
        self.tick_ns, self._tables, self._rest, self._steady = (
            layout.tick_ns,
            layout.tables(),
            layout.rest,
            layout.steady,
        )
        self._start, self._order = layout.start, layout.order
        self.reset(start_us)

    def reset(self, start_us: int = 0) -> None:
        """Back to the initial state, at a time in microseconds: nothing on its way, counts at 0.

        raises: PromptError for a time below 0 or beyond the clock.
        """
        if not 0 <= start_us <= LATEST_US:
            raise PromptError("reset", f"start_us={start_us}", f"0..{LATEST_US} microseconds")
        tables = self._tables
        self.start_us = self.time_us = int(start_us)
        self._pending: list[Events] = []
        tables.neurons[kernel.U], tables.neurons[kernel.CURRENT] = self._start
        tables.last[:] = ~0
        tables.populations[:, kernel.TOUCHED : kernel.POPULATION_COLUMNS] = 0
        tables.projections[:, kernel.OPERATIONS] = 0
        for place in (kernel.INPUT, kernel.FLYING, kernel.CROSSING, kernel.ROWS, kernel.MOMENTS):
            tables.clock[place] = 0
        tables.clock[kernel.MOST_FLYING] = tables.clock[kernel.RUNAWAY] = 0
        tables.place[:] = -1
        kernel.foresee_all(0, tables)

    def push(
        self,
        times_us: npt.ArrayLike,
        neurons: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        population: str | None = None,
    ) -> None:
        """Events from outside, not before the engine's time, in any order.

        times_us: (m,) integers, microseconds. neurons: (m,) integers. weights: (m,) finite numbers, 1 if not given.
        population: the name of an input; the network's first if not given.
        raises: PromptError for events that are too early, or neurons that are not there; then none is taken.
        """
        name = population if population is not None else (self.network.inputs or ("",))[0]
        if name not in self.network.inputs:
            raise PromptError("push", f"population {name!r}", f"one of the inputs {self.network.inputs}")
        times, numbers = np.asarray(times_us), np.asarray(neurons)
        if times.size == 0 and numbers.size == 0:
            return
        given = np.ones(times.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        if times.ndim != 1 or not times.shape == numbers.shape == given.shape:
            shapes = f"shapes {times.shape}, {numbers.shape}, {given.shape}"
            raise PromptError("push", shapes, "times, neurons and weights of one axis, as many of each")
        if times.dtype.kind not in "iu" or numbers.dtype.kind not in "iu":
            raise PromptError("push", f"{times.dtype} times, {numbers.dtype} neurons", "integers")
        size = self.network[name].size
        early, late = int(times.min()), int(times.max())
        if early < self.time_us or late > LATEST_US:
            got = f"events at {early}..{late} us"
            raise PromptError("push", got, f"from {self.time_us} us, the engine's time, to {LATEST_US}")
        if not 0 <= int(numbers.min()) <= int(numbers.max()) < size:
            raise PromptError("push", f"neurons {numbers.min()}..{numbers.max()}", f"0..{size - 1} of {name!r}")
        if weights is not None and not np.isfinite(given).all():
            raise PromptError("push.weights", "infinite or undefined values", "finite numbers")
        ticks = (times.astype(np.int64) - self.start_us) * (1000 // self.tick_ns)
        column = np.full(times.size, self.network.order[name], dtype=np.int32)
        events = Events(ticks, column, numbers.astype(np.int32), np.array(given))
        self._pending.append(events)

    @property
    def pending(self) -> int:
        """Events from outside that wait for their time."""
        return sum(events.ticks.size for events in self._pending)

    def advance(self, until_us: int) -> Spikes:
        """Let everything happen that comes before a time; an event at that time still waits.

        until_us: microseconds, not before the engine's time.
        returns: what the recorded populations fired since the last call.
        raises: PromptError for a time that has passed; CapacityError where more delayed events are on their way than
            `in_flight`, or a neuron does not stop firing at one moment: only `reset` goes on from there.
        """
        if not self.time_us <= until_us <= LATEST_US:
            raise PromptError("advance", f"{until_us} us", f"from {self.time_us} us, the engine's time, to {LATEST_US}")
        until = (int(until_us) - self.start_us) * (1000 // self.tick_ns)
        events = self._due(until)
        clock = self._tables.clock
        clock[kernel.INPUT] = 0
        if not events.ticks.size and not clock[kernel.FLYING] and not clock[kernel.CROSSING]:
            self.time_us = int(until_us)  # nothing can happen
            return Spikes.joined([], self.names)
        parts = []
        while True:
            status = kernel.advance(
                until, events.ticks, events.populations, events.neurons, events.weights, self._tables
            )
            parts.append(self._taken())
            if status == kernel.DONE:
                break
            if status == kernel.QUEUE_FULL:
                self._grow(int(self._tables.clock[kernel.NEEDED]))
            elif status == kernel.RAN_AWAY:
                raise self._runaway()
        self.time_us = int(until_us)
        return parts[0] if len(parts) == 1 else Spikes.joined(parts, self.names)

    def run(
        self,
        times_us: npt.ArrayLike,
        neurons: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        population: str | None = None,
        until_us: int | None = None,
    ) -> Spikes:
        """`push` and `advance` at once, from the state that there is.

        until_us: as for `advance`; if not given, until nothing more happens, at most one second after the last event.
        """
        self.push(times_us, neurons, weights, population)
        if until_us is not None:
            return self.advance(until_us)
        waiting = [int(events.ticks.max()) for events in self._pending]
        last = max([*waiting, (self.time_us - self.start_us) * (1000 // self.tick_ns)])
        end = self.start_us + last * self.tick_ns // 1000 + 1
        parts = [self.advance(min(end, LATEST_US))]
        limit = min(end + SETTLING_US, LATEST_US)
        while (following := self.next_us) is not None and following < limit:
            parts.append(self.advance(following + 1))
        return Spikes.joined(parts, self.names)

    @property
    def next_us(self) -> int | None:
        """The microsecond in which the next thing happens that is known of; None where nothing is."""
        tables = self._tables
        ticks = [int(events.ticks.min()) for events in self._pending]
        if tables.clock[kernel.FLYING]:
            ticks.append(int(tables.queue_ticks[0]))
        if tables.clock[kernel.CROSSING]:
            ticks.append(int(tables.due[tables.crossings[0]]))
        return self.start_us + min(ticks) * self.tick_ns // 1000 if ticks else None

    def potential(self, name: str, at_us: int | None = None) -> FloatArray:
        """(n,) float64 potentials of a population, exact, before the events of that time; nothing is changed.

        at_us: microseconds; the engine's time if not given. raises: PromptError where something happens before.
        """
        return self._state(name, at_us)[0]

    def current(self, name: str, at_us: int | None = None) -> FloatArray:
        """(n,) float64 synaptic currents of a population, as `potential`."""
        return self._state(name, at_us)[1]

    def _state(self, name: str, at_us: int | None) -> tuple[FloatArray, FloatArray]:
        population = self.network[name]
        at = self.time_us if at_us is None else int(at_us)
        if isinstance(population.neuron, Input):
            raise PromptError("potential", f"the input {name!r}", "a population with potentials")
        following = self.next_us
        if at < self.time_us or (following is not None and following < at):
            where = self.time_us if at < self.time_us else following
            raise PromptError(
                "potential", f"{at} us", f"a time that nothing separates from {self.time_us} us ({where} us does)",
                f"engine.advance({at}) first",
            )  # fmt: skip
        first = int(self._tables.populations[self.network.order[name], kernel.FIRST])
        part = slice(first, first + population.size)
        last = self._tables.last[part]
        now = (at - self.start_us) * (1000 // self.tick_ns)
        seconds = (now - np.where(last < 0, ~last, last)) * (self.tick_ns * 1e-9)
        v = self._tables.neurons[kernel.U, part] + self._rest[part]
        i = self._tables.neurons[kernel.CURRENT, part] + self._steady[part]
        return population.neuron.evolve(v, i, seconds)

    @property
    def in_flight_now(self) -> int:
        """Delayed events on their way."""
        return int(self._tables.clock[kernel.FLYING])

    @property
    def counts(self) -> Counts:
        """What was done since the last reset."""
        tables, names = self._tables, self.names
        operations = dict(zip(self._order, tables.projections[:, kernel.OPERATIONS].tolist(), strict=True))
        return Counts(
            events=dict(zip(names, tables.populations[:, kernel.EVENTS].tolist(), strict=True)),
            operations=tuple(operations[index] for index in range(len(operations))),
            updates=dict(zip(names, tables.populations[:, kernel.UPDATES].tolist(), strict=True)),
            moments=int(tables.clock[kernel.MOMENTS]),
            most_in_flight=int(tables.clock[kernel.MOST_FLYING]),
        )

    def _due(self, until: int) -> Events:
        """Take out the pending events before a tick, in order."""
        if not self._pending:
            none = np.zeros(0, dtype=np.int32)
            return Events(np.zeros(0, dtype=np.int64), none, none, np.zeros(0))
        events = self._pending[0]
        if len(self._pending) > 1:
            columns = ("ticks", "populations", "neurons", "weights")
            events = Events(*(np.concatenate([getattr(part, name) for part in self._pending]) for name in columns))
        if (events.ticks[1:] < events.ticks[:-1]).any():
            order = np.argsort(events.ticks, kind="stable")
            events = Events(
                events.ticks[order], events.populations[order], events.neurons[order], events.weights[order]
            )
        split = int(np.searchsorted(events.ticks, until))
        whole = split == events.ticks.size
        self._pending = [] if whole else [events.part(slice(split, None))]
        due = events if whole else events.part(slice(None, split))
        kernel.order_events(due.ticks, due.populations, due.neurons, due.weights)
        return due

    def _taken(self) -> Spikes:
        """Take out what the kernel has recorded."""
        tables = self._tables
        rows = int(tables.clock[kernel.ROWS])
        tables.clock[kernel.ROWS] = 0
        if rows == 0:
            return Spikes.joined([], self.names)
        times = tables.record_ticks[:rows] * self.tick_ns + self.start_us * 1000
        record, often = tables.record[:rows], tables.record[:rows, 2]
        if (often > 1).any():
            if int(often.sum(dtype=np.int64)) > 2**28:
                raise CapacityError("advance", f"{often.sum(dtype=np.int64)} spikes", "at most 2**28 at once")
            times, record = np.repeat(times, often), np.repeat(record, often, axis=0)
        return Spikes(times, record[:, 0].copy(), record[:, 1].copy(), self.names)

    def _grow(self, needed: int) -> None:
        tables = self._tables
        held = tables.queue_ticks.size
        limit = max(self.in_flight, int(tables.clock[kernel.WORST]))
        if needed > limit:
            raise CapacityError(
                "advance", f"room for {needed} delayed events on their way", f"at most {limit}",
                "shorter delays, or ContinuousEngine(in_flight=...)",
            )  # fmt: skip
        more = min(max(2 * held, needed), limit) - held
        self._tables = tables._replace(
            queue_ticks=np.concatenate([tables.queue_ticks, np.zeros(more, dtype=np.int64)]),
            queue_codes=np.concatenate([tables.queue_codes, np.zeros(more, dtype=np.int64)]),
            queue_worths=np.concatenate([tables.queue_worths, np.zeros(more)]),
        )

    def _runaway(self) -> CapacityError:
        k = int(self._tables.clock[kernel.RUNAWAY]) - 1
        firsts = self._tables.populations[:, kernel.FIRST]
        index = int(np.searchsorted(firsts, k, side="right")) - 1
        where = f"{self.names[index]}[{k - int(firsts[index])}]"
        return CapacityError(
            where, f"{kernel.MOST_AT_ONCE} spikes at one moment", "fewer", "a larger threshold or smaller weights"
        )


class Layout:
    """A network as the arrays of `kernels/continuous.py:Tables`."""

    def __init__(self, network: DynamicNetwork, recorded: tuple[str, ...]) -> None:
        self.network = network
        firsts = np.cumsum([0, *(population.size for population in network.populations)])
        self.firsts, size = firsts, network.size
        self.populations = np.zeros((len(network.populations), kernel.POPULATION_COLUMNS), dtype=np.int64)
        self.neurons = np.zeros((kernel.NEURON_COLUMNS, size))
        self.rest, self.steady = np.zeros(size), np.zeros(size)
        crosses = [self._crosses(population) for population in network.populations]
        self.tick_ns = 1 if any(crosses) else 1000
        self.taus: list[float] = []
        for index, population in enumerate(network.populations):
            row = self.populations[index]
            row[[kernel.FIRST, kernel.SIZE, kernel.CROSSES]] = firsts[index], population.size, crosses[index]
            row[kernel.RECORDED] = population.name in recorded
            self._lay_neurons(row, population)
            row[kernel.WHOLE] = self._whole(row, population.name)
        self.start = self.neurons[kernel.U].copy(), self.neurons[kernel.CURRENT].copy()
        # by source, in the network's order
        self.order = sorted(
            range(len(network.projections)), key=lambda index: network.order[network.projections[index].source]
        )

    def _crosses(self, population: DynamicPopulation) -> bool:
        """True where a neuron can come above its threshold without an event."""
        neuron, form = population.neuron, population.neuron.form
        if form is None or not neuron.fires:
            return False
        threshold = _firing(population).v_threshold
        above = bool((neuron.start[0] > threshold).any())
        return (
            above
            or neuron.current_based
            or bool((form.drift > 0).any() or (form.rest > threshold).any() * _leaks(form))
        )

    def _whole(self, row: IntArray, name: str) -> bool:
        """True where all neurons of a population are always reached together, and decay by one time constant."""
        kinds = {projection.synapse.opcode for projection in self.network.projections if projection.target == name}
        alike = row[kernel.LEAKS] and not row[kernel.SYNAPTIC] and row[kernel.MEM] >= 0 and not row[kernel.CROSSES]
        return kinds == {DENSE} and bool(alike)

    def _lay_neurons(self, row: IntArray, population: DynamicPopulation) -> None:
        form, neuron = population.neuron.form, population.neuron
        part = slice(int(row[kernel.FIRST]), int(row[kernel.FIRST] + row[kernel.SIZE]))
        row[[kernel.MEM, kernel.SYN]] = -1
        if form is None:
            row[kernel.OUTSIDE] = 1
            return
        per_second = 1e9 / self.tick_ns
        columns = self.neurons[:, part]
        row[[kernel.LEAKS, kernel.SYNAPTIC, kernel.FIRES]] = _leaks(form), neuron.current_based, neuron.fires
        self.rest[part], self.steady[part] = form.rest, -form.current
        columns[kernel.GAIN], columns[kernel.RESISTANCE] = neuron.jump, form.r
        columns[kernel.DRIFT] = form.drift / per_second
        columns[kernel.U], columns[kernel.CURRENT] = neuron.start[0] - form.rest, form.current
        columns[kernel.THRESHOLD] = np.inf
        for tau, column, table in (
            (form.tau_mem, kernel.TAU_MEM, kernel.MEM), (form.tau_syn, kernel.TAU_SYN, kernel.SYN),
        ):  # fmt: skip
            if tau is not None:
                columns[column] = tau * per_second
                row[table] = self._table(columns[column])
        if neuron.fires:
            firing = _firing(population)
            columns[kernel.THRESHOLD] = firing.v_threshold - form.rest
            columns[kernel.RESET] = firing.v_reset - form.rest
            columns[kernel.SUBTRACTED] = firing.v_threshold
            row[kernel.SUBTRACTS] = firing.reset == "subtract"

    def _table(self, taus: FloatArray) -> int:
        """The row of decay tables of a population's shared time constant, -1 where it has several."""
        tau = float(taus[0])
        if (taus != tau).any():
            return -1
        if tau not in self.taus:
            self.taus.append(tau)
        return self.taus.index(tau)

    def tables(self) -> kernel.Tables:
        """All arrays, in the state in which `ContinuousEngine.reset` finds them."""
        size = self.network.size
        parts = self._synapses()
        decays = np.zeros((len(self.taus), 2, TABLE))
        for row, tau in enumerate(self.taus):
            decays[row] = np.exp(-np.arange(TABLE) / tau), np.exp(-np.arange(TABLE) * (TABLE / tau))
        clock = np.zeros(kernel.CLOCK, dtype=np.int64)
        clock[kernel.WORST], clock[kernel.FORKS] = self._worst, self._forks
        clock[kernel.OUTPUTS] = (self.populations[:, kernel.SIZE] * self.populations[:, kernel.RECORDED]).sum()
        rows = max(ROWS, 2 * int(clock[kernel.OUTPUTS]))
        room = max(1024, int(clock[kernel.WORST]))
        widest = max([1, *(int(p.synapse.fan_out.max(initial=0)) for p in self.network.projections)])
        floats = np.zeros

        def integers(count: int) -> IntArray:
            return np.zeros(count, dtype=np.int64)

        narrow = [np.zeros(n, dtype=np.int32) for n in (size, size, widest, 1)]
        return kernel.Tables(
            self.populations, parts[0], clock, self.neurons, integers(size), narrow[0], narrow[1], floats(size), decays,
            *parts[1:], narrow[2], floats(widest), narrow[3], floats(1), integers(room), integers(room), floats(room),
            integers(size), integers(size), integers(size), integers(rows), np.zeros((rows, 3), dtype=np.int32),
        )  # fmt: skip

    def _synapses(self) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray, FloatArray]:
        """projections, integers, pointers, delays, targets, weights."""
        network = self.network
        table = np.zeros((len(self.order), kernel.PROJECTION_COLUMNS), dtype=np.int64)
        dense = [p.synapse.target_size for p in network.projections if p.synapse.opcode == DENSE]
        integers: list[npt.NDArray[Any]] = []
        pointers: list[npt.NDArray[Any]] = []
        delays: list[npt.NDArray[Any]] = []
        targets: list[npt.NDArray[Any]] = [np.arange(max([0, *dense]), dtype=np.int32)]  # what every dense row reaches
        weights: list[npt.NDArray[Any]] = []
        self._worst = self._forks = 0
        for at, index in enumerate(self.order):
            row = table[at]
            projection = network.projections[index]
            source, target = network.order[projection.source], network.order[projection.target]
            numbers, rows, columns, _ = projection.synapse.constants()
            row[[kernel.SOURCE, kernel.TARGET, kernel.KIND]] = source, target, projection.synapse.opcode
            row[kernel.NUMBER] = index
            row[[kernel.DELAYED, kernel.DELAY_COUNT]] = projection.delays_us.max() > 0, projection.delays_us.size
            laid: list[tuple[int, list[npt.NDArray[Any]], npt.NDArray[Any]]] = [
                (kernel.INTEGERS, integers, np.array(numbers, dtype=np.int64)), (kernel.POINTERS, pointers, rows),
                (kernel.DELAYS, delays, projection.delays_us * (1000 // self.tick_ns)),
                (kernel.TARGETS, targets, columns), (kernel.WEIGHTS, weights, self._jumps(projection)),
            ]  # fmt: skip
            for column, parts, value in laid:
                row[column] = sum(part.size for part in parts)
                parts.append(value)
            if projection.synapse.opcode == DENSE:
                row[kernel.TARGETS] = 0
            sends = self.populations[source]
            if sends[kernel.SENT] == 0:
                sends[kernel.SENDS] = at
            sends[kernel.SENT] += 1
            if row[kernel.DELAYED] and sends[kernel.OUTSIDE]:
                self._forks += 1
            elif row[kernel.DELAYED]:
                self._worst += projection.synapse.source_size
        joined = [np.concatenate([np.zeros(0, dtype=np.int64), *parts]) for parts in (integers, pointers, delays)]
        floats = np.concatenate([np.zeros(0), *weights])
        return table, joined[0], joined[1], joined[2], np.concatenate(targets), floats

    def _jumps(self, projection: DynamicProjection) -> FloatArray:
        """Flat weights, times what each raises in its target; those of a convolution as they are."""
        _, _, targets, weights = projection.synapse.constants()
        gain = self.network[projection.target].neuron.jump
        if projection.synapse.opcode == CONVOLUTION:
            return weights
        if projection.synapse.opcode == SPARSE:
            return np.asarray(weights * gain[targets])
        return np.asarray((weights.reshape(-1, gain.size) * gain).reshape(-1))


def _leaks(form: Form) -> bool:
    return form.tau_mem is not None


def _firing(population: DynamicPopulation) -> Firing:
    neuron: Firing = population.neuron  # type: ignore[assignment]
    return neuron
