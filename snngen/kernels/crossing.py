"""How a membrane moves between events, and when it first crosses its threshold: exact, in whole ticks.

Potentials are deviations u = v - rest. Between events

    no leak              u(n) = u + drift n
    leak                 u(n) = u exp(-n / tau_mem)
    current-based        u(n) = u exp(-n / tau_mem) + r i K(n),   i(n) = i exp(-n / tau_syn)
                         K(n) = tau_syn / (tau_syn - tau_mem) (exp(-n / tau_syn) - exp(-n / tau_mem))

u(n) has at most one extremum, so it crosses upwards at most once before it or once after it; the first tick above the
threshold is found by bisection on that side. Where all neurons of a population share a time constant, exp(-n / tau) is
the product of two table entries, for n mod 1024 and n div 1024: exact but for the rounding of one product.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels.lean import LEAN

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

TABLE = 1024  # entries of each of the two tables of a time constant
NEVER = 2**62
CLOSE = 0.01  # time constants that differ by less, relatively, take the form without cancellation


@njit(cache=True, **LEAN)
def decay(ticks: int, tau: float, row: int, tables: Floats) -> float:
    """exp(-ticks / tau). tables: (rows, 2, 1024) float64; row: that of tau, or -1 where there is none."""
    if row >= 0 and ticks < TABLE * TABLE:
        return float(tables[row, 0, ticks & (TABLE - 1)] * tables[row, 1, ticks >> 10])
    return math.exp(-ticks / tau)


@njit(cache=True, **LEAN)
def response(ticks: int, mem: float, syn: float, of_mem: float, of_syn: float) -> float:
    """K(ticks). mem, syn: time constants in ticks; of_mem, of_syn: their decays over that time."""
    if abs(syn - mem) > CLOSE * syn:
        return syn / (syn - mem) * (of_syn - of_mem)
    if of_mem == 0.0:
        return 0.0
    x = ticks * (syn - mem) / (mem * syn)
    ratio = 1.0 if x == 0.0 else math.expm1(x) / x
    return ticks / mem * of_mem * ratio


@njit(cache=True, **LEAN)
def driven(ticks: int, u: float, ri: float, mem: float, syn: float) -> float:
    """u(ticks) of a current-based neuron. ri: r times its synaptic current."""
    of_mem, of_syn = math.exp(-ticks / mem), math.exp(-ticks / syn)
    return float(u * of_mem + ri * response(ticks, mem, syn, of_mem, of_syn))


@njit(cache=True, **LEAN)
def extremum(u: float, ri: float, mem: float, syn: float) -> float:
    """Ticks until u(n) of a current-based neuron has its extremum; negative where there is none to come."""
    if ri == 0.0:
        return -1.0
    d = (syn - mem) / mem
    x = d * (1.0 - u / ri)
    if x <= -1.0:
        return -1.0
    return syn * (1.0 - u / ri) if d == 0.0 else math.log1p(x) * syn / d


@njit(cache=True, **LEAN)
def bisect(low: int, high: int, u: float, ri: float, mem: float, syn: float, threshold: float) -> int:
    """First tick above the threshold; `low` is not above it, `high` is, and between them u rises."""
    while high - low > 1:
        middle = low + (high - low) // 2
        if driven(middle, u, ri, mem, syn) > threshold:
            high = middle
        else:
            low = middle
    return high


@njit(cache=True, **LEAN)
def first_driven(u: float, ri: float, mem: float, syn: float, threshold: float) -> int:
    """Ticks until a current-based neuron that is not above its threshold is above it; NEVER if it will not be."""
    if threshold >= 0.0 and max(u, ri) <= threshold:
        return NEVER  # u follows r i and its rest, 0; neither is above
    turn = extremum(u, ri, mem, syn)
    rising = ri > u
    if rising and turn > 0.0 and turn < NEVER:
        top = int(turn)
        for high in (top, top + 1):
            if high > 0 and driven(high, u, ri, mem, syn) > threshold:
                return int(bisect(0, high, u, ri, mem, syn, threshold))
        return NEVER
    if threshold >= 0.0:
        return NEVER
    low = int(turn) if not rising and 0.0 < turn < NEVER else 0
    reach = 1
    while reach < NEVER // 4:
        if driven(low + reach, u, ri, mem, syn) > threshold:
            return int(bisect(low, low + reach, u, ri, mem, syn, threshold))
        reach *= 2
    return NEVER


@njit(cache=True, **LEAN)
def first_leaky(u: float, tau: float, threshold: float, row: int, tables: Floats) -> int:
    """The same of a leaky neuron: only where its rest, 0, is above the threshold, so that u <= threshold < 0."""
    if threshold >= 0.0:
        return NEVER
    exact = tau * math.log(u / threshold)
    if not exact < NEVER // 4:
        return NEVER
    ticks, step = max(int(exact) - 1, 1), 1
    while not u * decay(ticks, tau, row, tables) > threshold and ticks < NEVER // 4:
        ticks += step
        step = step * 2 if step < 2**20 and ticks > exact + 4 else step
    return ticks


@njit(cache=True, **LEAN)
def first_drifting(u: float, drift: float, threshold: float) -> int:
    """The same of a neuron without leak."""
    if drift <= 0.0:
        return NEVER
    exact = (threshold - u) / drift
    if not exact < NEVER // 4:
        return NEVER
    ticks, step = max(int(exact) - 1, 1), 1
    while not u + drift * ticks > threshold and ticks < NEVER // 4:
        ticks += step
        step = step * 2 if ticks > exact + 4 else step
    return ticks
