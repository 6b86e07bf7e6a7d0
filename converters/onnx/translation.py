"""From the operators of an ONNX file to the float graph: what a value is, and the walk that meets every operator.

An ONNX value is a constant, or a value of our graph together with the way in which ONNX lays it out: batch and token
axes, wherever they stand, and channel axes, which our graph keeps flat. Reshapes that keep the order are only another
layout. Everything that is not carried is collected and refused in one message, before any work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.converters.graph import Codes, Graph, Node
from snngen.converters.onnx.constants import BATCH, FOLDS, TOKEN, Constant, fold
from snngen.converters.onnx.model import Array, Entry, Model, Step
from snngen.converters.operations import Floats, Linear, Operation, Rotary, Scale
from snngen.errors import FormatError, UnsupportedError

LARGEST_WIDTH = 2**24
BUDGET = 2**26  # numbers that a file may have made beyond those that it holds


@dataclass(frozen=True, eq=False)
class Signal:
    """A value of the graph: names (several stand side by side), ONNX axes, codes between quantizing and dequantizing.

    axes: sizes of channel axes, and "batch" or "token" where those stand. shared: something else reads it too.
    factor: (width,) what the nodes' values are still to be multiplied with, where a DequantizeLinear has another scale
    than its QuantizeLinear. limits: (width,) lowest and highest value, which the QuantizeLinear to come has to keep.
    """

    names: tuple[str, ...]
    axes: tuple[int | str, ...]
    coded: Codes | None = None
    shared: bool = False
    factor: Floats | None = None
    limits: tuple[Floats | None, Floats | None] = (None, None)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The channel axes."""
        return tuple(size for size in self.axes if isinstance(size, int))

    @property
    def width(self) -> int:
        return math.prod(self.sizes)

    @property
    def limited(self) -> bool:
        """True between a Clip, Max or Min and the QuantizeLinear that keeps it."""
        return any(limit is not None for limit in self.limits)

    @property
    def plain(self) -> bool:
        """True for a float value that is just what its nodes give."""
        return self.coded is None and self.factor is None and not self.limited

    def view(self, axes: tuple[int | str, ...]) -> Signal:
        """The same values in the same order under other axes."""
        return replace(self, axes=axes)


@dataclass(frozen=True)
class Positions:
    """The numbers of the tokens, 0, 1, 2, ..."""


@dataclass(frozen=True)
class Unknown:
    """The value of an operator that is not carried."""


Value: TypeAlias = Constant | Signal | Positions | Unknown
Handler: TypeAlias = "Callable[[Translation, Step], Value | tuple[Value, ...]]"
OPERATORS: dict[tuple[str, str], Handler] = {}


UNKNOWN = "no such operator is carried"
# What would be needed for operators that models often have.
NEEDED = {
    "MaxPool": "neurons that give the largest of their inputs; train with average pooling",
    "Softmax": "attention as the operator Attention of opset 23; leave a softmax over the vocabulary to the sampler",
    "Einsum": "MatMul with constant weights, or the operator Attention",
    "If": "a graph without branches; export with fixed arguments",
    "Loop": "a graph without loops; LSTM or GRU as operators",
    "Scan": "a graph without loops; LSTM or GRU as operators",
    "DynamicQuantizeLinear": "static quantization: quantize_static with QuantFormat.QDQ",
    "QLinearMatMul": "QuantFormat.QDQ instead of QOperator",
    "QLinearConv": "QuantFormat.QDQ instead of QOperator",
    "QGemm": "QuantFormat.QDQ instead of QOperator",
    "MatMulInteger": "static quantization: quantize_static with QuantFormat.QDQ",
    "ConvInteger": "static quantization: quantize_static with QuantFormat.QDQ",
}


class Refusal(Exception):
    """Says what would be needed to carry an operator; becomes a line of one UnsupportedError."""


def operator(*names: str, domain: str = "") -> Callable[[Handler], Handler]:
    """Register a function as the meaning of operators."""

    def register(handler: Handler) -> Handler:
        OPERATORS.update({(domain, name): handler for name in names})
        return handler

    return register


