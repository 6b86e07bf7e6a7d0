"""The continuous kernel: events in the order of their time stamps, membranes that are only looked at when reached.

One *moment* is a time stamp at which something happens: an event from outside, a delayed event that arrives, or a
neuron that crosses its threshold by itself. A moment delivers what arrives, then goes through the populations in
order: those that were reached test their thresholds, and what fires is sent on (without delay: to later populations,
in the same moment). Between moments nothing is computed: a membrane is brought up to date, exactly, when an event
reaches it (`kernels/crossing.py`). All state is in `Tables`; see `snngen/engines/continuous.py`, which lays it out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import queues
from snngen.kernels.crossing import NEVER, TABLE, decay, first_drifting, first_driven, first_leaky, response
from snngen.kernels.lean import LEAN

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# Columns of `populations`: what is constant, then what changes
FIRST, SIZE, OUTSIDE, LEAKS, SYNAPTIC, FIRES, SUBTRACTS, CROSSES, MEM, SYN, SENDS, SENT, RECORDED, WHOLE = range(14)
TOUCHED, EVENTS, UPDATES = range(14, 17)
POPULATION_COLUMNS = 17

# WHOLE: whatever reaches one neuron of the population reaches all, and they decay alike: `dense_leaky`

# Columns of `projections`, in the order of their sources
SOURCE, TARGET, KIND, DELAYED, DELAYS, DELAY_COUNT, INTEGERS, POINTERS, TARGETS, WEIGHTS, NUMBER, OPERATIONS = range(12)
PROJECTION_COLUMNS = 12

# Columns of `neurons`: what is constant, then what changes
THRESHOLD, RESET, SUBTRACTED, GAIN, TAU_MEM, TAU_SYN, RESISTANCE, DRIFT, U, CURRENT = range(10)
NEURON_COLUMNS = 10

# WORST: delayed events that the neurons can send in one moment; FORKS: those that one event from outside can

# Kinds of synapses
DENSE, SPARSE, CONVOLUTION, ONE_TO_ONE = range(4)

# Places in `clock`
INPUT, FLYING, CROSSING, ROWS, MOMENTS, WORST, FORKS, OUTPUTS, MOST_FLYING, NEEDED, RUNAWAY = range(11)
CLOCK = 11

DONE, RECORD_FULL, QUEUE_FULL, RAN_AWAY = range(4)
BLOCK = 32  # neurons that are compared at once
FEW = 32  # events of one tick that are ordered by insertion
MOST_AT_ONCE = 100_000  # spikes of one neuron in one moment


class Tables(NamedTuple):
    """All arrays of a network in the continuous engine.

    populations (p, 17), projections (q, 12), clock (11,) int64: see the columns above.
    neurons (10, n) float64: potentials are deviations from rest, times are ticks.
    last (n,) int64: when each neuron was brought up to date; ~start where it was not yet.
    touched, fired (n,) int32, worth (n,) float64: by population, the neurons of this moment, how often they fire.
    decays (rows, 2, 1024) float64: see `kernels/crossing.py`.
    integers, pointers, delays int64; targets int32; weights float64: of all synapses. delays are ticks.
    reached (m,) int32, jumps (m,) float64: scratch, the row of one source neuron.
    arriving (1,) int32, arriving_worth (1,) float64: scratch, an event that arrives.
    queue_ticks, queue_codes int64, queue_worths float64: events on their way.
    crossings, place, due (n,) int64: neurons that will cross by themselves.
    record_ticks int64, record (rows, 3) int32: what was fired: population, neuron, how often.
    """

    populations: Ints
    projections: Ints
    clock: Ints
    neurons: Floats
    last: Ints
    touched: Ints
    fired: Ints
    worth: Floats
    decays: Floats
    integers: Ints
    pointers: Ints
    delays: Ints
    targets: Ints
    weights: Floats
    reached: Ints
    jumps: Floats
    arriving: Ints
    arriving_worth: Floats
    queue_ticks: Ints
    queue_codes: Ints
    queue_worths: Floats
    crossings: Ints
    place: Ints
    due: Ints
    record_ticks: Ints
    record: Ints


@njit(cache=True, **LEAN)
def bring(k: int, ticks: int, pop: Ints, neurons: Floats, decays: Floats) -> None:
    """Let a neuron move freely for some ticks. k: its number in the network; pop: its population's row."""
    if pop[LEAKS] == 0:
        neurons[U, k] += neurons[DRIFT, k] * ticks
        return
    mem = decay(ticks, neurons[TAU_MEM, k], pop[MEM], decays)
    if pop[SYNAPTIC] == 0:
        neurons[U, k] *= mem
        return
    syn = decay(ticks, neurons[TAU_SYN, k], pop[SYN], decays)
    shape = response(ticks, neurons[TAU_MEM, k], neurons[TAU_SYN, k], mem, syn)
    neurons[U, k] = neurons[U, k] * mem + neurons[RESISTANCE, k] * neurons[CURRENT, k] * shape
    neurons[CURRENT, k] *= syn


