"""Rounding of weights to a few bits: to the nearest, or so that later columns make up for the errors of earlier ones.

Weights are rounded *folded*: times what one unit of each input code is worth, so that row j of the integers, times one
unit per output neuron, is what the drive of neuron j counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

SHRINKS = np.linspace(0.5, 1.0, 11)  # units tried, relative to the one that clips nothing
DAMPING = 0.01  # of the mean of the Hessian's diagonal, added to it
TINY = 1e-30
EXACT = 2.0**-22  # relative, of a ratio of three float32 numbers: so close to a whole number is one


@dataclass(frozen=True, eq=False)
class Rounded:
    """folded[j] is about matrix[j] * unit[j]. matrix: (outputs, inputs) int8. unit: (outputs,) float64."""

    matrix: npt.NDArray[np.int8]
    unit: Doubles

    @property
    def weight(self) -> Doubles:
        """(outputs, inputs): what the integers are worth."""
        return self.matrix * self.unit[:, None]


def nearest(folded: Doubles, bits: int, grain: float = 0.0) -> Rounded:
    """Plain rounding: the unit is the largest magnitude of a row over 2**(bits - 1) - 1, so that nothing is clipped.

    folded: (outputs, inputs). grain: units are multiples of it, where it is not 0.
    """
    high = 2 ** (bits - 1) - 1
    unit = _grained(np.maximum(np.abs(folded).max(axis=1), TINY) / high, grain)
    return Rounded(np.clip(np.rint(folded / unit[:, None]), -high, high).astype(np.int8), unit)


def compensated(folded: Doubles, hessian: Doubles, bits: int, grain: float = 0.0) -> Rounded:
    """Error-compensated rounding, with the unit per row that leaves the least error on the calibration inputs.

    Columns are rounded one after the other, those with the largest inputs first; the error of each is spread over
    the columns still to come by the Cholesky factor of the inverse Hessian. The codes reach from -2**(bits - 1)
    (ternary: -1) to 2**(bits - 1) - 1, and units smaller than plain rounding's are tried, which clip.

    folded: (outputs, inputs). hessian: (inputs, inputs), mean of x x^T over the input codes x; or (inputs,), its
    diagonal where inputs never come together (tokens). grain: see `nearest`.
    Source: Frantar et al. 2022 (GPTQ), algorithm 1 with act-order.
    """
    high = 2 ** (bits - 1) - 1
    low = -1 if bits == 2 else -high - 1
    full = np.maximum(np.abs(folded).max(axis=1), TINY) / high
    factor, order = (None, None) if hessian.ndim == 1 else _factor(hessian)
    best = np.full(len(folded), np.inf)
    matrix, units = np.zeros(folded.shape, dtype=np.int8), full.copy()
    for shrink in SHRINKS:
        unit = _grained(full * shrink, grain)
        if factor is None or order is None:
            trial = np.clip(np.rint(folded / unit[:, None]), low, high)
        else:
            trial = _spread(folded, unit, factor, order, low, high)
        error = folded - trial * unit[:, None]
        cost = ((error**2) @ hessian) if hessian.ndim == 1 else np.einsum("oi,oi->o", error @ hessian, error)
        better = cost < best
        matrix[better], units[better], best[better] = trial[better].astype(np.int8), unit[better], cost[better]
    return Rounded(matrix, units)


def _grained(unit: Doubles, grain: float) -> Doubles:
    return np.maximum(np.ceil(unit / grain * (1 - EXACT)), 1) * grain if grain else unit


def _factor(hessian: Doubles) -> tuple[Doubles, npt.NDArray[np.intp]]:
    """Upper Cholesky factor of the inverse of the damped Hessian, in the order in which columns are rounded."""
    diagonal = np.diag(hessian)
    order = np.argsort(-diagonal, kind="stable")
    damped = hessian + np.eye(len(hessian)) * max(DAMPING * float(diagonal.mean()), TINY)
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    return np.linalg.cholesky((inverse + inverse.T) / 2).T, order


def _spread(
    folded: Doubles, unit: Doubles, factor: Doubles, order: npt.NDArray[np.intp], low: int, high: int
) -> Doubles:  # fmt: skip
    """(outputs, inputs) integers: each column's error is taken out of those still to come."""
    left, codes = folded[:, order].copy(), np.zeros(folded.shape)
    for column in range(folded.shape[1]):
        code = np.clip(np.rint(left[:, column] / unit), low, high)
        error = (left[:, column] - code * unit) / factor[column, column]
        left[:, column + 1 :] -= np.outer(error, factor[column, column + 1 :])
        codes[:, order[column]] = code
    return codes
