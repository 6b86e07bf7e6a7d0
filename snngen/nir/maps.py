"""Maps: NIR's linear nodes as synapses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from snngen.dynamics.pooling import pool
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse
from snngen.errors import FormatError
from snngen.integers import FloatArray, IntArray
from snngen.synapses.convolution import LARGEST

Shape: TypeAlias = tuple[int, ...]

MAPS = ("Affine", "Linear", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay")


@dataclass(frozen=True, eq=False)
class Linked:
    """A map behind a signal. shape: of what leaves it. synapse: None where it changes no value.

    bias: (targets,) float64 or None. delay: (sources,) int64 microseconds or None.
    """

    shape: Shape
    synapse: DynamicSynapse | None = None
    bias: FloatArray | None = None
    delay: IntArray | None = None


def linked(node: Any, shape: Shape) -> Linked:
    """The map of a node for a signal of a shape.

    raises: FormatError where they do not fit.
    """
    kind = type(node).__name__
    if kind in ("Affine", "Linear"):
        return _dense(node, shape)
    if kind == "Scale":
        scale = _floats(node.scale)
        _fit(shape, scale.shape if scale.size > 1 else shape)
        return Linked(shape, OneToOne(np.broadcast_to(scale.reshape(-1), (math.prod(shape),))))
    if kind in ("Conv1d", "Conv2d"):
        return _convolution(node, shape, 1 if kind == "Conv1d" else 2)
    if kind in ("SumPool2d", "AvgPool2d"):
        picture = _picture(shape, 3)
        sides = [_sides(getattr(node, name), 2) for name in ("kernel_size", "stride", "padding")]
        if min(sides[0]) < 1 or max(sides[0]) > max(picture) + 2 * max(sides[2]):
            raise FormatError("", f"a window of {sides[0]} on a picture of {picture}", "one that fits it")
        synapse = pool("sum" if kind == "SumPool2d" else "average", picture, *sides)
        return Linked(synapse.target_shape, synapse)
    if kind == "Flatten":
        return Linked(_flattened(shape, int(node.start_dim), int(node.end_dim)))
    return Linked(shape, delay=_delay(_floats(node.delay), shape))


def _dense(node: Any, shape: Shape) -> Linked:
    weight = _floats(node.weight)
    if weight.ndim != 2:
        raise FormatError("", f"weights of shape {weight.shape}", "(outputs, inputs)")
    _fit(shape, (weight.shape[1],))
    bias = None
    if type(node).__name__ == "Affine":
        bias = _floats(node.bias).reshape(-1)
        if bias.size != weight.shape[0]:
            raise FormatError("", f"{bias.size} biases", f"{weight.shape[0]}, one per output")
    own = node.metadata.get("snngen", {}) if isinstance(node.metadata, dict) else {}
    synapse: DynamicSynapse = Dense(weight.T)
    if isinstance(own, dict) and "pointers" in own:
        synapse = _sparse(weight.T, np.asarray(own["pointers"]), np.asarray(own["targets"]))
    return Linked((weight.shape[0],), synapse, bias)


def _sparse(weights: FloatArray, pointers: IntArray, targets: IntArray) -> Sparse:
    """The weights at the places that our metadata names, which must be all that are not 0."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(pointers))
    sparse = Sparse(pointers, targets, weights[rows, targets], weights.shape[1])
    if np.count_nonzero(weights) != np.count_nonzero(sparse.weights):
        raise FormatError("", "weights beside the synapses of its metadata", "all weights in compressed rows")
    return sparse