@njit(cache=True, **LEAN)
def touch(reached: Ints, now: int, pop: Ints, neurons: Floats, last: Ints, touched: Ints, decays: Floats) -> None:
    """Bring neurons of a population up to date, and note those that were not yet in this moment."""
    first, count = pop[FIRST], pop[TOUCHED]
    for target in reached:
        k = first + target
        before = last[k]
        if before != now:
            bring(k, now - (before if before >= 0 else ~before), pop, neurons, decays)
            last[k] = now
            touched[first + count] = target
            count += 1
    pop[TOUCHED] = count


@njit(cache=True, **LEAN)
def receive(reached: Ints, jumps: Floats, worth: float, now: int, pop: Ints, t: Tables) -> None:
    """One event reaches a population: reached (m,) its neurons, jumps (m,) for a weight of 1."""
    touch(reached, now, pop, t.neurons, t.last, t.touched, t.decays)
    state = t.neurons[CURRENT if pop[SYNAPTIC] != 0 else U]
    for s in range(reached.size):
        state[pop[FIRST] + reached[s]] += jumps[s] * worth


@njit(cache=True, **LEAN)
def sparse_leaky(sources: Ints, worths: Floats, now: int, row: Ints, pop: Ints, t: Tables) -> None:
    """Events of (m,) sources with (m,) weights reach leaky neurons that share a time constant, by sparse synapses.

    The same as `receive` for each, in one loop.
    """
    outside = t.populations[row[SOURCE], OUTSIDE] != 0
    operations = 0
    first, tau, table, count = pop[FIRST], t.neurons[TAU_MEM, pop[FIRST]], t.decays[pop[MEM]], pop[TOUCHED]
    u = t.neurons[U, first : first + pop[SIZE]]
    last, touched = t.last[first : first + pop[SIZE]], t.touched[first : first + pop[SIZE]]
    pointers, targets, jumps = t.pointers[row[POINTERS] :], t.targets[row[TARGETS] :], t.weights[row[WEIGHTS] :]
    for event in range(sources.size):
        worth = worths[event]
        low, high = pointers[sources[event]], pointers[sources[event] + 1]
        operations += (high - low) if outside else (high - low) * int(worth)
        for s in range(low, high):
            target = targets[s]
            before = last[target]
            if before != now:
                ticks = now - (before if before >= 0 else ~before)
                if ticks < TABLE * TABLE:
                    u[target] *= table[0, ticks & (TABLE - 1)] * table[1, ticks >> 10]
                else:
                    u[target] *= math.exp(-ticks / tau)
                last[target] = now
                touched[count] = target
                count += 1
            u[target] += jumps[s] * worth
    pop[TOUCHED] = count
    row[OPERATIONS] += operations


