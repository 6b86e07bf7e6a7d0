"""The walk over an exported torch program: what its tensors are in the float graph, operator by operator.

Handlers (`aten.py`) say what an operator becomes; constants are computed, refusals are collected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from snngen.converters import pictures
from snngen.converters.graph import Codes, Graph
from snngen.converters.operations import (
    Convolution,
    Floats,
    Integers,
    Linear,
    Operation,
    Scale,
)

if TYPE_CHECKING:
    import torch

SELECTED = 4096  # channels that a matrix of zeros and ones may reorder
RESERVED = ("input", "tokens", "token")


class Refusal(Exception):
    """An operator that is not carried; the text says what would be needed."""


@dataclass(frozen=True)
class Value:
    """A tensor of the module: nodes of the graph, side by side by channel.

    shape: of the tensor. leading: sizes of its first dimensions, those of batch and tokens; the rest are channels.
    """

    parts: tuple[str, ...]
    shape: tuple[int, ...]
    leading: tuple[int, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        return self.shape[len(self.leading) :]

    @property
    def width(self) -> int:
        return math.prod(self.channels)

    @property
    def picture(self) -> pictures.Shape:
        """(channels, height, width).

        raises: Refusal where it has another number of dimensions.
        """
        if len(self.channels) != 3:
            raise Refusal(f"on a tensor of shape {self.shape} (pictures of (batch, channels, height, width))")
        return self.channels[0], self.channels[1], self.channels[2]


@dataclass(frozen=True)
class Unusable:
    """A result that the float graph does not have; refused only where it is read."""

    reason: str


@dataclass
class Call:
    """One operator of the program: its arguments by the name that its schema gives them."""

    walk: Walk
    node: Any
    name: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def value(self, key: str) -> Value:
        """An argument that depends on the input.

        raises: Refusal where it is a constant.
        """
        value = self.arguments[key]
        if not isinstance(value, Value):
            raise Refusal(f"with a constant as {key} (an activation)")
        return value

    def floats(self, key: str) -> Floats | None:
        """An argument that is a constant tensor, as float32, or None.

        raises: Refusal where it depends on the input.
        """
        tensor = self.arguments[key]
        return None if tensor is None else self.walk.array(tensor, key)

    def filled(self, key: str, default: float, size: int) -> Floats:
        """As `floats`; `size` values of `default` for None."""
        values = self.floats(key)
        return np.full(size, default, dtype=np.float32) if values is None else values

    def array(self, key: str) -> Floats:
        """As `floats`, where there has to be one."""
        return self.walk.array(self.arguments[key], key)

    def integers(self, key: str) -> Integers | None:
        """What a quantized layer says of the weight that this argument is."""
        names = self.walk.argument_nodes(self.node)
        return self.walk.integers.get(self.walk.parameters.get(names.get(key), ""))

    def give(self, operation: Operation, *inputs: str, leading: tuple[int, ...], codes: Codes | None = None) -> Value:
        """The value of a new node of this call's name and shape."""
        name = self.walk.graph.add(self.name, operation, *inputs, codes=codes)
        return Value((name,), self.shape, leading)


Handler: TypeAlias = Callable[[Call], Any]
HANDLERS: dict[str, Handler] = {}


def operators(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for ATen operators."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


NEEDED = {
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d", "max_pool1d"),
                    "a neuron that takes a maximum; average pools and strides are carried"),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"),
                    "leave a last softmax to the sampling; inside, attention of a known family"),
    **dict.fromkeys(("scaled_dot_product_attention", "bmm"),
                    "attention is carried in families: load the model with `convert`"),
    **dict.fromkeys(("elu", "selu", "celu", "softplus", "mish", "hardswish", "hardsigmoid", "hardtanh", "clamp",
                     "relu6", "exp", "log_sigmoid", "sqrt", "rsqrt", "reciprocal", "abs", "sin", "cos"),
                    "a row in ACTIVATIONS of operations.py"),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d"), "mode='nearest'"),
    **dict.fromkeys(("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d"),
                    "padding of zeros in the convolution itself"),
    **dict.fromkeys(("lstm_cell", "gru_cell"), "LSTM or GRU with batch_first=True over a sequence"),
    **dict.fromkeys(("conv1d", "conv3d", "conv_transpose1d"), "two-dimensional convolutions"),
}  # fmt: skip