def _convolution(node: Any, shape: Shape, axes: int) -> Linked:
    weight = _floats(node.weight)
    if weight.ndim != axes + 2 or 0 in weight.shape:
        raise FormatError("", f"weights of shape {weight.shape}", f"{axes + 2} axes")
    picture = _picture(shape, axes + 1)
    if node.input_shape is not None and tuple(np.reshape(node.input_shape, -1)) != picture[-axes:]:
        raise FormatError("", f"a signal of shape {shape}", f"input_shape {node.input_shape}")
    kernel = weight if axes == 2 else weight[:, :, None]
    stride, dilation = (_sides(getattr(node, name), axes) for name in ("stride", "dilation"))
    padding = _padding(node.padding, axes, dilation, kernel.shape[2:])
    if axes == 1:
        stride, dilation, padding = (1, stride[1]), (1, dilation[1]), (0, padding[1])
    synapse = Convolution(kernel, picture, stride, padding, dilation, int(node.groups))
    bias = np.zeros(kernel.shape[0]) if node.bias is None else _floats(node.bias).reshape(-1)
    if bias.size != kernel.shape[0]:
        raise FormatError("", f"{bias.size} biases", f"{kernel.shape[0]}, one per channel")
    target = synapse.target_shape if axes == 2 else (synapse.target_shape[0], synapse.target_shape[2])
    return Linked(target, synapse, np.repeat(bias, math.prod(synapse.target_shape[1:])))


def _padding(padding: Any, axes: int, dilation: tuple[int, int], size: tuple[int, ...]) -> tuple[int, int]:
    if not isinstance(padding, str):
        return _sides(padding, axes)
    reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    if padding not in ("valid", "same") or (padding == "same" and any(total % 2 for total in reach)):
        raise FormatError("", f"padding {padding!r} with a kernel of {size}", "numbers, or a kernel with odd sides")
    return (reach[0] // 2, reach[1] // 2) if padding == "same" else (0, 0)


def _sides(values: Any, axes: int) -> tuple[int, int]:
    """Vertical and horizontal; of a map with one axis: that one twice."""
    given = np.reshape(np.asarray(values), -1)
    if given.size not in (1, axes) or given.dtype.kind not in "iu" or not 0 <= given.min() <= given.max() <= LARGEST:
        raise FormatError("", f"{values!r}", f"1 or {axes} whole numbers up to {LARGEST}")
    return int(given[0]), int(given[-1])


def _picture(shape: Shape, axes: int) -> tuple[int, int, int]:
    """(channels, height, width) of a signal; with one axis beside the channels, the height is 1."""
    while len(shape) > axes and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != axes:
        raise FormatError("", f"a signal of shape {shape}", f"{axes} axes")
    return (shape[0], shape[1], shape[2]) if axes == 3 else (shape[0], 1, shape[1])


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    """The shape with the axes start..end as one; negative ones are counted from the end."""
    axes = len(shape)
    first, last = (axis + axes if axis < 0 else axis for axis in (start, end))
    if axes == 1 and first <= 1 and last <= 1:
        return shape
    if not 0 <= first <= last < axes:
        raise FormatError("", f"axes {start}..{end} of a signal of shape {shape}", "axes that there are")
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _delay(seconds: FloatArray, shape: Shape) -> IntArray:
    """(n,) int64 microseconds.

    raises: FormatError where they are no whole ones.
    """
    _fit(shape, seconds.shape if seconds.size > 1 else shape)
    exact = seconds.reshape(-1) * 1e6
    whole = np.rint(exact)
    if not (
        (np.abs(exact - whole) <= 1e-6 * np.maximum(1, whole)).all() and (whole >= 0).all() and whole.max() < 2**53
    ):
        raise FormatError("", f"a delay of {exact.max()} us", "whole microseconds")
    return np.array(np.broadcast_to(whole.astype(np.int64), (math.prod(shape),)))


def _fit(shape: Shape, expected: Shape) -> None:
    """Refuse a signal of another shape; leading ones that a batch of 1 left behind do not count."""
    while len(shape) > len(expected) and shape[0] == 1:
        shape = shape[1:]
    if shape != expected:
        raise FormatError("", f"a signal of shape {shape}", f"shape {expected}")


def _floats(values: Any) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
