"""What each neuron model makes of its drive: codes (or potentials) from drive and constants. Nothing is consumed.

`at` is where the model's constants begin, in the order of its `constants()` method.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels.lean import LEAN
from snngen.kernels.machine import stand_alone

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# Opcodes of the neuron models
SOURCE, THRESHOLD, ACCUMULATOR, RMS_NORM, SOFTMAX, GATE, INTEGRATE_AND_FIRE = range(7)
POINTWISE, PRODUCT_SUM, GROUP_NORM = range(7, 10)


@njit(cache=True, error_model="numpy", **LEAN)
def threshold(constants: Ints, at: int, drive: Ints, code: Ints) -> None:
    """code = clip(floor((drive + bias + theta // 2) / theta), low, high)."""
    stand_alone()
    size = code.size
    low, high = np.float64(constants[at]), np.float64(constants[at + 1])
    theta = constants[at + 2 : at + 2 + size]
    bias = constants[at + 2 + size : at + 2 + 2 * size]
    for j in range(size):
        potential = drive[j] + bias[j] + (theta[j] >> 1)
        # float64 floors this quotient exactly: both are integers and the numerator is below 2**52
        quotient = np.floor(np.float64(potential) / np.float64(theta[j]))
        code[j] = np.int32(min(max(quotient, low), high))


@njit(cache=True, **LEAN)
def accumulator(constants: Ints, at: int, drive: Ints, code: Ints) -> None:
    """potential = drive + bias."""
    for j in range(code.size):
        code[j] = drive[j] + constants[at + j]


@njit(cache=True, **LEAN)
def square_root(value: int) -> int:
    """floor(sqrt(value)), exact for 0 <= value < 2**62."""
    root: int = np.int64(np.sqrt(np.float64(value)))
    if root * root > value:
        root -= 1
    if (root + 1) * (root + 1) <= value:
        root += 1
    return root


@njit(cache=True, error_model="numpy", **LEAN)
def rms_norm(constants: Ints, at: int, drive: Ints, code: Ints) -> None:
    """A threshold made from the root mean square of the drive."""
    stand_alone()
    size = code.size
    low, high, limit, shift, epsilon = constants[at : at + 5]
    gain = constants[at + 5 : at + 5 + size]
    squares = 0
    for j in range(size):
        x = min(max(drive[j], -limit), limit)
        squares += x * x
    mean = ((squares // size) << shift) + ((squares % size) << shift) // size
    theta = max(1, square_root(mean + epsilon))
    half, divisor = theta >> 1, np.float64(theta)
    for j in range(size):
        x = min(max(drive[j], -limit), limit)
        quotient = np.floor(np.float64(x * gain[j] + half) / divisor)  # exact: the numerator is below 2**52
        code[j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))


@njit(cache=True, error_model="numpy", **LEAN)
def softmax(constants: Ints, at: int, head: int, drive: Ints, code: Ints) -> None:
    """Attention probabilities of one head over the keys written so far, which are those of `drive`."""
    stand_alone()
    high, heads, _, shift, bits = constants[at : at + 5]
    multiplier = constants[at + 5 + head]
    table = constants[at + 5 + heads : at + 5 + heads + (1 << bits)]
    mask, keys = (1 << bits) - 1, drive.size
    top = drive[0]
    for t in range(1, keys):
        top = max(top, drive[t])
    total = 0
    for t in range(keys):
        x = (top - drive[t]) * multiplier >> shift
        power = table[np.uint64(x & mask)] >> min(x >> bits, 17)
        code[t] = power
        total += power
    half, divisor = total >> 1, np.float64(total)
    for t in range(keys):
        code[t] = np.int32(np.floor(np.float64(high * np.int64(code[t]) + half) / divisor))  # exact, below 2**52


@njit(cache=True, error_model="numpy", **LEAN)
def gate(constants: Ints, at: int, drive: Ints, second: Ints, code: Ints) -> None:
    """code = threshold of table[drive] * second."""
    stand_alone()
    size = code.size
    low, high, lowest, entries = constants[at : at + 4]
    theta = constants[at + 4 : at + 4 + size]
    table = constants[at + 4 + size : at + 4 + size + entries]
    for j in range(size):
        product = table[np.uint64(drive[j] - lowest)] * second[j]
        quotient = np.floor(np.float64(product + (theta[j] >> 1)) / np.float64(theta[j]))  # exact, below 2**52
        code[j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))


@njit(cache=True, error_model="numpy", **LEAN)
def pointwise(constants: Ints, at: int, drive: Ints, code: Ints) -> None:
    """code = threshold of table[drive]."""
    stand_alone()
    size = code.size
    low, high, first, entries = constants[at : at + 4]
    theta = constants[at + 4 : at + 4 + size]
    table = constants[at + 4 + size : at + 4 + size + entries]
    for j in range(size):
        potential = table[np.uint64(drive[j] - first)] + (theta[j] >> 1)
        quotient = np.floor(np.float64(potential) / np.float64(theta[j]))  # exact, below 2**52
        code[j] = np.int32(min(max(quotient, np.float64(low)), np.float64(high)))


@njit(cache=True, error_model="numpy", **LEAN)
def product_sum(constants: Ints, at: int, drives: Ints, code: Ints) -> None:
    """value = threshold of the sum of multiplier * a * b; drives: the operands a0, b0, a1, b1, ... side by side."""
    stand_alone()
    size = code.size
    low, high, terms = constants[at : at + 3]
    theta = constants[at + 3 : at + 3 + size]
    for j in range(size):
        total = theta[j] >> 1
        for k in range(terms):
            product = np.int64(drives[2 * k * size + j]) * drives[(2 * k + 1) * size + j]
            total += constants[at + 3 + size + k * size + j] * product
        code[j] = np.int32(min(max(total // theta[j], low), high))


@njit(cache=True, error_model="numpy", **LEAN)
def group_norm(constants: Ints, at: int, drive: Ints, code: Ints) -> None:
    """A threshold made from the standard deviation of the drive, block by block."""
    stand_alone()
    size = code.size
    low, high, limit, fraction, epsilon, blocks, centred = constants[at : at + 7]
    width = size // blocks
    for begin in range(0, size, width):
        middle, squares = 0, 0
        for j in range(begin, begin + width):
            middle += min(max(np.int64(drive[j]), -limit), limit)
        middle = (middle + width // 2) // width if centred else 0
        for j in range(begin, begin + width):
            x = min(max(np.int64(drive[j]), -limit), limit) - middle
            squares += x * x
        mean = ((squares // width) << 2 * fraction) + ((squares % width) << 2 * fraction) // width
        theta = max(1, square_root(mean + epsilon))
        for j in range(begin, begin + width):
            x = min(max(np.int64(drive[j]), -limit), limit) - middle
            gain, bias = constants[at + 7 + j], constants[at + 7 + size + j]
            quotient = (x * gain + (bias * theta >> fraction) + (theta >> 1)) // theta
            code[j] = np.int32(min(max(quotient, low), high))
