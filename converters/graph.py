"""The float graph that every family builds: a list of named operations, run in NumPy.

Values are (batch, tokens, channels) float32 arrays; an operation that looks back keeps what it needs in a cache, so
that a sequence can be run in pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.errors import CapacityError, UnsupportedError

Floats: TypeAlias = npt.NDArray[np.float32]
Cache: TypeAlias = dict[str, Any]


def silu(x: Floats) -> Floats:
    """x * sigmoid(x)."""
    return np.asarray(x / (1.0 + np.exp(-np.clip(x, -80, 80))), dtype=x.dtype)


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"silu": silu}


class Operation(ABC):
    """One step of a float graph."""

    @abstractmethod
    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        """The value, from those of the node's inputs.

        start: position of the first token of `inputs`. memory: this node's own past, kept between pieces.
        """


@dataclass(frozen=True, eq=False)
class Embedding(Operation):
    """Row `token` of `weight` (vocabulary, channels)."""

    weight: Floats

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        return np.asarray(self.weight[inputs[0].astype(np.int64)])


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """x @ weight.T + bias; weight (outputs, inputs), bias (outputs,) or None."""

    weight: Floats
    bias: Floats | None = None

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        product: Floats = inputs[0] @ self.weight.T
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True, eq=False)
class RMSNorm(Operation):
    """weight * x / sqrt(mean(x**2) + epsilon)."""

    weight: Floats
    epsilon: float

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        (x,) = inputs
        mean = np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
        return np.asarray(self.weight * (x / np.sqrt(mean + self.epsilon)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Rotary(Operation):
    """Turn channels i and i + width / 2 of every head by position * frequencies[i]."""

    heads: int
    frequencies: npt.NDArray[np.float64]

    def angles(self, start: int, tokens: int) -> npt.NDArray[np.float64]:
        """(tokens, width / 2) angles in radians."""
        return np.outer(np.arange(start, start + tokens), self.frequencies)

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
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
    """Causal softmax attention of queries over keys and values; groups of heads share a key."""

    heads: int
    groups: int

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
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
        scores = q @ k / np.float32(np.sqrt(width))
        seen = np.arange(k.shape[-1]) <= np.arange(start, start + tokens)[:, None]
        scores = np.where(seen, scores, np.float32(-np.inf))
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (powers / powers.sum(axis=-1, keepdims=True)) @ v
        return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(batch, tokens, channels), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Gate(Operation):
    """activation(first input) * second input."""

    activation: str

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        return ACTIVATIONS[self.activation](inputs[0]) * inputs[1]


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """Sum of the inputs: the residual stream."""

    def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
        return np.asarray(sum(inputs[1:], inputs[0]), dtype=np.float32)


@dataclass(frozen=True)
class Node:
    """An operation under a name; inputs are names of earlier nodes, or ``tokens``."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]


@dataclass(eq=False)
class Graph:
    """A float model: nodes in the order in which they run; the last one gives the logits.

    vocabulary, context: tokens that it knows and that fit. tokenizer: a `tokenizers` JSON text or None.
    begin, end: tokens that open and close a text. provenance: where the model came from.
    notes: what a reader of the conversion report has to know.
    """

    vocabulary: int
    context: int
    nodes: list[Node] = field(default_factory=list)
    tokenizer: str | None = None
    begin: int | None = None
    end: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, operation: Operation, *inputs: str) -> str:
        """Append a node; returns its name."""
        known = {"tokens", *(node.name for node in self.nodes)}
        if name in known or not set(inputs) <= known:
            raise UnsupportedError(f"graph node {name}", f"inputs {inputs}", "a new name and inputs that exist")
        self.nodes.append(Node(name, operation, inputs))
        return name

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        values = [value for node in self.nodes for value in vars(node.operation).values()]
        return sum(int(value.size) for value in values if isinstance(value, np.ndarray))

    def consumers(self, name: str) -> list[Node]:
        """The nodes that read a value."""
        return [node for node in self.nodes if name in node.inputs]

    def run(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        start: int = 0,
        cache: Cache | None = None,
        transform: Callable[[str, Floats], Floats] | None = None,
    ) -> Floats:
        """(batch, tokens, vocabulary) float32 logits.

        tokens: (batch, tokens) integers. start: position of the first. cache: pass the same dict for each piece of a
        sequence. transform: is shown every value as it comes and returns the one to go on with; values are dropped
        after their last use.
        raises: CapacityError beyond the context.
        """
        if start + tokens.shape[1] > self.context:
            raise CapacityError("graph", f"{start + tokens.shape[1]} tokens", f"at most {self.context}, the context")
        cache = {} if cache is None else cache
        last = {name: index for index, node in enumerate(self.nodes) for name in node.inputs}
        values: dict[str, Any] = {"tokens": tokens}
        for index, node in enumerate(self.nodes):
            value = node.operation.run([values[name] for name in node.inputs], start, cache.setdefault(node.name, {}))
            if transform is not None:
                value = transform(node.name, value)
            values[node.name] = value
            for name in node.inputs:
                if last[name] == index:
                    values.pop(name, None)
        logits: Floats = value
        return logits

    def sample(self, count: int, length: int, seed: int, first: int | None = None) -> npt.NDArray[np.int64]:
        """(count, length) tokens drawn from the model itself at temperature 1, each sequence begun by `first`."""
        generator = np.random.default_rng(seed)
        begin = self.begin if first is None else first
        if begin is None:
            tokens = generator.integers(self.vocabulary, size=(count, 1))
        else:
            tokens = np.full((count, 1), begin, dtype=np.int64)
        cache: Cache = {}
        for position in range(length - 1):
            logits = self.run(tokens[:, -1:], position, cache)[:, -1].astype(np.float64)
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            edges = np.cumsum(powers, axis=-1)
            draws = generator.random((count, 1)) * edges[:, -1:]
            tokens = np.concatenate((tokens, (edges < draws).sum(axis=-1, keepdims=True)), axis=1)
        return tokens
