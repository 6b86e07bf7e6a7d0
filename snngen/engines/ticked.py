"""The ticked engine: events are queued tick by tick and every neuron fires at most once per tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from snngen.codes import SpikeCode
from snngen.codes.graded import Graded
from snngen.engines.layout import Layout, check_codes, check_room, check_token
from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.integers import IntArray, lines
from snngen.kernels import settled as columns
from snngen.kernels import ticked as kernel
from snngen.network import Network, Population
from snngen.neurons.accumulator import Accumulator
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed
from snngen.synapses.sparse import Sparse

Schedule = Literal["eager", "layered"]

TICK_LIMIT = 2**24  # more than any token of a sound network takes
TRACE_ROWS = 2**16
NO_INPUTS = np.zeros((0, 4), dtype=np.int32)


class Recorder(Protocol):
    """What the engine tells of its events; `snngen.trace.TraceWriter` is one."""

    def record(self, events: IntArray) -> None:
        """(events, 4) int32 rows of tick, population number, neuron, payload of the token under way."""

    def token(self, number: int, ticks: int) -> None:
        """The token under way is done; -1 stands for codes from outside."""

    def reset(self) -> None:
        """All tokens are forgotten: the next one is the first."""


@dataclass(frozen=True)
class Readout:
    """What an early answer rests on.

    source: number of the population that drives the output. weights: (sources, outputs) int64, gains included.
    stage: its stage. upstream: numbers of the populations that settle before it, itself aside.
    before_memory: numbers of the populations that some memory depends on. channels: those between all of these.
    """

    source: int
    weights: IntArray
    stage: int
    upstream: IntArray
    before_memory: IntArray
    channels: IntArray


class TickedEngine:
    """Runs a network tick by tick, with real spikes, until it detects that all is quiet.

    network: what to run. The engine holds its own copy of the weights.
    code: how values are sent (see `snngen/codes`). Potentials are always sent graded.
    schedule: ``layered`` starts a stage when those before it are quiet; ``eager`` lets all populations run at once,
        with spikes that turn out wrong and their retractions.
    max_ticks: end a token after so many ticks, settled or not (lossy); None waits for quiet.
    delays: ticks that events of a projection (by its number) travel beyond the usual.
    shuffle: a positive seed brings the events of each tick into a random order. (It changes nothing: a test shows it.)
    recorder: is told every event and the end of every token.
    stop_when_safe: end a token's ticks once the leading output can no longer be overtaken and the memories are
        written; `safe_stops` counts how often that was before all was quiet.
    raises: UnsupportedError for a combination that cannot run.
    """

    def __init__(
        self,
        network: Network,
        code: SpikeCode | None = None,
        schedule: Schedule = "layered",
        max_ticks: int | None = None,
        delays: Mapping[int, int] | None = None,
        shuffle: int = 0,
        recorder: Recorder | None = None,
        stop_when_safe: bool = False,
    ) -> None:
        self.network, self.code, self.schedule = network, Graded() if code is None else code, schedule
        self.stop_when_safe, self.safe_stops = stop_when_safe, 0
        self.max_ticks, self._delays, self._recorder = max_ticks, dict(delays or {}), recorder
        self._check()
        self._layout = Layout(network)
        self.tables = self._tables(shuffle)
        self.position = self.ticks = self.runs = 0
        self._status = kernel.QUIET

    @property
    def spikes(self) -> str:
        """The code whose spikes are sent."""
        return self.code.name

    @property
    def exact(self) -> bool:
        """True where every code of every token comes out as the reference has it."""
        return self.code.exact and self.max_ticks is None and not self.stop_when_safe

    def _check(self) -> None:
        if self.schedule not in ("eager", "layered"):
            raise UnsupportedError("schedule", repr(self.schedule), "'eager' or 'layered'")
        if self.max_ticks is not None and self.max_ticks < 1:
            raise UnsupportedError("max_ticks", str(self.max_ticks), "1 or more")
        if self.max_ticks is not None and self._delays:
            raise UnsupportedError("max_ticks", "delays too", "one of them: events under way would be lost")
        if any(not 0 <= delay < 2**16 for delay in self._delays.values()):
            raise UnsupportedError("delays", str(self._delays), "0..65535 ticks")
        ordered = [population.name for population in self.network.populations if population.neuron.ordered]
        if ordered and (self.schedule == "layered" or self.code.mode != kernel.UNARY):
            raise UnsupportedError(
                "TickedEngine", f"populations {ordered} that count spikes in order", "code Unary(), schedule 'eager'"
            )

    def _tables(self, shuffle: int) -> kernel.Tables:
        layout, network = self._layout, self.network
        populations = self._population_rows()
        channels, ring, queued, sums = self._channel_rows()
        prompt = channels[channels[:, kernel.DELAY] == 0]
        numbers = np.arange(len(populations))
        populations[:, kernel.OUT] = np.searchsorted(prompt[:, kernel.SOURCE], numbers)
        populations[:, kernel.OUT_END] = np.searchsorted(prompt[:, kernel.SOURCE], numbers, side="right")
        stage = np.array(network.stages if self.schedule == "layered" else [0] * len(populations), dtype=np.int64)
        turns = np.argsort(stage, kind="stable")
        clock = np.zeros(kernel.CLOCK, dtype=np.int64)
        clock[kernel.LAYERED], clock[kernel.SHUFFLE] = self.schedule == "layered", shuffle
        clock[kernel.LATE] = len(prompt)
        rows = TRACE_ROWS + 2 * layout.neurons if self._recorder is not None else 0
        self._persistent_drives = np.zeros(layout.drives, dtype=bool)
        self._persistent_neurons = np.zeros(layout.neurons, dtype=bool)
        if self.code.persistent:
            for projection in network.projections:
                if network.kept(projection):
                    at, size = layout.drive[projection.target, projection.operand], projection.synapse.target_size
                    self._persistent_drives[at : at + size] = True
            for population in network.populations:
                if network.sent_when_changed(population.name):
                    first = layout.first[population.name]
                    self._persistent_neurons[first : first + population.size] = True
        return kernel.Tables(
            populations,
            channels,
            clock,
            turns,
            np.searchsorted(stage[turns], np.arange(stage.max() + 2)),
            np.zeros(len(channels) + 1, dtype=np.int64),
            np.zeros((5, layout.neurons), dtype=np.int32),
            np.zeros(layout.drives, dtype=np.int32),
            np.zeros(sums + 1, dtype=np.int32),
            np.zeros(layout.drives, dtype=np.int32),
            np.zeros((2, ring + 1), dtype=np.int32),
            np.zeros(queued + 1, dtype=np.int64),
            layout.weights,
            layout.memory,
            layout.constants,
            lines(1, layout.scratch(1))[0],
            NO_INPUTS,
            np.zeros((rows, 4), dtype=np.int32),
        )

    def _population_rows(self) -> IntArray:
        layout, network = self._layout, self.network
        rows = np.zeros((len(network.populations), kernel.POPULATION_COLUMNS), dtype=np.int64)
        for row, population, at in zip(rows, network.populations, layout.population_constants, strict=True):
            neuron = population.neuron
            low, high = self.sent_range(population)
            row[kernel.OPCODE], row[kernel.FIRST], row[kernel.SIZE] = (
                neuron.opcode,
                layout.first[population.name],
                neuron.size,
            )
            row[kernel.OPERANDS] = len(neuron.operands)  # their drives lie side by side
            row[kernel.DRIVE] = layout.drive[population.name, neuron.operands[0]] if neuron.operands else 0
            row[kernel.CONSTANTS], row[kernel.LOW], row[kernel.HIGH] = at, low, high
            row[kernel.FEEDS] = population.name in layout.feeding
            row[kernel.MODE], row[kernel.STEP], row[kernel.CYCLE] = kernel.GRADED, 1, 1
            if not neuron.wide:
                row[kernel.MODE], row[kernel.STEP] = self.code.mode, self.code.step(low, high)
                row[kernel.CYCLE] = self.code.ticks(low, high)
        return rows

    def sent_range(self, population: Population) -> tuple[int, int]:
        """Lowest and highest value that a population's events may add up to at once.

        Run eagerly, a code of 0..high is also corrected downwards.
        """
        low, high = population.neuron.range
        return (low, high) if self.schedule == "layered" else (min(low, -high), max(high, -low))

    def _channel_rows(self) -> tuple[IntArray, int, int, int]:
        """Channels, those without delay first and by source; lengths of the ring, its slots and the sums."""
        layout, network = self._layout, self.network
        rows, ring, queued, sums = [], 0, 0, 0
        for index, projection in enumerate(network.projections):
            synapse = projection.synapse
            for source, writes in ((projection.writer, 1), (projection.source, 0)):
                if source is None:
                    continue
                row = [0] * kernel.CHANNEL_COLUMNS
                row[kernel.SOURCE], row[kernel.TARGET] = network.order[source], network.order[projection.target]
                row[kernel.SYNAPSE], row[kernel.WRITES], row[kernel.PROJECTION] = synapse.opcode, writes, index
                row[kernel.DELAYED] = projection.delayed
                row[kernel.DELAY] = self._delays.get(index, 0)
                row[kernel.RING], row[kernel.QUEUE], row[kernel.SUM] = ring, queued, sums
                slots = row[kernel.DELAY] + 1 if row[kernel.DELAY] else 0
                ring, queued = ring + slots * network[source].size, queued + slots
                row[kernel.INTO] = layout.drive[projection.target, projection.operand]
                row[kernel.LENGTH] = synapse.target_size
                row[kernel.WEIGHTS] = layout.memory_at.get(index, layout.weights_at.get(index, 0))
                row[kernel.PARAMETERS] = layout.projection_constants[index]
                rows.append(row)
            sums += synapse.source_size if synapse.writer_size else 0
            sums += synapse.writer_size if synapse.writer_size and not synapse.memory_bytes else 0
        rows.sort(key=lambda row: (row[kernel.DELAY] > 0, row[kernel.SOURCE]))
        array = np.array(rows, dtype=np.int64).reshape(-1, kernel.CHANNEL_COLUMNS)
        return array, ring, queued, sums

    def warm(self) -> None:
        """Compile the kernel, or load it from Numba's cache, without running anything."""
        kernel.run(0, self.tables)

    def reset(self) -> None:
        """Forget all tokens: the next one is the first."""
        tables = self.tables
        for array in (tables.neurons, tables.drives, tables.sums, tables.held, tables.memory):
            array[:] = 0
        self.position = 0
        self.runs += 1
        if self._recorder is not None:
            self._recorder.reset()

    def step(self, token: int | None = None, codes: Mapping[str, IntArray] | None = None, read: bool = True) -> None:
        """Run one token until all is quiet, or until `max_ticks`.

        token, codes: as for the settled engine.
        read: False where the output is not wanted: populations that feed no memory are then left out, unless the
            code keeps drive from token to token.
        raises: PromptError, CapacityError as the settled engine; CapacityError where it does not become quiet.
        """
        self.begin(token, codes, read)
        limit = TICK_LIMIT if self.max_ticks is None else self.max_ticks
        if self.stop_when_safe and read:
            self._advance_until_safe(limit)
        else:
            self.advance(limit)
        if not self.quiet and self.max_ticks is None and not self.stop_when_safe:
            active = ", ".join(self.active())
            raise CapacityError("ticks", f"{TICK_LIMIT} without quiet, active: {active}", "a network that settles")
        self.finish()

    def begin(self, token: int | None = None, codes: Mapping[str, IntArray] | None = None, read: bool = True) -> None:
        """Present a token or codes at tick 0; `advance` runs it and `finish` closes it."""
        self._token = -1 if token is None else token
        wanted = self.tables.neurons[kernel.WANTED]
        if token is not None:
            check_token(self.network, token, self.position)
            first = self._layout.first[self.network.sources[0].name]
            wanted[first : first + self.network.vocabulary] = 0
            wanted[first + token] = 1
        else:
            check_room(self.network, self.position)
            for name, presented in check_codes(self.network, codes or {}).items():
                first = self._layout.first[name]
                wanted[first : first + len(presented)] = presented
        if self.tables.inputs.size:
            self.tables = self.tables._replace(inputs=NO_INPUTS)
        self._clear(read)
        self._status, self.ticks = kernel.TICK_LIMIT, 0
        if self.schedule == "eager":
            kernel.settle_all(self.tables)

    def _clear(self, read: bool) -> None:
        """Make ready for a token: what the code does not keep is forgotten."""
        sparing = not read and not self.code.persistent and bool(self._layout.feeding)
        kernel.clear(self.position, sparing, self._persistent_neurons, self._persistent_drives, self.tables)

    def advance(self, limit: int) -> None:
        """Run until all is quiet or `limit` ticks of this token are done."""
        tables = self.tables
        while True:
            self._status = kernel.run(limit, tables)
            if self._recorder is not None and tables.clock[kernel.TRACED]:
                self._recorder.record(tables.trace[: tables.clock[kernel.TRACED]].copy())
                tables.clock[kernel.TRACED] = 0
            if self._status != kernel.TRACE_FULL:
                break
        self.ticks = int(tables.clock[kernel.TICK])

    def _advance_until_safe(self, limit: int) -> None:
        self.advance(0)
        while not self.quiet and self.ticks < limit:
            if self.safe():
                self.safe_stops += 1
                return
            self.advance(self.ticks + 1)

    def safe(self) -> bool:
        """True where the leading output can no longer be overtaken, whatever is still to come.

        What a source neuron i can still add is at most r[i]: what it has yet to send where all before it is quiet, and
        the rest of its range otherwise. The leader l is safe from j if

            potential[l] - potential[j] > sum over i of r[i] * |gain[l] * w[i, l] - gain[j] * w[i, j]|.

        The memories must be written too, or later tokens would differ.
        """
        tables = self.tables
        if any(tables.populations[index, kernel.PENDING] for index in self._readout.before_memory):
            return False
        layered = self.schedule == "layered"
        if layered and tables.clock[kernel.NOW_STAGE] < self._readout.stage:
            return False
        if tables.channels[self._readout.channels, kernel.FLYING].any():
            return False
        quiet = not tables.populations[self._readout.upstream, kernel.PENDING].any()
        row = tables.populations[self._readout.source]
        first, size, low, high = row[[kernel.FIRST, kernel.SIZE, kernel.LOW, kernel.HIGH]]
        sent = tables.neurons[kernel.SENT, first : first + size].astype(np.int64)
        wanted = tables.neurons[kernel.WANTED, first : first + size]
        left = np.abs(wanted - sent) if quiet else np.maximum(high - sent, sent - low)
        return bool(kernel.cannot_be_overtaken(self.output, left, self._readout.weights))

    @cached_property
    def _readout(self) -> Readout:
        network = self.network
        driving = network.into(network.output)
        if len(driving) != 1 or not isinstance(driving[0].synapse, Dense | Packed | Sparse):
            raise UnsupportedError(
                "stop_when_safe", f"{len(driving)} projections into the output", "one, of constant weights"
            )
        synapse, source = driving[0].synapse, driving[0].source
        upstream: set[str] = set()
        for population in reversed(network.populations):
            if population.name in upstream or population.name == source:
                upstream |= {p.source for p in network.into(population.name)}
                upstream |= {p.writer for p in network.into(population.name) if p.writer is not None}
        feeding = self._layout.feeding
        watched = {network.order[name] for name in upstream | feeding | {source}}
        channels = [index for index, row in enumerate(self.tables.channels) if row[kernel.TARGET] in watched]
        return Readout(
            network.order[source],
            synapse.matrix.astype(np.int64) * synapse.gain,
            network.stages[network.order[source]],
            np.array(sorted(network.order[name] for name in upstream), dtype=np.int64),
            np.array(sorted(network.order[name] for name in feeding), dtype=np.int64),
            np.array(channels, dtype=np.int64),
        )

    def finish(self) -> None:
        """Close the token: the next one takes the next position."""
        if self._recorder is not None:
            self._recorder.token(self._token, self.ticks)
        self.position += 1

    def stream(self, events: IntArray, ticks: int) -> None:
        """Run events from outside through a network of spiking neurons, from a fresh start.

        events: (m, 4) integers: tick, number of the source population, neuron, payload; by tick, and at most one per
            neuron and tick. ticks: how many to run; each projection takes one.
        """
        given = np.ascontiguousarray(np.asarray(events, dtype=np.int32).reshape(-1, 4))
        self._check_inputs(given)
        self.reset()
        self._clear(read=True)
        self.tables = self.tables._replace(inputs=given)
        self._token = -1
        self.advance(ticks)
        self.finish()

    def _check_inputs(self, events: IntArray) -> None:
        bounds, tables = self._bounds, self.tables
        fault, row = kernel.check_inputs(events, bounds, tables.populations, tables.neurons[kernel.EVENT])
        if fault == kernel.FINE:
            return
        tick, number, neuron, payload = events[row].tolist()
        where = f"events, row {row}"
        if fault == kernel.BACKWARDS:
            raise PromptError(where, f"tick {tick} after {events[row - 1, 0]}", "events in the order of their ticks")
        if fault == kernel.NO_SOURCE:
            sizes = bounds[:, 0].tolist()
            raise PromptError(where, f"neuron {neuron} of population {number}", f"sources, of {sizes} neurons")
        if fault == kernel.OUT_OF_RANGE:
            raise PromptError(where, f"payload {payload}", f"{bounds[number, 1]}..{bounds[number, 2]}")
        got = f"neuron {neuron} of population {number} at tick {tick}"
        raise PromptError(where, got, "one event per neuron and tick, from tick 0 on")

    @cached_property
    def _bounds(self) -> IntArray:
        """(populations, 3) int64: neurons, 0 of what is no source, and lowest and highest payload from outside."""
        sources = self.network.sources
        rows = [(p.size, *p.neuron.range) if p in sources else (0, 0, 0) for p in self.network.populations]
        return np.array(rows, dtype=np.int64)

    @property
    def quiet(self) -> bool:
        """True where nothing waits to fire and nothing is under way."""
        return self._status == kernel.QUIET

    def active(self) -> list[str]:
        """Names of the populations that still have something to send."""
        return [
            population.name
            for population, row in zip(self.network.populations, self.tables.populations, strict=True)
            if row[kernel.PENDING]
        ]

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """(size,) int32 view of what each neuron of a population has sent so far; at quiet, its code or potential."""
        start = self._layout.first[name]
        return self.tables.neurons[kernel.SENT, start : start + self.network[name].size].view(np.int32)

    @property
    def output(self) -> npt.NDArray[np.int32]:
        """What the output population has sent so far; of accumulators, the potential that they have now."""
        population = self.network[self.network.output]
        if not isinstance(population.neuron, Accumulator):
            return self.codes(population.name)
        at = self._layout.drive[population.name, "drive"]
        potential = self.tables.drives[at : at + population.size] + population.neuron.bias
        return potential.astype(np.int32)

    def counted(self) -> tuple[IntArray, IntArray]:
        """Counts of the last token: (populations, 6) and (projections, 6) int64, see `snngen/ledger.py`.

        Only one code was run, so all columns of events, or of synaptic operations, hold the same.
        """
        tables = self.tables
        populations = np.zeros((len(tables.populations), columns.COUNTERS), dtype=np.int64)
        projections = np.zeros((len(self.network.projections), columns.COUNTERS), dtype=np.int64)
        events = slice(columns.GRADED, columns.CHANGED + 1)
        populations[:, columns.UPDATES] = tables.populations[:, kernel.UPDATES]
        populations[:, events] = tables.populations[:, [kernel.EVENTS]]
        number = tables.channels[:, kernel.PROJECTION]
        np.add.at(projections[:, columns.WRITES], number, tables.channels[:, kernel.WRITTEN])
        np.add.at(projections[:, columns.BYTES], number, tables.channels[:, kernel.BYTES])
        np.add.at(projections[:, events], number, tables.channels[:, [kernel.OPERATIONS]])
        return populations, projections
