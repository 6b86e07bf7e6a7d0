"""Two binary heaps: events on their way, and the neurons that will cross their threshold by themselves.

*Events* are ordered by (tick, projection, neuron). *Crossings* hold every neuron at most once, ordered by
(tick, neuron); a neuron's tick can be changed in place, so that the heap is never larger than the network.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels.lean import LEAN

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]


@njit(cache=True, **LEAN)
def earlier(a: int, b: int, ticks: Ints, codes: Ints) -> bool:
    """True where entry a comes before entry b."""
    return bool(ticks[a] < ticks[b] or (ticks[a] == ticks[b] and codes[a] < codes[b]))


@njit(cache=True, **LEAN)
def swap(a: int, b: int, ticks: Ints, codes: Ints, worths: Floats) -> None:
    """Exchange two entries."""
    ticks[a], ticks[b] = ticks[b], ticks[a]
    codes[a], codes[b] = codes[b], codes[a]
    worths[a], worths[b] = worths[b], worths[a]


@njit(cache=True, **LEAN)
def push(tick: int, code: int, worth: float, size: int, ticks: Ints, codes: Ints, worths: Floats) -> None:
    """Add an event to a heap of `size` entries, which must have room. code: projection << 32 | neuron."""
    ticks[size], codes[size], worths[size] = tick, code, worth
    child = size
    while child > 0:
        parent = (child - 1) // 2
        if not earlier(child, parent, ticks, codes):
            break
        swap(child, parent, ticks, codes, worths)
        child = parent


@njit(cache=True, **LEAN)
def pop(size: int, ticks: Ints, codes: Ints, worths: Floats) -> None:
    """Take the first event out of a heap of `size` entries: it then stands behind the others, at size - 1."""
    swap(0, size - 1, ticks, codes, worths)
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and earlier(child + 1, child, ticks, codes):
            child += 1
        if not earlier(child, parent, ticks, codes):
            break
        swap(child, parent, ticks, codes, worths)
        parent = child


@njit(cache=True, **LEAN)
def sooner(a: int, b: int, due: Ints) -> bool:
    """True where neuron a crosses before neuron b."""
    return bool(due[a] < due[b] or (due[a] == due[b] and a < b))


@njit(cache=True, **LEAN)
def lift(at: int, heap: Ints, place: Ints, due: Ints) -> None:
    """Restore the order upwards from a position."""
    neuron = heap[at]
    while at > 0:
        parent = (at - 1) // 2
        if not sooner(neuron, heap[parent], due):
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = neuron
    place[neuron] = at


@njit(cache=True, **LEAN)
def sink(at: int, size: int, heap: Ints, place: Ints, due: Ints) -> None:
    """Restore the order downwards from a position."""
    neuron = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and sooner(heap[child + 1], heap[child], due):
            child += 1
        if not sooner(heap[child], neuron, due):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = neuron
    place[neuron] = at


@njit(cache=True, **LEAN)
def schedule(neuron: int, tick: int, size: int, heap: Ints, place: Ints, due: Ints) -> int:
    """Set when a neuron crosses, or that it does not (tick < 0).

    heap: (n,) int64 neurons; place: (n,) int64 position of each, -1 outside; due: (n,) int64 ticks.
    returns: the new size of the heap.
    """
    at = place[neuron]
    if tick < 0:
        if at >= 0:
            last = heap[size - 1]
            place[neuron] = -1
            size -= 1
            if at < size:
                heap[at] = last
                place[last] = at
                lift(at, heap, place, due)
                sink(place[last], size, heap, place, due)
        return size
    due[neuron] = tick
    if at < 0:
        at = size
        heap[at] = neuron
        place[neuron] = at
        size += 1
    lift(at, heap, place, due)
    sink(place[neuron], size, heap, place, due)
    return size
