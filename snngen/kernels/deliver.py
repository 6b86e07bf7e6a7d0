"""What each synapse model does with events: payloads become drive. An event is a neuron and an integer payload.

`event` and `payload` hold the events of one population, `count` of them, in ascending order of neuron unless said
otherwise. Synapses are linear, so the sum is the same in whatever portions and order the payloads come.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Opcodes of the synapse models
DENSE, ONE_TO_ONE, ROTARY, KEY_MEMORY, VALUE_MEMORY = range(16, 21)
DIAGONAL, BROADCAST, BILINEAR, POSITION, CONVOLUTION, SPARSE, PACKED = range(21, 28)


@njit(cache=True)
def largest(payload: Ints, count: int) -> int:
    """Largest magnitude of the payloads."""
    peak = 0
    for k in range(count):
        peak = max(peak, abs(np.int64(payload[k])))
    return peak


@njit(cache=True)
def reached(event: Ints, count: int, fan_out: Ints) -> int:
    """Synapses that the events pass, where fan_out[i] belong to neuron i."""
    total = 0
    for k in range(count):
        total += fan_out[event[k]]
    return total


@njit(cache=True)
def add_four(row: Ints, worth: Ints, weights: Ints, total: Ints) -> None:
    """total += worth[0] * weights[row[0]:] + ... of four rows, in the type of `total`."""
    size = total.size
    c0, c1, c2, c3 = worth[0], worth[1], worth[2], worth[3]
    w0, w1 = weights[row[0] * size : row[0] * size + size], weights[row[1] * size : row[1] * size + size]
    w2, w3 = weights[row[2] * size : row[2] * size + size], weights[row[3] * size : row[3] * size + size]
    for j in range(size):
        total[j] += c0 * w0[j] + c1 * w1[j] + c2 * w2[j] + c3 * w3[j]


@njit(cache=True)
def add_one(row: int, worth: int, weights: Ints, total: Ints) -> None:
    """total += worth * weights[row:], in the type of `total`."""
    size = total.size
    w = weights[row * size : row * size + size]
    for j in range(size):
        total[j] += worth * w[j]


@njit(cache=True)
def add_rows(event: Ints, payload: Ints, count: int, weights: Ints, total: Ints) -> None:
    """total = sum over events of payload * weight row, in the type of `total`, which must hold every partial sum."""
    total[:] = 0
    k = 0
    while k + 4 <= count:
        add_four(event[k : k + 4], payload[k : k + 4], weights, total)
        k += 4
    while k < count:
        add_one(event[k], payload[k], weights, total)
        k += 1


@njit(cache=True)
def dense(event: Ints, payload: Ints, count: int, weights: Ints, gain: Ints, scratch: Ints, drive: Ints) -> None:
    """Add the weight rows of all events, then the gains. weights: flat int8, one row per source.

    Small payloads (spikes of 1) are added in 16 bits, as many events at a time as surely fit: twice the lanes.
    scratch: at least twice as long as `drive`.
    """
    size = drive.size
    portion = 32767 // (128 * max(1, largest(payload, count)))
    if portion >= 32:
        short = scratch[size : size + (size + 1) // 2].view(np.int16)[:size]
        for k in range(0, count, portion):
            add_rows(event[k:], payload[k:], min(portion, count - k), weights, short)
            for j in range(size):
                drive[j] += gain[j] * short[j]
        return
    total = scratch[:size]
    add_rows(event, payload, count, weights, total)
    for j in range(size):
        drive[j] += gain[j] * total[j]


@njit(cache=True)
def one_to_one(event: Ints, payload: Ints, count: int, drive: Ints) -> None:
    """Neuron i drives neuron i with weight 1."""
    for k in range(count):
        drive[event[k]] += payload[k]


@njit(cache=True)
def rotary(event: Ints, payload: Ints, count: int, constants: Ints, at: int, position: int, drive: Ints) -> None:
    """Each event drives the two channels of its pair, by the cosine and the sine of its angle."""
    half, entries = constants[at : at + 2]
    begin = at + 2 + position * half
    cosine = constants[begin : begin + half]
    sine = constants[begin + entries : begin + entries + half]
    for k in range(count):
        i, value = event[k], np.int64(payload[k])
        channel = i % (2 * half)
        pair = channel % half
        drive[i] += cosine[pair] * value
        if channel < half:
            drive[i + half] += sine[pair] * value
        else:
            drive[i - half] -= sine[pair] * value


@njit(cache=True)
def read_keys(event: Ints, payload: Ints, count: int, shape: Ints, keys: int, memory: Ints, drive: Ints) -> None:
    """Every query event adds a stream of its channel over the keys 0..keys-1 to the scores of its head.

    shape: heads, groups, width, context. memory: (groups, width, context) flat. drive: (heads, context) flat.
    """
    heads, groups, width, context = shape
    for k in range(count):
        head, channel = event[k] // width, event[k] % width
        begin = ((head * groups // heads) * width + channel) * context
        key = memory[begin : begin + keys]
        score = drive[head * context : head * context + keys]
        value = payload[k]
        for t in range(keys):
            score[t] += np.int32(value * key[t])


@njit(cache=True)
def read_values(event: Ints, payload: Ints, count: int, shape: Ints, memory: Ints, drive: Ints) -> None:
    """Every probability event adds the value row of its token to the channels of its head.

    shape: heads, groups, width, context. memory: (groups, context, width) flat. drive: (heads, width) flat.
    """
    heads, groups, width, context = shape
    for k in range(count):
        head, token = event[k] // context, event[k] % context
        begin = ((head * groups // heads) * context + token) * width
        value = memory[begin : begin + width]
        mixed = drive[head * width : head * width + width]
        share = payload[k]
        for d in range(width):
            mixed[d] += np.int32(share * value[d])


@njit(cache=True)
def diagonal(event: Ints, payload: Ints, count: int, weight: Ints, drive: Ints) -> None:
    """Neuron i drives neuron i with weight[i]."""
    for k in range(count):
        drive[event[k]] += np.int32(weight[event[k]] * payload[k])


@njit(cache=True)
def broadcast(event: Ints, payload: Ints, count: int, copies: int, width: int, drive: Ints) -> None:
    """Neuron (block, i) drives (block, copy, i) for every copy."""
    for k in range(count):
        begin = event[k] // width * copies * width + event[k] % width
        for copy in range(copies):
            drive[begin + copy * width] += payload[k]


@njit(cache=True)
def bilinear(event: Ints, payload: Ints, count: int, shape: Ints, written: Ints, drive: Ints) -> None:
    """Event (head, j) adds column j of the head's written matrix. shape: rows, columns. written: (head, i, j) flat."""
    rows, columns = shape
    for k in range(count):
        head, j = event[k] // columns, event[k] % columns
        for i in range(head * rows, (head + 1) * rows):
            drive[i] += np.int32(payload[k] * written[i * columns + j])


