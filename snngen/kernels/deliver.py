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
def dense(event: Ints, payload: Ints, count: int, weights: Ints, gain: Ints, scratch: Ints, drive: Ints) -> None:
    """Add the weight rows of all events, four at a time, then the gains. weights: flat, one row per source."""
    size = drive.size
    total = scratch[:size]
    for j in range(size):
        total[j] = 0
    k = 0
    while k + 4 <= count:
        i0, i1, i2, i3 = event[k] * size, event[k + 1] * size, event[k + 2] * size, event[k + 3] * size
        c0, c1, c2, c3 = payload[k], payload[k + 1], payload[k + 2], payload[k + 3]
        w0, w1 = weights[i0 : i0 + size], weights[i1 : i1 + size]
        w2, w3 = weights[i2 : i2 + size], weights[i3 : i3 + size]
        for j in range(size):
            total[j] += np.int32(c0 * w0[j]) + np.int32(c1 * w1[j]) + np.int32(c2 * w2[j]) + np.int32(c3 * w3[j])
        k += 4
    while k < count:
        i0, c0 = event[k] * size, payload[k]
        w0 = weights[i0 : i0 + size]
        for j in range(size):
            total[j] += np.int32(c0 * w0[j])
        k += 1
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
