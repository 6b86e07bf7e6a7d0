"""What the ONNX operators of pictures mean in the float graph: convolutions, pools and enlargements."""

from __future__ import annotations

from snngen.converters import pictures
from snngen.converters.onnx.model import Step
from snngen.converters.onnx.operators import taken
from snngen.converters.onnx.translation import Refusal, Signal, Translation, Value, operator
from snngen.converters.operations import Convolution

Shape = tuple[int, int, int]


def _shape(signal: Signal) -> Shape:
    """(channels, height, width) of a value with axes (batch, channels, height, width)."""
    if len(signal.axes) != 4 or len(signal.sizes) != 3 or not isinstance(signal.axes[0], str):
        raise Refusal(f"axes {signal.axes}; needed: (batch, channels, height, width)")
    channels, height, width = signal.sizes
    return channels, height, width


def _pair(step: Step, key: str, default: int) -> tuple[int, int]:
    values = tuple(int(value) for value in step.attributes.get(key, (default, default)))
    if len(values) != 2 or min(values) < 0 or max(values) > 2**16:
        raise Refusal(f"{key} = {values}; needed: two sizes, for pictures")
    return values


def _padding(step: Step, kernel: tuple[int, int]) -> tuple[int, int]:
    """Padding above and to the left, which must be that below and to the right."""
    mode = step.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if mode == "VALID":
        return 0, 0
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        strides, dilations = _pair(step, "strides", 1), _pair(step, "dilations", 1)
        reach = [dilations[axis] * (kernel[axis] - 1) for axis in range(2)]
        if strides != (1, 1) or reach[0] % 2 or reach[1] % 2 or step.operator == "ConvTranspose":
            raise Refusal(f"auto_pad = {mode}; needed: pads, the same on both sides")
        return reach[0] // 2, reach[1] // 2
    pads = tuple(int(value) for value in step.attributes.get("pads", (0, 0, 0, 0)))
    if mode != "NOTSET" or len(pads) != 4 or pads[:2] != pads[2:] or min(pads) < 0 or max(pads) > 2**16:
        raise Refusal(f"auto_pad = {mode}, pads = {pads}; needed: pads of two axes, the same on both sides")
    return pads[0], pads[1]


@operator("Conv", "ConvTranspose")
def _convolution(t: Translation, step: Step) -> Value:
    transposed = step.operator == "ConvTranspose"
    signal = t.signal(step)
    shape = _shape(signal)
    t.required(step, 1, 4)
    weight, integers = taken(t, step, 1, outputs=1 if transposed else 0, transpose=False)
    groups = int(step.attributes.get("group", 1))
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    kernel = (weight.shape[2], weight.shape[3])
    if groups < 1 or shape[0] != inputs or weight.shape[0] % groups or min(weight.shape) < 1:
        raise ValueError(f"weights {weight.shape} in {groups} groups for {shape}")
    if integers is not None and transposed and groups > 1 and len(set(integers.scale)) > 1:
        raise Refusal("scales per output in groups of a ConvTranspose; needed: one group, or one scale")
    if step.attributes.get("output_shape"):
        raise Refusal("output_shape; needed: pads and output_padding")
    bias = t.weights(step, 2, 1)
    operation = Convolution(
        weight,
        bias,
        shape,
        _pair(step, "strides", 1),
        _padding(step, kernel),
        _pair(step, "dilations", 1),
        groups,
        transposed,
        _pair(step, "output_padding", 0) if transposed else (0, 0),
        integers,
    )
    if bias is not None and bias.shape != (operation.outputs,):
        raise ValueError(f"a bias of {bias.shape} for {operation.outputs} channels")
    return _made(t, step, operation, signal)


def _made(t: Translation, step: Step, operation: Convolution, signal: Signal) -> Signal:
    if min(operation.stride) < 1 or min(operation.dilation) < 1 or min(operation.output_shape) < 1:
        raise ValueError(f"a result of {operation.output_shape}")
    t.spend(operation.width([]))
    name = t.add(step, operation, *signal.names)
    return Signal((name,), (signal.axes[0], *operation.output_shape))


@operator("AveragePool", "GlobalAveragePool")
def _average(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    shape = _shape(signal)
    kernel = shape[1:] if step.operator == "GlobalAveragePool" else _pair(step, "kernel_shape", 0)
    padding = _padding(step, kernel)
    if step.attributes.get("ceil_mode", 0) or _pair(step, "dilations", 1) != (1, 1):
        raise Refusal("ceil_mode or dilations; needed: neither")
    if padding != (0, 0) and not step.attributes.get("count_include_pad", 0):
        raise Refusal("means that leave the padding out; needed: count_include_pad = 1")
    if min(kernel) < 1:
        raise ValueError(f"windows of {kernel}")
    t.spend(shape[0] * kernel[0] * kernel[1])
    return _made(t, step, pictures.average_pool(shape, kernel, _pair(step, "strides", 1), padding), signal)


@operator("ReduceMean")
def _mean(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    shape = _shape(signal)
    given = t.integers(step, 1)
    chosen = {axis % 4 for axis in (step.attributes.get("axes", ()) if given is None else given)}
    if chosen != {2, 3}:
        raise Refusal(f"axes {sorted(chosen)}; needed: height and width of (batch, channels, height, width)")
    t.spend(signal.width)
    made = _made(t, step, pictures.average_pool(shape, shape[1:], (1, 1)), signal)
    return made if step.attributes.get("keepdims", 1) else made.view((signal.axes[0], shape[0]))


@operator("Resize", "Upsample")
def _resize(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    shape = _shape(signal)
    place = 1 if step.operator == "Upsample" else 2
    scales, sizes = t.constant(step, place), t.constant(step, 3)
    given = step.attributes
    if sizes is not None and sizes.size == 4:
        factors = [float(size) / have for size, have in zip(sizes.reshape(-1)[2:], shape[1:], strict=True)]
    else:
        factors = [] if scales is None or scales.size != 4 else [float(value) for value in scales.reshape(-1)[2:]]
    how = (given.get("coordinate_transformation_mode", "half_pixel"), given.get("nearest_mode", "round_prefer_floor"))
    if given.get("mode", "nearest") != "nearest" or how[0] not in ("half_pixel", "asymmetric"):
        raise Refusal("interpolation; needed: mode nearest with half_pixel or asymmetric coordinates")
    if how[0] == "asymmetric" and step.operator == "Resize" and how[1] != "floor":
        raise Refusal(f"nearest_mode {how[1]}; needed: floor with asymmetric coordinates")
    if len(factors) != 2 or any(factor != round(factor) or not 1 <= factor <= 64 for factor in factors):
        raise Refusal(f"factors {factors}; needed: constant whole ones")
    t.spend(int(signal.width * factors[0] * factors[1]))
    return _made(t, step, pictures.repeat(shape, (round(factors[0]), round(factors[1]))), signal)


@operator("DepthToSpace")
def _shuffle(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    shape, factor = _shape(signal), int(step.attributes["blocksize"])
    if step.attributes.get("mode", "DCR") != "CRD":
        raise Refusal("mode DCR; needed: CRD (PixelShuffle)")
    if not 1 <= factor <= 64 or shape[0] % factor**2:
        raise ValueError(f"blocks of {factor} for {shape}")
    t.spend(shape[0] * factor**2 * factor**2)
    return _made(t, step, pictures.pixel_shuffle(shape, factor), signal)
