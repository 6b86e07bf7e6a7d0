"""ATen: each operator of an exported torch program as operations of the float graph.

A handler takes a `Call` and returns a `Value`, or raises `Refusal`. To carry another operator, write one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from snngen.converters import pictures, recurrent
from snngen.converters.graph import Codes, Graph
from snngen.converters.operations import (
    Add,
    Convolution,
    Embedding,
    Floats,
    Gate,
    GroupNorm,
    Integers,
    Linear,
    Operation,
    Pointwise,
    Position,
    Products,
    RMSNorm,
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

    def floats(self, key: str, default: float | None = None, size: int = 0) -> Floats | None:
        """An argument that is a constant tensor, as float32; `default` fills `size` values where it is None.

        raises: Refusal where it depends on the input.
        """
        tensor = self.arguments[key]
        if tensor is None:
            return None if default is None else np.full(size, default, dtype=np.float32)
        return self.walk.array(tensor, key)

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
            self.stacks[value.parts] = self.graph.add(self._fresh("stack"), operation, *value.parts)
        return Value((self.stacks[value.parts],), value.shape, value.leading)

    def one(self, value: Value) -> str:
        """The name of the single node that a value is."""
        return self.whole(value).parts[0]

    def copied(self, value: Value) -> Value:
        """The same value as the code stage of a new node."""
        if value.parts == ("tokens",):
            raise Refusal("(tokens are read by an embedding)")
        name = self.graph.add(self._fresh("copy"), Scale((np.ones(value.width, np.float32),)), self.one(value))
        return Value((name,), value.shape, value.leading)

    def _fresh(self, stem: str) -> str:
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


# --- what would be needed for operators that are met often and not carried -------------------------------------------

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


# --- maps -------------------------------------------------------------------------------------------------------------


@operators("linear")
def _linear(call: Call) -> Value:
    return _product(call, call.value("input"), call.array("weight"), call.floats("bias"), call.integers("weight"))


@operators("addmm")
def _addmm(call: Call) -> Value:
    if call["beta"] != 1 or call["alpha"] != 1:
        raise Refusal("with alpha or beta (both 1)")
    bias = call.array("self")
    weight = np.ascontiguousarray(call.array("mat2").T)
    return _product(call, call.value("mat1"), weight, np.broadcast_to(bias, (len(weight),)).copy(), None)


@operators("mm", "matmul")
def _matmul(call: Call) -> Value:
    key = "mat2" if "mat2" in call.arguments else "other"
    if isinstance(call[key], Value):
        raise Refusal("of two activations (attention is carried in families: load the model with `convert`)")
    weight = call.array(key)
    if weight.ndim != 2:
        raise Refusal(f"with a constant of shape {weight.shape} (a matrix)")
    return _product(call, call.value("self"), np.ascontiguousarray(weight.T), None, None)


def _product(call: Call, x: Value, weight: Floats, bias: Floats | None, integers: Integers | None) -> Value:
    if x.width != weight.shape[1] or x.channels[-1:] != (x.width,):
        raise Refusal(f"over the last of several channel dimensions {x.channels} (flatten them, or convolve 1 x 1)")
    return call.give(Linear(weight, bias, integers), *x.parts, leading=x.leading)


@operators("conv2d", "conv_transpose2d", "convolution")
def _convolution(call: Call) -> Value:
    x = call.value("input")
    transposed = bool(call.arguments.get("transposed", "output_padding" in call.arguments))
    weight, dilation = call.array("weight"), _pair(call["dilation"])
    if weight.ndim != 4:
        raise Refusal(f"with a kernel of shape {weight.shape} (two-dimensional convolutions)")
    operation = Convolution(
        weight, call.floats("bias"), x.picture, _pair(call["stride"]), _padding(call["padding"], weight, dilation),
        dilation, call["groups"], transposed, _pair(call.arguments.get("output_padding", (0, 0))),
        call.integers("weight"),
    )  # fmt: skip
    return call.give(operation, *x.parts, leading=x.leading)


def _pair(values: Any) -> tuple[int, int]:
    numbers = [values, values] if isinstance(values, int) else [*values, *values][:2] if len(values) == 1 else values
    return int(numbers[0]), int(numbers[1])


def _padding(padding: Any, weight: Floats, dilation: tuple[int, int]) -> tuple[int, int]:
    if padding == "valid":
        return (0, 0)
    if padding == "same":
        reach = [dilation[axis] * (weight.shape[2 + axis] - 1) for axis in range(2)]
        if reach[0] % 2 or reach[1] % 2:
            raise Refusal("with padding 'same' of an even kernel (padding equal on both sides)")
        return reach[0] // 2, reach[1] // 2
    return _pair(padding)


@operators("embedding")
def _embedding(call: Call) -> Value:
    x = call.value("indices")
    if x.parts != (call.walk.graph.entry,) or call.walk.graph.channels:
        raise Refusal("of something other than the input (tokens)")
    weight = call.array("weight")
    call.walk.graph.vocabulary = len(weight)
    return call.give(Embedding(weight), "tokens", leading=x.leading)


# --- sums and products ------------------------------------------------------------------------------------------------


@operators("add", "sub", "rsub")
def _add(call: Call) -> Value:
    a, b, alpha = call["self"], call["other"], float(call["alpha"])
    signs = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}
    first, second = signs[call.node.target._schema.name.removeprefix("aten::")]
    if isinstance(a, Value) and isinstance(b, Value):
        a, b = _alike(call, a, b)
        names = call.walk.one(a), call.walk.one(b)
        if first == second == 1.0:
            return call.give(Add(), *names, leading=a.leading)
        return call.give(Scale((_full(a, first), _full(a, second))), *names, leading=a.leading)
    value, constant, sign, other = (a, b, first, second) if isinstance(a, Value) else (b, a, second, first)
    array = other * call.walk.array(constant, "term")
    if value.shape != call.shape:
        value = _spread(call, value)
    if _by_token(value, array):
        return _positions(call, value, sign, array)
    return call.give(
        Scale((_full(value, sign),), _channelwise(value, array)), call.walk.one(value), leading=value.leading
    )


@operators("mul", "div")
def _multiply(call: Call) -> Value:
    a, b = call["self"], call["other"]
    divides = call.node.target._schema.name == "aten::div"
    if divides and (isinstance(b, Value) or call.arguments.get("rounding_mode") is not None):
        raise Refusal("by something that depends on the input, or rounded (a constant)")
    if isinstance(a, Value) and isinstance(b, Value):
        a, b = _alike(call, a, b)
        return _gated(call, call.walk.whole(a), call.walk.whole(b))
    value, constant = (a, b) if isinstance(a, Value) else (b, a)
    array = call.walk.array(constant, "factor")
    if value.shape != call.shape:
        value = _spread(call, value)
    factor = _channelwise(value, array)
    if divides:
        with np.errstate(divide="ignore"):
            factor = np.asarray(1 / factor, np.float32)
        if not np.isfinite(factor).all():
            raise Refusal("by zero")
    return call.give(Scale((factor,)), call.walk.one(value), leading=value.leading)


def _gated(call: Call, a: Value, b: Value) -> Value:
    """A product; where one factor is a function of a value that nobody else reads, a gate."""
    for first, second, key in ((a, b, "self"), (b, a, "other")):
        name = first.parts[0]
        source = None if name == call.walk.graph.entry else call.walk.graph.node(name)
        users = call.walk.argument_nodes(call.node)[key].users
        if source is None or not isinstance(source.operation, Pointwise) or len(users) > 1 or a.parts == b.parts:
            continue
        if source.operation.function == "sigmoid" and source.inputs == second.parts:
            return call.give(Pointwise("silu"), *source.inputs, leading=a.leading)
        return call.give(Gate(source.operation.function), *source.inputs, *second.parts, leading=a.leading)
    return call.give(Products((None,)), *a.parts, *b.parts, leading=a.leading)


@operators("neg")
def _negative(call: Call) -> Value:
    x = call.value("self")
    return call.give(Scale((_full(x, -1.0),)), call.walk.one(x), leading=x.leading)


@operators("pow")
def _power(call: Call) -> Value:
    x = call.value("self")
    if call["exponent"] != 2:
        raise Refusal(f"with exponent {call['exponent']} (2)")
    return call.give(Products((None,)), call.walk.one(x), call.walk.one(x), leading=x.leading)


@operators("glu")
def _glu(call: Call) -> Value:
    x = call.value("self")
    if call["dim"] % len(x.shape) != len(x.leading):
        raise Refusal("along a dimension other than the channels")
    half = x.width // 2
    halves = []
    for index in (np.arange(half, 2 * half), np.arange(half)):
        part = Call(call.walk, call.node, call.walk._fresh(call.name), call.arguments, call.shape)
        halves.append(call.walk.one(call.walk.choose(part, x, index, x.leading)))
    return call.give(Gate("sigmoid"), *halves, leading=x.leading)


def _full(value: Value, number: float) -> Floats:
    return np.full(value.width, number, dtype=np.float32)


def _alike(call: Call, a: Value, b: Value) -> tuple[Value, Value]:
    """Two values of the shape of their result: one number per channel is spread over a picture."""
    pair = [x if x.shape == call.shape else _spread(call, x) for x in (a, b)]
    if pair[0].leading != pair[1].leading:
        raise Refusal("of a value with tokens and one without (values of the same tokens)")
    return pair[0], pair[1]


def _spread(call: Call, value: Value) -> Value:
    leading, wanted = call.shape[: len(value.leading)], call.shape[len(value.leading) :]
    small = value.channels
    if leading != value.leading or len(small) != 3 or len(wanted) != 3 or small != (wanted[0], 1, 1):
        raise Refusal(f"of shapes {value.shape} and {call.shape} (equal ones, or one number per channel of a picture)")
    operation = pictures.repeat(value.picture, (wanted[1], wanted[2]))
    name = call.walk.graph.add(call.walk._fresh(f"{call.name}_spread"), operation, *value.parts)
    return Value((name,), call.shape, value.leading)


def _channelwise(value: Value, array: Floats) -> Floats:
    """A constant as one number per channel.

    raises: Refusal where it differs from token to token.
    """
    fits = array.ndim <= len(value.shape)
    padded = array.reshape((1,) * (len(value.shape) - array.ndim) + array.shape) if fits else array
    if not fits or any(size != 1 for size in padded.shape[: len(value.leading)]):
        raise Refusal(f"with a constant of shape {array.shape} (one number per channel)")
    return np.broadcast_to(padded[(0,) * len(value.leading)], value.channels).reshape(-1).copy()


def _by_token(value: Value, array: Floats) -> bool:
    axis = array.ndim - len(value.shape) + 1
    return len(value.leading) == 2 and value.leading[1] > 1 and axis >= 0 and array.shape[axis] == value.leading[1]


def _positions(call: Call, value: Value, sign: float, array: Floats) -> Value:
    """A term that differs from token to token: learned positions, which bound the context."""
    graph, tokens = call.walk.graph, value.leading[1]
    rows = array.reshape((1,) * (len(value.shape) - array.ndim) + array.shape)
    if rows.shape[0] != 1 or sign != 1.0 or value.leading != call.walk.leading:
        raise Refusal("with a constant that differs within the batch (one row per token)")
    weight = np.broadcast_to(rows[0], (tokens, *value.channels)).reshape(tokens, -1).astype(np.float32)
    graph.context = tokens
    call.walk.notes.append(f"{call.name}: a term for each of {tokens} tokens; the context is that of the example")
    name = graph.add(f"{call.name}_position", Position(weight), graph.entry)
    return call.give(Add(), call.walk.one(value), name, leading=value.leading)


# --- functions of one value -------------------------------------------------------------------------------------------


@operators("relu", "sigmoid", "tanh", "silu")
def _pointwise(call: Call) -> Value:
    x = call.value("self")
    function = call.node.target._schema.name.removeprefix("aten::")
    return call.give(Pointwise(function), call.walk.one(x), leading=x.leading)


@operators("gelu")
def _gelu(call: Call) -> Value:
    x = call.value("self")
    function = "gelu" if call["approximate"] == "none" else "gelu_tanh"
    return call.give(Pointwise(function), call.walk.one(x), leading=x.leading)


@operators("leaky_relu")
def _leaky_relu(call: Call) -> Value:
    return _leaky(call, _full(call.value("self"), float(call["negative_slope"])))


@operators("prelu")
def _prelu(call: Call) -> Value:
    x, slope = call.value("self"), call.array("weight")
    return _leaky(call, np.repeat(slope, x.width // slope.size) if slope.size > 1 else _full(x, float(slope[0])))


def _leaky(call: Call, slope: Floats) -> Value:
    """slope * x + (1 - slope) * relu(x)."""
    x = call.value("self")
    name = call.walk.one(x)
    positive = call.walk.graph.add(f"{call.name}_relu", Pointwise("relu"), name)
    return call.give(Scale((slope, 1 - slope)), name, positive, leading=x.leading)


# --- norms ------------------------------------------------------------------------------------------------------------


@operators("_native_batch_norm_legit_no_training")
def _batch_norm(call: Call) -> tuple[Value, None, None]:
    x = call.value("input")
    mean, variance = call.array("running_mean"), call.array("running_var")
    gain = call.floats("weight", 1.0, len(mean)) / np.sqrt(variance.astype(np.float64) + call["eps"])
    bias = call.floats("bias", 0.0, len(mean)) - gain * mean
    each = x.width // len(mean)
    if x.channels[:1] != (len(mean),):
        raise Refusal(f"on shape {x.shape} (channels first)")
    scale = Scale((np.repeat(gain, each).astype(np.float32),), np.repeat(bias, each).astype(np.float32))
    return call.give(scale, call.walk.one(x), leading=x.leading), None, None


@operators("group_norm")
def _group_norm(call: Call) -> Value:
    return _grouped(call, call["num_groups"], call["eps"])


@operators("instance_norm")
def _instance_norm(call: Call) -> Value:
    if not call["use_input_stats"]:
        raise Refusal("with running statistics (track_running_stats=False, or batch norm)")
    return _grouped(call, call.value("input").channels[0], call["eps"])


def _grouped(call: Call, groups: int, epsilon: float) -> Value:
    x = call.value("input")
    channels = x.channels[0]
    weight = np.repeat(call.floats("weight", 1.0, channels), x.width // channels)
    bias = np.repeat(call.floats("bias", 0.0, channels), x.width // channels)
    return call.give(GroupNorm(weight, bias, float(epsilon), groups), call.walk.one(x), leading=x.leading)


@operators("layer_norm", "rms_norm")
def _layer_norm(call: Call) -> Value:
    x, block = call.value("input"), tuple(call["normalized_shape"])
    if x.channels[len(x.channels) - len(block) :] != block:
        raise Refusal(f"over {block} of {x.channels} (channel dimensions)")
    size, centred = math.prod(block), "bias" in call.arguments
    groups = x.width // size
    weight = np.tile(call.floats("weight", 1.0, size).reshape(-1), groups)
    epsilon = float(np.finfo(np.float32).eps) if call["eps"] is None else float(call["eps"])
    bias = np.tile(call.floats("bias", 0.0, size).reshape(-1), groups) if centred else None
    plain = not centred and groups == 1
    norm = RMSNorm(weight, epsilon) if plain else GroupNorm(weight, bias, epsilon, groups, centred)
    return call.give(norm, call.walk.one(x), leading=x.leading)


# --- pictures ---------------------------------------------------------------------------------------------------------


@operators("avg_pool2d")
def _average_pool(call: Call) -> Value:
    x = call.value("self")
    kernel, padding = _pair(call["kernel_size"]), _pair(call["padding"] or 0)
    stride = _pair(call["stride"]) if call["stride"] else kernel
    if any(padding) and not call["count_include_pad"]:
        raise Refusal("with count_include_pad=False (windows that all count alike)")
    operation = pictures.average_pool(x.picture, kernel, stride, padding, call["divisor_override"])
    if operation.output_shape != call.shape[len(x.leading) :]:
        raise Refusal("with ceil_mode=True (whole windows)")
    return call.give(operation, *x.parts, leading=x.leading)


@operators("adaptive_avg_pool2d")
def _adaptive_pool(call: Call) -> Value:
    x = call.value("self")
    _, height, width = x.picture
    tall, wide = call.shape[-2:]
    if height % tall or width % wide:
        raise Refusal(f"from {height} x {width} to {tall} x {wide} (windows of equal size)")
    kernel = (height // tall, width // wide)
    return call.give(pictures.average_pool(x.picture, kernel, kernel), *x.parts, leading=x.leading)


@operators("mean")
def _mean(call: Call) -> Value:
    x = call.value("self")
    axes = sorted(axis % len(x.shape) for axis in call.arguments.get("dim") or range(len(x.shape)))
    if axes != list(range(len(x.leading) + len(x.channels) - 2, len(x.shape))):
        raise Refusal(f"over dimensions {axes} of {x.shape} (height and width of a picture)")
    kernel = (x.picture[1], x.picture[2])
    return call.give(pictures.average_pool(x.picture, kernel, kernel), *x.parts, leading=x.leading)


@operators("upsample_nearest2d", "_upsample_nearest_exact2d")
def _upsample(call: Call) -> Value:
    x = call.value("input" if "input" in call.arguments else "self")
    _, height, width = x.picture
    if call.shape[-2] % height or call.shape[-1] % width:
        raise Refusal(f"from {height} x {width} to {call.shape[-2]} x {call.shape[-1]} (a whole factor)")
    factors = (call.shape[-2] // height, call.shape[-1] // width)
    return call.give(pictures.repeat(x.picture, factors), *x.parts, leading=x.leading)


@operators("pixel_shuffle")
def _pixel_shuffle(call: Call) -> Value:
    x = call.value("self")
    return call.give(pictures.pixel_shuffle(x.picture, int(call["upscale_factor"])), *x.parts, leading=x.leading)


# --- shapes -----------------------------------------------------------------------------------------------------------


@operators("cat")
def _concatenate(call: Call) -> Value:
    values = [x for x in call["tensors"] if isinstance(x, Value)]
    axis = call["dim"] % len(call.shape)
    first = values[0]
    if len(values) < len(call["tensors"]):
        raise Refusal("with a constant (values that depend on the input)")
    if axis < len(first.leading) or any(x.leading != first.leading for x in values):
        raise Refusal("along batch or tokens (channels)")
    if math.prod(call.shape[len(first.leading) : axis]) != 1:
        raise Refusal(f"along dimension {axis} (the first of the channels)")
    return Value(tuple(part for x in values for part in x.parts), call.shape, first.leading)


@operators(
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "expand", "contiguous", "clone",
    "alias", "detach", "dropout", "_to_copy", "to", "permute", "transpose", "t", "movedim", "slice", "select", "narrow",
    "flip", "roll", "repeat", "split", "split_with_sizes", "chunk", "unbind", "lift_fresh", "feature_dropout",
    "pixel_unshuffle", "channel_shuffle", "alpha_dropout", "native_dropout", "view_as", "expand_as", "unsafe_split",
)  # fmt: skip
def _moved(call: Call) -> Any:
    """Whatever only moves values about, followed by index."""
    import torch

    (x,) = (value for value in call.arguments.values() if isinstance(value, Value))
    dtype = call.arguments.get("dtype")
    if dtype is not None and dtype not in (torch.float32, torch.float64) and call.walk.graph.channels:
        raise Refusal(f"to {dtype} (float32 throughout)")
    rows = math.prod(x.leading)
    index = torch.arange(rows * x.width, dtype=torch.float64).reshape(x.shape)
    args, kwargs = torch.fx.node.map_arg((call.node.args, call.node.kwargs), lambda n: call.walk.values[n])
    args, kwargs = _replaced((args, kwargs), x, index)
    kwargs.pop("dtype", None)
    moved = index if "dtype" in call.arguments else call.node.target(*args, **kwargs)
    if isinstance(moved, tuple | list):
        parts = []
        for number, piece in enumerate(moved):
            name = call.name if number == 0 else call.walk._fresh(call.name)
            part = Call(call.walk, call.node, name, call.arguments, tuple(piece.shape))
            parts.append(_followed(part, x, piece))
        return parts
    return _followed(call, x, moved)


def _replaced(arguments: Any, old: Value, new: Any) -> Any:
    if isinstance(arguments, tuple | list):
        return type(arguments)([_replaced(x, old, new) for x in arguments])
    if isinstance(arguments, dict):
        return {key: _replaced(x, old, new) for key, x in arguments.items()}
    return new if arguments is old else arguments


def _followed(call: Call, x: Value, moved: torch.Tensor) -> Value:
    """The value whose elements are those of `x` at the indices `moved`."""
    places = moved.long().numpy()
    if len(x.leading) == 2 and x.leading == call.walk.leading and places.size == x.leading[0] * x.width:
        last = (np.arange(x.leading[0]) * x.leading[1] + x.leading[1] - 1) * x.width
        if np.array_equal(places.reshape(x.leading[0], -1), last[:, None] + np.arange(x.width)):
            call.walk.notes.append(f"{call.name}: the module answers after the last token only, the network at each")
            return Value(x.parts, call.shape, x.leading[:1])
    rows_before = math.prod(x.leading)
    for count in range(1, places.ndim + 1):
        leading = places.shape[:count]
        if math.prod(leading) != rows_before:
            continue
        if x.leading == places.shape[: len(x.leading)]:
            leading = x.leading
        table = places.reshape(rows_before, -1) - np.arange(rows_before)[:, None] * x.width
        if table.size and (table == table[:1]).all() and table.min() >= 0 and table.max() < x.width:
            return call.walk.choose(call, x, table[0], leading)
        break
    raise Refusal(f"mixes batch or tokens with channels: {x.shape} to {tuple(places.shape)} (channels only)")


# --- over time --------------------------------------------------------------------------------------------------------


@operators("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(call: Call) -> tuple[Any, ...]:
    x = call.value("input")
    wrong = [
        name
        for name, is_wrong in (
            ("bidirectional=True (one direction: later tokens are not known)", call["bidirectional"]),
            ("batch_first=False (batch_first=True)", not call["batch_first"]),
            ("a sequence that is not the input's own (batch, tokens, channels)", x.leading != call.walk.leading),
            ("no tokens (an example of (batch, tokens, channels))", len(x.leading) != 2),
        )
        if is_wrong
    ]
    states = call["hx"] if isinstance(call["hx"], tuple | list) else [call["hx"]]
    if any(isinstance(state, Value) or bool((state != 0).any()) for state in states):
        wrong.append("an initial state (zeros)")
    operator = call.node.target._schema.name.removeprefix("aten::")
    each = 4 if call["has_biases"] else 2
    if len(call["params"]) != each * call["num_layers"]:
        wrong.append("proj_size (0)")
    if wrong:
        raise Refusal(f"with {', '.join(wrong)}")
    parts = x.parts
    for layer in range(call["num_layers"]):
        weights = [call.walk.array(w) for w in call["params"][each * layer : each * (layer + 1)]]
        name = call.name if call["num_layers"] == 1 else f"{call.name}_{layer}"
        parts = (_cell(call.walk.graph, operator, name, parts, weights),)
    final = Unusable("reads a final state (the sequence of outputs: out[:, -1])")
    return Value(parts, call.shape, x.leading), final, final


def _cell(graph: Graph, operator: str, name: str, inputs: tuple[str, ...], weights: list[Floats]) -> str:
    """One layer, its weights as torch stacks them: gates one below the other."""
    gates = {"lstm": "ifgo", "gru": "rzn"}.get(operator, "h")
    of_input, of_state = (np.split(weight, len(gates)) for weight in weights[:2])
    width = len(of_input[0])
    zeros = [np.zeros(width, np.float32)] * len(gates)
    bias_input, bias_state = (np.split(bias, len(gates)) for bias in weights[2:]) if weights[2:] else (zeros, zeros)
    merged: dict[str, recurrent.Weights] = {
        gate: (of_input[k], of_state[k], bias_input[k] + bias_state[k]) for k, gate in enumerate(gates)
    }
    if operator == "lstm":
        return recurrent.lstm(graph, name, inputs, merged)
    if operator == "gru":
        merged["n"] = (of_input[2], of_state[2], bias_input[2])
        return recurrent.gru(graph, name, inputs, merged, bias_state[2])
    return recurrent.simple(graph, name, inputs, merged["h"], operator.removeprefix("rnn_"))


# --- codes ------------------------------------------------------------------------------------------------------------


@operators("fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine")
def _codes(call: Call) -> Value:
    x = call.value("self")
    scale, zero = call.array("scale").astype(np.float64).reshape(-1), call.array("zero_point")
    if zero.any():
        raise Refusal("with a zero point (codes about zero: a symmetric or unsigned quantizer)")
    if scale.size > 1:
        if call["axis"] != len(x.leading):
            raise Refusal(f"with scales along dimension {call['axis']} (channels)")
        scale = np.repeat(scale, x.width // scale.size)
    codes = Codes(scale, int(call["quant_min"]), int(call["quant_max"]))
    return call.give(Scale((_full(x, 1.0),)), call.walk.one(x), leading=x.leading, codes=codes)
