"""Clocked kernels: one step of one population, by the rules that the network's own equations give.

Potentials and currents are as they are (not deviations); `fires` takes how often each neuron fires in the step.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

MOST_AT_ONCE = 100_000  # spikes of one neuron in one step


@njit(cache=True)
def euler(drive: Floats, constants: Floats, v: Floats, i: Floats) -> None:
    """Forward Euler, both states from those of the step before: x += dt * dx/dt.

        v += of_rest + of_v * v + of_i * i + of_drive * drive,   i += to_rest + to_i * i + to_drive * drive

    constants (7, n): of_rest, of_v, of_i, of_drive, to_rest, to_i, to_drive, in the type of v.
    """
    for k in range(v.size):
        current = i[k]
        i[k] += constants[4, k] + constants[5, k] * current + constants[6, k] * drive[k]
        v[k] += constants[0, k] + constants[1, k] * v[k] + constants[2, k] * current + constants[3, k] * drive[k]


@njit(cache=True)
def exact(drive: Floats, constants: Floats, v: Floats, i: Floats) -> None:
    """The exact solution over one step, then the events of its end.

        v = rest + of_v * (v - rest) + of_i * (i - steady) + drift + of_drive * drive
        i = steady + to_i * (i - steady) + to_drive * drive

    constants (8, n): rest, of_v, of_i, drift, of_drive, steady, to_i, to_drive.
    """
    for k in range(v.size):
        rest, steady = constants[0, k], constants[5, k]
        current = i[k] - steady
        moved = constants[1, k] * (v[k] - rest) + constants[2, k] * current + constants[3, k]
        v[k] = rest + moved + constants[4, k] * drive[k]
        i[k] = steady + constants[6, k] * current + constants[7, k] * drive[k]


@njit(cache=True)
def fire(threshold: Floats, reset: Floats, subtract: bool, v: Floats, fires: Ints) -> bool:
    """Fire and reset: once with a reset to a value, else until v is not above the threshold.

    returns: False where a neuron does not stop.
    """
    for k in range(v.size):
        fires[k] = 0
        if not subtract:
            if v[k] > threshold[k]:
                fires[k] = 1
                v[k] = reset[k]
            continue
        while v[k] > threshold[k]:
            v[k] -= threshold[k]
            fires[k] += 1
            if fires[k] >= MOST_AT_ONCE:
                return False
    return True
