"""What each synapse model does with events: payloads become drive. An event is a neuron and an integer payload.

`event` and `payload` hold the events of one population, `count` of them, in ascending order of neuron unless said
otherwise. Synapses are linear, so the sum is the same in whatever portions and order the payloads come.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import rows
from snngen.kernels.lean import LEAN
from snngen.kernels.machine import stand_alone

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Opcodes of the synapse models
DENSE, ONE_TO_ONE, ROTARY, KEY_MEMORY, VALUE_MEMORY = range(16, 21)
DIAGONAL, BROADCAST, BILINEAR, POSITION, CONVOLUTION, SPARSE, PACKED = range(21, 28)


@njit(cache=True, **LEAN)
def reached(event: Ints, count: int, fan_out: Ints) -> int:
    """Synapses that the events pass, where fan_out[i] belong to neuron i."""
    total = 0
    for k in range(count):
        total += fan_out[event[k]]
    return total


@njit(cache=True, **LEAN)
def add_one(row: int, worth: int, weights: Ints, total: Ints) -> None:
    """total += worth * weights[row:], in the type of `total`."""
    size = total.size
    w = weights[row * size : row * size + size]
    for j in range(size):
        total[j] += worth * w[j]


@njit(cache=True, **LEAN)
def collect(total: Ints, excess: int, gain: Ints, first: int, drive: Ints) -> None:
    """drive[first:] += gain * (total - excess), each sum wrapped to 32 bits. gain: (targets,), or none for ones."""
    into = drive[first : first + total.size]
    if gain.size == 0:
        for j in range(into.size):
            into[j] += np.int32(total[j] - excess)
        return
    gains = gain[first : first + total.size]
    for j in range(into.size):
        into[j] += np.int32(gains[j] * np.int32(total[j] - excess))


@njit(cache=True, **LEAN)
def weigh(
    chosen: Ints, whole: int, weights: Ints, width: int, bits: int, codes: Ints, gain: Ints, extent: tuple[int, ...],
    total: Ints, drives: Ints,
) -> None:  # fmt: skip
    """Add the rows of chosen events to the drives of one token, or of several.

    chosen, codes: see `rows.add`. gain: (targets,), or none for ones. extent: tokens, the first byte of the rows and
    the one after the last (in blocks), targets, and how far the drives of two tokens lie apart. total: room for sums.
    """
    stand_alone()
    tokens, begin, end, size, pitch = extent
    stretches = 8 // bits
    most = min(rows.WHOLE if end - begin <= rows.WHOLE else rows.TILE, total.size // (tokens * stretches))
    tile = max(rows.BLOCK, most // rows.BLOCK * rows.BLOCK)
    for first in range(begin, end, tile):
        length = min(tile, end - first)
        rows.add(chosen, whole, weights, width, bits, first, length, codes, tokens, total)
        for token in range(tokens):
            excess = rows.sum_of(codes, whole, token, tokens) << (bits - 1)
            drive = drives[token * pitch : token * pitch + size]
            for stretch in range(stretches):
                at = (token * stretches + stretch) * length
                count = min(length, width - first, size - stretch * width - first)
                if count > 0:
                    collect(total[at : at + count], excess, gain, stretch * width + first, drive)


@njit(cache=True, **LEAN)
def dense(
    event: Ints, payload: Ints, origin: int, weights: Ints, width: int, bits: int, gain: Ints, scratch: Ints,
    drive: Ints,
) -> None:  # fmt: skip
    """Add the weight rows of all events, then the gains.

    origin: the neuron to which the first row belongs. weights: flat int8, one row of `width` bytes per source, weights
    of `bits` bits in stretches. gain: (targets,), or none for ones. scratch: of `rows.scratch_size`.
    """
    stand_alone()
    count = event.size
    if count == 0:
        return
    length = min(width, drive.size)
    end = (length + rows.BLOCK - 1) // rows.BLOCK * rows.BLOCK
    whole = rows.GROUP * rows.fit(event, payload, origin, width, end, weights.size)
    if whole == 0:
        total = scratch[: 8 // bits * length]
        rows.plain(event, payload, origin, weights, width, bits, total)
        collect(total[: drive.size], 0, gain, 0, drive)
        return
    chosen, codes, total = (
        scratch[:whole],
        scratch[whole : whole + whole // 4].view(np.int8),
        scratch[rows.sums_at(whole, np.int64(1)) :],
    )
    rows.gather(event, payload, origin, chosen, codes)
    extent = (np.int64(1), np.int64(0), end, drive.size, np.int64(0))
    weigh(chosen, whole, weights, width, bits, codes, gain, extent, total, drive)


@njit(cache=True, **LEAN)
def one_to_one(event: Ints, payload: Ints, count: int, drive: Ints) -> None:
    """Neuron i drives neuron i with weight 1."""
    for k in range(count):
        drive[event[k]] += payload[k]


@njit(cache=True, **LEAN)
def rotary(event: Ints, payload: Ints, count: int, constants: Ints, at: int, position: int, drive: Ints) -> None:
    """Each event drives the two channels of its pair, by the cosine and the sine of its angle."""
    half, entries = constants[at : at + 2]
    begin = at + 2 + position * half
    cosine = constants[begin : begin + half]
    sine = constants[begin + entries : begin + entries + half]
    head = 0  # its first channel
    for k in range(count):
        i, value = event[k], np.int64(payload[k])
        if not head <= i < head + 2 * half:
            head = i // (2 * half) * 2 * half
        channel = i - head
        pair = channel if channel < half else channel - half
        drive[i] += cosine[pair] * value
        if channel < half:
            drive[i + half] += sine[pair] * value
        else:
            drive[i - half] -= sine[pair] * value


@njit(cache=True, **LEAN)
def rotary_whole(code: Ints, constants: Ints, at: int, position: int, drive: Ints) -> None:
    """What `rotary` does with the events of all codes: pairs turn, by their cosines and sines."""
    stand_alone()
    half, entries = constants[at], constants[at + 1]
    begin = at + 2 + position * half
    cosine, sine = constants[begin : begin + half], constants[begin + entries : begin + entries + half]
    for head in range(0, code.size, 2 * half):
        first, second = code[head : head + half], code[head + half : head + 2 * half]
        low, high = drive[head : head + half], drive[head + half : head + 2 * half]
        for pair in range(half):
            c, s = np.int32(cosine[pair]), np.int32(sine[pair])
            low[pair] += np.int32(c * first[pair]) - np.int32(s * second[pair])
            high[pair] += np.int32(c * second[pair]) + np.int32(s * first[pair])


@njit(cache=True, **LEAN)
def run_of(event: Ints, start: int, width: int) -> int:
    """Where the events end that lie, like event `start`, in one stretch of `width` neurons."""
    first = event[start] // width * width
    k = start + 1
    while k < event.size and first <= event[k] < first + width:
        k += 1
    return k


@njit(cache=True, **LEAN)
def key_at(group: int, channel: int, token: int, width: int, context: int) -> int:
    """Where a key lies in memory: (groups, blocks of tokens, width, a block's tokens), so that the newest are close."""
    blocks = (context + rows.BLOCK - 1) // rows.BLOCK
    return ((group * blocks + token // rows.BLOCK) * width + channel) * rows.BLOCK + token % rows.BLOCK


@njit(cache=True, **LEAN)
def read_keys(event: Ints, payload: Ints, shape: Ints, keys: int, memory: Ints, scratch: Ints, drive: Ints) -> None:
    """Every query event adds a stream of its channel over the keys 0..keys-1 to the scores of its head.

    shape: heads, groups, width, context. memory: see `key_at`. drive: (heads, context) flat.
    """
    stand_alone()
    heads, groups, width, context = shape
    start, block = 0, np.int64(rows.BLOCK)
    while start < event.size:
        end, head = run_of(event, start, width), event[start] // width
        events, payloads, score = event[start:end], payload[start:end], drive[head * context : head * context + keys]
        whole = rows.GROUP * rows.fit(events, payloads, head * width, block, block, width * block)
        chosen, codes = scratch[:whole], scratch[whole : whole + whole // 4].view(np.int8)
        if whole:
            rows.gather(events, payloads, head * width, chosen, codes)
        for first in range(0, keys, block):
            cells, part = (
                memory[key_at(head * groups // heads, 0, first, width, context) :],
                score[first : first + block],
            )
            if whole:
                extent = (np.int64(1), np.int64(0), block, part.size, np.int64(0))
                total = scratch[rows.sums_at(whole, np.int64(1)) :]
                weigh(chosen, whole, cells, block, np.int64(8), codes, shape[:0], extent, total, part)
            else:
                dense(events, payloads, head * width, cells, block, np.int64(8), shape[:0], scratch, part)
        start = end


@njit(cache=True, **LEAN)
def read_values(event: Ints, payload: Ints, shape: Ints, memory: Ints, scratch: Ints, drive: Ints) -> None:
    """Every probability event adds the value row of its token to the channels of its head.

    shape: heads, groups, width, context. memory: (groups, context, width) flat. drive: (heads, width) flat.
    """
    stand_alone()
    heads, groups, width, context = shape
    start = 0
    while start < event.size:
        end, head = run_of(event, start, context), event[start] // context
        cells, mixed = memory[head * groups // heads * context * width :], drive[head * width : (head + 1) * width]
        dense(
            event[start:end], payload[start:end], head * context, cells, width, np.int64(8), shape[:0], scratch, mixed
        )
        start = end


@njit(cache=True, **LEAN)
def diagonal(event: Ints, payload: Ints, count: int, weight: Ints, drive: Ints) -> None:
    """Neuron i drives neuron i with weight[i]."""
    for k in range(count):
        drive[event[k]] += np.int32(weight[event[k]] * payload[k])


@njit(cache=True, **LEAN)
def broadcast(event: Ints, payload: Ints, count: int, copies: int, width: int, drive: Ints) -> None:
    """Neuron (block, i) drives (block, copy, i) for every copy."""
    for k in range(count):
        begin = event[k] // width * copies * width + event[k] % width
        for copy in range(copies):
            drive[begin + copy * width] += payload[k]


@njit(cache=True, **LEAN)
def bilinear(event: Ints, payload: Ints, count: int, shape: Ints, written: Ints, drive: Ints) -> None:
    """Event (head, j) adds column j of the head's written matrix. shape: rows, columns. written: (head, i, j) flat."""
    stand_alone()
    rows, columns = shape
    for k in range(count):
        head, j = event[k] // columns, event[k] % columns
        for i in range(head * rows, (head + 1) * rows):
            drive[i] += np.int32(payload[k] * written[i * columns + j])


@njit(cache=True, **LEAN)
def position_row(payload: Ints, count: int, row: Ints, gain: Ints, drive: Ints) -> None:
    """Every event adds the row of weights of the token's position."""
    total = 0
    for k in range(count):
        total += payload[k]
    for j in range(drive.size):
        drive[j] += np.int32(gain[j] * row[j] * total)


@njit(cache=True, **LEAN)
def landing(place: int, tap: int, stride: int, padding: int, size: int, transposed: int) -> int:
    """Where a source at `place` of an axis drives through a tap, an offset in places; -1 where it reaches none."""
    if transposed:
        target = place * stride - padding + tap
        return target if 0 <= target < size else -1
    ahead = place + padding - tap
    return ahead // stride if ahead >= 0 and ahead % stride == 0 and ahead // stride < size else -1


@njit(cache=True, **LEAN)
def convolution(
    event: Ints, payload: Ints, count: int, shape: Ints, weights: Ints, scratch: Ints, drive: Ints
) -> None:  # fmt: skip
    """Every event adds the taps of its channel around its place; only taps that reach a target are read.

    shape: channels, height, width of the source and of the target, height and width of the kernel, stride (2), padding
    (2), dilation (2), groups, transposed, targets per gain, then the gains. weights: (channel, row, column, output of
    the group) flat. scratch: sums, channels last, so that a tap is a stream.
    """
    stand_alone()
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


@njit(cache=True, **LEAN)
def sparse(
    event: Ints, payload: Ints, count: int, synapses: int, begins: Ints, weights: Ints, scratch: Ints, drive: Ints
) -> None:  # fmt: skip
    """Every event visits the synapses of its row, then the gains.

    begins: where each source's synapses begin, one more entry for the end, then the gains (targets,). weights: flat
    int8, one per synapse, then from the next multiple of 4 on the targets as int32.
    """
    stand_alone()
    size = drive.size
    total, gain = scratch[:size], begins[begins.size - size :]
    begin = (synapses + 3) // 4 * 4
    target = weights[begin : begin + 4 * synapses].view(np.uint32)
    total[:] = 0
    for k in range(count):
        value, start, end = payload[k], begins[event[k]], begins[event[k] + 1]
        into, weight = target[start:end], weights[start:end]
        for s in range(end - start):
            total[into[s]] += value * weight[s]
    for j in range(size):
        drive[j] += gain[j] * total[j]
