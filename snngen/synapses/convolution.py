"""Convolution: int8 kernels that all positions of a picture share, forwards or transposed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, IntArray, checked, magnitude, sealed
from snngen.kernels import deliver
from snngen.synapses import Synapse, wide_matmul

Array: TypeAlias = npt.NDArray[Any]

LARGEST = 2**20  # no side, stride or channel count of a picture is beyond
LARGEST_PICTURE = 2**24  # neurons


@dataclass(frozen=True)
class Geometry:
    """How source, kernel and target of a convolution lie upon one another; see `Convolution`."""

    source: tuple[int, int, int]
    target: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    transposed: bool


def rows(kernel: Array, groups: int, transposed: bool) -> Array:
    """A kernel, laid out as torch has it, as (inputs, height, width, outputs / groups)."""
    if transposed:
        return np.ascontiguousarray(kernel.transpose(0, 2, 3, 1))
    blocks = np.ascontiguousarray(kernel.reshape(groups, -1, *kernel.shape[1:]).transpose(0, 2, 3, 4, 1))
    return blocks.reshape(-1, *blocks.shape[2:])


def convolve(
    values: Array, weights: Array, geometry: Geometry, multiply: Callable[[Array, Array], Array]
) -> npt.NDArray[Any]:
    """(n, targets) sums of value * weight, tap by tap.

    values: (n, sources). weights: as `rows` gives them. multiply: product of two matrices, in the type that is wanted.
    """
    count, (channels, height, width) = len(values), geometry.source
    outputs, tall, wide = geometry.target
    pictures = values.reshape(count, channels, height, width).transpose(0, 2, 3, 1)  # channels last
    # the larger side of every tap's step, with room for taps beyond the borders; what it borders lies at the padding
    small, large = ((height, width), (tall, wide)) if geometry.transposed else ((tall, wide), (height, width))
    sides = weights.shape[1:3]
    room = [
        max(
            large[a] + 2 * geometry.padding[a],
            (small[a] - 1) * geometry.stride[a] + geometry.dilation[a] * (sides[a] - 1) + 1,
        )
        for a in range(2)
    ]
    inner = tuple(slice(geometry.padding[a], geometry.padding[a] + large[a]) for a in range(2))
    kind = np.result_type(values, weights) if values.dtype.kind == "f" else np.dtype(np.int64)
    sums = np.zeros((count, *(room if geometry.transposed else small), outputs), dtype=kind)
    if not geometry.transposed:
        roomy = np.zeros((count, *room, channels), dtype=values.dtype)
        roomy[:, inner[0], inner[1]] = pictures
    within, out_within = channels // geometry.groups, outputs // geometry.groups
    for ky, kx, group in np.ndindex(*sides, geometry.groups):
        inputs = slice(group * within, (group + 1) * within)
        into = slice(group * out_within, (group + 1) * out_within)
        tap = tuple(
            slice(k * geometry.dilation[a], k * geometry.dilation[a] + (small[a] - 1) * geometry.stride[a] + 1,
                  geometry.stride[a])
            for a, k in enumerate((ky, kx))
        )  # fmt: skip
        taken = pictures[..., inputs] if geometry.transposed else roomy[:, tap[0], tap[1], inputs]
        part = multiply(taken.reshape(-1, within), weights[inputs, ky, kx]).reshape(count, *small, out_within)
        if geometry.transposed:
            sums[:, tap[0], tap[1], into] += part
        else:
            sums[..., into] += part
    if geometry.transposed:
        sums = sums[:, inner[0], inner[1]]
    return np.ascontiguousarray(sums.transpose(0, 3, 1, 2)).reshape(count, -1)


@dataclass(frozen=True, eq=False)
class Convolution(Synapse):
    """Two-dimensional convolution of a flat picture (channels, height, width), or its transpose.

    drive[o, p] = gain[o, p] * sum over c, k of code[c, q] * kernel[o, c, k], where

        q = p * stride - padding + k * dilation   (forwards)
        p = q * stride - padding + k * dilation   (transposed)

    on both axes, and o, c are of the same group. Taps beyond the border are no synapses. Only the kernel is stored.

    kernel: int8 (outputs, inputs / groups, height, width); transposed: (inputs, outputs / groups, height, width).
    gain: int32 >= 1, (targets,) or (outputs,): see `Dense`. shape: (3,) int32, the source picture.
    stride, padding, dilation, output_padding: (2,) int32, vertical first. groups: blocks of channels.
    transposed: True for the transpose; output_padding then adds rows and columns at the far ends.
    room: (kernel.size,) int8 where `weights` is to lie; of its own, if left out.
    Source: the conventions of torch.nn.functional.conv2d and conv_transpose2d.
    """

    kernel: IntArray
    gain: IntArray
    shape: IntArray
    stride: IntArray
    padding: IntArray
    dilation: IntArray
    output_padding: IntArray
    groups: int = 1
    transposed: bool = False
    room: InitVar[IntArray | None] = None

    opcode = deliver.CONVOLUTION
    weight_fields = ("kernel",)
    rearranged = True

    def __post_init__(self, room: IntArray | None) -> None:
        object.__setattr__(self, "transposed", bool(self.transposed))
        object.__setattr__(self, "kernel", checked(self.kernel, np.int8, "Convolution.kernel", ndim=4))
        object.__setattr__(self, "gain", checked(self.gain, np.int32, "Convolution.gain"))
        for name, size, low in (
            ("shape", 3, 1), ("stride", 2, 1), ("padding", 2, 0), ("dilation", 2, 1), ("output_padding", 2, 0),
        ):  # fmt: skip
            values = checked(np.asarray(getattr(self, name)), np.int32, f"Convolution.{name}")
            if values.shape != (size,) or not low <= values.min() <= values.max() <= LARGEST:
                raise NetworkError(f"Convolution.{name}", str(values.tolist()), f"{size} numbers of {low}..{LARGEST}")
            object.__setattr__(self, name, values)
        if self.groups < 1 or 0 in self.kernel.shape:
            raise NetworkError("Convolution", f"{self.groups} groups, kernel {self.kernel.shape}", "all at least 1")
        channels, first = int(self.shape[0]), self.kernel.shape[0]
        expected = first if self.transposed else int(self.kernel.shape[1]) * self.groups
        if channels != expected or channels % self.groups or first % self.groups:
            raise NetworkError(
                "Convolution", f"kernel {self.kernel.shape}, {self.groups} groups, picture {self.shape.tolist()}",
                "input channels that fit the kernel, and groups that divide both",
            )  # fmt: skip
        if not self.transposed and self.output_padding.any():
            raise NetworkError(
                "Convolution.output_padding", str(self.output_padding.tolist()), "0, 0 if not transposed"
            )
        if min(self.target_shape) < 1 or max(self.source_size, self.target_size) > LARGEST_PICTURE:
            got = f"pictures of {tuple(self.shape.tolist())} and {self.target_shape}"
            raise NetworkError("Convolution", got, f"1..{LARGEST_PICTURE} neurons each")
        if self.gain.size not in (self.target_size, self.target_shape[0]) or self.gain.min() < 1:
            expected_size = f"({self.target_size},) or ({self.target_shape[0]},), all >= 1"
            raise NetworkError("Convolution.gain", f"shape {self.gain.shape}", expected_size)
        self._lay(room)

    def _lay(self, room: IntArray | None) -> None:
        """Order the weights as `rows` does; the kernel becomes a view of them where one axis holds all its outputs."""
        if room is not None:
            room[:] = self.weights.reshape(-1)
            vars(self)["weights"] = sealed(room.reshape(self.weights.shape))
        if self.transposed:
            object.__setattr__(self, "kernel", self.weights.transpose(0, 3, 1, 2))
        elif self.groups == 1:
            object.__setattr__(self, "kernel", self.weights.transpose(3, 0, 1, 2))

    @cached_property
    def target_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the result."""
        sizes = []
        for axis in range(2):
            reach = self._reach(axis)
            size, stride, padding = (int(x) for x in (self.shape[1 + axis], self.stride[axis], self.padding[axis]))
            if self.transposed:
                sizes.append((size - 1) * stride - 2 * padding + reach + int(self.output_padding[axis]))
            else:
                sizes.append((size + 2 * padding - reach) // stride + 1)
        outputs = self.kernel.shape[1] * self.groups if self.transposed else self.kernel.shape[0]
        return int(outputs), sizes[0], sizes[1]

    def _reach(self, axis: int) -> int:
        return int(self.dilation[axis]) * (int(self.kernel.shape[2 + axis]) - 1) + 1

    @property
    def source_size(self) -> int:
        return math.prod(int(x) for x in self.shape)

    @property
    def target_size(self) -> int:
        return math.prod(self.target_shape)

    @property
    def outputs_per_group(self) -> int:
        """Channels of the result that an input channel reaches."""
        return self.target_shape[0] // self.groups

    @cached_property
    def fan_out(self) -> IntArray:
        """(source_size,) int64: synapses of each source neuron; fewer at borders."""
        rows, columns = self._taps(0), self._taps(1)
        places = np.outer(rows, columns).reshape(-1) * self.outputs_per_group
        return np.tile(places, int(self.shape[0]))

    def _taps(self, axis: int) -> IntArray:
        """(size,) int64: for each source position along an axis, the kernel positions that reach a target."""
        source = np.arange(int(self.shape[1 + axis]))[:, None]
        tap = np.arange(self.kernel.shape[2 + axis]) * int(self.dilation[axis])
        stride, padding, size = int(self.stride[axis]), int(self.padding[axis]), self.target_shape[1 + axis]
        if self.transposed:
            target = source * stride - padding + tap
            inside = (target >= 0) & (target < size)
        else:
            ahead = source + padding - tap
            inside = (ahead % stride == 0) & (ahead >= 0) & (ahead // stride < size)
        return np.asarray(inside.sum(axis=1, dtype=np.int64))

    @property
    def count(self) -> int:
        return int(self.fan_out.sum())

    @property
    def weight_bytes(self) -> int:
        return int(self.kernel.nbytes)

    @cached_property
    def weights(self) -> IntArray:
        """int8 (inputs, height, width, outputs / groups): what one tap of one input channel adds to its outputs."""
        return sealed(rows(self.kernel, self.groups, self.transposed))

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        return convolve(codes, self.weights, self.geometry, wide_matmul) * self._gains

    @property
    def _gains(self) -> IntArray:
        each = self.target_size // self.gain.size
        return np.repeat(self.gain.astype(np.int64), each)

    @property
    def geometry(self) -> Geometry:
        """How source, kernel and target lie upon one another."""
        stride, padding, dilation = ((int(a), int(b)) for a, b in (self.stride, self.padding, self.dilation))
        channels, height, width = (int(x) for x in self.shape)
        return Geometry(
            (channels, height, width), self.target_shape, stride, padding, dilation, self.groups, self.transposed
        )

    def bound(self, largest: int, written: int) -> int:
        sums = self._heaviest * largest
        if int(sums.max()) > INT32_MAX:
            raise NetworkError("Convolution", f"sums up to {sums.max()}", f"at most {INT32_MAX}", "use fewer bits")
        return int((sums * self._gains).max())

    def bound_of_one(self, largest: int) -> int:
        heaviest = magnitude(self.kernel)  # no two taps join the same two neurons
        return heaviest * largest * int(self.gain.max())

    @cached_property
    def _heaviest(self) -> IntArray:
        """(target_size,): sum of the magnitudes of the weights that reach each target."""
        ones = np.ones((1, self.source_size), dtype=np.int64)
        heaviest: IntArray = convolve(ones, np.abs(self.weights).view(np.uint8), self.geometry, wide_matmul)[0]
        return heaviest

    def constants(self) -> list[int | IntArray]:
        return [
            self.fan_out, self.shape, *self.target_shape, *self.kernel.shape[2:], self.stride, self.padding,
            self.dilation, self.groups, int(self.transposed), self.target_size // self.gain.size, self.gain,
        ]  # fmt: skip