@dataclass
class Walk:
    """What is known while a program is walked.

    values: of every node of the program: a `Value`, a constant, or several. parameters: names of those that are
    parameters. integers: by parameter. leading: sizes of batch and tokens of the input.
    """

    graph: Graph
    leading: tuple[int, ...]
    integers: Mapping[str, Integers]
    values: dict[Any, Any] = field(default_factory=dict)
    parameters: dict[Any, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    arrays: dict[int, tuple[Any, Floats]] = field(default_factory=dict)
    stacks: dict[tuple[str, ...], str] = field(default_factory=dict)
    names: set[str] = field(default_factory=lambda: set(RESERVED))

    def call(self, node: Any) -> None:
        """Work out one operator: compute it where it is constant, else ask its handler; refusals are collected."""
        import torch

        where = f"{_layer(node) or node.name}: {node.target}"
        arguments = torch.fx.node.map_arg((node.args, node.kwargs), lambda x: self.values.get(x))
        read = _flat(arguments)
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            self.complaints.append(f"{where} (a plain ATen operator)")
            self.values[node] = self._stand_in(node, read)
            return
        if not any(isinstance(x, Value | Unusable) for x in read):
            self._compute(node, arguments, where)
            return
        operator = schema.name.removeprefix("aten::")
        try:
            for x in read:
                if isinstance(x, Unusable):
                    raise Refusal(x.reason)
            if operator not in HANDLERS:
                raise Refusal(f"({NEEDED.get(operator, 'an operation of the float graph')})")
            bound = _bound(schema, *arguments)
            self.values[node] = HANDLERS[operator](Call(self, node, self._name(node), bound, _shape(node)))
        except Refusal as refusal:
            self.complaints.append(f"{where} {refusal}")
            self.values[node] = self._stand_in(node, read)

    def _compute(self, node: Any, arguments: Any, where: str) -> None:
        import torch

        if torch.Tag.nondeterministic_seeded in node.target.tags:
            self.complaints.append(f"{where} (random numbers: give them as the module's input)")
            self.values[node] = Value((self.graph.entry,), _shape(node), self.leading)
        elif node.target._schema.is_mutable:
            self.complaints.append(f"{where} (a constant that changes while the module runs)")
            self.values[node] = None
        else:
            with torch.no_grad():
                self.values[node] = node.target(*arguments[0], **arguments[1])

    def _stand_in(self, node: Any, read: list[Any]) -> Any:
        """A value in place of a refused one, so that the rest of the module can be looked at too."""
        first = next((x for x in read if isinstance(x, Value)), None)
        leading = self.leading if first is None else first.leading
        meta = node.meta.get("val")
        shapes = [tuple(x.shape) for x in (meta if isinstance(meta, tuple | list) else [meta]) if hasattr(x, "shape")]
        values = [
            Value((self.graph.entry,), s, leading)
            if s[: len(leading)] == leading
            else Unusable("(reads what was refused)")
            for s in shapes
        ]
        return values if isinstance(meta, tuple | list) else values[0] if values else None

    def _name(self, node: Any) -> str:
        """A new name: of the layer where the operator is all that it does, else of the operator."""
        layer, kind = _layer(node), _layer_type(node)
        plain = kind.startswith("torch.nn.modules.") and ".container." not in kind
        name = layer.replace(".", "_") if layer and plain else node.name
        unique, count = name, 1
        while unique in self.names:
            count += 1
            unique = f"{name}_{count}"
        self.names.add(unique)
        return unique

    def argument_nodes(self, node: Any) -> dict[str, Any]:
        """The program's own nodes that are the arguments of an operator."""
        return _bound(node.target._schema, node.args, node.kwargs)

    def array(self, tensor: Any, key: str = "weight") -> Floats:
        """A constant as float32; the same tensor gives the same array, so that tied weights stay tied.

        raises: Refusal where it depends on the input, is not finite, or is no tensor.
        """
        import torch

        if isinstance(tensor, int | float) and not isinstance(tensor, bool):
            tensor = torch.tensor(float(tensor))
        if not isinstance(tensor, torch.Tensor):
            raise Refusal(f"with a {key} that depends on the input (a constant; or Products of equal shapes)")
        if id(tensor) not in self.arrays:
            values = tensor.detach().to(torch.float32).cpu().contiguous().numpy()
            if not np.isfinite(values).all():
                raise Refusal(f"with a {key} that is not finite")
            self.arrays[id(tensor)] = (tensor, values)  # the tensor is kept, or its id might be given away
        return self.arrays[id(tensor)][1]

    def whole(self, value: Value) -> Value:
        """The same value as a single node."""
        if len(value.parts) == 1:
            return value
        if value.parts not in self.stacks:
            channels = value.channels if len(value.channels) == 3 else (value.width, 1, 1)
            operation = pictures.stack((channels[0], channels[1], channels[2]))
            self.stacks[value.parts] = self.graph.add(self.fresh("stack"), operation, *value.parts)
        return Value((self.stacks[value.parts],), value.shape, value.leading)

    def one(self, value: Value) -> str:
        """The name of the single node that a value is."""
        return self.whole(value).parts[0]

    def copied(self, value: Value) -> Value:
        """The same value as the code stage of a new node."""
        if value.parts == ("tokens",):
            raise Refusal("(tokens are read by an embedding)")
        name = self.graph.add(self.fresh("copy"), Scale((np.ones(value.width, np.float32),)), self.one(value))
        return Value((name,), value.shape, value.leading)

    def fresh(self, stem: str) -> str:
        """A new name that begins so."""
        count = 1
        while f"{stem}_{count}" in self.names:
            count += 1
        self.names.add(f"{stem}_{count}")
        return f"{stem}_{count}"

    def choose(self, call: Call, value: Value, index: Any, leading: tuple[int, ...]) -> Value:
        """The channels `index` of a value, in that order."""
        if np.array_equal(index, np.arange(value.width)):
            return Value(value.parts, call.shape, leading)
        widths = [self.graph.width(part) for part in value.parts]
        ends = np.cumsum(widths).tolist()
        starts = [end - width for end, width in zip(ends, widths, strict=True)]
        contiguous = np.array_equal(index, np.arange(index[0], index[0] + len(index)))
        if contiguous and index[0] in starts and index[-1] + 1 in ends:  # the parts of a concatenation
            parts = value.parts[starts.index(index[0]) : ends.index(index[-1] + 1) + 1]
            return Value(parts, call.shape, leading)
        name = self.one(value)
        source = None if name == self.graph.entry else self.graph.node(name)
        if source is not None and isinstance(source.operation, Linear):
            return call.give(_rows(source.operation, index), *source.inputs, leading=leading)
        if source is not None and isinstance(source.operation, Convolution):
            part = _whole_channels(source.operation, index)
            if part is not None:
                return call.give(part, *source.inputs, leading=leading)
        if max(value.width, len(index)) > SELECTED:
            raise Refusal(f"reorders {value.width} channels (a synapse that reorders; at most {SELECTED} here)")
        return call.give(Linear(np.eye(value.width, dtype=np.float32)[index]), name, leading=leading)


def integer_types() -> tuple[torch.dtype, ...]:
    """Types of token numbers."""
    import torch

    return (torch.int64, torch.int32, torch.int16, torch.uint8)


def _rows(linear: Linear, index: Any) -> Linear:
    integers = linear.integers
    if integers is not None:
        integers = Integers(integers.matrix[index], integers.scale[index], integers.bits)
    return Linear(linear.weight[index], None if linear.bias is None else linear.bias[index], integers)


def _whole_channels(operation: Convolution, index: Any) -> Convolution | None:
    """The convolution that gives some of the channels only; None where the index is not of whole channels."""
    pixels = math.prod(operation.output_shape[1:])
    if operation.groups != 1 or operation.transposed or len(index) % pixels:
        return None
    rows = index.reshape(-1, pixels)
    if (rows[:, 0] % pixels).any() or (rows != rows[:, :1] + np.arange(pixels)).any():
        return None
    part = _rows(Linear(operation.weight, operation.bias, operation.integers), rows[:, 0] // pixels)
    return Convolution(
        part.weight, part.bias, operation.shape, operation.stride, operation.padding, operation.dilation,
        integers=part.integers,
    )  # fmt: skip


def _bound(schema: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = {argument.name: argument.default_value for argument in schema.arguments}
    bound |= dict(zip([argument.name for argument in schema.arguments], args, strict=False))
    return {**bound, **kwargs}


def _flat(arguments: Any) -> list[Any]:
    if isinstance(arguments, tuple | list):
        return [x for item in arguments for x in _flat(item)]
    if isinstance(arguments, dict):
        return _flat(list(arguments.values()))
    return [arguments]


def _shape(node: Any) -> tuple[int, ...]:
    meta = node.meta.get("val")
    first = meta[0] if isinstance(meta, tuple | list) else meta
    return tuple(first.shape) if hasattr(first, "shape") else ()


def _layer(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _layer_type(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][1]) if stack else ""
