"""Operations of the float graph, in NumPy.

Values are (batch, tokens, channels) float32 arrays; pictures are flat, channel by channel, row by row. An operation
that looks back keeps what it needs in a memory, so that a sequence can be run in pieces.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import vectorize

from snngen.synapses import convolution
from snngen.synapses.convolution import Geometry

Floats: TypeAlias = npt.NDArray[np.float32]
Memory: TypeAlias = dict[str, Any]


def silu(x: Floats) -> Floats:
    """x * sigmoid(x)."""
    return np.asarray(x / (1.0 + np.exp(-np.clip(x, -80, 80))), dtype=x.dtype)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -80, 80))), dtype=x.dtype)


@vectorize(cache=True)  # type: ignore[untyped-decorator, no-untyped-call]
def _erf(x: float) -> float:
    return math.erf(x)


def gelu(x: Floats) -> Floats:
    """x * Phi(x), Phi the normal distribution function."""
    return np.asarray(0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))), dtype=x.dtype)


def gelu_tanh(x: Floats) -> Floats:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3)))."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))), dtype=x.dtype)


def decay(x: Floats) -> Floats:
    """exp(-exp(-1/2) * sigmoid(x)): how much of a state RWKV-7 keeps, from 0.545 to 1."""
    return np.asarray(np.exp(-math.exp(-0.5) * sigmoid(x)), dtype=x.dtype)


# Functions of one value that a table of codes can hold.
ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "sigmoid": sigmoid,
    "complement": lambda x: sigmoid(-x),  # 1 - sigmoid(x)
    "tanh": lambda x: np.asarray(np.tanh(x), dtype=x.dtype),
    "relu": lambda x: np.asarray(np.maximum(x, 0), dtype=x.dtype),
    "decay": decay,
    "relu_squared": lambda x: np.asarray(np.maximum(x, 0) ** 2, dtype=x.dtype),
    "identity": lambda x: x,
}


class Operation(ABC):
    """One step of a float graph."""

    @abstractmethod
    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        """The value, from those of the node's inputs.

        start: position of the first token of `inputs`. memory: this node's own past, kept between pieces.
        """

    def width(self, inputs: list[int]) -> int:
        """Channels of the value, from those of the inputs; 0 stands for one that is not known yet."""
        return max(inputs)


@dataclass(frozen=True, eq=False)
class Embedding(Operation):
    """Row `token` of `weight` (vocabulary, channels).

    integers: the weights as the source has them, where it was quantized already, one row per channel.
    """

    weight: Floats
    integers: Integers | None = None

    def width(self, inputs: list[int]) -> int:
        return int(self.weight.shape[1])

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        return np.asarray(self.weight[inputs[0].astype(np.int64)])


@dataclass(frozen=True, eq=False)
class Position(Operation):
    """Row `position` of `weight` (context, channels), whatever the token: learned positions."""

    weight: Floats

    def width(self, inputs: list[int]) -> int:
        return int(self.weight.shape[1])

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        batch, tokens = inputs[0].shape[:2]
        rows = self.weight[start : start + tokens]
        return np.asarray(np.broadcast_to(rows, (batch, *rows.shape)))


@dataclass(frozen=True, eq=False)
class Integers:
    """Weights that came quantized: weight[j] = matrix[j] * scale[j].

    matrix: int8 in the shape of the float weight, outputs first. scale: (outputs,) float64.
    bits: that the source stores a weight in (8, 4, 2).
    """

    matrix: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float64]
    bits: int = 8


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """x @ weight.T + bias, x the inputs side by side; weight (outputs, inputs), bias (outputs,) or None.

    integers: the weights as the source has them, where it was quantized already; they are taken over as they are.
    """

    weight: Floats
    bias: Floats | None = None
    integers: Integers | None = None

    def width(self, inputs: list[int]) -> int:
        return int(self.weight.shape[0])

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        x = inputs[0] if len(inputs) == 1 else np.concatenate(inputs, axis=-1)
        product: Floats = x @ self.weight.T
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """Two-dimensional convolution of a flat picture, or its transpose; several inputs are stacked by channel.

    weight: (outputs, inputs / groups, height, width); transposed: (inputs, outputs / groups, height, width), both as
    torch has them. shape: (channels, height, width) of the inputs together. integers: see `Linear`; for a transposed
    one the scale is per output channel too.
    """

    weight: Floats
    bias: Floats | None
    shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, int] = (0, 0)
    integers: Integers | None = None

    @property
    def outputs(self) -> int:
        """Channels of the result."""
        return int(self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[0])

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the result."""
        sizes = []
        for axis in range(2):
            size, stride, pad, dilation = (
                self.shape[1 + axis],
                self.stride[axis],
                self.padding[axis],
                self.dilation[axis],
            )
            reach = dilation * (self.weight.shape[2 + axis] - 1) + 1
            if self.transposed:
                sizes.append((size - 1) * stride - 2 * pad + reach + self.output_padding[axis])
            else:
                sizes.append((size + 2 * pad - reach) // stride + 1)
        return (self.outputs, sizes[0], sizes[1])

    def taps(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Every synapse: (source neuron, target neuron, flat index into `weight`), each (synapses,) int64."""
        channels, height, width = self.shape
        outputs, tall, wide = self.output_shape
        within, out_within = channels // self.groups, outputs // self.groups
        places = self.shape[1:] if self.transposed else (tall, wide)
        grids = np.indices((self.groups, within, out_within, *self.weight.shape[2:], *places))
        group, c, o, ky, kx, y, x = (grid.reshape(-1) for grid in grids)
        other_y = y * self.stride[0] - self.padding[0] + ky * self.dilation[0]
        other_x = x * self.stride[1] - self.padding[1] + kx * self.dilation[1]
        limits = (tall, wide) if self.transposed else (height, width)
        inside = (other_y >= 0) & (other_y < limits[0]) & (other_x >= 0) & (other_x < limits[1])
        source_y, source_x = (y, x) if self.transposed else (other_y, other_x)
        target_y, target_x = (other_y, other_x) if self.transposed else (y, x)
        source = ((group * within + c) * height + source_y) * width + source_x
        target = ((group * out_within + o) * tall + target_y) * wide + target_x
        first, second = (group * within + c, o) if self.transposed else (group * out_within + o, c)
        index = ((first * self.weight.shape[1] + second) * self.weight.shape[2] + ky) * self.weight.shape[3] + kx
        return source[inside], target[inside], index[inside]

    def width(self, inputs: list[int]) -> int:
        return math.prod(self.output_shape)

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        x = inputs[0] if len(inputs) == 1 else np.concatenate(inputs, axis=-1)
        _, tall, wide = self.output_shape
        geometry = Geometry(
            self.shape, self.output_shape, self.stride, self.padding, self.dilation, self.groups, self.transposed
        )
        rows = convolution.rows(self.weight, self.groups, self.transposed)
        total = convolution.convolve(x.reshape(-1, x.shape[-1]), rows, geometry, np.matmul)
        if self.bias is not None:
            total += np.repeat(self.bias, tall * wide)
        return np.asarray(total.reshape(*x.shape[:2], -1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Scale(Operation):
    """Sum over inputs of weights[k] * input k, channel by channel, plus bias; (channels,) each.

    Token shift, per-channel scales, and the stage that turns a value into codes (weights of ones).
    """

    weights: tuple[Floats, ...]
    bias: Floats | None = None

    def width(self, inputs: list[int]) -> int:
        return int(self.weights[0].size)

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        total = sum(weight * x for weight, x in zip(self.weights, inputs, strict=True))
        return np.asarray(total if self.bias is None else total + self.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RMSNorm(Operation):
    """weight * x / sqrt(mean(x**2) + epsilon)."""

    weight: Floats
    epsilon: float

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        (x,) = inputs
        mean = np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
        return np.asarray(self.weight * (x / np.sqrt(mean + self.epsilon)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class GroupNorm(Operation):
    """weight * (x - mean) / sqrt(variance + epsilon) + bias, mean and variance over each of `groups` equal blocks.

    centred: False leaves the mean in (RMSNorm per block). One block is LayerNorm; `weight`, `bias` (channels,).
    """

    weight: Floats
    bias: Floats | None
    epsilon: float
    groups: int = 1
    centred: bool = True

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        (x,) = inputs
        blocks = x.astype(np.float64).reshape(*x.shape[:2], self.groups, -1)
        if self.centred:
            blocks = blocks - blocks.mean(axis=-1, keepdims=True)
        normed = blocks / np.sqrt((blocks**2).mean(axis=-1, keepdims=True) + self.epsilon)
        value = self.weight * normed.reshape(x.shape)
        return np.asarray(value if self.bias is None else value + self.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Rotary(Operation):
    """Turn channels i and i + width / 2 of every head by position * frequencies[i]."""

    heads: int
    frequencies: npt.NDArray[np.float64]

    def angles(self, start: int, tokens: int) -> npt.NDArray[np.float64]:
        """(tokens, width / 2) angles in radians."""
        return np.outer(np.arange(start, start + tokens), self.frequencies)

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        (x,) = inputs
        batch, tokens, channels = x.shape
        pairs = x.reshape(batch, tokens, self.heads, 2, -1)
        angles = self.angles(start, tokens)[:, None]
        cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = pairs[:, :, :, 0], pairs[:, :, :, 1]
        turned = np.stack((cosine * first - sine * second, cosine * second + sine * first), axis=3)
        return turned.reshape(batch, tokens, channels)


@dataclass(frozen=True, eq=False)
class Attention(Operation):
    """Causal softmax attention of queries over keys and values; groups of heads share a key.

    scale: of the scores, 1 / sqrt(width) where None.
    """

    heads: int
    groups: int
    scale: float | None = None

    def width(self, inputs: list[int]) -> int:
        return inputs[0]

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        query, key, value = inputs
        batch, tokens, channels = query.shape
        width = channels // self.heads
        past = memory.get("past")
        key = key if past is None else np.concatenate((past[0], key), axis=1)
        value = value if past is None else np.concatenate((past[1], value), axis=1)
        memory["past"] = (key, value)
        share = self.heads // self.groups
        q = query.reshape(batch, tokens, self.heads, width).transpose(0, 2, 1, 3)
        k = key.reshape(batch, -1, self.groups, width).transpose(0, 2, 3, 1).repeat(share, axis=1)
        v = value.reshape(batch, -1, self.groups, width).transpose(0, 2, 1, 3).repeat(share, axis=1)
        scores = q @ k / np.float32(np.sqrt(width)) if self.scale is None else q @ k * np.float32(self.scale)
        seen = np.arange(k.shape[-1]) <= np.arange(start, start + tokens)[:, None]
        scores = np.where(seen, scores, np.float32(-np.inf))
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (powers / powers.sum(axis=-1, keepdims=True)) @ v
        return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(batch, tokens, channels), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Gate(Operation):
    """activation(first input) * second input."""

    activation: str

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        return ACTIVATIONS[self.activation](inputs[0]) * inputs[1]


@dataclass(frozen=True, eq=False)
class Pointwise(Operation):
    """A function of one value, by the name that `ACTIVATIONS` gives it."""

    function: str

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        return ACTIVATIONS[self.function](inputs[0])


@dataclass(frozen=True, eq=False)
class Products(Operation):
    """Sum over k of weights[k] * input 2k * input 2k + 1, channel by channel: gated sums, the cell of an LSTM.

    weights: one (channels,) array per product, or None for ones.
    """

    weights: tuple[Floats | None, ...]

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        pairs = zip(self.weights, inputs[::2], inputs[1::2], strict=True)
        total = sum(a * b if weight is None else weight * a * b for weight, a, b in pairs)
        return np.asarray(total, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class StateUpdate(Operation):
    """A matrix per head that decays, is corrected and written: s[i, j] = s'[i, j] * w[j] + a[i] * b[j] + v[i] * k[j].

    inputs: s' (the state of the token before), w, a, b, v, k; s is (heads * width * width) flat, the rest
    (heads * width). Source: RWKV-7 (Peng et al. 2025), equation 16, with a the product of state and removal key.
    """

    heads: int

    def width(self, inputs: list[int]) -> int:
        return inputs[1] ** 2 // self.heads

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        batch, tokens, channels = inputs[1].shape
        width = channels // self.heads
        s = inputs[0].reshape(batch, tokens, self.heads, width, width)
        w, a, b, v, k = (x.reshape(batch, tokens, self.heads, width) for x in inputs[1:])
        state = s * w[..., None, :] + a[..., :, None] * b[..., None, :] + v[..., :, None] * k[..., None, :]
        return np.asarray(state.reshape(batch, tokens, -1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class StateRead(Operation):
    """y[h, i] = sum over j of s[h, i, j] * r[h, j]; inputs s (heads * width * width), r (heads * width)."""

    heads: int

    def width(self, inputs: list[int]) -> int:
        return inputs[1]

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        s, r = inputs
        batch, tokens, channels = r.shape
        width = channels // self.heads
        read = np.matmul(
            s.reshape(batch, tokens, self.heads, width, width), r.reshape(batch, tokens, self.heads, width, 1)
        )
        return np.asarray(read.reshape(batch, tokens, channels), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Sum of the inputs: the residual stream."""

    def run(self, inputs: list[Floats], start: int, memory: Memory) -> Floats:
        return np.asarray(sum(inputs[1:], inputs[0]), dtype=np.float32)
