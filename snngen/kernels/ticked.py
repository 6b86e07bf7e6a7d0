"""The ticked kernel: events are queued tick by tick, delivered, and every neuron fires at most once per tick.

A tick has three parts. *Fire*: of the neurons whose sent sum differs from the code that they want, those fire whose
code says that it is time. *Deliver*: events that are due reach their targets' drive. *Evaluate*: populations that were
reached want new codes. Nothing else is touched, so a tick costs what its events cost. A stage is a stretch of `turns`;
run eagerly, all populations are one stage. Events without a delay go from their source straight through its channels.

All of a network's state is in `Tables`, a named tuple of arrays; see `snngen/engines/ticked.py`, which lays it out.
Numba's cache does not notice a change in a callee of another file (evaluate.py, deliver.py): after one, clear it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import deliver, evaluate, masks
from snngen.kernels.lean import LEAN

# All of `Tables` is passed by value, a hundred words at every call, so what is called once is laid into its caller.
INLINE: dict[str, Any] = {"forceinline": True, **LEAN}

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Modes of spike codes
GRADED, UNARY, BITWISE, TTFS = range(4)

# Columns of `populations`: what is constant, then what changes
OPCODE, FIRST, SIZE, DRIVE, OPERANDS, CONSTANTS, MODE, STEP, CYCLE, LOW, HIGH, OUT, OUT_END, FEEDS = range(14)
PENDING, DUE, TOUCHED, START, FIRED, EVENTS, UPDATES, ASLEEP = range(14, 22)
POPULATION_COLUMNS = 22

# Columns of `channels`: one for each population that a projection listens to. Those without delay come first, by
# source: OUT..OUT_END of a population are its own.
SOURCE, SYNAPSE, WRITES, DELAY, RING, QUEUE, SUM, TARGET, INTO, LENGTH, WEIGHTS, PARAMETERS, PROJECTION = range(13)
DELAYED, FLYING, OPERATIONS, BYTES, WRITTEN, CLOSED = range(13, 19)
CHANNEL_COLUMNS = 19

# Rows of `neurons`
SENT, WANTED, WAITING, EVENT, PAYLOAD = range(5)

# Places in `clock`
TICK, POSITION, NOW_STAGE, STAGE_END, INPUT, TRACED = range(6)  # of the token under way
LAYERED, SHUFFLE, LATE = range(6, 9)  # LATE: the first channel with a delay
CLOCK = 9

QUIET, TICK_LIMIT, TRACE_FULL = range(3)
NEVER = 2**62


class Tables(NamedTuple):
    """All arrays of a network in the ticked engine.

    populations (p, 22), channels (c, 19), clock (9,) int64: see the columns above.
    turns (p,) int64: populations stage by stage; stages (s + 1,) int64: where each stage begins among them.
    ready (c + 1,) int64: the channels with events that arrive at this tick.
    neurons (5, n) int32: SENT so far, WANTED sum, indices WAITING to fire, and the EVENTs and PAYLOADs of this tick.
    drives (d,) int32, sums (s,) int32: drive, and what has been delivered so far through weights that are written.
    held (d,) int32: what delayed projections have delivered for the next token.
    ring (2, r) int32, queued (q,) int64: events delayed on their way, one slot for each tick of a channel's delay.
    weights, memory int8; constants int64; scratch int32: as in the settled kernel.
    inputs (m, 4) int32: tick, population, neuron, payload of events from outside, by tick.
    trace (t, 4) int32: the same of every event fired; no rows where nothing is recorded.
    """

    populations: Ints
    channels: Ints
    clock: Ints
    turns: Ints
    stages: Ints
    ready: Ints
    neurons: Ints
    drives: Ints
    sums: Ints
    held: Ints
    ring: Ints
    queued: Ints
    weights: Ints
    memory: Ints
    constants: Ints
    scratch: Ints
    inputs: Ints
    trace: Ints


@njit(cache=True, **INLINE)
def rounded(value: int, row: Ints) -> int:
    """The multiple of its step, inside its range, that a lossy code sends for a value."""
    step = row[STEP]
    if step == 1:
        return value
    bound = row[HIGH] if value >= 0 else -row[LOW]
    count = min((abs(value) + step // 2) // step, bound // step)
    return int(count * step if value >= 0 else -count * step)


@njit(cache=True, **INLINE)
def top_bit(magnitude: int) -> int:
    """Number of the highest one bit."""
    bit = 0
    while magnitude > 1:
        magnitude >>= 1
        bit += 1
    return bit


@njit(cache=True, **INLINE)
def phase_of(row: Ints, difference: int) -> int:
    """The phase of its cycle at which a clocked code sends the next part of a difference."""
    if row[MODE] == BITWISE:
        return int(max(0, row[CYCLE] - 1 - top_bit(abs(difference))))
    return int(row[HIGH] - min(max(difference, row[LOW]), row[HIGH]))


@njit(cache=True, **INLINE)
def due(row: Ints, difference: int, tick: int) -> int:
    """The first tick from `tick` on at which a neuron of a clocked code with this difference fires."""
    return int(tick + (phase_of(row, difference) - (tick - row[START])) % row[CYCLE])


@njit(cache=True, **INLINE)
def part(row: Ints, difference: int) -> int:
    """The payload that a neuron of a clocked code with this difference fires when it is due."""
    if row[MODE] == BITWISE:
        worth = int(1 << (row[CYCLE] - 1 - phase_of(row, difference)))
        return worth if difference > 0 else -worth
    return int(min(max(difference, row[LOW]), row[HIGH]))


@njit(cache=True, **INLINE)
def fire_all(row: Ints, tick: int, tables: Tables) -> None:
    """Graded and unary: whoever waits fires, all that is left or one step of it."""
    first, waiting, step = row[FIRST], row[PENDING], np.int32(row[STEP])
    sent, wanted, wait = tables.neurons[SENT, first:], tables.neurons[WANTED, first:], tables.neurons[WAITING, first:]
    event, payload = tables.neurons[EVENT, first:], tables.neurons[PAYLOAD, first:]
    graded, kept = row[MODE] == GRADED, 0
    for k in range(waiting):
        i = np.uint32(wait[k])  # unsigned: Numba then does not ask whether it counts from the end
        left = np.int32(wanted[i] - sent[i])
        part = left if graded else (step if left > 0 else np.int32(-step))
        event[k], payload[k] = i, part
        sent[i] += part
        wait[kept] = i
        kept += left != part
    row[PENDING], row[DUE], row[FIRED] = kept, tick + 1, waiting


@njit(cache=True, **INLINE)
def spike(row: Ints, tick: int, tables: Tables) -> None:
    """Integrate-and-fire: whoever waits fires a spike of 1 and its threshold is subtracted."""
    first, waiting, kept = row[FIRST], row[PENDING], 0
    drive, theta = tables.drives[row[DRIVE] :], tables.constants[row[CONSTANTS] :]
    sent, wait = tables.neurons[SENT, first:], tables.neurons[WAITING, first:]
    event, payload = tables.neurons[EVENT, first:], tables.neurons[PAYLOAD, first:]
    for k in range(waiting):
        i = np.uint32(wait[k])
        event[k], payload[k] = i, 1
        sent[i] += 1
        drive[i] -= theta[i]
        wait[kept] = i
        kept += drive[i] >= theta[i]
    row[PENDING], row[DUE], row[FIRED] = kept, tick + 1, waiting


@njit(cache=True, **INLINE)
def fire_in_phase(row: Ints, tick: int, tables: Tables) -> None:
    """Clocked codes: those fire whose phase it is; the others wait on."""
    neurons, first, waiting, kept, fired, soonest = tables.neurons, row[FIRST], row[PENDING], 0, 0, NEVER
    for k in range(waiting):
        i = neurons[WAITING, first + k]
        difference = np.int64(neurons[WANTED, first + i]) - neurons[SENT, first + i]
        when = due(row, difference, tick)
        if when == tick:
            payload = part(row, difference)
            neurons[EVENT, first + fired], neurons[PAYLOAD, first + fired] = i, payload
            fired += 1
            neurons[SENT, first + i] += payload
            difference -= payload
            when = due(row, difference, tick + 1) if difference != 0 else NEVER
        if difference != 0:
            neurons[WAITING, first + kept] = i
            kept += 1
            soonest = min(soonest, when)
    row[PENDING], row[DUE], row[FIRED] = kept, soonest, fired


@njit(cache=True, **INLINE)
def fire(p: int, tick: int, tables: Tables) -> None:
    """Let the neurons of a population fire whose time has come; the others wait on."""
    row = tables.populations[p]
    if row[OPCODE] == evaluate.INTEGRATE_AND_FIRE:
        spike(row, tick, tables)
    elif row[MODE] <= UNARY:
        fire_all(row, tick, tables)
    else:
        fire_in_phase(row, tick, tables)
    row[EVENTS] += row[FIRED]


@njit(cache=True, **INLINE)
def want(row: Ints, tables: Tables) -> None:
    """What code every neuron of a population wants for the drive that it has."""
    opcode, at, first, size = row[OPCODE], row[CONSTANTS], row[FIRST], row[SIZE]
    drive = tables.drives[row[DRIVE] : row[DRIVE] + size]
    wanted = tables.neurons[WANTED, first : first + size]
    if opcode == evaluate.THRESHOLD:
        evaluate.threshold(tables.constants, at, drive, wanted)
    elif opcode == evaluate.ACCUMULATOR:
        evaluate.accumulator(tables.constants, at, drive, wanted)
    elif opcode == evaluate.RMS_NORM:
        evaluate.rms_norm(tables.constants, at, drive, wanted)
    elif opcode == evaluate.GATE:
        evaluate.gate(tables.constants, at, drive, tables.drives[row[DRIVE] + size : row[DRIVE] + 2 * size], wanted)
    elif opcode == evaluate.PRODUCT_SUM:
        drives = tables.drives[row[DRIVE] : row[DRIVE] + row[OPERANDS] * size]
        evaluate.product_sum(tables.constants, at, drives, wanted)
    elif opcode == evaluate.POINTWISE:
        evaluate.pointwise(tables.constants, at, drive, wanted)
    elif opcode == evaluate.GROUP_NORM:
        evaluate.group_norm(tables.constants, at, drive, wanted)
    elif opcode == evaluate.SOFTMAX:
        heads, context, keys = tables.constants[at + 1], tables.constants[at + 2], tables.clock[POSITION] + 1
        for head in range(heads):
            begin = head * context
            evaluate.softmax(
                tables.constants, at, head, drive[begin : begin + keys], wanted[begin : begin + keys]
            )  # fmt: skip


@njit(cache=True, **INLINE)
def await_firing(p: int, tick: int, tables: Tables) -> None:
    """Collect the neurons whose sent sum is not what they want, from `tick` on."""
    row, neurons = tables.populations[p], tables.neurons
    first, size = row[FIRST], row[SIZE]
    waiting = neurons[WAITING, first : first + size]
    if row[OPCODE] == evaluate.INTEGRATE_AND_FIRE:
        drive, theta = tables.drives[row[DRIVE] : row[DRIVE] + size], tables.constants[row[CONSTANTS] :]
        row[PENDING], row[DUE] = masks.where_at_least(drive, theta, waiting), tick
        return
    sent, wanted = neurons[SENT, first : first + size], neurons[WANTED, first : first + size]
    if row[STEP] != 1:
        for i in range(size):
            wanted[i] = rounded(np.int64(wanted[i]), row)
    row[PENDING], row[DUE] = masks.where_different(wanted, sent, waiting), tick
    if row[MODE] > UNARY:
        soonest = NEVER
        for k in range(row[PENDING]):
            soonest = min(soonest, due(row, np.int64(wanted[waiting[k]]) - sent[waiting[k]], tick))
        row[DUE] = soonest


@njit(cache=True, **LEAN)
def settle_wish(p: int, tick: int, tables: Tables) -> None:
    """Evaluate a population that was reached: it may fire from `tick` on."""
    row = tables.populations[p]
    row[TOUCHED] = 0
    if row[ASLEEP]:
        return
    want(row, tables)
    row[UPDATES] += row[SIZE]
    await_firing(p, tick, tables)


@njit(cache=True, **INLINE)
def enqueue(c: int, tick: int, tables: Tables) -> None:
    """Put this tick's events of the source of a channel with a delay on their way."""
    channel, ring = tables.channels[c], tables.ring
    source = tables.populations[channel[SOURCE]]
    slot = (tick + channel[DELAY]) % (channel[DELAY] + 1)
    begin, first, fired = channel[RING] + slot * source[SIZE], source[FIRST], source[FIRED]
    for k in range(fired):
        ring[0, begin + k] = tables.neurons[EVENT, first + k]
        ring[1, begin + k] = tables.neurons[PAYLOAD, first + k]
    tables.queued[channel[QUEUE] + slot] = fired
    channel[FLYING] += fired