@njit(cache=True)
def position_row(payload: Ints, count: int, row: Ints, gain: Ints, drive: Ints) -> None:
    """Every event adds the row of weights of the token's position."""
    total = 0
    for k in range(count):
        total += payload[k]
    for j in range(drive.size):
        drive[j] += np.int32(gain[j] * row[j] * total)


@njit(cache=True)
def landing(place: int, tap: int, stride: int, padding: int, size: int, transposed: int) -> int:
    """Where a source at `place` of an axis drives through a tap, an offset in places; -1 where it reaches none."""
    if transposed:
        target = place * stride - padding + tap
        return target if 0 <= target < size else -1
    ahead = place + padding - tap
    return ahead // stride if ahead >= 0 and ahead % stride == 0 and ahead // stride < size else -1


@njit(cache=True)
def convolution(
    event: Ints, payload: Ints, count: int, shape: Ints, weights: Ints, scratch: Ints, drive: Ints
) -> None:  # fmt: skip
    """Every event adds the taps of its channel around its place; only taps that reach a target are read.

    shape: channels, height, width of the source and of the target, height and width of the kernel, stride (2), padding
    (2), dilation (2), groups, transposed, targets per gain, then the gains. weights: (channel, row, column, output of
    the group) flat. scratch: sums, channels last, so that a tap is a stream.
    """
    channels, height, width, outputs, tall, wide, rows, columns = shape[:8]
    groups, transposed, each = shape[14:17]
    gain, within, places, total = shape[17:], outputs // groups, tall * wide, scratch[: drive.size]
    total[:] = 0
    for k in range(count):
        channel, place = event[k] // (height * width), event[k] % (height * width)
        value, first = payload[k], channel // (channels // groups) * within
        for row in range(rows):
            y = landing(place // width, row * shape[12], shape[8], shape[10], tall, transposed)
            if y < 0:
                continue
            for column in range(columns):
                x = landing(place % width, column * shape[13], shape[9], shape[11], wide, transposed)
                if x >= 0:
                    into, tap = (y * wide + x) * outputs + first, (channel * rows + row) * columns + column
                    add_one(tap, value, weights, total[into : into + within])
    for output in range(outputs):
        for at in range(places):
            target = output * places + at
            drive[target] += gain[target // each] * total[at * outputs + output]


@njit(cache=True)
def add_four_of_4_bits(row: Ints, worth: Ints, weights: Ints, width: int, total: Ints) -> None:
    """total += worth[0] * unpacked row[0] + ... of four rows of `width` bytes, both stretches (see `Packed`)."""
    c0, c1, c2, c3 = worth[0], worth[1], worth[2], worth[3]
    w0, w1 = weights[row[0] * width : row[0] * width + width], weights[row[1] * width : row[1] * width + width]
    w2, w3 = weights[row[2] * width : row[2] * width + width], weights[row[3] * width : row[3] * width + width]
    offset, t0, t1 = 8 * (c0 + c1 + c2 + c3), total[:width], total[width : 2 * width]
    for b in range(width):
        low = c0 * ((w0[b] & 15) ^ 8) + c1 * ((w1[b] & 15) ^ 8) + c2 * ((w2[b] & 15) ^ 8) + c3 * ((w3[b] & 15) ^ 8)
        t0[b] += low - offset
        t1[b] += c0 * (w0[b] >> 4) + c1 * (w1[b] >> 4) + c2 * (w2[b] >> 4) + c3 * (w3[b] >> 4)


@njit(cache=True)
def add_four_of_2_bits(row: Ints, worth: Ints, weights: Ints, width: int, total: Ints) -> None:
    """The same for the four stretches of rows of 2-bit weights."""
    c0, c1, c2, c3 = worth[0], worth[1], worth[2], worth[3]
    w0, w1 = weights[row[0] * width : row[0] * width + width], weights[row[1] * width : row[1] * width + width]
    w2, w3 = weights[row[2] * width : row[2] * width + width], weights[row[3] * width : row[3] * width + width]
    offset, t0, t1 = 2 * (c0 + c1 + c2 + c3), total[:width], total[width : 2 * width]
    t2, t3 = total[2 * width : 3 * width], total[3 * width : 4 * width]
    for b in range(width):
        x0, x1, x2, x3 = w0[b] ^ -86, w1[b] ^ -86, w2[b] ^ -86, w3[b] ^ -86  # every field plus 2
        t0[b] += c0 * (x0 & 3) + c1 * (x1 & 3) + c2 * (x2 & 3) + c3 * (x3 & 3) - offset
        t1[b] += c0 * (x0 >> 2 & 3) + c1 * (x1 >> 2 & 3) + c2 * (x2 >> 2 & 3) + c3 * (x3 >> 2 & 3) - offset
        t2[b] += c0 * (x0 >> 4 & 3) + c1 * (x1 >> 4 & 3) + c2 * (x2 >> 4 & 3) + c3 * (x3 >> 4 & 3) - offset
        t3[b] += c0 * (x0 >> 6 & 3) + c1 * (x1 >> 6 & 3) + c2 * (x2 >> 6 & 3) + c3 * (x3 >> 6 & 3) - offset


@njit(cache=True)
def add_packed(row: int, worth: int, weights: Ints, width: int, bits: int, total: Ints) -> None:
    """total += worth * one unpacked row, in the type of `total`."""
    w, t0, t1 = weights[row * width : row * width + width], total[:width], total[width : 2 * width]
    if bits == 4:
        for b in range(width):
            t0[b] += worth * (((w[b] & 15) ^ 8) - 8)
            t1[b] += worth * (w[b] >> 4)
        return
    t2, t3 = total[2 * width : 3 * width], total[3 * width : 4 * width]
    for b in range(width):
        t0[b] += worth * (((w[b] & 3) ^ 2) - 2)
        t1[b] += worth * (((w[b] >> 2 & 3) ^ 2) - 2)
        t2[b] += worth * (((w[b] >> 4 & 3) ^ 2) - 2)
        t3[b] += worth * (w[b] >> 6)


@njit(cache=True)
def add_packed_rows(
    event: Ints, payload: Ints, count: int, weights: Ints, width: int, bits: int, total: Ints
) -> None:  # fmt: skip
    """total = sum over events of payload * unpacked row, in the type of `total`, which must hold every partial sum."""
    total[:] = 0
    k = 0
    while k + 4 <= count:
        if bits == 4:
            add_four_of_4_bits(event[k : k + 4], payload[k : k + 4], weights, width, total)
        else:
            add_four_of_2_bits(event[k : k + 4], payload[k : k + 4], weights, width, total)
        k += 4
    while k < count:
        add_packed(event[k], payload[k], weights, width, bits, total)
        k += 1


@njit(cache=True)
def packed(
    event: Ints, payload: Ints, count: int, shape: Ints, weights: Ints, scratch: Ints, drive: Ints
) -> None:  # fmt: skip
    """Add the rows of all events, unpacked on the way, then the gains.

    shape: bits, bytes of a row, then the gains. Sums of 16 bits hold 32 events of 8-bit codes at a time, or more.
    """
    bits, width, gain = shape[0], shape[1], shape[2:]
    padded = 8 // bits * width
    portion = 32767 // ((1 << (bits - 1)) * max(1, largest(payload, count)))
    if portion >= 8:
        short = scratch[: (padded + 1) // 2].view(np.int16)[:padded]
        for k in range(0, count, portion):
            add_packed_rows(event[k:], payload[k:], min(portion, count - k), weights, width, bits, short)
            for j in range(drive.size):
                drive[j] += gain[j] * short[j]
        return
    total = scratch[:padded]
    add_packed_rows(event, payload, count, weights, width, bits, total)
    for j in range(drive.size):
        drive[j] += gain[j] * total[j]


@njit(cache=True)
def sparse(
    event: Ints, payload: Ints, count: int, synapses: int, rows: Ints, weights: Ints, scratch: Ints, drive: Ints
) -> None:  # fmt: skip
    """Every event visits the synapses of its row, then the gains.

    rows: where each source's synapses begin, one more entry for the end, then the gains (targets,). weights: flat
    int8, one per synapse, then from the next multiple of 4 on the targets as int32.
    """
    size = drive.size
    total, gain = scratch[:size], rows[rows.size - size :]
    begin = (synapses + 3) // 4 * 4
    target = weights[begin : begin + 4 * synapses].view(np.uint32)
    total[:] = 0
    for k in range(count):
        value, start, end = payload[k], rows[event[k]], rows[event[k] + 1]
        into, weight = target[start:end], weights[start:end]
        for s in range(end - start):
            total[into[s]] += value * weight[s]
    for j in range(size):
        drive[j] += gain[j] * total[j]
