"""The float graph that every family builds: a list of named operations, run in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.converters.operations import Floats, Memory, Operation
from snngen.errors import CapacityError, UnsupportedError

Cache: TypeAlias = dict[str, Memory]


BEFORE = "~"  # "~name": the value of a node at the token before, zeros at the first


@dataclass(frozen=True, eq=False)
class Codes:
    """What the source itself rounds a value to: scale * clip(round(x / scale), low, high).

    scale: (1,) or (channels,) float64.
    """

    scale: npt.NDArray[np.float64]
    low: int
    high: int


@dataclass(frozen=True)
class Node:
    """An operation under a name; inputs are names of nodes, ``~name`` for the token before, or the graph's entry.

    codes: the codes that an already quantized source gives this value; None lets calibration choose them.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    codes: Codes | None = None


@dataclass(eq=False)
class Graph:
    """A float model: nodes in the order in which they run; the last one gives the logits, or the picture.

    vocabulary, context: tokens that it knows and that fit (None: without limit). tokenizer: a `tokenizers` JSON text
    or None. begin, end: tokens that open and close a text.
    channels: of a model whose input is not tokens but a vector (a latent, a sensor); 0 for token models, and
    `vocabulary` is then 0. codes: of that vector, where the source fixes them.
    grid: worth of one unit of the residual stream, where the source fixes it.
    picture: (channels, height, width) of a result that is a picture; its values lie in `picture_range`.
    provenance: where the model came from. notes: what a reader of the conversion report has to know.
    """

    vocabulary: int
    context: int | None
    nodes: list[Node] = field(default_factory=list)
    tokenizer: str | None = None
    begin: int | None = None
    end: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    channels: int = 0
    codes: Codes | None = None
    picture: tuple[int, int, int] | None = None
    picture_range: tuple[float, float] = (0.0, 1.0)
    grid: float | None = None

    @property
    def entry(self) -> str:
        """The name under which nodes read the input: ``tokens``, or ``input`` for a vector."""
        return "input" if self.channels else "tokens"

    @property
    def recurrent(self) -> bool:
        """True where some node reads the token before."""
        return any(name.startswith(BEFORE) for node in self.nodes for name in node.inputs)

    def add(self, name: str, operation: Operation, *inputs: str, codes: Codes | None = None) -> str:
        """Append a node; returns its name. ``~name`` may name a node that is added later.

        raises: UnsupportedError for a name that is taken, or an input that is not there.
        """
        known = {self.entry, *(node.name for node in self.nodes)}
        if name in known or not {x for x in inputs if not x.startswith(BEFORE)} <= known:
            raise UnsupportedError(f"graph node {name}", f"inputs {inputs}", "a new name and inputs that exist")
        self.nodes.append(Node(name, operation, inputs, codes))
        return name

    def node(self, name: str) -> Node:
        """The node of a name."""
        (found,) = (node for node in self.nodes if node.name == name)
        return found

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        values = [value for node in self.nodes for value in vars(node.operation).values()]
        return sum(int(value.size) for value in values if isinstance(value, np.ndarray))

    def unquantized(self) -> Graph:
        """The same model as floats: what a quantized source fixed (codes, integers, grid) is left to be chosen anew."""
        nodes, fixed = [], self.codes is not None or self.grid is not None
        for node in self.nodes:
            operation = node.operation
            if getattr(operation, "integers", None) is not None:
                operation, fixed = replace(operation, integers=None), True  # type: ignore[type-var]
            fixed = fixed or node.codes is not None
            nodes.append(replace(node, operation=operation, codes=None))
        note = ["codes and integers of the source were not taken over, but chosen anew"] if fixed else []
        return replace(self, nodes=nodes, codes=None, grid=None, notes=[*self.notes, *note])

    def consumers(self, name: str) -> list[Node]:
        """The nodes that read a value, now or one token later."""
        return [node for node in self.nodes if name in node.inputs or BEFORE + name in node.inputs]

    def run(
        self,
        tokens: npt.NDArray[Any],
        start: int = 0,
        cache: Cache | None = None,
        transform: Callable[[str, Floats], Floats] | None = None,
    ) -> Floats:
        """(batch, tokens, vocabulary) float32 logits, or whatever the last node gives.

        tokens: (batch, tokens) integers, or (batch, tokens, channels) floats. start: position of the first.
        cache: pass the same dict for each piece of a sequence. transform: is shown every value as it comes, in pieces
        of one token where the graph is recurrent, and returns the one to go on with; values are dropped after their
        last use.
        raises: CapacityError beyond the context.
        """
        if self.context is not None and start + tokens.shape[1] > self.context:
            raise CapacityError("graph", f"{start + tokens.shape[1]} tokens", f"at most {self.context}, the context")
        cache = {} if cache is None else cache
        if not self.recurrent:
            return self._run(tokens, start, cache, transform)
        pieces = [self._run(tokens[:, t : t + 1], start + t, cache, transform) for t in range(tokens.shape[1])]
        return np.concatenate(pieces, axis=1)

    def _run(
        self, tokens: npt.NDArray[Any], start: int, cache: Cache, transform: Callable[[str, Floats], Floats] | None
    ) -> Floats:
        last = {name: index for index, node in enumerate(self.nodes) for name in node.inputs}
        before = cache.setdefault(BEFORE, {})
        values: dict[str, Any] = {self.entry: tokens}
        if transform is not None and self.channels:
            values[self.entry] = transform(self.entry, tokens)
        for index, node in enumerate(self.nodes):
            inputs: list[Any] = [before.get(name) if name.startswith(BEFORE) else values[name] for name in node.inputs]
            if any(value is None for value in inputs):
                inputs = self._begun(node, inputs, tokens.shape[0])
            value = node.operation.run(inputs, start, cache.setdefault(node.name, {}))
            if transform is not None:
                value = transform(node.name, value)
            values[node.name] = value
            for name in node.inputs:
                if last[name] == index and BEFORE + name not in last:
                    values.pop(name, None)
        cache[BEFORE] = {name: values[name[1:]] for name in last if name.startswith(BEFORE)}
        result: Floats = value
        return result

    def _begun(self, node: Node, inputs: list[Any], batch: int) -> list[Any]:
        """Zeros for the values that the token before the first would have given."""
        names = [name[1:] for name, value in zip(node.inputs, inputs, strict=True) if value is None]
        zeros = iter([np.zeros((batch, 1, self.width(name)), dtype=np.float32) for name in names])
        return [next(zeros) if value is None else value for value in inputs]

    def width(self, name: str) -> int:
        """Number of channels of a value."""
        widths = {self.entry: self.channels or self.vocabulary}
        for node in self.nodes:
            widths[node.name] = node.operation.width([0 if x.startswith(BEFORE) else widths[x] for x in node.inputs])
            if node.name == name:
                break
        return widths[name]

    def observe(self, tokens: npt.NDArray[Any]) -> dict[str, Floats]:
        """Every value by name, (batch, tokens, channels), on a batch of sequences."""
        pieces: dict[str, list[Floats]] = {}

        def keep(name: str, value: Floats) -> Floats:
            pieces.setdefault(name, []).append(value)
            return value

        self.run(tokens, transform=keep)
        return {name: np.concatenate(parts, axis=1) for name, parts in pieces.items()}

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
