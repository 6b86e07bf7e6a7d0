"""The settled kernel: one compiled call runs a whole token, population by population.

A network is a table of rows (`program`), one per operation, in the order in which they run: a *delivery* adds the
events of a settled population to the drive of another, a *settling* turns drive into codes. All arrays are flat:

    program    (rows, COLUMNS) int64   what to do, and where its data begin
    weights    (bytes,) int8           constant weights, one row per source neuron
    constants  (m,) int64              thresholds, gains, tables
    memory     (bytes,) int8           written weights (keys and values)
    drives     (d,) int32              accumulated drive; between tokens, that of delayed projections
    neurons    (5, n) int32            CODE, PREVIOUS code, the events: EVENT (neuron) and PAYLOAD, packed, and
                                       CHANGE: 1 where the code is another than the token before
    scratch    (w,) int32              row sums under way
    counts     (rows, COUNTERS) int64  what was done: the ledger's raw material

Numba's cache does not notice a change in a callee of another file (evaluate.py, deliver.py): after one, clear it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import deliver, evaluate

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Columns of a program row
# OPERANDS: of a population. WIDE: it gives potentials. FROM_SIZE: neurons that send. KEPT: `delta` sends changes only.
OPCODE, ROW, FROM, FROM_ROW, INTO, SIZE, WEIGHTS, CONSTANTS, OPERANDS, WRITER, WRITER_ROW = range(11)
WIDE, FROM_SIZE, KEPT = range(11, 14)
COLUMNS = 14

# Columns of the counts. Settlings: neurons updated, then events under each code, then the largest code.
# Deliveries: bytes of weights read, then synaptic operations under each code, then weights written.
UPDATES, GRADED, UNARY, BITWISE, CHANGED, PEAK = range(6)
BYTES, WRITES = UPDATES, PEAK
COUNTERS = 6

# Rows of `neurons`
CODE, PREVIOUS, EVENT, PAYLOAD, CHANGE = range(5)


@njit(cache=True)
def ones(value: int) -> int:
    """Number of one bits of a non-negative int32."""
    value = value - ((value >> 1) & 0x55555555)
    value = (value & 0x33333333) + ((value >> 2) & 0x33333333)
    value = (value + (value >> 4)) & 0x0F0F0F0F
    return (value * 0x01010101 & 0xFFFFFFFF) >> 24


@njit(cache=True)
def emit(first: int, start: int, size: int, wide: bool, neurons: Ints, count: Ints) -> None:
    """Turn the fresh codes of neurons start..start+size of the population at `first` into events; count them."""
    code, previous, event, payload = neurons[CODE], neurons[PREVIOUS], neurons[EVENT], neurons[PAYLOAD]
    active, unary, bitwise, changed, peak = count[GRADED], 0, 0, 0, count[PEAK]
    for i in range(start, start + size):
        value = code[first + i]
        neurons[CHANGE, first + i] = value != previous[first + i]
        changed += neurons[CHANGE, first + i]
        previous[first + i] = value
        if value != 0:
            event[first + active] = i
            payload[first + active] = value
            active += 1
            magnitude = abs(np.int64(value))
            unary += magnitude
            bitwise += ones(magnitude)
            peak = max(peak, magnitude)
    events = active - count[GRADED]
    count[UPDATES] += size
    count[GRADED] = active
    count[UNARY] += events if wide else unary  # a potential has no code: it is sent as one graded event
    count[BITWISE] += events if wide else bitwise
    count[CHANGED] += changed
    count[PEAK] = peak


@njit(cache=True)
def charge(sent: Ints, fan_out: int, weight_bytes: int, kept: bool, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which every event reaches `fan_out` synapses."""
    count[BYTES] += sent[GRADED] * fan_out * weight_bytes
    count[GRADED] += sent[GRADED] * fan_out
    count[UNARY] += sent[UNARY] * fan_out
    count[BITWISE] += sent[BITWISE] * fan_out
    count[CHANGED] += (sent[CHANGED] if kept else sent[GRADED]) * fan_out