class Translation:
    """Walks a model and collects the graph."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.values: dict[str, Value] = {name: Constant(array) for name, array in model.constants.items()}
        self.uses = Counter(name for step in model.steps for name in step.inputs)
        self.uses.update(model.outputs)
        self.nodes: dict[str, Node] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.spent = 0
        self.codes: Codes | None = None  # of the entry
        self.entry_axes: tuple[int | str, ...] = ()
        self.context: int | None = None
        self.vocabulary = 0
        self.grids: set[float] = set()  # of residual streams
        self.entry = "tokens"

    def run(self) -> Graph:
        """The graph.

        raises: UnsupportedError with everything that is not carried; FormatError for operators that contradict their
        inputs.
        """
        self._enter()
        for step in self.model.steps:
            self._translate(step)
        if self.problems:
            expected = "operators among " + ", ".join(sorted({*(name for _, name in OPERATORS), *FOLDS}))
            raise UnsupportedError(self.model.where, "; ".join(self.problems), expected)
        return self._graph()

    def _translate(self, step: Step) -> None:
        made: tuple[Value, ...] = ()
        given = [self.values[name] if name else None for name in step.inputs]
        if not any(isinstance(value, Unknown) for value in given):
            try:
                with np.errstate(all="ignore"):
                    result = self._meaning(step, given)
                made = result if isinstance(result, tuple) else (result,)
            except Refusal as refusal:
                self.problems.append(f"{step.label}: {refusal}")
            except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError) as error:
                where, expected = f"{self.model.where}: {step.label}", "inputs as the ONNX specification has them"
                raise FormatError(where, f"{type(error).__name__} {error}"[:200], expected) from error
        elif (step.domain, step.operator) not in OPERATORS and step.operator not in FOLDS:
            self.problems.append(f"{step.label}: {NEEDED.get(step.operator, UNKNOWN)}")
        for index, name in enumerate(step.outputs):
            value = made[index] if index < len(made) else Unknown()
            if name and isinstance(value, Unknown) and made and self.uses[name]:
                self.problems.append(f"{step.label}: its output {index} is read; needed: only its first output")
            if name:
                self.values[name] = value

    def _meaning(self, step: Step, given: list[Value | None]) -> Value | tuple[Value, ...]:
        constants = [value for value in given if value is None or isinstance(value, Constant)]
        if len(constants) == len(given) and (folded := fold(step, constants)) is not None:
            return folded
        handler = OPERATORS.get((step.domain, step.operator))
        if handler is None:
            raise Refusal(NEEDED.get(step.operator, UNKNOWN))
        return handler(self, step)

    # -- what handlers ask ------------------------------------------------------------------------------------------

    def at(self, step: Step, index: int) -> Value | None:
        """An input, or None where it is left out."""
        if index >= len(step.inputs) or not step.inputs[index]:
            return None
        return self.values[step.inputs[index]]

    def signal(self, step: Step, index: int = 0, coded: bool = False, factored: bool = False) -> Signal:
        """An input that must depend on the model's input.

        coded: it may stand between limits, quantizing and dequantizing. factored: its factor is heeded.
        """
        value = self.at(step, index)
        if not isinstance(value, Signal):
            raise Refusal(f"input {index} is constant or left out; needed: a value that depends on the model's input")
        if value.coded is not None and not coded:
            raise Refusal(f"input {index} is still in codes; needed: DequantizeLinear before")
        if value.limited and not coded:
            raise Refusal(f"input {index} is held to limits; needed: QuantizeLinear after Clip, Max or Min")
        if value.factor is not None and not coded and not factored:
            got = "a DequantizeLinear with another scale than its QuantizeLinear"
            raise Refusal(f"input {index} comes from {got}; needed: the same, but before weights and attention")
        if value.names == ("tokens",) and self.entry == "tokens" and not coded:
            raise Refusal(f"input {index} is the tokens; needed: Gather from an embedding before")
        shared = value.shared or self.uses[step.inputs[index]] > 1
        return replace(value, shared=shared)

    def constant(self, step: Step, index: int, needed: str = "a constant") -> Array | None:
        """An input that must not depend on the model's input, or None where it is left out."""
        value = self.at(step, index)
        if value is None:
            return None
        if not isinstance(value, Constant):
            raise Refusal(f"input {index} depends on the model's input; needed: {needed}")
        return value.array

    def weights(self, step: Step, index: int, ndim: int | None = None) -> Floats | None:
        """A constant of finite floats."""
        array = self.constant(step, index, "constant weights")
        if array is None:
            return None
        where = f"{self.model.where}: {step.label}: input {index}"
        if array.dtype.kind != "f" or (ndim is not None and array.ndim != ndim):
            expected = "floats" if ndim is None else f"floats with {ndim} axes"
            raise FormatError(where, f"{array.dtype} of shape {array.shape}", expected)
        values = np.asarray(array, dtype=np.float32)
        if not np.isfinite(values).all():
            raise FormatError(where, "values that are NaN or infinite", "finite weights")
        return values

    def required(self, step: Step, index: int, ndim: int | None = None) -> Floats:
        """A constant of finite floats that must be there."""
        values = self.weights(step, index, ndim)
        if values is None:
            raise FormatError(f"{self.model.where}: {step.label}", f"no input {index}", "weights")
        return values

    def doubles(self, step: Step, index: int, *shape: int) -> npt.NDArray[np.float64]:
        """A constant of finite float64 of a shape."""
        array = self.constant(step, index)
        if array is None or array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"input {index} has to be {shape} finite float64")
        return array

    def integers(self, step: Step, index: int) -> tuple[int, ...] | None:
        """A constant of a few whole numbers."""
        array = self.constant(step, index)
        if array is None:
            return None
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
            raise FormatError(f"{self.model.where}: {step.label}", f"{array.dtype} {array.shape}", "whole numbers")
        return tuple(int(value) for value in array.reshape(-1))

    def channelwise(self, step: Step, array: Array, signal: Signal) -> Floats:
        """A constant that is added to or multiplied with a value, as one number per channel."""
        places = [index for index, size in enumerate(signal.axes) if isinstance(size, int)]
        shape = [1] * (len(signal.axes) - array.ndim) + list(array.shape)
        if len(shape) > len(signal.axes) or any(shape[i] != 1 for i in range(len(shape)) if i not in places):
            raise Refusal(f"a constant of shape {array.shape}; needed: one number per channel, the same for all tokens")
        self.spend(signal.width)
        values = np.asarray(array, dtype=np.float32).reshape([shape[i] for i in places])
        if array.dtype.kind != "f" or not np.isfinite(values).all():
            raise FormatError(f"{self.model.where}: {step.label}", "no finite floats", "finite floats")
        return np.ascontiguousarray(np.broadcast_to(values, signal.sizes).reshape(-1))

    def spend(self, count: int) -> None:
        """Account for numbers that are made and not read from the file."""
        self.spent += count
        if count > LARGEST_WIDTH or self.spent > BUDGET:
            raise UnsupportedError(
                self.model.where, f"values of {self.spent} numbers", f"at most {BUDGET} beyond its own data"
            )

    # -- what handlers make -----------------------------------------------------------------------------------------

    def name(self, wanted: str) -> str:
        """A name for a node that no other has and that a population can have."""
        base = wanted.replace("/", ".").strip(" .~\t\r\n").replace("~", "_") or "value"
        name, count = base, 1
        while name in self.nodes or name in ("tokens", "input", "token"):
            name, count = f"{base}_{count}", count + 1
        return name

    def add(self, step: Step, operation: Operation, *inputs: str, part: str = "", name: str | None = None) -> str:
        """Append a node; returns its name."""
        if name is None:
            name = self.name(step.name + part)
        self.nodes[name] = Node(name, operation, inputs)
        return name

    def make(self, step: Step, operation: Operation, signal: Signal, *more: Signal) -> Signal:
        """Append a node that reads whole signals, and keeps the layout of the first."""
        name = self.add(step, operation, *(self.one(step, value) for value in (signal, *more)))
        return Signal((name,), signal.axes)

    def one(self, step: Step, signal: Signal) -> str:
        """The single node that gives a value; values side by side go through an identity, which is noted."""
        if len(signal.names) == 1:
            return signal.names[0]
        self.spend(signal.width**2)
        self.notes.append(f"{step.label}: values side by side are joined by a linear map of ones")
        return self.add(step, Linear(np.eye(signal.width, dtype=np.float32)), *signal.names, part="_joined")

    def absorb(self, build: Callable[[Graph], str]) -> str:
        """Let a function of the float graph append nodes; returns the name that it does."""
        scratch = Graph(self.vocabulary, None, list(self.nodes.values()), channels=0 if self.entry == "tokens" else 1)
        name = build(scratch)
        self.nodes.update({node.name: node for node in scratch.nodes[len(self.nodes) :]})
        return name

    def turned(self, step: Step, *signals: Signal) -> tuple[Signal, ...]:
        """Queries and keys as the float graph has them: each the output of a Rotary or of a stage of codes."""
        made = []
        for index, signal in enumerate(signals):
            name = self.one(step, signal)
            node = self.nodes.get(name)
            if node is None or not isinstance(node.operation, Rotary):
                self.spend(signal.width)
                ones = np.ones(signal.width, np.float32)
                name = self.add(step, Scale((ones,)), name, part=("_query", "_key")[index])
                if node is not None and node.codes is not None:
                    self.swap(self.nodes[name], codes=node.codes)
            made.append(Signal((name,), signal.axes))
        return tuple(made)

    def limit(self, tokens: int) -> None:
        """The model has learned no more positions than these."""
        self.context = tokens if self.context is None else min(self.context, tokens)

    def owner(self, signal: Signal, kind: type[Operation] = Operation) -> Node | None:
        """The node that makes a value which nothing else reads, where it is of a kind and not yet rounded."""
        if signal.shared or len(signal.names) != 1:
            return None
        node = self.nodes.get(signal.names[0])
        return node if node is not None and isinstance(node.operation, kind) and node.codes is None else None

    def swap(self, node: Node, operation: Operation | None = None, codes: Codes | None = None) -> None:
        """Replace what a node does, or how it is rounded."""
        self.nodes[node.name] = replace(node, operation=operation or node.operation, codes=codes or node.codes)

    # -- the ends ---------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        real = [entry for entry in self.model.entries if self.uses[entry.name]]
        if len(real) != 1:
            got = f"{len(real)} inputs {[entry.name for entry in real][:6]!r:.200}"
            raise UnsupportedError(self.model.where, got, "one: token numbers, or a float vector", "Fix the others")
        (entry,) = real
        sizes = entry.sizes
        if sizes is None or not 1 <= len(sizes) <= 4:
            raise UnsupportedError(f"{self.model.where}: input {entry.name}", "no shape", "1 to 4 axes")
        if entry.dtype in ("INT64", "INT32"):
            if len(sizes) > 2:
                raise UnsupportedError(f"{self.model.where}: input {entry.name}", f"{sizes}", "(batch, tokens)")
            self.entry_axes = (BATCH, TOKEN)[2 - len(sizes) :]
        elif entry.dtype in ("FLOAT", "FLOAT16", "DOUBLE"):
            self.entry = "input"
            self.entry_axes = self._float_axes(entry, sizes)
        else:
            got = f"type {entry.dtype}"
            raise UnsupportedError(f"{self.model.where}: input {entry.name}", got, "int64, int32 or float")
        self.values[entry.name] = Signal((self.entry,), self.entry_axes)

    def _float_axes(self, entry: Entry, sizes: tuple[int | None, ...]) -> tuple[int | str, ...]:
        recurrent = [step for step in self.model.steps if step.operator in ("LSTM", "GRU")]
        lead: tuple[str, ...] = () if len(sizes) == 1 else (BATCH,)
        if len(sizes) == 3:
            first = recurrent and all(not step.attributes.get("layout", 0) for step in recurrent)
            lead = (TOKEN, BATCH) if first else (BATCH, TOKEN)
        elif len(sizes) == 2 and recurrent:
            lead = (TOKEN,)
        rest = sizes[len(lead) :]
        where = f"{self.model.where}: input {entry.name}"
        if any(size is None for size in rest):
            raise UnsupportedError(where, f"open sizes {sizes}", "sizes for all but batch and tokens", "Fix them")
        known = tuple(size for size in rest if size is not None)
        if not 1 <= math.prod(known) <= LARGEST_WIDTH:
            raise FormatError(where, f"sizes {sizes}", f"1..{LARGEST_WIDTH} numbers")
        return (*lead, *known)

    def _graph(self) -> Graph:
        model = self.model
        if len(model.outputs) != 1:
            raise UnsupportedError(model.where, f"{len(model.outputs)} outputs {model.outputs[:6]}", "one output")
        result = self.values[model.outputs[0]]
        if not isinstance(result, Signal) or not result.plain or set(result.names) & {self.entry}:
            expected = "a float value made from the input"
            raise UnsupportedError(f"{model.where}: output {model.outputs[0]}", _unfit(result), expected)
        last = self.one(Step("output", "Identity", "", (), (), {}), result)
        needed, stack = set(), [last]
        while stack:
            name = stack.pop()
            if name not in needed and name in self.nodes:
                needed.add(name)
                stack.extend(x.lstrip("~") for x in self.nodes[name].inputs)
        unread = [name for name in self.nodes if name not in needed]
        if unread:
            self.notes.append(f"parts that do not reach the output were left out: {', '.join(unread)[:500]}")
        ends = [self.nodes[last]] if last in self.nodes else []
        nodes = [node for name, node in self.nodes.items() if name in needed and name != last]
        if any(last in node.inputs for node in nodes):
            raise UnsupportedError(f"{model.where}: output", "a value that other operators read on", "the last value")
        if self.entry == "tokens" and not self.vocabulary:
            raise UnsupportedError(f"{model.where}: input", "tokens that no embedding reads", "Gather from a table")
        channels = math.prod(size for size in self.entry_axes if isinstance(size, int)) if self.entry == "input" else 0
        graph = Graph(
            self.vocabulary, self.context, [*nodes, *ends], notes=self.notes, channels=channels, codes=self.codes
        )
        if len(self.grids) == 1:
            (graph.grid,) = self.grids
        if len(result.sizes) == 3:
            graph.picture = (result.sizes[0], result.sizes[1], result.sizes[2])
        return graph


def _unfit(result: Value) -> str:
    """What is the matter with a value that cannot be the output."""
    if not isinstance(result, Signal):
        return "a value that does not depend on the input"
    if result.limited:
        return "what a Clip, Max or Min gives that no QuantizeLinear follows"
    return "codes" if not result.plain else "the input itself, or a part of it"
