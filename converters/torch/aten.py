"""ATen: each operator of an exported torch program as operations of the float graph.

A handler takes a `Call` and returns a `Value`, or raises `Refusal`. To carry another operator, write one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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
    Pointwise,
    Position,
    Products,
    RMSNorm,
    Scale,
)
from snngen.converters.torch.walk import Call, Refusal, Unusable, Value, operators

if TYPE_CHECKING:
    import torch

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
        part = Call(call.walk, call.node, call.walk.fresh(call.name), call.arguments, call.shape)
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
    name = call.walk.graph.add(call.walk.fresh(f"{call.name}_spread"), operation, *value.parts)
    return Value((name,), call.shape, value.leading)


def _channelwise(value: Value, array: Floats) -> Floats:
    """A constant as one number per channel.

    raises: Refusal where it differs from token to token.
    """
    fits = array.ndim <= len(value.shape)
    padded = array.reshape((1,) * (len(value.shape) - array.ndim) + array.shape) if fits else array
    if not fits or any(size != 1 for size in padded.shape[: len(value.leading)]):
        raise Refusal(f"with a constant of shape {array.shape} (one number per channel)")
    row: Floats = np.broadcast_to(padded[(0,) * len(value.leading)], value.channels).reshape(-1).copy()
    return row


def _by_token(value: Value, array: Floats) -> bool:
    axis = array.ndim - len(value.shape) + 1
    return len(value.leading) == 2 and value.leading[1] > 1 and axis >= 0 and array.shape[axis] == value.leading[1]


def _positions(call: Call, value: Value, sign: float, array: Floats) -> Value:
    """A term that differs from token to token: learned positions, which bound the context."""
    graph, tokens = call.walk.graph, value.leading[1]
    rows: Floats = array.reshape([1] * (len(value.shape) - array.ndim) + list(array.shape))
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
    gain = call.filled("weight", 1.0, len(mean)) / np.sqrt(variance.astype(np.float64) + call["eps"])
    bias = call.filled("bias", 0.0, len(mean)) - gain * mean
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
    weight = np.repeat(call.filled("weight", 1.0, channels), x.width // channels)
    bias = np.repeat(call.filled("bias", 0.0, channels), x.width // channels)
    return call.give(GroupNorm(weight, bias, float(epsilon), groups), call.walk.one(x), leading=x.leading)


@operators("layer_norm", "rms_norm")
def _layer_norm(call: Call) -> Value:
    x, block = call.value("input"), tuple(call["normalized_shape"])
    if x.channels[len(x.channels) - len(block) :] != block:
        raise Refusal(f"over {block} of {x.channels} (channel dimensions)")
    size, centred = math.prod(block), "bias" in call.arguments
    groups = x.width // size
    weight = np.tile(call.filled("weight", 1.0, size).reshape(-1), groups)
    epsilon = float(np.finfo(np.float32).eps) if call["eps"] is None else float(call["eps"])
    bias = np.tile(call.filled("bias", 0.0, size).reshape(-1), groups) if centred else None
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
            name = call.name if number == 0 else call.walk.fresh(call.name)
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