@njit(cache=True)
def charge_each(row: Ints, fan_out: Ints, weight_bytes: int, neurons: Ints, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which neuron i of the source reaches fan_out[i] synapses."""
    code, change = neurons[CODE, row[FROM] :], neurons[CHANGE, row[FROM] :]
    for i in range(row[FROM_SIZE]):
        magnitude, reached = abs(np.int64(code[i])), fan_out[i]
        if magnitude:
            count[BYTES] += reached * weight_bytes
            count[GRADED] += reached
            count[UNARY] += reached * (1 if row[WIDE] else magnitude)
            count[BITWISE] += reached * (1 if row[WIDE] else ones(magnitude))
        if change[i] if row[KEPT] else magnitude:
            count[CHANGED] += reached


@njit(cache=True)
def source(row: Ints, token: int, neurons: Ints, count: Ints) -> None:
    """Present a token (one event), or the codes that the caller has written where token < 0."""
    first, size = row[INTO], row[SIZE]
    if token < 0:
        emit(first, 0, size, False, neurons, count)
        return
    neurons[CHANGE, first : first + size] = 0
    last = neurons[EVENT, first]
    neurons[CODE, first + last] = 0
    neurons[CODE, first + token] = 1
    changed = 0 if neurons[PREVIOUS, first + token] == 1 else 1 + neurons[PREVIOUS, first + last]  # one on, one off
    neurons[PREVIOUS, first + last] = 0
    neurons[PREVIOUS, first + token] = 1
    neurons[EVENT, first], neurons[PAYLOAD, first] = token, 1
    if changed:
        neurons[CHANGE, first + last] = neurons[CHANGE, first + token] = 1
    count[UPDATES] = count[GRADED] = count[UNARY] = count[BITWISE] = count[PEAK] = 1
    count[CHANGED] = changed


@njit(cache=True)
def settle(row: Ints, position: int, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """Turn the drive of a population into codes and events; the drive is consumed."""
    opcode, at, size, first, begin = row[OPCODE], row[CONSTANTS], row[SIZE], row[INTO], row[FROM]
    drive, code = drives[begin : begin + size], neurons[CODE, first : first + size]
    if opcode == evaluate.SOFTMAX:
        heads, context, keys = constants[at + 1], constants[at + 2], position + 1
        for head in range(heads):
            start = head * context
            evaluate.softmax(constants, at, head, drive[start : start + keys], code[start : start + keys])
            drive[start : start + keys] = 0
            emit(first, start, keys, False, neurons, count)
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
    emit(first, 0, size, row[WIDE] != 0, neurons, count)


@njit(cache=True)
def write(row: Ints, position: int, shape: Ints, memory: Ints, neurons: Ints) -> None:
    """Write the current token's key (one column per channel) or value (one row)."""
    _, groups, width, context = shape
    code = neurons[CODE, row[WRITER] : row[WRITER] + groups * width]
    for channel in range(groups * width):
        if row[OPCODE] == deliver.KEY_MEMORY:
            memory[channel * context + position] = code[channel]
        else:
            memory[((channel // width) * context + position) * width + channel % width] = code[channel]


@njit(cache=True)
def carry_compressed(
    row: Ints, weights: Ints, constants: Ints, drive: Ints, neurons: Ints, scratch: Ints, sent: Ints, count: Ints
) -> None:  # fmt: skip
    """Deliver through packed or sparse weights; a packed row is read as bytes, a sparse synapse with its target."""
    event, payload, events = neurons[EVENT, row[FROM] :], neurons[PAYLOAD, row[FROM] :], sent[GRADED]
    if row[OPCODE] == deliver.PACKED:
        deliver.packed(event, payload, events, constants[: 2 + row[SIZE]], weights, scratch, drive)
        charge(sent, row[SIZE], 0, row[KEPT] != 0, count)
        count[BYTES] += events * constants[1]
        return
    sources = row[FROM_SIZE]
    synapses, index_bytes = constants[sources], constants[sources + 1]
    rows = constants[sources + 2 : 2 * sources + 3 + row[SIZE]]
    deliver.sparse(event, payload, events, synapses, rows, weights, scratch, drive)
    charge_each(row, constants[:sources], 1 + index_bytes, neurons, count)


@njit(cache=True)
def carry(
    row: Ints, position: int, weights: Ints, constants: Ints, memory: Ints, drives: Ints, neurons: Ints,
    scratch: Ints, sent: Ints, count: Ints,
) -> None:  # fmt: skip
    """Deliver the events of a settled population through one projection, and count its synaptic operations."""
    opcode, at, begin, events, first = row[OPCODE], row[CONSTANTS], row[WEIGHTS], sent[GRADED], row[FROM]
    event, payload = neurons[EVENT, first:], neurons[PAYLOAD, first:]
    drive = drives[row[INTO] : row[INTO] + row[SIZE]]
    kept = row[KEPT] != 0
    if opcode == deliver.DENSE:
        deliver.dense(event, payload, events, weights[begin:], constants[at : at + row[SIZE]], scratch, drive)
        charge(sent, row[SIZE], 1, kept, count)
    elif opcode == deliver.ONE_TO_ONE:
        deliver.one_to_one(event, payload, events, drive)
        charge(sent, 1, 0, kept, count)
    elif opcode == deliver.ROTARY:
        deliver.rotary(event, payload, events, constants, at, position, drive)
        charge(sent, 2, 2, kept, count)  # table entries of 16 bits
    elif opcode == deliver.DIAGONAL:
        deliver.diagonal(event, payload, events, constants[at : at + row[SIZE]], drive)
        charge(sent, 1, 4, kept, count)
    elif opcode == deliver.BROADCAST:
        deliver.broadcast(event, payload, events, constants[at], constants[at + 1], drive)
        charge(sent, constants[at], 0, kept, count)
    elif opcode == deliver.BILINEAR:
        deliver.bilinear(event, payload, events, constants[at : at + 2], neurons[CODE, row[WRITER] :], drive)
        charge(sent, constants[at], 2, kept, count)
    elif opcode == deliver.POSITION:
        table_row = weights[begin + position * row[SIZE] : begin + (position + 1) * row[SIZE]]
        deliver.position_row(payload, events, table_row, constants[at : at + row[SIZE]], drive)
        charge(sent, row[SIZE], 1, kept, count)
    elif opcode == deliver.CONVOLUTION:
        shape = constants[at + row[FROM_SIZE] :]
        deliver.convolution(event, payload, events, shape, weights[begin:], scratch, drive)
        charge_each(row, constants[at : at + row[FROM_SIZE]], 1, neurons, count)
    elif opcode in (deliver.PACKED, deliver.SPARSE):
        carry_compressed(row, weights[begin:], constants[at:], drive, neurons, scratch, sent, count)
    else:
        shape, cells = constants[at : at + 4], memory[begin:]
        write(row, position, shape, cells, neurons)
        if opcode == deliver.KEY_MEMORY:
            deliver.read_keys(event, payload, events, shape, position + 1, cells, drive)
            charge(sent, position + 1, 1, kept, count)
        else:
            deliver.read_values(event, payload, events, shape, cells, drive)
            charge(sent, shape[2], 1, kept, count)


@njit(cache=True)
def run_token(
    program: Ints, weights: Ints, constants: Ints, token: int, position: int, memory: Ints, drives: Ints,
    neurons: Ints, scratch: Ints, counts: Ints,
) -> None:  # fmt: skip
    """Run every row of `program` once: one token."""
    counts[:] = 0
    for r in range(program.shape[0]):
        row = program[r]
        count, sent = counts[row[ROW]], counts[row[FROM_ROW]]
        if row[OPCODE] == evaluate.SOURCE:
            source(row, token, neurons, count)
        elif row[OPCODE] < deliver.DENSE:
            settle(row, position, constants, drives, neurons, count)
        else:
            carry(row, position, weights, constants, memory, drives, neurons, scratch, sent, count)
            if row[WRITER_ROW] >= 0:
                count[WRITES] = counts[row[WRITER_ROW], GRADED]
