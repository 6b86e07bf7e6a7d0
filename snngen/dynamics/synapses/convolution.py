"""Convolution: float kernels that all positions of a picture share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.dynamics.parameters import checked_floats
from snngen.dynamics.synapses import CONVOLUTION, DynamicSynapse, no_integers
from snngen.errors import NetworkError
from snngen.integers import FloatArray, IntArray
from snngen.synapses.convolution import LARGEST, LARGEST_PICTURE, Geometry, convolve, rows


@dataclass(frozen=True, eq=False)
class Convolution(DynamicSynapse):
    """Two-dimensional convolution of a flat picture (channels, height, width).

        current[o, p] = sum over c, k of event[c, q] * kernel[o, c, k],   q = p * stride - padding + k * dilation

    on both axes, o and c of the same group. Taps beyond the border are no synapses. Only the kernel is stored.

    kernel: (outputs, inputs / groups, height, width) float64. shape: the source picture (channels, height, width).
    stride, padding, dilation: vertical, horizontal. groups: blocks of channels (as many as channels: pooling).
    Source: the convention of torch.nn.functional.conv2d and NIR's Conv2d; NIR's Conv1d has height 1.
    """

    kernel: FloatArray
    shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    opcode = CONVOLUTION

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", checked_floats(self.kernel, "Convolution.kernel", ndim=4))
        for name, count, low in (("shape", 3, 1), ("stride", 2, 1), ("padding", 2, 0), ("dilation", 2, 1)):
            values = tuple(int(value) for value in getattr(self, name))
            if len(values) != count or not low <= min(values) <= max(values) <= LARGEST:
                raise NetworkError(f"Convolution.{name}", str(values), f"{count} numbers of {low}..{LARGEST}")
            object.__setattr__(self, name, values)
        outputs, inputs = self.kernel.shape[:2]
        fits = self.groups >= 1 and 0 not in self.kernel.shape
        if not fits or self.shape[0] != inputs * self.groups or outputs % self.groups:
            got = f"kernel {self.kernel.shape}, {self.groups} groups, picture {self.shape}"
            raise NetworkError("Convolution", got, "input channels that fit the kernel, and groups that divide both")
        if min(self.target_shape) < 1 or max(self.source_size, self.target_size) > LARGEST_PICTURE:
            got = f"pictures of {self.shape} and {self.target_shape}"
            raise NetworkError("Convolution", got, f"1..{LARGEST_PICTURE} neurons each")

    @cached_property
    def target_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the result."""
        height, width = (
            (self.shape[1 + a] + 2 * self.padding[a] - self.dilation[a] * (self.kernel.shape[2 + a] - 1) - 1)
            // self.stride[a]
            + 1
            for a in range(2)
        )
        return int(self.kernel.shape[0]), height, width

    @property
    def source_size(self) -> int:
        return math.prod(self.shape)

    @property
    def target_size(self) -> int:
        return math.prod(self.target_shape)

    @cached_property
    def fan_out(self) -> IntArray:
        places = np.outer(*(self._taps(a, np.arange(self.shape[1 + a]))[1].sum(axis=1) for a in range(2)))
        per_channel = self.kernel.shape[0] // self.groups
        return np.tile(places.reshape(-1) * per_channel, self.shape[0]).astype(np.int64)

    def _taps(self, axis: int, source: IntArray) -> tuple[IntArray, IntArray]:
        """(m, k) target position of each kernel tap of source positions (m,), and 1 where there is one, else 0."""
        shifted = source[:, None] + self.padding[axis] - np.arange(self.kernel.shape[2 + axis]) * self.dilation[axis]
        target, stride = shifted // self.stride[axis], self.stride[axis]
        inside = (shifted % stride == 0) & (target >= 0) & (target < self.target_shape[1 + axis])
        return target, inside.astype(np.int64)

    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        channel, place = divmod(neuron, self.shape[1] * self.shape[2])
        (rows_y, in_y), (rows_x, in_x) = (
            self._taps(a, np.array([position])) for a, position in enumerate(divmod(place, self.shape[2]))
        )
        outputs = self.kernel.shape[0] // self.groups
        group, within = divmod(channel, self.kernel.shape[1])
        targets, weights = [], []
        _, height, width = self.target_shape
        for ky, kx in zip(*np.nonzero(in_y[0][:, None] & in_x[0][None, :]), strict=True):
            place = int(rows_y[0, ky]) * width + int(rows_x[0, kx])
            for output in range(group * outputs, (group + 1) * outputs):
                targets.append(output * height * width + place)
                weights.append(self.kernel[output, within, ky, kx])
        order = np.argsort(np.array(targets, dtype=np.int64), kind="stable")
        return np.array(targets, dtype=np.int64)[order], np.array(weights, dtype=np.float64)[order]

    def apply(self, values: FloatArray) -> FloatArray:
        geometry = Geometry(
            self.shape, self.target_shape, self.stride, self.padding, self.dilation, self.groups, transposed=False
        )
        weights = rows(self.kernel.astype(values.dtype, copy=False), self.groups, transposed=False)
        return np.asarray(convolve(values, weights, geometry, np.matmul))

    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        integers = [
            self.shape[1], self.shape[2], *self.target_shape[1:], *self.stride, *self.padding, *self.dilation,
            *self.kernel.shape[2:], self.kernel.shape[1], self.kernel.shape[0] // self.groups,
        ]  # fmt: skip
        weights = rows(self.kernel, self.groups, transposed=False).reshape(-1)
        return integers, no_integers(np.int64), no_integers(np.int32), weights
