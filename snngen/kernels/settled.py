"""The settled kernel: one compiled call runs a whole token, population by population.

A network is a table of rows (`program`), one per operation, in the order in which they run: a *delivery* adds the
events of a settled population to the drive of another, a *settling* turns drive into codes. All arrays are flat:

    program    (rows, COLUMNS) int64   what to do, and where its data begin
    weights    (bytes,) int8           constant weights, one row per source neuron
    constants  (m,) int64              thresholds, gains, tables
    memory     (bytes,) int8           written weights (keys and values)
    drives     (d,) int32              accumulated drive, zero between tokens
    neurons    (4, n) int32            CODE, PREVIOUS code, and the events: EVENT (neuron) and PAYLOAD, packed
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
OPCODE, ROW, FROM, FROM_ROW, INTO, SIZE, WEIGHTS, CONSTANTS, SECOND, WRITER, WRITER_ROW = range(11)
COLUMNS = 11

# Columns of the counts. Settlings: neurons updated, then events under each code, then the largest code.
# Deliveries: bytes of weights read, then synaptic operations under each code, then weights written.
UPDATES, GRADED, UNARY, BITWISE, CHANGED, PEAK = range(6)
BYTES, WRITES = UPDATES, PEAK
COUNTERS = 6

# Rows of `neurons`
CODE, PREVIOUS, EVENT, PAYLOAD = range(4)


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
        changed += value != previous[first + i]
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
def charge(sent: Ints, fan_out: int, weight_bytes: int, persistent: bool, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which every event reaches `fan_out` synapses."""
    count[BYTES] += sent[GRADED] * fan_out * weight_bytes
    count[GRADED] += sent[GRADED] * fan_out
    count[UNARY] += sent[UNARY] * fan_out
    count[BITWISE] += sent[BITWISE] * fan_out
    count[CHANGED] += (sent[CHANGED] if persistent else sent[GRADED]) * fan_out


@njit(cache=True)
def source(row: Ints, token: int, neurons: Ints, count: Ints) -> None:
    """Present a token (one event), or the codes that the caller has written where token < 0."""
    first, size = row[INTO], row[SIZE]
    if token < 0:
        emit(first, 0, size, False, neurons, count)
        return
    last = neurons[EVENT, first]
    neurons[CODE, first + last] = 0
    neurons[CODE, first + token] = 1
    changed = 0 if neurons[PREVIOUS, first + token] == 1 else 1 + neurons[PREVIOUS, first + last]  # one on, one off
    neurons[PREVIOUS, first + last] = 0
    neurons[PREVIOUS, first + token] = 1
    neurons[EVENT, first], neurons[PAYLOAD, first] = token, 1
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
        second = drives[row[SECOND] : row[SECOND] + size]
        evaluate.gate(constants, at, drive, second, code)
        second[:] = 0
    else:
        evaluate.accumulator(constants, at, drive, code)
    drive[:] = 0
    emit(first, 0, size, opcode == evaluate.ACCUMULATOR, neurons, count)


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
def carry(
    row: Ints, position: int, weights: Ints, constants: Ints, memory: Ints, drives: Ints, neurons: Ints,
    scratch: Ints, sent: Ints, count: Ints,
) -> None:  # fmt: skip
    """Deliver the events of a settled population through one projection, and count its synaptic operations."""
    opcode, at, begin, events, first = row[OPCODE], row[CONSTANTS], row[WEIGHTS], sent[GRADED], row[FROM]
    event, payload = neurons[EVENT, first:], neurons[PAYLOAD, first:]
    drive = drives[row[INTO] : row[INTO] + row[SIZE]]
    if opcode == deliver.DENSE:
        deliver.dense(event, payload, events, weights[begin:], constants[at : at + row[SIZE]], scratch, drive)
        charge(sent, row[SIZE], 1, True, count)
    elif opcode == deliver.ONE_TO_ONE:
        deliver.one_to_one(event, payload, events, drive)
        charge(sent, 1, 0, True, count)
    elif opcode == deliver.ROTARY:
        deliver.rotary(event, payload, events, constants, at, position, drive)
        charge(sent, 2, 2, False, count)  # table entries of 16 bits
    else:
        shape, cells = constants[at : at + 4], memory[begin:]
        write(row, position, shape, cells, neurons)
        if opcode == deliver.KEY_MEMORY:
            deliver.read_keys(event, payload, events, shape, position + 1, cells, drive)
            charge(sent, position + 1, 1, False, count)
        else:
            deliver.read_values(event, payload, events, shape, cells, drive)
            charge(sent, shape[2], 1, False, count)


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
