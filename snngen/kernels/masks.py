"""Masks: which of 64 neurons at a time meet a condition, as the bits of one integer.

A loop that appends neurons to a list costs a store, or a branch that is hard to foresee, for each one looked at.
Vectors compare 64 in a few instructions, and then only the neurons found cost anything: with AVX-512 0.05 ns per neuron
looked at, where the loop takes 1 ns. These are LLVM's own vectors, so any processor will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types

from snngen.kernels.lean import LEAN
from snngen.kernels.machine import instruction

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

BLOCK = 64  # neurons that are compared at once
I1, I64 = ir.IntType(1), ir.IntType(64)


def _comparison(relation: str) -> Callable[..., Any]:
    """The intrinsic that compares 64 integers of two arrays."""

    def mask(typing: Any, left: Any, right: Any, begin: Any) -> Any:
        """Bit i, of 64, is set where left[begin + i] `relation` right[begin + i]."""

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            vectors = []
            for kind, value in zip(signature.args[:2], values[:2], strict=True):
                bits = kind.dtype.bitwidth
                place = builder.gep(context.make_array(kind)(context, builder, value).data, [values[2]])
                lanes = ir.VectorType(ir.IntType(bits), BLOCK)
                vector = builder.load(builder.bitcast(place, lanes.as_pointer()), align=bits // 8)
                if left.dtype != right.dtype:
                    vector = builder.sext(vector, ir.VectorType(I64, BLOCK)) if bits < 64 else vector
                vectors.append(vector)
            return builder.bitcast(builder.icmp_signed(relation, *vectors), I64)

        return types.uint64(left, right, begin), generate

    return instruction(mask)


at_least, differs = _comparison(">="), _comparison("!=")


@instruction
def lowest(typing: Any, mask: Any) -> Any:
    """Number of the lowest bit that is set; there must be one."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], I1(1))

    return types.int64(types.uint64), generate


@njit(cache=True, **LEAN)
def collect(mask: int, begin: int, found: Ints, count: int) -> int:
    """Append begin + the number of every bit that is set to `found`; the new count."""
    while mask:
        found[np.uint32(count)] = begin + lowest(mask)  # unsigned: Numba then does not ask whether it is negative
        count += 1
        mask &= mask - np.uint64(1)
    return count


@njit(cache=True, **LEAN)
def where_at_least(values: Ints, bounds: Ints, found: Ints) -> int:
    """Indices of the values that are not below their bounds, in ascending order; how many there are."""
    size, count = values.size, 0
    whole = size // BLOCK * BLOCK
    for begin in range(0, whole, BLOCK):
        count = collect(at_least(values, bounds, begin), begin, found, count)
    for i in range(whole, size):
        if values[i] >= bounds[i]:
            found[count] = i
            count += 1
    return count


@njit(cache=True, **LEAN)
def where_different(one: Ints, other: Ints, found: Ints) -> int:
    """Indices at which two arrays differ, in ascending order; how many there are."""
    size, count = one.size, 0
    whole = size // BLOCK * BLOCK
    for begin in range(0, whole, BLOCK):
        count = collect(differs(one, other, begin), begin, found, count)
    for i in range(whole, size):
        if one[i] != other[i]:
            found[count] = i
            count += 1
    return count
