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


@njit(cache=True)
def largest(payload: Ints, count: int) -> int:
    """Largest magnitude of the payloads."""
    peak = 0
    for k in range(count):
        peak = max(peak, abs(np.int64(payload[k])))
    return peak


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