@njit(cache=True, **LEAN)
def dense_leaky(sources: Ints, worths: Floats, now: int, row: Ints, pop: Ints, t: Tables) -> None:
    """Events of (m,) sources with (m,) weights reach all leaky neurons of a population that is WHOLE.

    The same as `receive` for each: one decay for all neurons, and loops that the compiler turns into vectors.
    """
    outside = t.populations[row[SOURCE], OUTSIDE] != 0
    first, size = pop[FIRST], pop[SIZE]
    u, last, touched = t.neurons[U, first : first + size], t.last[first : first + size], t.touched[first : first + size]
    before = last[0]
    if before != now:
        factor = decay(now - (before if before >= 0 else ~before), t.neurons[TAU_MEM, first], pop[MEM], t.decays)
        for target in range(size):
            u[target] *= factor
        for target in range(size):
            last[target] = now
            touched[target] = target
        pop[TOUCHED] = size
    operations = 0
    for event in range(sources.size):
        at, worth = row[WEIGHTS] + sources[event] * size, worths[event]
        jumps = t.weights[at : at + size]
        for target in range(size):
            u[target] += jumps[target] * worth
        operations += size if outside else size * int(worth)
    row[OPERATIONS] += operations


@njit(cache=True, **LEAN)
def convolution_row(neuron: int, integers: Ints, weights: Floats, gain: Floats, reached: Ints, jumps: Floats) -> int:
    """Targets and jumps of one source neuron of a convolution. integers: see its `constants`; gain: of the targets.

    returns: how many.
    """
    height, width, tall, wide = integers[0], integers[1], integers[2], integers[3]
    sides, inputs, outputs = (integers[10], integers[11]), integers[12], integers[13]
    channel, place = neuron // (height * width), neuron % (height * width)
    y, x = place // width + integers[6], place % width + integers[7]
    count = 0
    for ky in range(sides[0]):
        py = y - ky * integers[8]
        if py < 0 or py % integers[4] != 0 or py // integers[4] >= tall:
            continue
        for kx in range(sides[1]):
            px = x - kx * integers[9]
            if px < 0 or px % integers[5] != 0 or px // integers[5] >= wide:
                continue
            row = ((channel * sides[0] + ky) * sides[1] + kx) * outputs
            at = (channel // inputs * outputs * tall + py // integers[4]) * wide + px // integers[5]
            for o in range(outputs):
                reached[count] = at + o * tall * wide
                jumps[count] = weights[row + o] * gain[reached[count]]
                count += 1
    return count


@njit(cache=True, **LEAN)
def deliver(projection: int, sources: Ints, worths: Floats, now: int, t: Tables) -> None:
    """Deliver the events of (m,) source neurons with (m,) weights, and count their synaptic operations."""
    row = t.projections[projection]
    kind, pop = row[KIND], t.populations[row[TARGET]]
    if kind == SPARSE and pop[LEAKS] != 0 and pop[SYNAPTIC] == 0 and pop[MEM] >= 0:
        sparse_leaky(sources, worths, now, row, pop, t)
        return
    if pop[WHOLE] != 0:
        dense_leaky(sources, worths, now, row, pop, t)
        return
    first, size = pop[FIRST], pop[SIZE]
    outside = t.populations[row[SOURCE], OUTSIDE] != 0
    for event in range(sources.size):
        neuron, count = sources[event], 1
        if kind == SPARSE:
            low, high = t.pointers[row[POINTERS] + neuron], t.pointers[row[POINTERS] + neuron + 1]
            count = high - low
            reached = t.targets[row[TARGETS] + low : row[TARGETS] + high]
            receive(reached, t.weights[row[WEIGHTS] + low : row[WEIGHTS] + high], worths[event], now, pop, t)
        elif kind == DENSE:
            count, at = size, row[WEIGHTS] + neuron * size
            reached = t.targets[row[TARGETS] : row[TARGETS] + size]
            receive(reached, t.weights[at : at + size], worths[event], now, pop, t)
        elif kind == ONE_TO_ONE:
            t.reached[0], at = neuron, row[WEIGHTS] + neuron
            receive(t.reached[:1], t.weights[at : at + 1], worths[event], now, pop, t)
        else:
            gain, kernel = t.neurons[GAIN, first : first + size], t.weights[row[WEIGHTS] :]
            count = convolution_row(neuron, t.integers[row[INTEGERS] :], kernel, gain, t.reached, t.jumps)
            receive(t.reached[:count], t.jumps[:count], worths[event], now, pop, t)
        row[OPERATIONS] += count if outside else count * int(worths[event])


@njit(cache=True, **LEAN)
def delay_events(projection: int, sources: Ints, worths: Floats, now: int, t: Tables) -> None:
    """Put events of a delayed projection on their way; those of delay 0 are delivered."""
    row, clock = t.projections[projection], t.clock
    for event in range(sources.size):
        neuron = sources[event]
        delay = t.delays[row[DELAYS] + (neuron if row[DELAY_COUNT] > 1 else 0)]
        if delay == 0:
            deliver(projection, sources[event : event + 1], worths[event : event + 1], now, t)
            continue
        code, worth = (projection << 32) | np.int64(neuron), worths[event]
        queues.push(now + delay, code, worth, clock[FLYING], t.queue_ticks, t.queue_codes, t.queue_worths)
        clock[FLYING] += 1
    clock[MOST_FLYING] = max(clock[MOST_FLYING], clock[FLYING])


@njit(cache=True, inline="always", **LEAN)
def send(pop: Ints, sources: Ints, worths: Floats, now: int, t: Tables) -> None:
    """Send the events of (m,) neurons of a population, with (m,) weights, on all its projections."""
    for projection in range(pop[SENDS], pop[SENDS] + pop[SENT]):
        if t.projections[projection, DELAYED] != 0:
            delay_events(projection, sources, worths, now, t)
        else:
            deliver(projection, sources, worths, now, t)


@njit(cache=True, **LEAN)
def arrive(now: int, t: Tables) -> None:
    """Deliver the delayed events of this moment, and bring the neurons up to date that cross in it."""
    clock = t.clock
    source, worth = t.arriving, t.arriving_worth
    while clock[FLYING] > 0 and t.queue_ticks[0] == now:
        queues.pop(clock[FLYING], t.queue_ticks, t.queue_codes, t.queue_worths)
        clock[FLYING] -= 1
        code = t.queue_codes[clock[FLYING]]
        source[0], worth[0] = code & 0xFFFFFFFF, t.queue_worths[clock[FLYING]]
        deliver(code >> 32, source, worth, now, t)
    while clock[CROSSING] > 0 and t.due[t.crossings[0]] == now:
        k = t.crossings[0]
        clock[CROSSING] = queues.schedule(k, -1, clock[CROSSING], t.crossings, t.place, t.due)
        population = 0
        while k >= t.populations[population, FIRST] + t.populations[population, SIZE]:
            population += 1
        pop = t.populations[population]
        source[0] = k - pop[FIRST]
        touch(source, now, pop, t.neurons, t.last, t.touched, t.decays)


@njit(cache=True, **LEAN)
def foresee(k: int, pop: Ints, neurons: Floats, decays: Floats) -> int:
    """Ticks until a neuron crosses its threshold by itself; NEVER if it will not."""
    u, threshold = neurons[U, k], neurons[THRESHOLD, k]
    if pop[LEAKS] == 0:
        return int(first_drifting(u, neurons[DRIFT, k], threshold))
    if pop[SYNAPTIC] == 0:
        return int(first_leaky(u, neurons[TAU_MEM, k], threshold, pop[MEM], decays))
    ri = neurons[RESISTANCE, k] * neurons[CURRENT, k]
    return int(first_driven(u, ri, neurons[TAU_MEM, k], neurons[TAU_SYN, k], threshold))


@njit(cache=True, **LEAN)
def fire(k: int, pop: Ints, neurons: Floats, clock: Ints) -> int:
    """Reset a neuron that is above its threshold. returns: how often it fires."""
    if pop[SUBTRACTS] == 0:
        neurons[U, k] = neurons[RESET, k]
        return 1
    times = 0
    while neurons[U, k] > neurons[THRESHOLD, k]:
        neurons[U, k] -= neurons[SUBTRACTED, k]
        times += 1
        if times >= MOST_AT_ONCE:
            clock[RUNAWAY] = k + 1
            break
    return times


@njit(cache=True, **LEAN)
def above_whole(size: int, thresholds: Floats, potentials: Floats, fired: Ints) -> int:
    """The same as `above` of a population that is WHOLE, whose neurons come first in the arrays."""
    count = 0
    for begin in range(0, size, BLOCK):
        u, limits = potentials[begin : min(begin + BLOCK, size)], thresholds[begin : min(begin + BLOCK, size)]
        some = 0
        for k in range(u.size):
            some += u[k] > limits[k]
        if some != 0:
            for k in range(u.size):
                if u[k] > limits[k]:
                    fired[count] = begin + k
                    count += 1
    return count


@njit(cache=True, inline="always", **LEAN)
def above(pop: Ints, thresholds: Floats, potentials: Floats, touched: Ints, fired: Ints) -> int:
    """Which of the neurons reached in this moment are above their thresholds, into `fired`. returns: how many."""
    first, count = pop[FIRST], 0
    if pop[WHOLE] != 0:
        return int(above_whole(pop[SIZE], thresholds[first:], potentials[first:], fired[first:]))
    for at in range(first, first + pop[TOUCHED]):
        neuron = touched[at]
        if potentials[first + neuron] > thresholds[first + neuron]:
            fired[first + count] = neuron
            count += 1
    return count


@njit(cache=True, **LEAN)
def ascend(values: Ints) -> None:
    """Sort in place, by Shell's method: few values, as a rule one."""
    gap = values.size // 2
    while gap > 0:
        for at in range(gap, values.size):
            value, to = values[at], at
            while to >= gap and values[to - gap] > value:
                values[to] = values[to - gap]
                to -= gap
            values[to] = value
        gap //= 2


@njit(cache=True, **LEAN)
def fire_all(population: int, fired: int, now: int, t: Tables) -> None:
    """Reset the neurons of a population that are above their thresholds, record them, and send what they fire."""
    pop, clock = t.populations[population], t.clock
    first = pop[FIRST]
    sources, worths = t.fired[first : first + fired], t.worth[first : first + fired]
    ascend(sources)
    for f in range(fired):
        times = fire(first + sources[f], pop, t.neurons, clock)
        worths[f] = times
        pop[EVENTS] += times
        if pop[RECORDED] != 0:
            at = clock[ROWS]
            t.record_ticks[at] = now
            t.record[at, 0], t.record[at, 1], t.record[at, 2] = population, sources[f], times
            clock[ROWS] = at + 1
    send(pop, sources, worths, now, t)


@njit(cache=True, **LEAN)
def foresee_touched(pop: Ints, count: int, now: int, t: Tables) -> None:
    """Find anew when the first `count` neurons in `touched` cross by themselves."""
    clock = t.clock
    for at in range(pop[FIRST], pop[FIRST] + count):
        k = pop[FIRST] + t.touched[at]
        ticks = foresee(k, pop, t.neurons, t.decays)
        due = now + ticks if ticks < NEVER // 2 else -1
        clock[CROSSING] = queues.schedule(k, due, clock[CROSSING], t.crossings, t.place, t.due)


@njit(cache=True, inline="always", **LEAN)
def moment(now: int, until: int, populations: Ints, numbers: Ints, weights: Floats, t: Tables) -> None:
    """One moment. populations, numbers int32, weights float64: events from outside; those of this moment end before
    index `until`."""
    clock = t.clock
    clock[MOMENTS] += 1
    for population in range(t.populations.shape[0]):
        pop = t.populations[population]
        if pop[OUTSIDE] != 0:
            low = clock[INPUT]
            high = low
            while high < until and populations[high] == population:
                high += 1
            clock[INPUT] = high
            pop[EVENTS] += high - low
            if high > low:
                send(pop, numbers[low:high], weights[low:high], now, t)
        elif pop[TOUCHED] != 0:
            count = pop[TOUCHED]
            pop[UPDATES] += count
            fired = above(pop, t.neurons[THRESHOLD], t.neurons[U], t.touched, t.fired) if pop[FIRES] != 0 else 0
            pop[TOUCHED] = 0
            if fired > 0:
                fire_all(population, fired, now, t)
            if pop[CROSSES] != 0:
                foresee_touched(pop, count, now, t)


@njit(cache=True, nogil=True, **LEAN)
def advance(until: int, ticks: Ints, populations: Ints, numbers: Ints, weights: Floats, t: Tables) -> int:
    """Run all moments before the tick `until`.

    ticks int64, populations, numbers int32, weights float64: (m,) events from outside, in order (`order_events`).
    returns: DONE; or RECORD_FULL or QUEUE_FULL (`clock[NEEDED]` more entries) before a moment for which there is no
        room, to be called again; or RAN_AWAY: the neuron clock[RUNAWAY] - 1 does not stop firing.
    """
    clock = t.clock
    while True:
        now = ticks[clock[INPUT]] if clock[INPUT] < ticks.size else NEVER
        if clock[FLYING] > 0:
            now = min(now, t.queue_ticks[0])
        if clock[CROSSING] > 0:
            now = min(now, t.due[t.crossings[0]])
        if now >= until:
            return DONE
        end = clock[INPUT]
        while end < ticks.size and ticks[end] == now:
            end += 1
        if clock[ROWS] + clock[OUTPUTS] > t.record_ticks.size:
            return RECORD_FULL
        needed = clock[FLYING] + clock[WORST] + (end - clock[INPUT]) * clock[FORKS]
        if needed > t.queue_ticks.size:
            clock[NEEDED] = needed
            return QUEUE_FULL
        if clock[FLYING] + clock[CROSSING] > 0:
            arrive(now, t)
        moment(now, end, populations, numbers, weights, t)
        if clock[RUNAWAY] != 0:
            return RAN_AWAY


@njit(cache=True, **LEAN)
def foresee_all(now: int, t: Tables) -> None:
    """Find all crossings anew, from the state at `now`, to which every neuron must have been brought."""
    clock = t.clock
    for population in range(t.populations.shape[0]):
        pop = t.populations[population]
        if pop[CROSSES] == 0:
            continue
        for k in range(pop[FIRST], pop[FIRST] + pop[SIZE]):
            fires = t.neurons[U, k] > t.neurons[THRESHOLD, k]
            ticks = 0 if fires else foresee(k, pop, t.neurons, t.decays)
            due = now + ticks if ticks < NEVER // 2 else -1
            clock[CROSSING] = queues.schedule(k, due, clock[CROSSING], t.crossings, t.place, t.due)


@njit(cache=True, **LEAN)
def behind(a: int, b: int, populations: Ints, numbers: Ints, weights: Floats) -> bool:
    """True where event a comes after event b of the same tick."""
    if populations[a] != populations[b]:
        return bool(populations[a] > populations[b])
    return bool(numbers[a] > numbers[b] or (numbers[a] == numbers[b] and weights[a] > weights[b]))


@njit(cache=True, **LEAN)
def insert(start: int, end: int, populations: Ints, numbers: Ints, weights: Floats) -> None:
    """Order a few events of one tick by insertion."""
    for at in range(start + 1, end):
        to = at
        while to > start and behind(to - 1, to, populations, numbers, weights):
            populations[to - 1], populations[to] = populations[to], populations[to - 1]
            numbers[to - 1], numbers[to] = numbers[to], numbers[to - 1]
            weights[to - 1], weights[to] = weights[to], weights[to - 1]
            to -= 1


@njit(cache=True, nogil=True)
def order_events(ticks: Ints, populations: Ints, numbers: Ints, weights: Floats) -> None:
    """Order events of equal ticks by population, neuron and weight, in place; the ticks must not descend."""
    start = 0
    while start < ticks.size:
        end = start + 1
        while end < ticks.size and ticks[end] == ticks[start]:
            end += 1
        if end - start <= FEW:
            insert(start, end, populations, numbers, weights)
        else:
            order = np.argsort(weights[start:end], kind="mergesort")
            keys = (populations[start:end].astype(np.int64) << 32) | numbers[start:end]
            order = order[np.argsort(keys[order], kind="mergesort")]
            populations[start:end] = populations[start:end][order]
            numbers[start:end] = numbers[start:end][order]
            weights[start:end] = weights[start:end][order]
        start = end
