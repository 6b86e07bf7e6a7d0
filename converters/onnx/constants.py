"""Constants of an ONNX file: weights, quantized weights, and what the file computes from them and from shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.onnx.model import Array, Step
from snngen.errors import UnsupportedError

BATCH, TOKEN = "batch", "token"
SYMBOLS = {BATCH: -(2**40), TOKEN: -(2**40) - 1}  # how the two open sizes stand in constants made from shapes
LARGEST = 2**26  # numbers that a constant may have


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers and what a unit of each is worth: values * scale along `axis` (None: one scale for all).

    values: zero point taken off. bits: that the file stores one in.
    """

    values: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float64]
    axis: int | None
    bits: int

    def transposed(self, order: tuple[int, ...]) -> Quantized:
        """Under another order of axes."""
        axis = None if self.axis is None else order.index(self.axis)
        return Quantized(self.values.transpose(order), self.scale, axis, self.bits)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that the file fixes; quantized: the integers that it came from."""

    array: Array
    quantized: Quantized | None = None


def fold(step: Step, inputs: list[Constant | None]) -> Constant | None:
    """What an operator makes of constants, or None for one that has another meaning than a constant.

    raises: UnsupportedError beyond a size; what NumPy raises for inputs that do not fit.
    """
    rule = FOLDS.get(step.operator)
    if step.domain or rule is None:
        return None
    if step.operator == "Range" and any(value is not None and symbolic(value.array) for value in inputs):
        return None  # the numbers of the tokens
    if step.operator == "Transpose" and (given := inputs[0]) is not None and given.quantized is not None:
        order = _order(step, given.array)
        return Constant(given.array.transpose(order), given.quantized.transposed(order))
    if step.operator == "Identity" and inputs[0] is not None:
        return inputs[0]
    result = rule(step, [None if value is None else value.array for value in inputs])
    room(result.size)
    return Constant(result)


def room(count: int) -> None:
    """Refuse constants that are larger than any weight.

    raises: UnsupportedError.
    """
    if count > LARGEST:
        raise UnsupportedError("ONNX constant", f"{count} numbers", f"at most {LARGEST}")


def symbolic(array: Array) -> bool:
    """True where an open size stands in a constant."""
    return array.dtype == np.int64 and bool(np.isin(array, list(SYMBOLS.values())).any())


def whole(array: Array | None) -> tuple[int, ...]:
    """A small constant as whole numbers. raises: ValueError."""
    if array is None or array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
        raise ValueError("a few whole numbers are needed")
    return tuple(int(value) for value in array.reshape(-1))


def axes(step: Step, given: Array | None) -> tuple[int, ...] | None:
    """Axes as an attribute (before opset 13) or as an input; None where they are left out."""
    if given is not None:
        return whole(given)
    named = step.attributes.get("axes")
    return None if named is None else tuple(int(axis) for axis in named)


def _order(step: Step, array: Array) -> tuple[int, ...]:
    order = tuple(step.attributes.get("perm", range(array.ndim)[::-1]))
    if sorted(order) != list(range(array.ndim)):
        raise ValueError(f"perm {order}")
    return order


def _need(array: Array | None) -> Array:
    if array is None:
        raise ValueError("an input is missing")
    return array


def _arithmetic(function: Callable[..., Any]) -> Callable[[Step, list[Array | None]], Array]:
    def rule(step: Step, inputs: list[Array | None]) -> Array:
        arrays = [_need(array) for array in inputs]
        room(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        if any(symbolic(array) for array in arrays):
            raise ValueError("arithmetic with the number of tokens or sequences")
        return np.asarray(function(*arrays)).astype(arrays[0].dtype)

    return rule


def _divide(first: Array, second: Array) -> Array:
    return np.asarray(first // second if first.dtype.kind in "iu" else first / second)


def _cast(step: Step, inputs: list[Array | None]) -> Array:
    import onnx

    array = _need(inputs[0])
    if symbolic(array):
        return array
    wanted = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(int(step.attributes["to"])))
    return array.astype(wanted if wanted.isbuiltin and wanted.kind in "biuf" else np.float32)


def _constant(step: Step, inputs: list[Array | None]) -> Array:
    given = step.attributes
    if isinstance(given.get("value"), np.ndarray):
        return np.asarray(given["value"])
    for key, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if given.get(key) is not None:
            return np.asarray(given[key], dtype=dtype)
    raise ValueError("no number")


def _filled(step: Step, inputs: list[Array | None]) -> Array:
    shape = whole(inputs[0])
    value = step.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray):
        raise TypeError("the value is no tensor")
    room(math.prod(shape))
    return np.broadcast_to(value.reshape(()), shape)


def _gather(step: Step, inputs: list[Array | None]) -> Array:
    table, indices = (_need(array) for array in inputs[:2])
    axis = int(step.attributes.get("axis", 0))
    room(indices.size * (table.size // max(1, table.shape[axis])))
    return np.take(table, indices, axis=axis)


def _concat(step: Step, inputs: list[Array | None]) -> Array:
    arrays = [_need(array) for array in inputs]
    room(sum(array.size for array in arrays))
    return np.concatenate(arrays, axis=int(step.attributes["axis"]))


def _slice(step: Step, inputs: list[Array | None]) -> Array:
    array, starts, ends, chosen, steps = (*inputs, None, None, None)[:5]
    array = _need(array)
    begin, stop = whole(starts), whole(ends)
    along = range(len(begin)) if chosen is None else whole(chosen)
    stride = [1] * len(begin) if steps is None else whole(steps)
    cut = [slice(None)] * array.ndim
    for axis, a, b, s in zip(along, begin, stop, stride, strict=True):
        cut[axis] = slice(a, b, s)
    return array[tuple(cut)]


def _range(step: Step, inputs: list[Array | None]) -> Array:
    arrays = [_need(array) for array in inputs]
    start, limit, delta = (array.reshape(()).item() for array in arrays)
    room(int(max(0, math.ceil((limit - start) / delta))))
    return np.arange(start, limit, delta, dtype=arrays[0].dtype)


def _squeeze(step: Step, inputs: list[Array | None]) -> Array:
    array = _need(inputs[0])
    chosen = axes(step, inputs[1] if len(inputs) > 1 else None)
    return array.squeeze() if chosen is None else array.squeeze(chosen)


def _unsqueeze(step: Step, inputs: list[Array | None]) -> Array:
    chosen = axes(step, inputs[1] if len(inputs) > 1 else None)
    return np.expand_dims(_need(inputs[0]), chosen if chosen is not None else ())


def _reshape(step: Step, inputs: list[Array | None]) -> Array:
    array, shape = _need(inputs[0]), list(whole(inputs[1]))
    if not step.attributes.get("allowzero", 0):
        shape = [array.shape[index] if size == 0 else size for index, size in enumerate(shape)]
    return array.reshape(shape)


FOLDS: dict[str, Callable[[Step, list[Array | None]], Array]] = {
    "Add": _arithmetic(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _arithmetic(_divide),
    "Expand": lambda step, inputs: np.broadcast_to(_need(inputs[0]), whole(inputs[1])),
    "Gather": _gather,
    "Identity": lambda step, inputs: _need(inputs[0]),
    "Mul": _arithmetic(np.multiply),
    "Neg": _arithmetic(np.negative),
    "Range": _range,
    "Reciprocal": _arithmetic(np.reciprocal),
    "Reshape": _reshape,
    "Shape": lambda step, inputs: np.array(_need(inputs[0]).shape, dtype=np.int64),
    "Slice": _slice,
    "Sqrt": _arithmetic(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _arithmetic(np.subtract),
    "Transpose": lambda step, inputs: _need(inputs[0]).transpose(_order(step, _need(inputs[0]))),
    "Unsqueeze": _unsqueeze,
}