@njit(cache=True, **INLINE)
def find_ready(tick: int, tables: Tables) -> int:
    """List the channels with events that arrive at this tick; how many there are."""
    populations, channels, ready, count = tables.populations, tables.channels, tables.ready, 0
    begin, end = active(tables)
    for turn in range(begin, end):
        row = populations[tables.turns[turn]]
        if row[FIRED]:
            for c in range(row[OUT], row[OUT_END]):
                ready[count] = c
                count += not channels[c, CLOSED]
    for c in range(tables.clock[LATE], channels.shape[0]):
        if populations[channels[c, SOURCE], FIRED] and not channels[c, CLOSED]:
            enqueue(c, tick, tables)
        ready[count] = c
        count += tables.queued[channels[c, QUEUE] + tick % (channels[c, DELAY] + 1)] > 0
    return count


@njit(cache=True, **INLINE)
def shuffle(event: Ints, payload: Ints, count: int, clock: Ints) -> None:
    """Bring events of one tick into another order (a test of order-independence)."""
    state = clock[SHUFFLE]
    for k in range(count - 1, 0, -1):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        j = state % (k + 1)
        event[k], event[j] = event[j], event[k]
        payload[k], payload[j] = payload[j], payload[k]
    clock[SHUFFLE] = state | 1


@njit(cache=True, **INLINE)
def deliver_matrix(channel: Ints, event: Ints, payload: Ints, count: int, tables: Tables) -> None:
    """Events of a writer change a matrix; what has been read through it is corrected. sums: read, then the matrix."""
    rows, columns = tables.constants[channel[PARAMETERS] : channel[PARAMETERS] + 2]
    read, drive = tables.sums[channel[SUM] :], tables.drives[channel[INTO] :]
    matrix = read[channel[LENGTH] // rows * columns :]
    for k in range(count):
        i, j = event[k] // columns, event[k] % columns
        matrix[event[k]] += payload[k]
        drive[i] += np.int32(read[i // rows * columns + j] * payload[k])
    channel[WRITTEN] += count


@njit(cache=True, **INLINE)
def deliver_written(channel: Ints, event: Ints, payload: Ints, count: int, tables: Tables) -> None:
    """Events of a writer change the newest key or value; what queries or shares have delivered is corrected."""
    if channel[SYNAPSE] == deliver.BILINEAR:
        deliver_matrix(channel, event, payload, count, tables)
        return
    shape = tables.constants[channel[PARAMETERS] : channel[PARAMETERS] + 4]
    heads, groups, width, context = shape
    position, sums, drives = tables.clock[POSITION], tables.sums[channel[SUM] :], tables.drives[channel[INTO] :]
    memory = tables.memory[channel[WEIGHTS] :]
    share = heads // groups
    for k in range(count):
        group, d, change = event[k] // width, event[k] % width, payload[k]
        if channel[SYNAPSE] == deliver.KEY_MEMORY:
            memory[deliver.key_at(group, d, position, width, context)] += change
        else:
            memory[(group * context + position) * width + d] += change
        for head in range(group * share, (group + 1) * share):
            if channel[SYNAPSE] == deliver.KEY_MEMORY:
                drives[head * context + position] += sums[head * width + d] * change
            else:
                drives[head * width + d] += sums[head * context + position] * change
    channel[WRITTEN] += count


@njit(cache=True, **INLINE)
def deliver_channel(c: int, tick: int, tables: Tables) -> None:
    """Deliver the events of a channel that arrive at this tick: those just fired or, where it delays, those queued."""
    channel = tables.channels[c]
    source, target = tables.populations[channel[SOURCE]], tables.populations[channel[TARGET]]
    begin, count, event, payload = source[FIRST], source[FIRED], tables.neurons[EVENT], tables.neurons[PAYLOAD]
    if channel[DELAY]:
        slot = tick % (channel[DELAY] + 1)
        begin, count = channel[RING] + slot * source[SIZE], tables.queued[channel[QUEUE] + slot]
        event, payload = tables.ring[0], tables.ring[1]
        tables.queued[channel[QUEUE] + slot] = 0
        channel[FLYING] -= count
    event, payload = event[begin : begin + count], payload[begin : begin + count]
    if tables.clock[SHUFFLE]:
        shuffle(event, payload, count, tables.clock)
    if channel[WRITES]:
        target[TOUCHED] = 1
        deliver_written(channel, event, payload, count, tables)
        return
    into = tables.held if channel[DELAYED] else tables.drives
    target[TOUCHED] |= not channel[DELAYED]
    drive = into[channel[INTO] : channel[INTO] + channel[LENGTH]]
    if channel[SYNAPSE] in (deliver.BILINEAR, deliver.KEY_MEMORY, deliver.VALUE_MEMORY):
        read_written(channel, event, payload, count, drive, tables)
    else:
        carry(channel, event, payload, count, drive, tables)


@njit(cache=True, **INLINE)
def read_written(channel: Ints, event: Ints, payload: Ints, count: int, drive: Ints, tables: Tables) -> None:
    """Deliver events through weights that are written while the network runs."""
    at, position, constants = channel[PARAMETERS], tables.clock[POSITION], tables.constants
    for k in range(count):
        tables.sums[channel[SUM] + event[k]] += payload[k]
    weight_bytes = 1
    if channel[SYNAPSE] == deliver.BILINEAR:
        rows, columns = constants[at : at + 2]
        matrix = tables.sums[channel[SUM] + channel[LENGTH] // rows * columns :]
        deliver.bilinear(event, payload, count, constants[at : at + 2], matrix, drive)
        fan_out, weight_bytes = rows, 2
    else:
        shape, memory = constants[at : at + 4], tables.memory[channel[WEIGHTS] :]
        if channel[SYNAPSE] == deliver.KEY_MEMORY:
            deliver.read_keys(event, payload, shape, position + 1, memory, tables.scratch, drive)
            fan_out = position + 1
        else:
            deliver.read_values(event, payload, shape, memory, tables.scratch, drive)
            fan_out = shape[2]
    channel[OPERATIONS] += count * fan_out
    channel[BYTES] += count * fan_out * weight_bytes


@njit(cache=True, **INLINE)
def carry_sparse(channel: Ints, event: Ints, payload: Ints, count: int, drive: Ints, tables: Tables) -> None:
    """Deliver events through the synapses that were not pruned; each is read with its target."""
    sources, weights = tables.populations[channel[SOURCE], SIZE], tables.weights[channel[WEIGHTS] :]
    constants = tables.constants[channel[PARAMETERS] :]
    synapses, index_bytes = constants[sources], constants[sources + 1]
    rows = constants[sources + 2 : 2 * sources + 3 + channel[LENGTH]]
    deliver.sparse(event, payload, count, synapses, rows, weights, tables.scratch, drive)
    operations = deliver.reached(event, count, constants[:sources])
    channel[OPERATIONS] += operations
    channel[BYTES] += operations * (1 + index_bytes)


@njit(cache=True, **INLINE)
def carry(channel: Ints, event: Ints, payload: Ints, count: int, drive: Ints, tables: Tables) -> None:
    """Deliver events through weights that stay as they are, or turn with the position."""
    at, synapse, size = channel[PARAMETERS], channel[SYNAPSE], channel[LENGTH]
    position, constants, weights = tables.clock[POSITION], tables.constants, tables.weights[channel[WEIGHTS] :]
    fan_out, weight_bytes = 1, 0
    if synapse in (deliver.DENSE, deliver.PACKED):
        bits, width, gains = constants[at], constants[at + 1], constants[at + 2] * size
        gain = constants[at + 3 : at + 3 + gains]
        deliver.dense(event, payload, 0, weights, width, bits, gain, tables.scratch, drive)
        fan_out = size
        channel[BYTES] += count * width
    elif synapse == deliver.ONE_TO_ONE:
        deliver.one_to_one(event, payload, count, drive)
    elif synapse == deliver.ROTARY:
        deliver.rotary(event, payload, count, constants, at, position, drive)
        fan_out, weight_bytes = 2, 2
    elif synapse == deliver.DIAGONAL:
        deliver.diagonal(event, payload, count, constants[at : at + size], drive)
        weight_bytes = 4
    elif synapse == deliver.BROADCAST:
        deliver.broadcast(event, payload, count, constants[at], constants[at + 1], drive)
        fan_out = constants[at]
    elif synapse == deliver.POSITION:
        row = weights[position * size : (position + 1) * size]
        deliver.position_row(payload, count, row, constants[at : at + size], drive)
        fan_out, weight_bytes = size, 1
    elif synapse == deliver.CONVOLUTION:
        sources = tables.populations[channel[SOURCE], SIZE]
        deliver.convolution(event, payload, count, constants[at + sources :], weights, tables.scratch, drive)
        operations = deliver.reached(event, count, constants[at : at + sources])
        channel[OPERATIONS] += operations
        channel[BYTES] += operations
        return
    elif synapse == deliver.SPARSE:
        carry_sparse(channel, event, payload, count, drive, tables)
        return
    channel[OPERATIONS] += count * fan_out
    channel[BYTES] += count * fan_out * weight_bytes


@njit(cache=True, **INLINE)
def take_inputs(tick: int, tables: Tables) -> None:
    """Let the events from outside fire that are due now."""
    clock, inputs, neurons = tables.clock, tables.inputs, tables.neurons
    while clock[INPUT] < len(inputs) and inputs[clock[INPUT], 0] <= tick:
        _, p, i, payload = inputs[clock[INPUT]]
        row = tables.populations[p]
        neurons[EVENT, row[FIRST] + row[FIRED]], neurons[PAYLOAD, row[FIRST] + row[FIRED]] = i, payload
        neurons[SENT, row[FIRST] + i] += payload
        row[FIRED] += 1
        row[EVENTS] += 1
        clock[INPUT] += 1


@njit(cache=True, **INLINE)
def record(p: int, tick: int, tables: Tables) -> None:
    """Append this tick's events of a population to the trace."""
    row, clock, trace, neurons = tables.populations[p], tables.clock, tables.trace, tables.neurons
    for k in range(row[FIRED]):
        at = clock[TRACED]
        trace[at, 0], trace[at, 1] = tick, p
        trace[at, 2], trace[at, 3] = neurons[EVENT, row[FIRST] + k], neurons[PAYLOAD, row[FIRST] + k]
        clock[TRACED] += 1


@njit(cache=True, **INLINE)
def active(tables: Tables) -> tuple[int, int]:
    """Begin and end among `turns` of the populations of the stage under way; of all before the first."""
    stage = tables.clock[NOW_STAGE]
    return (tables.stages[stage], tables.stages[stage + 1]) if stage >= 0 else (0, tables.turns.size)


@njit(cache=True, **INLINE)
def run_tick(tick: int, tables: Tables) -> None:
    """Fire, deliver, evaluate."""
    populations, clock, turns = tables.populations, tables.clock, tables.turns
    begin, end = active(tables)
    take_inputs(tick, tables)
    for turn in range(begin, end):
        row = populations[turns[turn]]
        if row[PENDING] and row[DUE] <= tick:
            fire(turns[turn], tick, tables)
        if row[FIRED] and tables.trace.shape[0]:
            record(turns[turn], tick, tables)
    for k in range(find_ready(tick, tables)):
        deliver_channel(tables.ready[k], tick, tables)
    for turn in range(begin, end):
        row = populations[turns[turn]]
        row[FIRED] = 0
        if row[TOUCHED] and not clock[LAYERED]:
            settle_wish(turns[turn], tick + 1, tables)


@njit(cache=True, **INLINE)
def open_stage(stage: int, tick: int, tables: Tables) -> None:
    """Layer by layer: evaluate the populations of a stage, whose inputs are quiet, and hold their codes' windows."""
    clock = tables.clock
    clock[NOW_STAGE], clock[STAGE_END] = stage, tick + 1
    for turn in range(tables.stages[stage], tables.stages[stage + 1]):
        row = tables.populations[tables.turns[turn]]
        row[START] = tick
        settle_wish(tables.turns[turn], tick, tables)
        if row[PENDING] and row[MODE] > UNARY:
            clock[STAGE_END] = max(clock[STAGE_END], tick + row[CYCLE])


@njit(cache=True, **INLINE)
def next_tick(tick: int, tables: Tables) -> int:
    """The next tick from `tick` on at which something can happen; NEVER where all is quiet."""
    populations, channels, clock, soonest = tables.populations, tables.channels, tables.clock, NEVER
    begin, end = active(tables)
    for turn in range(begin, end):
        row = populations[tables.turns[turn]]
        if row[PENDING]:
            soonest = min(soonest, max(row[DUE], tick))
    for c in range(clock[LATE], channels.shape[0]):
        if channels[c, FLYING]:
            for ahead in range(channels[c, DELAY] + 1):
                if tables.queued[channels[c, QUEUE] + (tick + ahead) % (channels[c, DELAY] + 1)]:
                    soonest = min(soonest, tick + ahead)
                    break
    if clock[INPUT] < len(tables.inputs):
        soonest = min(soonest, max(tables.inputs[clock[INPUT], 0], tick))
    return soonest


@njit(cache=True, **LEAN)
def clear(position: int, sparing: bool, kept_neurons: Ints, kept_drives: Ints, tables: Tables) -> None:
    """Make ready for the token at a position: what the code does not keep is forgotten.

    sparing: leave out the populations that feed no memory. kept_neurons (n,), kept_drives (d,) bool: which sums and
    which drive stay from token to token.
    """
    populations, channels, clock, sent = tables.populations, tables.channels, tables.clock, tables.neurons[SENT]
    for i in range(sent.size):
        sent[i] = sent[i] if kept_neurons[i] else 0
    for i in range(tables.drives.size):
        tables.drives[i] = tables.held[i] + (tables.drives[i] if kept_drives[i] else 0)
        tables.held[i] = 0
    tables.sums[:] = 0
    tables.queued[:] = 0
    clock[:LAYERED] = 0
    clock[POSITION], clock[NOW_STAGE] = position, -1 if clock[LAYERED] else 0
    for p in range(populations.shape[0]):
        populations[p, PENDING:] = 0
        populations[p, ASLEEP] = sparing and not populations[p, FEEDS]
    for c in range(channels.shape[0]):
        channels[c, FLYING:] = 0
        channels[c, CLOSED] = populations[channels[c, TARGET], ASLEEP] and not channels[c, WRITES]


@njit(cache=True, **LEAN)
def settle_all(tables: Tables) -> None:
    """Eagerly: every population evaluates the drive that it has before the first tick."""
    for p in range(tables.populations.shape[0]):
        settle_wish(p, 0, tables)


FINE, BACKWARDS, NO_SOURCE, TWICE, OUT_OF_RANGE = range(5)


@njit(cache=True, **LEAN)
def check_inputs(events: Ints, bounds: Ints, populations: Ints, last: Ints) -> tuple[int, int]:
    """Whether events from outside may be run: FINE or what is wrong, and the row at which.

    events (m, 4): tick, population, neuron, payload. bounds (p, 3): neurons (0 where the population is no source), and
    lowest and highest payload. last (n,): the tick of each neuron's last event, written.
    """
    last[:] = -1
    for k in range(events.shape[0]):
        tick, p, i, payload = events[k]
        if k and tick < events[k - 1, 0]:
            return BACKWARDS, k
        if not 0 <= p < bounds.shape[0] or not 0 <= i < bounds[p, 0]:
            return NO_SOURCE, k
        if tick < 0 or last[populations[p, FIRST] + i] == tick:
            return TWICE, k
        if not bounds[p, 1] <= payload <= bounds[p, 2]:
            return OUT_OF_RANGE, k
        last[populations[p, FIRST] + i] = tick
    return FINE, 0


@njit(cache=True, **LEAN)
def run(limit: int, tables: Tables) -> int:
    """Run ticks until all is quiet, or tick `limit` is reached, or the trace is nearly full.

    Returns QUIET, TICK_LIMIT or TRACE_FULL; call again to go on. clock[TICK] is the number of ticks run.
    """
    clock, last_stage = tables.clock, tables.stages.size - 2
    while True:
        tick = next_tick(clock[TICK], tables)
        if tick == NEVER and clock[LAYERED] and clock[NOW_STAGE] < last_stage:
            begin = max(clock[TICK], clock[STAGE_END])
            if begin >= limit:
                clock[TICK] = limit
                return TICK_LIMIT
            open_stage(clock[NOW_STAGE] + 1, begin, tables)
            clock[TICK] = begin
            continue
        if tick == NEVER:
            clock[TICK] = max(clock[TICK], clock[STAGE_END]) if clock[LAYERED] else clock[TICK]
            return QUIET
        if tick >= limit:
            clock[TICK] = limit
            return TICK_LIMIT
        if tables.trace.shape[0] and clock[TRACED] + tables.neurons.shape[1] > tables.trace.shape[0]:
            return TRACE_FULL
        run_tick(tick, tables)
        clock[TICK] = tick + 1


@njit(cache=True, **LEAN)
def cannot_be_overtaken(potential: Ints, left: Ints, weights: Ints) -> bool:
    """True where no output can catch up with the first largest one while source i adds at most left[i] times a row.

    potential (outputs,), left (sources,), weights (sources, outputs), gains included.
    """
    leader = 0
    for j in range(1, potential.size):
        if potential[j] > potential[leader]:
            leader = j
    for j in range(potential.size):
        if j != leader:
            slack = 0
            for i in range(left.size):
                slack += left[i] * abs(weights[i, leader] - weights[i, j])
            margin = np.int64(potential[leader]) - potential[j]
            if margin < slack or (margin == slack and j < leader):
                return False
    return True
