"""The settled kernel: one compiled call runs a token, or a block of a prompt's tokens, population by population.

A network is a table of rows (`program`), one per operation, in the order in which they run: a *delivery* adds the
events of a settled population to the drive of another, a *settling* turns drive into codes. See `Tables` for the rest.

A block of tokens goes through the program once. Deliveries through constant weights read each weight once for all of
its tokens; what lies between two of them runs token by token. Each token has a slot of its own for its codes and
drives, `slot` entries further on than that of the token before. Attention's scores are short-lived: one place serves
all of them.

Threads share the events of a delivery through a large weight matrix, or its columns where rows are long or a block has
several tokens. The first thread runs everything else, and offers each of these deliveries in parts (`signals`); the
others take parts as long as there are some. Whoever is late has less to do.

Numba's cache does not notice a change in a callee of another file (deliver.py, rows.py, ...): after one, clear it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import deliver, evaluate, rows
from snngen.kernels.lean import LEAN
from snngen.kernels.machine import acquire, exchange, increment, leave, ones, pause, release, stand_alone

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Columns of a program row
# OPERANDS: of a population. WIDE: it gives potentials. FROM_SIZE: neurons that send. KEPT: `delta` sends changes only.
# SHARED: threads share this delivery. HEARD: somebody wants the events of this population, not just its codes.
# MARKED: somebody wants to know which codes changed.
OPCODE, ROW, FROM, FROM_ROW, INTO, SIZE, WEIGHTS, CONSTANTS, OPERANDS, WRITER, WRITER_ROW = range(11)
WIDE, FROM_SIZE, KEPT, SHARED, HEARD, MARKED = range(11, 17)
# How far the slots of two tokens lie apart: of the codes that are sent, of what is written to, of the writer's codes
FROM_SLOT, INTO_SLOT, DRIVE_SLOT, WRITER_SLOT = range(17, 21)
COLUMNS = 21

# Columns of the counts. Settlings: neurons updated, then events under each code, then the largest code.
# Deliveries: bytes of weights read, then synaptic operations under each code, then weights written.
UPDATES, GRADED, UNARY, BITWISE, CHANGED, PEAK = range(6)
BYTES, WRITES = UPDATES, PEAK
COUNTERS = 6

BATCHED = (deliver.DENSE, deliver.PACKED)  # synapses whose weights all tokens of a block read at once

# Rows of `neurons`
CODE, PREVIOUS, EVENT, PAYLOAD, CHANGE = range(5)

STRETCH = 2**14  # neurons that are counted together

# Signals between threads lie a cache line apart. OFFER: a delivery to share, as its turn, row and next part in 32, 16
# and 16 bits. DONE: parts of it that are done. TURN: deliveries offered so far. TOKENS: of the block under way.
# ADDING: 1 while a thread adds the sums of its events to the drive that all of them share.
OFFER, DONE, TURN, TOKENS, ADDING = range(0, 40, 8)
SIGNALS = 40
PARTS = 1  # of a shared delivery for each thread
SPINS, LOOKS = 2000, 4000  # looks at a signal until a core is left to others, and until a thread goes to sleep


class Tables(NamedTuple):
    """All arrays of a network in the settled engine.

    program (rows, COLUMNS) int64: what to do, and where its data begin.
    weights (bytes,) int8: constant weights, one row per source neuron, and a block of padding.
    constants (m,) int64: thresholds, gains, tables. memory (bytes,) int8: written weights (keys and values).
    drives (d,) int32: accumulated drive; between tokens, that of delayed projections.
    neurons (5, n) int32: CODE, PREVIOUS code, the events, where they are heard: EVENT (neuron) and PAYLOAD, packed,
        and CHANGE, where it is marked: 1 where the code is another than the token before.
    scratch (threads, w) int32: row sums under way. counts (tokens, rows, COUNTERS) int64: the ledger's raw material.
    signals (SIGNALS,) int64: see above.
    """

    program: Ints
    weights: Ints
    constants: Ints
    memory: Ints
    drives: Ints
    neurons: Ints
    scratch: Ints
    counts: Ints
    signals: Ints


@njit(cache=True, **LEAN)
def copy(source: Ints, target: Ints) -> None:
    """target = source. (A slice that is assigned to would allocate, in case the two overlap.)"""
    for i in range(source.size):
        target[i] = source[i]


@njit(cache=True, **LEAN)
def tally(code: Ints, before: Ints, wide: bool, count: Ints) -> None:
    """Count fresh codes as events of every kind; `before`: those of the token before.

    Sums of 32 bits, twice the lanes: at most `STRETCH` neurons at a time; magnitudes are added in two halves.
    """
    high = np.int32(0)
    active, unary, bitwise, changed, peak = np.int32(0), np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for i in range(code.size):
        magnitude = np.int32(abs(code[i]))
        changed = np.int32(changed + np.int32(code[i] != before[i]))
        active = np.int32(active + np.int32(magnitude != 0))
        unary = np.int32(unary + (magnitude & np.int32(0xFFFF)))
        high = np.int32(high + (magnitude >> np.int32(16)))
        bitwise = np.int32(bitwise + ones(magnitude))
        peak = max(peak, magnitude)
    count[UPDATES] += code.size
    count[GRADED] += active
    # a potential has no code: it is sent as one graded event
    count[UNARY] += active if wide else unary + (np.int64(high) << 16)
    count[BITWISE] += active if wide else bitwise
    count[CHANGED] += changed
    count[PEAK] = max(count[PEAK], np.int64(peak))


@njit(cache=True, **LEAN)
def emit(row: Ints, t: int, start: int, size: int, neurons: Ints, count: Ints) -> None:
    """Turn the fresh codes of neurons start..start+size of a population into events of token t of a block."""
    stand_alone()
    first = row[INTO] + t * row[INTO_SLOT]
    begin, active = first + start, count[GRADED]
    code, kept = neurons[CODE, begin : begin + size], neurons[PREVIOUS, begin : begin + size]
    before = kept
    if t > 0 and row[INTO_SLOT] > 0:
        before = neurons[CODE, begin - row[INTO_SLOT] : begin - row[INTO_SLOT] + size]
    for k in range(0, size, STRETCH):
        end = min(k + STRETCH, size)
        tally(code[k:end], before[k:end], row[WIDE] != 0, count)
    if row[MARKED]:
        change = neurons[CHANGE, begin : begin + size]
        for i in range(size):
            change[i] = code[i] != before[i]
    if t == 0 or row[INTO_SLOT] == 0:
        copy(code, kept)
    if row[HEARD]:
        rows.compact(code, start, active, neurons[EVENT, first:], neurons[PAYLOAD, first:])


@njit(cache=True, **LEAN)
def charge(sent: Ints, fan_out: int, weight_bytes: int, kept: bool, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which every event reaches `fan_out` synapses."""
    count[BYTES] += sent[GRADED] * fan_out * weight_bytes
    count[GRADED] += sent[GRADED] * fan_out
    count[UNARY] += sent[UNARY] * fan_out
    count[BITWISE] += sent[BITWISE] * fan_out
    count[CHANGED] += (sent[CHANGED] if kept else sent[GRADED]) * fan_out


