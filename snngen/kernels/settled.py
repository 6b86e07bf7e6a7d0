"""The settled kernel: one compiled call runs a whole token, population by population.

A network is a table of rows (`program`), one per operation, in the order in which they run: a *delivery* adds the
events of a settled population to the drive of another, a *settling* turns drive into codes. All arrays are flat:

    program    (rows, COLUMNS) int64   what to do, and where its data begin
    weights    (bytes,) int8           constant weights, one row per source neuron
    constants  (m,) int64              thresholds, gains, tables
    memory     (bytes,) int8           written weights (keys and values)
    drives     (d,) int64              accumulated drive, zero between tokens
    neurons    (3, n) int32            CODE, PREVIOUS code, and the EVENT list (indices of non-zero codes)
    scratch    (w,) int32              row sums under way
    counts     (rows, COUNTERS) int64  what was done: the ledger's raw material

Every branch stands in this one file because Numba's cache does not notice a change in a callee of another file.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Opcodes: settlings
SOURCE, THRESHOLD, ACCUMULATOR, RMS_NORM, SOFTMAX, GATE = range(6)
# Opcodes: deliveries
DENSE, ONE_TO_ONE, ROTARY, KEY_MEMORY, VALUE_MEMORY = range(16, 21)

# Columns of a program row
OPCODE, ROW, FROM, FROM_SIZE, FROM_ROW, INTO, INTO_SIZE, WEIGHTS, CONSTANTS, SECOND, WRITER, WRITER_ROW = range(12)
COLUMNS = 12

# Columns of the counts. Settlings: neurons updated, then events under each code, then the largest code.
# Deliveries: bytes of weights read, then synaptic operations under each code, then weights written.
UPDATES, GRADED, UNARY, BITWISE, CHANGED, PEAK = range(6)
BYTES, WRITES = UPDATES, PEAK
COUNTERS = 6

# Rows of `neurons`
CODE, PREVIOUS, EVENT = range(3)


@njit(cache=True)
def ones(value: int) -> int:  # number of one bits of a non-negative int32
    value = value - ((value >> 1) & 0x55555555)
    value = (value & 0x33333333) + ((value >> 2) & 0x33333333)
    value = (value + (value >> 4)) & 0x0F0F0F0F
    return (value * 0x01010101 & 0xFFFFFFFF) >> 24


@njit(cache=True)
def emit(first: int, start: int, size: int, wide: bool, neurons: Ints, count: Ints) -> None:
    """Turn the fresh codes of neurons start..start+size of the population at `first` into events; count them."""
    code, previous, event = neurons[CODE], neurons[PREVIOUS], neurons[EVENT]
    active, unary, bitwise, changed, peak = count[GRADED], 0, 0, 0, count[PEAK]
    for i in range(start, start + size):
        value = code[first + i]
        changed += value != previous[first + i]
        previous[first + i] = value
        if value != 0:
            event[first + active] = i
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
def charge(sent: Ints, fan_out: int, persistent: bool, count: Ints) -> None:
    """Count the synaptic operations of a delivery in which every event reaches `fan_out` synapses."""
    count[GRADED] += sent[GRADED] * fan_out
    count[UNARY] += sent[UNARY] * fan_out
    count[BITWISE] += sent[BITWISE] * fan_out
    count[CHANGED] += (sent[CHANGED] if persistent else sent[GRADED]) * fan_out


@njit(cache=True)
def source(row: Ints, token: int, neurons: Ints, count: Ints) -> None:
    """Present a token (one event), or the codes that the caller has written where token < 0."""
    first, size = row[INTO], row[INTO_SIZE]
    if token < 0:
        emit(first, 0, size, False, neurons, count)
        return
    last = neurons[EVENT, first]
    neurons[CODE, first + last] = 0
    neurons[CODE, first + token] = 1
    changed = 0 if neurons[PREVIOUS, first + token] == 1 else 1 + neurons[PREVIOUS, first + last]  # one on, one off
    neurons[PREVIOUS, first + last] = 0
    neurons[PREVIOUS, first + token] = 1
    neurons[EVENT, first] = token
    count[UPDATES] = count[GRADED] = count[UNARY] = count[BITWISE] = count[PEAK] = 1
    count[CHANGED] = changed


@njit(cache=True, error_model="numpy")
def threshold(row: Ints, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """code = clip(floor((drive + bias + theta // 2) / theta), low, high); the drive is consumed."""
    at, size, begin, first = row[CONSTANTS], row[INTO_SIZE], row[FROM], row[INTO]
    low, high = constants[at], constants[at + 1]
    theta = constants[at + 2 : at + 2 + size]
    bias = constants[at + 2 + size : at + 2 + 2 * size]
    drive = drives[begin : begin + size]
    code = neurons[CODE, first : first + size]
    for j in range(size):
        potential = drive[j] + bias[j] + (theta[j] >> 1)
        # float64 floors this quotient exactly: both are integers and the numerator is below 2**52
        quotient = np.floor(np.float64(potential) / np.float64(theta[j]))
        code[j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))
        drive[j] = 0
    emit(first, 0, size, False, neurons, count)


@njit(cache=True)
def accumulator(row: Ints, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """potential = drive + bias; the drive is consumed."""
    at, size, begin, first = row[CONSTANTS], row[INTO_SIZE], row[FROM], row[INTO]
    for j in range(size):
        neurons[CODE, first + j] = drives[begin + j] + constants[at + j]
        drives[begin + j] = 0
    emit(first, 0, size, True, neurons, count)


@njit(cache=True)
def square_root(value: int) -> int:  # floor(sqrt(value)), exact for 0 <= value < 2**62
    root: int = np.int64(np.sqrt(np.float64(value)))
    if root * root > value:
        root -= 1
    if (root + 1) * (root + 1) <= value:
        root += 1
    return root


@njit(cache=True, error_model="numpy")
def rms_norm(row: Ints, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """A threshold made from the root mean square of the drive; the drive is consumed."""
    at, size, begin, first = row[CONSTANTS], row[INTO_SIZE], row[FROM], row[INTO]
    low, high, limit, shift, epsilon = constants[at : at + 5]
    gain = constants[at + 5 : at + 5 + size]
    squares = 0
    for j in range(size):
        x = min(max(drives[begin + j], -limit), limit)
        squares += x * x
    mean = ((squares // size) << shift) + ((squares % size) << shift) // size
    theta = max(1, square_root(mean + epsilon))
    half, divisor = theta >> 1, np.float64(theta)
    for j in range(size):
        x = min(max(drives[begin + j], -limit), limit)
        quotient = np.floor(np.float64(x * gain[j] + half) / divisor)  # exact: the numerator is below 2**52
        neurons[CODE, first + j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))
        drives[begin + j] = 0
    emit(first, 0, size, False, neurons, count)


@njit(cache=True, error_model="numpy")
def softmax(row: Ints, position: int, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """Attention probabilities of every head over the keys 0..position; the drive is overwritten at the next token."""
    at, begin, first = row[CONSTANTS], row[FROM], row[INTO]
    high, heads, context, shift, bits = constants[at : at + 5]
    multiplier = constants[at + 5 : at + 5 + heads]
    table = constants[at + 5 + heads : at + 5 + heads + (1 << bits)]
    mask, keys = (1 << bits) - 1, position + 1
    for head in range(heads):
        score = drives[begin + head * context : begin + head * context + keys]
        code = neurons[CODE, first + head * context : first + head * context + keys]
        top = score[0]
        for t in range(1, keys):
            top = max(top, score[t])
        total = 0
        for t in range(keys):
            x = (top - score[t]) * multiplier[head] >> shift
            score[t] = table[x & mask] >> min(x >> bits, 17)
            total += score[t]
        half, divisor = total >> 1, np.float64(total)
        for t in range(keys):
            code[t] = np.int32(np.floor(np.float64(high * score[t] + half) / divisor))  # exact, below 2**52
        emit(first, head * context, keys, False, neurons, count)


@njit(cache=True, error_model="numpy")
def gate(row: Ints, constants: Ints, drives: Ints, neurons: Ints, count: Ints) -> None:
    """code = threshold of table[gate] * value; both drives are consumed."""
    at, size, first = row[CONSTANTS], row[INTO_SIZE], row[INTO]
    begin, second = row[FROM], row[SECOND]
    low, high, lowest, entries = constants[at : at + 4]
    theta = constants[at + 4 : at + 4 + size]
    table = constants[at + 4 + size : at + 4 + size + entries]
    for j in range(size):
        product = table[drives[begin + j] - lowest] * drives[second + j]
        quotient = np.floor(np.float64(product + (theta[j] >> 1)) / np.float64(theta[j]))  # exact, below 2**52
        neurons[CODE, first + j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))
        drives[begin + j] = 0
        drives[second + j] = 0
    emit(first, 0, size, False, neurons, count)


@njit(cache=True)
def dense(
    row: Ints, weights: Ints, constants: Ints, drives: Ints, neurons: Ints, scratch: Ints, sent: Ints, count: Ints
) -> None:
    """Add the weight rows of all events, four at a time, then the gains."""
    size, events = row[INTO_SIZE], sent[GRADED]
    first, base, into, at = row[FROM], row[WEIGHTS], row[INTO], row[CONSTANTS]
    code, event = neurons[CODE], neurons[EVENT]
    total = scratch[:size]
    for j in range(size):
        total[j] = 0
    k = 0
    while k + 4 <= events:
        i0, i1, i2, i3 = event[first + k], event[first + k + 1], event[first + k + 2], event[first + k + 3]
        c0, c1, c2, c3 = code[first + i0], code[first + i1], code[first + i2], code[first + i3]
        w0 = weights[base + i0 * size : base + i0 * size + size]
        w1 = weights[base + i1 * size : base + i1 * size + size]
        w2 = weights[base + i2 * size : base + i2 * size + size]
        w3 = weights[base + i3 * size : base + i3 * size + size]
        for j in range(size):
            total[j] += np.int32(c0 * w0[j]) + np.int32(c1 * w1[j]) + np.int32(c2 * w2[j]) + np.int32(c3 * w3[j])
        k += 4
    while k < events:
        i0 = event[first + k]
        c0 = code[first + i0]
        w0 = weights[base + i0 * size : base + i0 * size + size]
        for j in range(size):
            total[j] += np.int32(c0 * w0[j])
        k += 1
    gain = constants[at : at + size]
    for j in range(size):
        drives[into + j] += gain[j] * total[j]
    charge(sent, size, True, count)
    count[BYTES] += events * size


@njit(cache=True)
def one_to_one(row: Ints, drives: Ints, neurons: Ints, sent: Ints, count: Ints) -> None:
    """Neuron i drives neuron i with weight 1."""
    first, into = row[FROM], row[INTO]
    for k in range(sent[GRADED]):
        i = neurons[EVENT, first + k]
        drives[into + i] += neurons[CODE, first + i]
    charge(sent, 1, True, count)


@njit(cache=True)
def rotary(row: Ints, position: int, constants: Ints, drives: Ints, neurons: Ints, sent: Ints, count: Ints) -> None:
    """Each event drives the two channels of its pair, by the cosine and the sine of its angle."""
    first, into, at = row[FROM], row[INTO], row[CONSTANTS]
    half, entries = constants[at : at + 2]
    begin = at + 2 + position * half
    cosine = constants[begin : begin + half]
    sine = constants[begin + entries : begin + entries + half]
    for k in range(sent[GRADED]):
        i = neurons[EVENT, first + k]
        value = np.int64(neurons[CODE, first + i])
        channel = i % (2 * half)
        pair = channel % half
        drives[into + i] += cosine[pair] * value
        if channel < half:
            drives[into + i + half] += sine[pair] * value
        else:
            drives[into + i - half] -= sine[pair] * value
    charge(sent, 2, False, count)
    count[BYTES] += sent[GRADED] * 4  # two 16-bit table entries


@njit(cache=True)
def write_keys(row: Ints, position: int, groups: int, width: int, context: int, memory: Ints, neurons: Ints) -> None:
    """Column `position` of every key channel: one stride per channel, so that a query event reads a stream."""
    base, writer = row[WEIGHTS], row[WRITER]
    for channel in range(groups * width):
        memory[base + channel * context + position] = neurons[CODE, writer + channel]


@njit(cache=True)
def key_memory(
    row: Ints,
    position: int,
    constants: Ints,
    memory: Ints,
    drives: Ints,
    neurons: Ints,
    scratch: Ints,
    sent: Ints,
    count: Ints,
) -> None:
    """Write the current key, then let every query event drive the scores of the keys 0..position."""
    at, base, first, into = row[CONSTANTS], row[WEIGHTS], row[FROM], row[INTO]
    heads, groups, width, context = constants[at : at + 4]
    write_keys(row, position, groups, width, context, memory, neurons)
    keys, events, k = position + 1, sent[GRADED], 0
    score = scratch[:keys]
    for head in range(heads):
        for t in range(keys):
            score[t] = 0
        group = head * groups // heads
        while k < events and neurons[EVENT, first + k] < (head + 1) * width:
            i = neurons[EVENT, first + k]
            value = neurons[CODE, first + i]
            begin = base + (group * width + i - head * width) * context
            key = memory[begin : begin + keys]
            for t in range(keys):
                score[t] += np.int32(value * key[t])
            k += 1
        for t in range(keys):
            drives[into + head * context + t] = score[t]
    charge(sent, keys, False, count)
    count[BYTES] += events * keys


@njit(cache=True)
def value_memory(
    row: Ints,
    position: int,
    constants: Ints,
    memory: Ints,
    drives: Ints,
    neurons: Ints,
    scratch: Ints,
    sent: Ints,
    count: Ints,
) -> None:
    """Write the current value, then let every probability event drive the channels of its head."""
    at, base, first, into = row[CONSTANTS], row[WEIGHTS], row[FROM], row[INTO]
    heads, groups, width, context = constants[at : at + 4]
    writer = row[WRITER]
    for group in range(groups):
        for d in range(width):
            memory[base + (group * context + position) * width + d] = neurons[CODE, writer + group * width + d]
    events, k = sent[GRADED], 0
    mixed = scratch[:width]
    for head in range(heads):
        for d in range(width):
            mixed[d] = 0
        group = head * groups // heads
        while k < events and neurons[EVENT, first + k] < (head + 1) * context:
            i = neurons[EVENT, first + k]
            share = neurons[CODE, first + i]
            begin = base + (group * context + i - head * context) * width
            value = memory[begin : begin + width]
            for d in range(width):
                mixed[d] += np.int32(share * value[d])
            k += 1
        for d in range(width):
            drives[into + head * width + d] += mixed[d]
    charge(sent, width, False, count)
    count[BYTES] += events * width


@njit(cache=True)
def run_token(
    program: Ints,
    weights: Ints,
    constants: Ints,
    token: int,
    position: int,
    memory: Ints,
    drives: Ints,
    neurons: Ints,
    scratch: Ints,
    counts: Ints,
) -> int:
    """Run every row of `program` once: one token. Returns 0, or 1 + the row whose opcode is unknown."""
    counts[:] = 0
    for r in range(program.shape[0]):
        row, count, sent = program[r], counts[program[r, ROW]], counts[program[r, FROM_ROW]]
        opcode = row[OPCODE]
        if opcode == DENSE:
            dense(row, weights, constants, drives, neurons, scratch, sent, count)
        elif opcode == THRESHOLD:
            threshold(row, constants, drives, neurons, count)
        elif opcode == ONE_TO_ONE:
            one_to_one(row, drives, neurons, sent, count)
        elif opcode == ACCUMULATOR:
            accumulator(row, constants, drives, neurons, count)
        elif opcode == RMS_NORM:
            rms_norm(row, constants, drives, neurons, count)
        elif opcode == ROTARY:
            rotary(row, position, constants, drives, neurons, sent, count)
        elif opcode == KEY_MEMORY:
            key_memory(row, position, constants, memory, drives, neurons, scratch, sent, count)
            count[WRITES] = counts[row[WRITER_ROW], GRADED]
        elif opcode == SOFTMAX:
            softmax(row, position, constants, drives, neurons, count)
        elif opcode == VALUE_MEMORY:
            value_memory(row, position, constants, memory, drives, neurons, scratch, sent, count)
            count[WRITES] = counts[row[WRITER_ROW], GRADED]
        elif opcode == GATE:
            gate(row, constants, drives, neurons, count)
        elif opcode == SOURCE:
            source(row, token, neurons, count)
        else:
            return r + 1
    return 0
