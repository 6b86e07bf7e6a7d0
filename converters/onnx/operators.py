"""What the ONNX operators of vectors and of layouts mean in the float graph."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from snngen.converters.graph import Codes
from snngen.converters.onnx import constants as onnx_constants
from snngen.converters.onnx.constants import BATCH, SYMBOLS, TOKEN, Constant
from snngen.converters.onnx.model import Array, Step
from snngen.converters.onnx.translation import Positions, Refusal, Signal, Translation, Value, operator
from snngen.converters.operations import (
    Add,
    Convolution,
    Floats,
    Gate,
    GroupNorm,
    Integers,
    Linear,
    Pointwise,
    Products,
    RMSNorm,
    Scale,
)

# -- linear maps ---------------------------------------------------------------------------------------------------


def taken(t: Translation, step: Step, index: int, outputs: int, transpose: bool) -> tuple[Floats, Integers | None]:
    """Weights and, where the file has them, their integers, which have one scale per output.

    outputs: the axis of the outputs in the file. transpose: bring it to the front.
    """
    weight = t.required(step, index, None)
    value = t.at(step, index)
    quantized = value.quantized if isinstance(value, Constant) else None
    axis = outputs
    if transpose:
        weight, axis = weight.T, 1 - outputs
        quantized = None if quantized is None else quantized.transposed((1, 0))
    weight = np.ascontiguousarray(weight)
    if quantized is None:
        return weight, None
    low, high = int(quantized.values.min(initial=0)), int(quantized.values.max(initial=0))
    if low < -128 or high > 127 or quantized.axis not in (None, axis):
        t.notes.append(f"{step.label}: weights with zero points or scales per input are quantized again")
        return weight, None
    count = weight.shape[axis]
    scale = np.broadcast_to(quantized.scale, (count,)) if quantized.axis is None else quantized.scale
    matrix = np.ascontiguousarray(quantized.values.astype(np.int8))
    return weight, Integers(matrix, np.array(scale, dtype=np.float64), quantized.bits)


@operator("MatMul")
def _matmul(t: Translation, step: Step) -> Value:
    signal = t.signal(step, factored=True)
    if not isinstance(t.at(step, 1), Constant):
        raise Refusal("both factors depend on the input; needed: constant weights, or the operator Attention")
    return _linear(t, step, signal, transpose=True, bias=None)


@operator("Gemm")
def _gemm(t: Translation, step: Step) -> Value:
    given = step.attributes
    if given.get("transA", 0):
        raise Refusal("transA = 1; needed: transA = 0")
    bias = t.weights(step, 2)
    alpha, beta = float(given.get("alpha", 1.0)), float(given.get("beta", 1.0))
    signal = t.signal(step, factored=True)
    return _linear(t, step, signal, transpose=not given.get("transB", 0), bias=bias, alpha=alpha, beta=beta)


def _linear(
    t: Translation,
    step: Step,
    signal: Signal,
    transpose: bool,
    bias: Floats | None,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Signal:
    t.required(step, 1, 2)
    weight, integers = taken(t, step, 1, outputs=1 if transpose else 0, transpose=transpose)
    if len(signal.sizes) != 1 or not isinstance(signal.axes[-1], int) or signal.width != weight.shape[1]:
        raise Refusal(f"axes {signal.axes} times {weight.shape[::-1]}; needed: one channel axis, the last, as long")
    if signal.factor is not None:
        weight = weight * signal.factor
    if alpha != 1.0:
        weight = weight * np.float32(alpha)
        integers = None if integers is None else Integers(integers.matrix, integers.scale * alpha, integers.bits)
    if bias is not None:
        if bias.size not in (1, weight.shape[0]):
            raise Refusal(f"a bias of shape {bias.shape}; needed: one number per output, the same for all tokens")
        bias = np.broadcast_to(bias.reshape(-1), (weight.shape[0],)) * np.float32(beta)
    name = t.add(step, Linear(weight, bias, integers), *signal.names)
    return Signal((name,), (*signal.axes[:-1], weight.shape[0]))


# -- sums, products, functions -------------------------------------------------------------------------------------


@operator("Add")
def _add(t: Translation, step: Step) -> Value:
    values = [t.at(step, index) for index in range(2)]
    for index in range(2):
        if isinstance(values[index], Constant):
            return _shifted(t, step, t.signal(step, 1 - index), t.required(step, index))
    first, second = _pair(t, step)
    return t.make(step, Add(), first, second)


def _pair(t: Translation, step: Step) -> tuple[Signal, Signal]:
    first, second = t.signal(step, 0), t.signal(step, 1)
    if first.axes != second.axes:
        raise Refusal(f"axes {first.axes} and {second.axes}; needed: two values of the same shape")
    return first, second


def _shifted(t: Translation, step: Step, signal: Signal, constant: Floats) -> Signal:
    """A constant added: the bias of what made the value, where that has none, else a node of its own."""
    channels = t.channelwise(step, constant, signal)
    node = t.owner(signal)
    if node is not None and isinstance(node.operation, Linear | Convolution):
        before = np.float32(0) if node.operation.bias is None else node.operation.bias
        if isinstance(node.operation, Linear):
            t.swap(node, replace(node.operation, bias=before + channels))
            return signal
        places = channels.reshape(node.operation.outputs, -1)
        if (places == places[:, :1]).all():
            t.swap(node, replace(node.operation, bias=before + np.ascontiguousarray(places[:, 0])))
            return signal
    return t.make(step, Scale((np.ones_like(channels),), channels), signal)


@operator("Sub")
def _sub(t: Translation, step: Step) -> Value:
    if isinstance(t.at(step, 1), Constant):
        return _shifted(t, step, t.signal(step, 0), -t.required(step, 1))
    if isinstance(t.at(step, 0), Constant):
        signal = t.signal(step, 1)
        channels = t.channelwise(step, t.required(step, 0), signal)
        return t.make(step, Scale((-np.ones_like(channels),), channels), signal)
    first, second = _pair(t, step)
    t.spend(2 * first.width)
    ones = np.ones(first.width, np.float32)
    return t.make(step, Scale((ones, -ones)), first, second)


@operator("Mul")
def _mul(t: Translation, step: Step) -> Value:
    for index in range(2):
        if isinstance(t.at(step, index), Constant):
            return _scaled(t, step, t.signal(step, 1 - index), t.required(step, index))
    first, second = _pair(t, step)
    for squashed, other in ((first, second), (second, first)):
        node = t.owner(squashed, Pointwise)
        if node is None or not isinstance(node.operation, Pointwise):
            continue
        if node.operation.function == "sigmoid" and node.inputs == other.names:
            t.swap(node, Pointwise("silu"))
            return replace(squashed, shared=False)
        name = t.name(step.name)
        del t.nodes[node.name]
        t.add(step, Gate(node.operation.function), node.inputs[0], t.one(step, other), name=name)
        return Signal((name,), first.axes)
    return t.make(step, Products((None,)), first, second)


@operator("Div")
def _div(t: Translation, step: Step) -> Value:
    if not isinstance(t.at(step, 1), Constant):
        raise Refusal("a divisor that depends on the input; needed: a constant one")
    divisor = t.required(step, 1)
    if not divisor.all():
        raise Refusal("a divisor of 0; needed: others")
    return _scaled(t, step, t.signal(step, 0), np.asarray(1 / divisor, np.float32))


@operator("Neg")
def _neg(t: Translation, step: Step) -> Value:
    return _scaled(t, step, t.signal(step), np.array(-1, np.float32))


def _scaled(t: Translation, step: Step, signal: Signal, constant: Floats) -> Signal:
    return t.make(step, Scale((t.channelwise(step, constant, signal),)), signal)


FUNCTIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Swish": "silu"}


@operator("Relu", "Sigmoid", "Tanh", "Gelu", "Swish")
def _pointwise(t: Translation, step: Step) -> Value:
    function = FUNCTIONS.get(step.operator, "gelu")
    if step.operator == "Gelu" and step.attributes.get("approximate", "none") == "tanh":
        function = "gelu_tanh"
    if step.attributes.get("alpha", 1.0) != 1.0:
        raise Refusal(f"alpha = {step.attributes['alpha']}; needed: 1")
    return t.make(step, Pointwise(function), t.signal(step))


@operator("LeakyRelu")
def _leaky(t: Translation, step: Step) -> Value:
    """alpha * x + (1 - alpha) * relu(x)."""
    signal = t.signal(step)
    t.spend(2 * signal.width)
    alpha = np.full(signal.width, step.attributes.get("alpha", 0.01), np.float32)
    name = t.one(step, signal)
    positive = t.add(step, Pointwise("relu"), name, part="_relu")
    return Signal((t.add(step, Scale((alpha, 1 - alpha)), name, positive),), signal.axes)


@operator("Clip")
def _clip(t: Translation, step: Step) -> Value:
    low, high = (t.weights(step, index) for index in (1, 2))
    given = step.attributes
    low = np.array(given["min"], np.float32) if low is None and "min" in given else low
    high = np.array(given["max"], np.float32) if high is None and "max" in given else high
    if low is not None and not low.any() and (high is None or high.min() > 3e38):
        return t.make(step, Pointwise("relu"), t.signal(step))
    return _limited(t, step, t.signal(step, coded=True), low, high)


@operator("Max", "Min")
def _extreme(t: Translation, step: Step) -> Value:
    if len(step.inputs) != 2 or not isinstance(t.at(step, 1), Constant):
        raise Refusal("the largest or smallest of values that depend on the input; needed: a constant limit")
    limit = t.required(step, 1)
    signal = t.signal(step, coded=True)
    if step.operator == "Max" and not limit.any() and not signal.limited:
        return t.make(step, Pointwise("relu"), t.signal(step))
    return _limited(t, step, signal, *((limit, None) if step.operator == "Max" else (None, limit)))


def _limited(t: Translation, step: Step, signal: Signal, low: Floats | None, high: Floats | None) -> Signal:
    if signal.coded is not None or signal.factor is not None or signal.names == ("tokens",):
        raise Refusal("limits of codes; needed: limits before QuantizeLinear")
    new = [None if limit is None else t.channelwise(step, limit, signal) for limit in (low, high)]
    before = signal.limits
    if any(a is not None and b is not None for a, b in zip(new, before, strict=True)):
        raise Refusal("limits of limits; needed: one Clip, or one Max and one Min")
    return replace(
        signal, limits=(new[0] if before[0] is None else before[0], new[1] if before[1] is None else before[1])
    )


# -- norms ---------------------------------------------------------------------------------------------------------


def _last_axis(t: Translation, step: Step, signal: Signal) -> None:
    axis = step.attributes.get("axis", -1)
    if len(signal.sizes) != 1 or not isinstance(signal.axes[-1], int) or axis not in (-1, len(signal.axes) - 1):
        raise Refusal(f"axis {axis} of {signal.axes}; needed: the only channel axis, the last")


@operator("RMSNormalization")
@operator("SimplifiedLayerNormalization")
def _rms_norm(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    _last_axis(t, step, signal)
    weight = t.channelwise(step, t.required(step, 1), signal)
    return t.make(step, RMSNorm(weight, _epsilon(step, 1e-5)), signal)


@operator("LayerNormalization")
def _layer_norm(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    _last_axis(t, step, signal)
    weight, bias = t.channelwise(step, t.required(step, 1), signal), t.weights(step, 2)
    return t.make(
        step,
        GroupNorm(weight, None if bias is None else t.channelwise(step, bias, signal), _epsilon(step, 1e-5)),
        signal,
    )


def _epsilon(step: Step, default: float) -> float:
    epsilon = float(step.attributes.get("epsilon", default))
    if not 0 <= epsilon < 1e3:
        raise ValueError(f"epsilon {epsilon}")
    return epsilon


@operator("InstanceNormalization", "GroupNormalization")
def _group_norm(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    channels, places = picture_channels(signal), signal.width // picture_channels(signal)
    groups = int(step.attributes.get("num_groups", channels))
    weight, bias = t.required(step, 1, 1), t.required(step, 2, 1)
    if groups < 1 or channels % groups or weight.shape != (channels,) or bias.shape != (channels,):
        raise Refusal(f"{groups} groups, weights {weight.shape}; needed: one number per channel (opset 21)")
    t.spend(2 * signal.width)
    norm = GroupNorm(np.repeat(weight, places), np.repeat(bias, places), _epsilon(step, 1e-5), groups)
    return t.make(step, norm, signal)


def picture_channels(signal: Signal) -> int:
    """Size of axis 1, the channels of (batch, channels, ...)."""
    if len(signal.axes) < 2 or signal.axes[0] not in (BATCH, TOKEN) or len(signal.sizes) != len(signal.axes) - 1:
        raise Refusal(f"axes {signal.axes}; needed: (batch, channels, ...)")
    return signal.sizes[0]


@operator("BatchNormalization")
def _batch_norm(t: Translation, step: Step) -> Value:
    if step.attributes.get("training_mode", 0):
        raise Refusal("training_mode = 1; needed: an exported inference graph")
    signal = t.signal(step)
    channels = picture_channels(signal)
    scale, bias, mean, variance = (t.required(step, index, 1).astype(np.float64) for index in range(1, 5))
    factor = scale / np.sqrt(variance + _epsilon(step, 1e-5))
    shift = bias - mean * factor
    if factor.shape != (channels,) or not np.isfinite(factor).all():
        raise ValueError(f"{factor.shape} finite factors for {channels} channels")
    node = t.owner(signal)
    operation = None if node is None else node.operation
    foldable = isinstance(operation, Convolution) or (isinstance(operation, Linear) and len(signal.sizes) == 1)
    if node is not None and foldable and isinstance(operation, Linear | Convolution) and operation.integers is None:
        t.swap(node, _folded(operation, factor, shift))
        return signal
    t.spend(2 * signal.width)
    places = signal.width // channels
    weights = np.repeat(factor, places).astype(np.float32)
    return t.make(step, Scale((weights,), np.repeat(shift, places).astype(np.float32)), signal)


def _folded(operation: Linear | Convolution, factor: Array, shift: Array) -> Linear | Convolution:
    """The map followed by factor * value + shift per output."""
    old = 0.0 if operation.bias is None else operation.bias
    bias = (old * factor + shift).astype(np.float32)
    if isinstance(operation, Convolution) and operation.transposed:
        weight = operation.weight
        inputs = len(weight) // operation.groups
        per_input = np.repeat(factor.reshape(operation.groups, -1), inputs, axis=0)  # (inputs, outputs / groups)
        return replace(operation, weight=(weight * per_input[:, :, None, None]).astype(np.float32), bias=bias)
    shaped = factor.reshape(-1, *[1] * (operation.weight.ndim - 1))
    return replace(operation, weight=(operation.weight * shaped).astype(np.float32), bias=bias)


# -- layouts -------------------------------------------------------------------------------------------------------


@operator("Identity", "Dropout", "Cast")
def _same(t: Translation, step: Step) -> Value:
    value = t.at(step, 0)
    if isinstance(value, Positions):
        return value
    training = t.constant(step, 2) if step.operator == "Dropout" else None
    if training is not None and training.any():
        raise Refusal("training_mode = 1; needed: an exported inference graph")
    signal = t.signal(step, coded=True)
    if step.operator == "Cast" and signal.names != ("tokens",) and step.attributes.get("to") not in (1, 10, 11, 16):
        raise Refusal("a cast to whole numbers; needed: floats")
    return signal


@operator("Flatten")
def _flatten(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    axis = int(step.attributes.get("axis", 1)) % max(1, len(signal.axes))
    if axis != 1 or isinstance(signal.axes[0], int) or len(signal.sizes) != len(signal.axes) - 1:
        raise Refusal(f"axis {axis} of {signal.axes}; needed: (batch, ...) from axis 1 on")
    return signal.view((signal.axes[0], signal.width))


@operator("Reshape")
def _reshape(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    shape = t.integers(step, 1) or ()
    lead = tuple(axis for axis in signal.axes if isinstance(axis, str))
    if signal.axes[: len(lead)] != lead or len(shape) < len(lead):
        raise Refusal(f"{signal.axes} to {shape}; needed: batch and token axes first, and left as they are")
    rest = [
        signal.axes[index] if size == 0 and index < len(signal.axes) else size
        for index, size in enumerate(shape)
        if index >= len(lead)
    ]
    known = [size for size in rest if isinstance(size, int) and size > 0]
    open_ends = len(rest) - len(known)
    product = math.prod(known)
    if open_ends == 1 and -1 in rest and -1 not in shape[: len(lead)] and signal.width % product == 0:
        rest[rest.index(-1)] = signal.width // product
    elif open_ends or product != signal.width:
        raise Refusal(f"{signal.axes} to {shape}; needed: batch and token axes first, and left as they are")
    return signal.view((*lead, *rest))


@operator("Transpose")
def _transpose(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    order = tuple(step.attributes.get("perm", range(len(signal.axes))[::-1]))
    if sorted(order) != list(range(len(signal.axes))):
        raise ValueError(f"perm {order}")
    moved = tuple(signal.axes[axis] for axis in order)
    wide = [axis for axis in order if isinstance(signal.axes[axis], int) and signal.axes[axis] != 1]
    if wide != sorted(wide):
        raise Refusal(f"{signal.axes} by {order}; needed: channel axes in their order, or transposed weights")
    return signal.view(moved)


@operator("Squeeze")
def _squeeze(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    chosen = onnx_constants.axes(step, t.constant(step, 1))
    count = len(signal.axes)
    drop = {index for index, axis in enumerate(signal.axes) if axis == 1}
    if chosen is not None:
        wanted = {axis % count for axis in chosen}
        if not wanted <= drop:
            raise Refusal(f"axes {sorted(wanted)} of {signal.axes}; needed: axes of size 1 that are no batch or token")
        drop = wanted
    return signal.view(tuple(axis for index, axis in enumerate(signal.axes) if index not in drop))


@operator("Unsqueeze")
def _unsqueeze(t: Translation, step: Step) -> Value:
    value = t.at(step, 0)
    if isinstance(value, Positions):
        return value
    signal = t.signal(step, coded=True)
    chosen = onnx_constants.axes(step, t.constant(step, 1)) or ()
    count = len(signal.axes) + len(chosen)
    places = {axis % count for axis in chosen}
    if len(places) < len(chosen) or not all(-count <= axis < count for axis in chosen):
        raise ValueError(f"axes {chosen}")
    rest = iter(signal.axes)
    return signal.view(tuple(1 if index in places else next(rest) for index in range(count)))


@operator("Concat")
def _concat(t: Translation, step: Step) -> Value:
    signals = [t.signal(step, index) for index in range(len(step.inputs))]
    first = signals[0]
    axis = int(step.attributes["axis"]) % len(first.axes)
    leading = [index for index, size in enumerate(first.axes) if isinstance(size, int) and size != 1]
    same = all(
        len(signal.axes) == len(first.axes)
        and all(a == b for i, (a, b) in enumerate(zip(signal.axes, first.axes, strict=True)) if i != axis)
        and isinstance(signal.axes[axis], int)
        for signal in signals
    )
    if not same or any(index < axis for index in leading) or any(signal.coded is not None for signal in signals):
        raise Refusal(f"axis {axis} of {first.axes}; needed: the first channel axis of equal shapes")
    total = sum(int(signal.axes[axis]) for signal in signals)
    names = tuple(name for signal in signals for name in signal.names)
    return Signal(names, (*first.axes[:axis], total, *first.axes[axis + 1 :]), shared=True)


@operator("Shape")
def _shape(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    sizes = [SYMBOLS[axis] if isinstance(axis, str) else axis for axis in signal.axes]
    start, end = step.attributes.get("start", 0), step.attributes.get("end", len(sizes))
    return Constant(np.array(sizes[start:end], dtype=np.int64))


@operator("Expand")
def _expand(t: Translation, step: Step) -> Value:
    value = t.at(step, 0)
    if isinstance(value, Positions):
        return value
    raise Refusal("a value repeated; needed: operators without")


# -- codes ---------------------------------------------------------------------------------------------------------

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "uint16": (0, 2**16 - 1)}
OUTPUT_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}


def _grid(t: Translation, step: Step, signal: Signal) -> Codes:
    """The codes that a QuantizeLinear or DequantizeLinear of a value works with."""
    scale = t.required(step, 1).astype(np.float64).reshape(-1)
    zero = t.constant(step, 2)
    kind = OUTPUT_TYPES.get(int(step.attributes.get("output_dtype", 2)), "?") if zero is None else zero.dtype.name
    if kind not in RANGES or step.attributes.get("block_size", 0):
        raise Refusal(f"codes of type {kind}; needed: one of {', '.join(RANGES)}, without blocks")
    points = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64).reshape(-1)
    if scale.size == 0 or not (scale > 0).all() or points.size == 0:
        raise ValueError("scales above 0 and a zero point are needed")
    axis = int(step.attributes.get("axis", 1)) % max(1, len(signal.axes))
    if scale.size > 1 and ((signal.axes[axis],) != signal.sizes or scale.size != signal.width):
        raise Refusal(f"{scale.size} scales along axis {axis} of {signal.axes}; needed: one, or one per channel")
    if (points != points[0]).any():
        raise Refusal("zero points that differ from channel to channel; needed: one")
    low, high = RANGES[kind]
    return Codes(scale, low - int(points[0]), high - int(points[0]))


def _equal(first: Codes, second: Codes) -> bool:
    return (first.low, first.high) == (second.low, second.high) and np.array_equal(first.scale, second.scale)


def _narrowed(t: Translation, step: Step, signal: Signal, codes: Codes) -> Codes:
    """Codes within the limits that a Clip, Max or Min before has set."""
    ends = [codes.low, codes.high]
    for index, limit in enumerate(signal.limits):
        if limit is None:
            continue
        counts = limit.astype(np.float64) / codes.scale
        end = int(np.clip(np.rint(counts.reshape(-1)[0]), -(2.0**31), 2.0**31))
        if np.abs(counts - end).max() > 1e-3:
            raise Refusal(f"limits at {counts.min():.4g}..{counts.max():.4g} codes; needed: a whole number of codes")
        ends[index] = max(ends[0], end) if index == 0 else min(ends[1], end)
    if not ends[0] <= 0 <= ends[1] or ends[0] == ends[1]:
        raise Refusal(f"codes {ends[0]}..{ends[1]}; needed: codes on both sides of 0, or from 0 on")
    return replace(codes, low=ends[0], high=ends[1])


@operator("QuantizeLinear")
def _quantize(t: Translation, step: Step) -> Value:
    signal = t.signal(step, coded=True)
    grid = _grid(t, step, signal)
    if signal.coded is not None or signal.factor is not None or signal.names == ("tokens",):
        raise Refusal("codes or tokens quantized again; needed: DequantizeLinear with the same scale before")
    codes = _narrowed(t, step, signal, grid)
    signal = replace(signal, coded=grid, limits=(None, None))
    if signal.names == (t.entry,) and t.codes is None and not signal.shared:
        t.codes = codes
        return signal
    present = [t.codes if name == t.entry else t.nodes[name].codes for name in signal.names]
    if all(old is not None and _equal(old, codes) for old in present):
        return signal
    node = t.owner(signal)
    if node is None:
        t.spend(signal.width)
        name = t.add(step, Scale((np.ones(signal.width, np.float32),)), t.one(step, signal))
        t.swap(t.nodes[name], codes=codes)
        return replace(signal, names=(name,), shared=False)
    if isinstance(node.operation, Add):  # a sum of codes that is itself one: no residual stream
        t.spend(signal.width * len(node.inputs))
        t.swap(node, Scale(tuple(np.ones(signal.width, np.float32) for _ in node.inputs)))
        node = t.nodes[node.name]
    if codes.low == 0 and isinstance(node.operation, Linear | Convolution | Scale):  # what is left of a ReLU
        if isinstance(t.nodes[node.name].operation, Scale):  # which no threshold takes in: codes on both sides before
            t.swap(t.nodes[node.name], codes=replace(codes, low=-codes.high))
        name = t.add(step, Pointwise("relu"), node.name, name=t.name(f"{node.name}_relu"))
        t.swap(t.nodes[name], codes=codes)
        return replace(signal, names=(name,))
    t.swap(t.nodes[node.name], codes=codes)
    return signal


@operator("DequantizeLinear")
def _dequantize(t: Translation, step: Step) -> Value:
    if isinstance(t.at(step, 0), Constant):
        return _dequantized(t, step)
    signal = t.signal(step, coded=True)
    if signal.coded is None:
        raise Refusal("a value that was not quantized; needed: QuantizeLinear before")
    grid, coded = _grid(t, step, signal), signal.coded
    if (grid.low, grid.high) != (coded.low, coded.high):
        raise Refusal("another zero point or type than its QuantizeLinear has; needed: the same")
    signal = replace(signal, coded=None)
    if _equal(grid, coded):
        return signal
    t.spend(signal.width)
    factor = np.broadcast_to(grid.scale / coded.scale, (signal.width,)).astype(np.float32)
    return replace(signal, factor=factor)


def _dequantized(t: Translation, step: Step) -> Constant:
    array, scale = t.constant(step, 0), t.required(step, 1).astype(np.float64)
    zero = t.constant(step, 2)
    if array is None or array.dtype.kind not in "iu" or step.attributes.get("block_size", 0):
        raise Refusal("blocks of weights with scales of their own; needed: one scale per output")
    axis = int(step.attributes.get("axis", 1)) % max(1, array.ndim) if scale.size > 1 else None
    shape = [1] * array.ndim
    if axis is not None:
        shape[axis] = array.shape[axis]
    points = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64)
    points = points.reshape(shape) if points.size > 1 else points.reshape(-1)[:1]
    values = array.astype(np.int64) - (points if array.ndim else points[0])
    factor = scale.reshape(shape) if array.ndim else scale.reshape(-1)[0]
    floats = np.asarray(values * factor, dtype=np.float32)
    return Constant(floats, onnx_constants.Quantized(values, scale.reshape(-1), axis, 8 * array.dtype.itemsize))