@njit(cache=True, **LEAN)
def charge_each(row: Ints, t: int, fan_out: Ints, weight_bytes: int, neurons: Ints, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which neuron i of the source reaches fan_out[i] synapses."""
    first = row[FROM] + t * row[FROM_SLOT]
    code, change = neurons[CODE, first:], neurons[CHANGE, first:]
    for i in range(row[FROM_SIZE]):
        magnitude, reached = abs(np.int64(code[i])), fan_out[i]
        if magnitude:
            count[BYTES] += reached * weight_bytes
            count[GRADED] += reached
            count[UNARY] += reached * (1 if row[WIDE] else magnitude)
            count[BITWISE] += reached * (1 if row[WIDE] else ones(np.int32(magnitude)))
        if change[i] if row[KEPT] else magnitude:
            count[CHANGED] += reached


@njit(cache=True, inline="always", **LEAN)
def source(row: Ints, t: int, token: int, neurons: Ints, count: Ints) -> None:
    """Present a token (one event), or the codes that the caller has written where token < 0."""
    if token < 0:
        emit(row, t, np.int64(0), row[SIZE], neurons, count)
        return
    first, slot = row[INTO] + t * row[INTO_SLOT], row[INTO_SLOT]
    code, change, event = neurons[CODE], neurons[CHANGE], neurons[EVENT]
    last, held = event[first], np.int64(neurons[PREVIOUS, first + event[first]])  # the token of this slot
    code[first + last] = 0
    if t > 0:
        last, held = event[first - slot], 1  # the token before
    changed = 0 if held == 1 and last == token else 1 + held  # one on, one off
    if t == 0:
        neurons[PREVIOUS, first + last] = 0
        neurons[PREVIOUS, first + token] = 1
    code[first + token] = 1
    event[first], neurons[PAYLOAD, first] = token, 1
    if row[MARKED]:
        change[first : first + row[SIZE]] = 0
        change[first + last] = held == 1
        change[first + token] = changed > 0
    count[UPDATES] = count[GRADED] = count[UNARY] = count[BITWISE] = count[PEAK] = 1
    count[CHANGED] = changed


@njit(cache=True, inline="always", **LEAN)
def settle(row: Ints, t: int, position: int, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """Turn the drive of a population into codes and events of token t of a block; the drive is consumed."""
    opcode, at, size = row[OPCODE], row[CONSTANTS], row[SIZE]
    first, begin = row[INTO] + t * row[INTO_SLOT], row[FROM] + t * row[DRIVE_SLOT]
    drive, code = drives[begin : begin + size], neurons[CODE, first : first + size]
    if opcode == evaluate.SOFTMAX:
        heads, context, keys = constants[at + 1], constants[at + 2], position + 1
        for head in range(heads):
            start = head * context
            evaluate.softmax(constants, at, head, drive[start : start + keys], code[start : start + keys])
            drive[start : start + keys] = 0
            emit(row, t, start, keys, neurons, count)
        return
    if opcode == evaluate.THRESHOLD:
        evaluate.threshold(constants, at, drive, code)
    elif opcode == evaluate.RMS_NORM:
        evaluate.rms_norm(constants, at, drive, code)
    elif opcode == evaluate.GATE:
        evaluate.gate(constants, at, drive, drives[begin + size : begin + 2 * size], code)
    elif opcode == evaluate.PRODUCT_SUM:
        evaluate.product_sum(constants, at, drives[begin : begin + row[OPERANDS] * size], code)
    elif opcode == evaluate.POINTWISE:
        evaluate.pointwise(constants, at, drive, code)
    elif opcode == evaluate.GROUP_NORM:
        evaluate.group_norm(constants, at, drive, code)
    else:
        evaluate.accumulator(constants, at, drive, code)
    drives[begin : begin + row[OPERANDS] * size] = 0
    emit(row, t, np.int64(0), size, neurons, count)


@njit(cache=True, **LEAN)
def write(row: Ints, t: int, position: int, shape: Ints, memory: Ints, neurons: Ints) -> None:
    """Write the current token's key (one column per channel) or value (one row)."""
    _, groups, width, context = shape
    first = row[WRITER] + t * row[WRITER_SLOT]
    code = neurons[CODE, first : first + groups * width]
    for group in range(groups):
        codes = code[group * width : (group + 1) * width]
        if row[OPCODE] == deliver.KEY_MEMORY:
            for channel in range(width):
                memory[deliver.key_at(group, channel, position, width, context)] = codes[channel]
        else:
            begin = (group * context + position) * width
            for channel in range(width):
                memory[begin + channel] = codes[channel]


@njit(cache=True, **LEAN)
def rest(looks: int) -> None:
    """Wait a moment between two looks at a signal; after many, leave the core to others."""
    if looks < SPINS:
        pause()
    else:
        leave()


@njit(cache=True, **LEAN)
def add_in_turn(own: Ints, signals: Ints, drive: Ints) -> None:
    """drive += own, while no other thread does."""
    looks = 0
    while not exchange(signals, ADDING, np.int64(0), np.int64(1)):
        looks += 1
        rest(looks)
    for i in range(own.size):
        drive[i] += own[i]
    release(signals, ADDING, np.int64(0))


@njit(cache=True, **LEAN)
def carry_rows(row: Ints, sent: Ints, tokens: int, thread: int, part: int, parts: int, tables: Tables) -> None:
    """Deliver the events of a block's tokens through constant rows of weights: one part of the events or columns.

    sent: (tokens, COUNTERS) what the source has sent. thread: whose scratch to use.
    """
    stand_alone()
    at, weights, constants = row[CONSTANTS], tables.weights[row[WEIGHTS] :], tables.constants
    bits, width, gains = constants[at], constants[at + 1], constants[at + 2] * row[SIZE]
    gain, first = constants[at + 3 : at + 3 + gains], row[FROM]
    event, payload = tables.neurons[EVENT, first:], tables.neurons[PAYLOAD, first:]
    scratch, drives = tables.scratch[thread], tables.drives[row[INTO] :]
    peak, sum_of_events = 0, 0
    for t in range(tokens):
        peak = max(peak, sent[t, PEAK])
        sum_of_events += sent[t, GRADED]
    few = tokens > 1 and tables.program[row[FROM_ROW], HEARD] and 4 * sum_of_events < row[FROM_SIZE]
    if peak > rows.LARGEST or few:
        for t in range(tokens if part == 0 else 0):
            events, begin = sent[t, GRADED], t * row[FROM_SLOT]
            drive = drives[t * row[DRIVE_SLOT] : t * row[DRIVE_SLOT] + row[SIZE]]
            deliver.dense(
                event[begin : begin + events], payload[begin : begin + events], np.int64(0), weights, width, bits,
                gain, scratch, drive,
            )  # fmt: skip
        return
    room = (row[FROM_SIZE] + rows.GROUP - 1) // rows.GROUP * rows.GROUP
    chosen, codes = scratch[:room], scratch[room : room + room * tokens // 4].view(np.int8)
    if tokens == 1:
        whole = rows.gather_codes(tables.neurons[CODE, first : first + row[FROM_SIZE]], chosen, codes)
    else:
        whole = rows.gather_tokens(
            tables.neurons[CODE, first:], row[FROM_SLOT], row[FROM_SIZE], tokens, chosen, codes
        )  # fmt: skip
    blocks = (min(width, row[SIZE]) + rows.BLOCK - 1) // rows.BLOCK
    if parts > 1 and tokens == 1 and blocks * rows.BLOCK <= rows.WHOLE:
        extent = (np.int64(1), np.int64(0), blocks * rows.BLOCK, row[SIZE], np.int64(0))
        groups = whole // rows.GROUP
        begin, end = groups * part // parts * rows.GROUP, groups * (part + 1) // parts * rows.GROUP
        own, total = scratch[scratch.size - row[SIZE] :], scratch[rows.sums_at(room, tokens) : scratch.size - row[SIZE]]
        own[:] = 0
        deliver.weigh(
            chosen[begin:end], end - begin, weights, width, bits, codes[begin:end], gain, extent, total, own
        )  # fmt: skip
        add_in_turn(own, tables.signals, drives)
        return
    begin, end = blocks * part // parts * rows.BLOCK, blocks * (part + 1) // parts * rows.BLOCK
    extent = (tokens, begin, end, row[SIZE], row[DRIVE_SLOT])
    total = scratch[rows.sums_at(room, tokens) :]
    deliver.weigh(chosen, whole, weights, width, bits, codes, gain, extent, total, drives)


@njit(cache=True, inline="always", **LEAN)
def carry_unevenly(row: Ints, t: int, event: Ints, payload: Ints, drive: Ints, tables: Tables, count: Ints) -> None:
    """Deliver through a convolution, or synapses that were not pruned, each read with its target; and count them."""
    constants, sources, scratch = tables.constants[row[CONSTANTS] :], row[FROM_SIZE], tables.scratch[0]
    weights, weight_bytes = tables.weights[row[WEIGHTS] :], np.int64(1)
    if row[OPCODE] == deliver.CONVOLUTION:
        deliver.convolution(event, payload, event.size, constants[sources:], weights, scratch, drive)
    else:
        synapses, weight_bytes = constants[sources], 1 + constants[sources + 1]
        begins = constants[sources + 2 : 2 * sources + 3 + row[SIZE]]
        deliver.sparse(event, payload, event.size, synapses, begins, weights, scratch, drive)
    charge_each(row, t, constants[:sources], weight_bytes, tables.neurons, count)


@njit(cache=True, inline="always", **LEAN)
def carry_written(
    row: Ints, t: int, position: int, event: Ints, payload: Ints, drive: Ints, tables: Tables
) -> int:  # fmt: skip
    """Deliver through a memory, once the newest key or value is written. returns: synapses that an event passes."""
    shape, cells, scratch = tables.constants[row[CONSTANTS] :][:4], tables.memory[row[WEIGHTS] :], tables.scratch[0]
    write(row, t, position, shape, cells, tables.neurons)
    if row[OPCODE] == deliver.KEY_MEMORY:
        deliver.read_keys(event, payload, shape, position + 1, cells, scratch, drive)
        return position + 1
    deliver.read_values(event, payload, shape, cells, scratch, drive)
    return int(shape[2])


@njit(cache=True, inline="always", **LEAN)
def carry(row: Ints, t: int, position: int, tables: Tables, sent: Ints, count: Ints) -> None:
    """Deliver the events of token t of a block through one projection, and count its synaptic operations."""
    opcode, at, first, kept = row[OPCODE], row[CONSTANTS], row[FROM] + t * row[FROM_SLOT], row[KEPT] != 0
    constants, neurons, events = tables.constants, tables.neurons, sent[GRADED]
    event, payload = neurons[EVENT, first : first + events], neurons[PAYLOAD, first : first + events]
    begin = row[INTO] + t * row[DRIVE_SLOT]
    drive = tables.drives[begin : begin + row[SIZE]]
    code = neurons[CODE, first : first + row[FROM_SIZE]]  # all of them at once, where an event is one sum or two
    fan_out, weight_bytes = np.int64(1), np.int64(0)
    if opcode == deliver.ONE_TO_ONE:
        for i in range(drive.size):
            drive[i] += code[i]
    elif opcode == deliver.ROTARY:
        deliver.rotary_whole(code, constants, at, position, drive)
        fan_out, weight_bytes = np.int64(2), np.int64(2)  # table entries of 16 bits
    elif opcode == deliver.DIAGONAL:
        deliver.diagonal(event, payload, events, constants[at : at + row[SIZE]], drive)
        weight_bytes = np.int64(4)
    elif opcode == deliver.BROADCAST:
        deliver.broadcast(event, payload, events, constants[at], constants[at + 1], drive)
        fan_out = constants[at]
    elif opcode == deliver.BILINEAR:
        written = neurons[CODE, row[WRITER] + t * row[WRITER_SLOT] :]
        deliver.bilinear(event, payload, events, constants[at : at + 2], written, drive)
        fan_out, weight_bytes = constants[at], np.int64(2)
    elif opcode == deliver.POSITION:
        table_row = tables.weights[row[WEIGHTS] + position * row[SIZE] :][: row[SIZE]]
        deliver.position_row(payload, events, table_row, constants[at : at + row[SIZE]], drive)
        fan_out, weight_bytes = row[SIZE], np.int64(1)
    elif opcode == deliver.CONVOLUTION or opcode == deliver.SPARSE:
        carry_unevenly(row, t, event, payload, drive, tables, count)
        return
    else:
        fan_out, weight_bytes = carry_written(row, t, position, event, payload, drive, tables), np.int64(1)
    charge(sent, fan_out, weight_bytes, kept, count)


@njit(cache=True, **LEAN)
def take_part(thread: int, parts: int, tables: Tables) -> bool:
    """Run one part of the delivery on offer, if one is left. returns: whether there was one."""
    signals, offer = tables.signals, acquire(tables.signals, OFFER)
    part = offer & 0xFFFF
    if part >= parts:
        return False
    if exchange(signals, OFFER, offer, offer + 1):
        row = tables.program[offer >> 16 & 0xFFFF]
        carry_rows(row, tables.counts[:, row[FROM_ROW]], signals[TOKENS], thread, part, parts, tables)
        increment(signals, DONE)
    return True


@njit(cache=True, **LEAN)
def share(row: Ints, tokens: int, threads: int, tables: Tables) -> None:
    """Offer a delivery to the other threads, take part, and wait until all of it is done."""
    signals, parts = tables.signals, PARTS * threads
    signals[TOKENS] = tokens
    signals[TURN] += 1
    release(signals, DONE, np.int64(0))
    release(signals, OFFER, signals[TURN] << 32 | row[ROW] << 16)
    while take_part(np.int64(0), parts, tables):
        pass
    looks = 0
    while acquire(signals, DONE) < parts:
        looks += 1
        rest(looks)


@njit(cache=True, nogil=True, **LEAN)
def assist(thread: int, threads: int, tables: Tables) -> None:
    """What another thread does: take part in deliveries, until there has been nothing to do for a while."""
    looks = 0
    while looks < LOOKS:
        if take_part(thread, PARTS * threads, tables):
            looks = 0
        else:
            rest(looks)
        looks += 1


@njit(cache=True, inline="always", **LEAN)
def shared(r: int, tokens: int, threads: int, tables: Tables) -> None:
    """Deliver row r, together with the other threads where it is large, and count its synaptic operations."""
    row, counts = tables.program[r], tables.counts
    if row[SHARED] and threads > 1:
        share(row, tokens, threads, tables)
    else:
        carry_rows(row, counts[:, row[FROM_ROW]], tokens, np.int64(0), np.int64(0), np.int64(1), tables)
    width = tables.constants[row[CONSTANTS] + 1]
    for t in range(tokens):
        count, sent = counts[t, row[ROW]], counts[t, row[FROM_ROW]]
        charge(sent, row[SIZE], np.int64(0), row[KEPT] != 0, count)
        count[BYTES] += sent[GRADED] * width


@njit(cache=True, inline="always", **LEAN)
def step(r: int, t: int, token: int, position: int, tables: Tables) -> None:
    """Run row r for token t of a block."""
    row, counts = tables.program[r], tables.counts[t]
    count, sent = counts[row[ROW]], counts[row[FROM_ROW]]
    if row[OPCODE] == evaluate.SOURCE:
        source(row, t, token, tables.neurons, count)
    elif row[OPCODE] < deliver.DENSE:
        settle(row, t, position, tables.constants, tables.drives, tables.neurons, count)
    else:
        carry(row, t, position, tables, sent, count)
        if row[WRITER_ROW] >= 0:
            count[WRITES] = counts[row[WRITER_ROW], GRADED]


@njit(cache=True, **LEAN)
def batched(row: Ints) -> bool:
    """Whether all tokens of a block take this delivery at once."""
    return bool(row[OPCODE] in BATCHED)


@njit(cache=True, **LEAN)
def keep_last(order: Ints, tokens: int, tables: Tables) -> None:
    """Move what the last token of a block has left to the first slot, where the next token looks for it."""
    neurons = tables.neurons
    for k in range(order.size):
        row = tables.program[order[k]]
        if row[OPCODE] < deliver.DENSE and row[INTO_SLOT] > 0:
            first, size = row[INTO], row[SIZE]
            last = first + (tokens - 1) * row[INTO_SLOT]
            for line in (CODE, EVENT, PAYLOAD, CHANGE):
                copy(neurons[line, last : last + size], neurons[line, first : first + size])
            copy(neurons[CODE, first : first + size], neurons[PREVIOUS, first : first + size])


@njit(cache=True, nogil=True, **LEAN)
def run(tokens: Ints, position: int, order: Ints, threads: int, tables: Tables) -> None:
    """Run rows of the program, in their order, for a block of tokens.

    tokens: their numbers; -1: the caller has written codes. order: (rows,) numbers of the rows to run, ascending.
    """
    program, block = tables.program, tokens.size
    tables.counts[:block] = 0
    k = np.int64(0)
    while k < order.size:
        if batched(program[order[k]]):
            shared(order[k], block, threads, tables)
            k += 1
            continue
        end = k
        while end < order.size and not batched(program[order[end]]):
            end += 1
        for t in range(block):
            for r in order[k:end]:
                step(r, t, tokens[t], position + t, tables)
        k = end
    if block > 1:
        keep_last(order, block, tables)
