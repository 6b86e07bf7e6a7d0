"""Quantized torch modules: integers and scales of torchao's and brevitas' layers, taken over as they are."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snngen.converters.operations import Integers

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Plain:
    """A module whose quantized layers are replaced by plain ones.

    integers: name of a weight -> its integers; the weight itself is what they are worth.
    notes, complaints: for the report, and for the refusal.
    """

    module: torch.nn.Module
    integers: dict[str, Integers] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def plain(module: torch.nn.Module) -> Plain:
    """A copy of a module, in evaluation mode, that shares its parameters; quantized layers become plain ones."""
    import torch

    held = [value for part in module.modules() for value in vars(part).values()]  # such as weight_norm's hooks leave
    tensors = [*module.parameters(), *module.buffers(), *(x for x in held if isinstance(x, torch.Tensor))]
    result = Plain(copy.deepcopy(module, {id(tensor): tensor for tensor in tensors}).eval())
    result.module = _replace(result, result.module, "")
    return result


def _replace(result: Plain, module: torch.nn.Module, path: str) -> torch.nn.Module:
    """The module or what takes its place; its children are replaced within it."""
    package = type(module).__module__
    weight = getattr(module, "weight", None)
    if package.startswith("brevitas.nn"):
        return _brevitas(result, module, path)
    if package.startswith("torch.ao.nn"):
        result.complaints.append(f"{path or 'module'}: {package}.{type(module).__name__} (torchao or brevitas)")
    if weight is not None and type(weight).__module__.startswith("torchao."):
        return _torchao(result, module, path)
    for name, child in module.named_children():
        module._modules[name] = _replace(result, child, f"{path}.{name}" if path else name)
    return module


# --- torchao ----------------------------------------------------------------------------------------------------------


def _torchao(result: Plain, module: Any, path: str) -> torch.nn.Module:
    import torch

    weight, where, same = module.weight, path or "module", cast("torch.nn.Module", module)
    if not hasattr(weight, "dequantize") or type(module) not in (torch.nn.Linear, torch.nn.Embedding):
        result.complaints.append(f"{where}: {type(weight).__name__} in {type(module).__name__} (Linear or Embedding)")
        return same
    values = weight.dequantize().detach().to(torch.float32)
    integers = _integers(weight) if isinstance(module, torch.nn.Linear) else None
    if integers is None:
        result.notes.append(f"{where}: {_requantized(type(weight).__name__, weight, values)}")
    bias = getattr(module, "bias", None)
    layer = _layer_like(module, values, bias)
    if getattr(weight, "act_pre_scale", None) is not None:
        result.complaints.append(f"{where}: act_pre_scale (none: fold it into the weight)")
    static = getattr(weight, "act_quant_scale", None)
    if static is None:
        if integers is not None:
            result.integers[f"{path}.weight" if path else "weight"] = integers
        if getattr(weight, "act_quant_kwargs", None) is not None or getattr(weight, "activation_quantization", None):
            result.notes.append(f"{where}: activations had a scale per token; thresholds have one from calibration")
        return layer
    zero = getattr(weight, "act_quant_zero_point", None)
    if static.numel() != 1 or (zero is not None and bool((zero != 0).any())):
        result.complaints.append(f"{where}: activation scales {tuple(static.shape)} with zero points (one, symmetric)")
    if integers is not None:
        result.integers[f"{path}.1.weight" if path else "1.weight"] = integers
    return torch.nn.Sequential(_fake_quantizer(static.reshape(-1)[:1], -128, 127), layer)


def _integers(weight: Any) -> Integers | None:
    """int8 or narrower integers with one scale per output; None where a weight is not of that kind."""
    import torch

    matrix, scale, block = (getattr(weight, name, None) for name in ("qdata", "scale", "block_size"))
    if matrix is None or scale is None or block is None or matrix.dtype != torch.int8 or matrix.ndim != 2:
        return None
    outputs, inputs = matrix.shape
    zero = getattr(weight, "zero_point", None)
    if tuple(block) not in ((1, inputs), (outputs, inputs)) or (zero is not None and bool((zero != 0).any())):
        return None
    target = str(getattr(weight, "target_dtype", "torch.int8"))
    bits = int(target.removeprefix("torch.int")) if target.startswith("torch.int") else 8
    scales = np.broadcast_to(scale.detach().cpu().to(torch.float64).numpy().reshape(-1), (outputs,)).copy()
    return Integers(np.ascontiguousarray(matrix.detach().cpu().numpy()), scales, bits)


def _requantized(kind: str, weight: Any, values: torch.Tensor) -> str:
    """What a weight of several scales per output costs when it is rounded to 8 bits with one."""
    scale = values.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / 127
    error = ((values / scale).round() * scale - values).double().square().sum()
    signal = values.double().square().sum()
    decibels = "nothing" if not error else f"{10 * float((signal / error).log10()):.1f} dB"
    block = list(getattr(weight, "block_size", ()))
    return (
        f"{kind} has a scale per block of {block}; thresholds carry one per output, so it is dequantized and "
        f"quantized again; at 8 bits the rounding lies {decibels} below the weights"
    )


def _layer_like(module: Any, weight: torch.Tensor, bias: Any) -> torch.nn.Module:
    """A plain layer of the same kind with another weight."""
    import torch

    if isinstance(module, torch.nn.Embedding):
        table = torch.nn.Embedding(weight.shape[0], weight.shape[1], device="meta").eval()
        table.weight = torch.nn.Parameter(weight, requires_grad=False)
        return table
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta").eval()
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach().to(torch.float32), requires_grad=False)
    return layer


# --- brevitas ---------------------------------------------------------------------------------------------------------

FUNCTIONS = {"QuantIdentity": None, "QuantReLU": "ReLU", "QuantSigmoid": "Sigmoid", "QuantTanh": "Tanh"}
LAYERS = ("QuantLinear", "QuantConv2d", "QuantConvTranspose2d")


def _brevitas(result: Plain, module: Any, path: str) -> torch.nn.Module:
    import torch

    kind, where = type(module).__name__, path or "module"
    steps: list[torch.nn.Module] = []
    _quantizer(result, getattr(module, "input_quant", None), f"{where}.input_quant", steps)
    if kind in FUNCTIONS:
        if FUNCTIONS[kind] is not None:
            steps.append(getattr(torch.nn, str(FUNCTIONS[kind]))())
        _quantizer(result, module.act_quant, f"{where}.act_quant", steps)
    elif kind in LAYERS:
        layer, integers = _brevitas_layer(result, module, where)
        number = len(steps)
        steps.append(layer)
        _quantizer(result, getattr(module, "output_quant", None), f"{where}.output_quant", steps)
        inner = f"{number}.weight" if len(steps) > 1 else "weight"
        if integers is not None:
            result.integers[f"{path}.{inner}" if path else inner] = integers
    else:
        known = ", ".join((*LAYERS, *FUNCTIONS))
        result.complaints.append(f"{where}: brevitas {kind} (one of {known})")
        return cast("torch.nn.Module", module)
    return steps[0] if len(steps) == 1 else torch.nn.Sequential(*steps)


def _brevitas_layer(result: Plain, module: Any, where: str) -> tuple[torch.nn.Module, Integers | None]:
    """The plain layer with the values of the quantized weight, and the integers that these are made of."""
    import torch

    kind = type(module).__name__.removeprefix("Quant")
    with torch.no_grad():
        quantized = module.quant_weight()
        values = getattr(quantized, "value", quantized).detach().to(torch.float32).contiguous()
        bias = module.bias
        if bias is not None and module.bias_quant.is_quant_enabled and not module.bias_quant.requires_input_scale:
            bias = module.quant_bias().value
    integers = _brevitas_integers(result, module, quantized, values, where)
    if kind == "Linear":
        return _layer_like(torch.nn.Linear, values, bias), integers
    options = {
        name: getattr(module, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    }
    if kind == "ConvTranspose2d":
        options["output_padding"] = module.output_padding
    layer = getattr(torch.nn, kind)(
        module.in_channels, module.out_channels, bias=bias is not None, device="meta", **options
    ).eval()
    layer.weight = torch.nn.Parameter(values, requires_grad=False)
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach().to(torch.float32), requires_grad=False)
    return layer, integers


def _brevitas_integers(result: Plain, module: Any, quantized: Any, values: Any, where: str) -> Integers | None:
    if getattr(quantized, "scale", None) is None:  # its weight is not quantized
        return None
    matrix = quantized.int().detach().cpu().numpy()
    scale = quantized.scale.detach().cpu().double().numpy().reshape(-1)
    outputs = module.out_features if hasattr(module, "out_features") else module.out_channels
    bits, zero = int(quantized.bit_width), bool((quantized.zero_point != 0).any())
    fits = matrix.min(initial=0) >= -128 and matrix.max(initial=0) <= 127
    if zero or not fits or scale.size not in (1, outputs):
        reason = "a zero point" if zero else f"{bits} bits" if not fits else f"{scale.size} scales"
        kept = f"{where}: weights with {reason}; one scale per output and 8 bits are kept, these are quantized again"
        result.notes.append(kept)
        return None
    scales = np.broadcast_to(scale, (outputs,)).copy()
    return Integers(np.ascontiguousarray(matrix.astype(np.int8)), scales, bits)


def _quantizer(result: Plain, proxy: Any, where: str, steps: list[torch.nn.Module]) -> None:
    """Append the codes of an activation quantizer, where it is one."""
    if proxy is None or not proxy.is_quant_enabled:
        return
    scale, zero, bits = proxy.scale(), proxy.zero_point(), int(proxy.bit_width())
    if bool((zero != 0).any()):
        result.complaints.append(f"{where}: a zero point (codes about zero: a symmetric or unsigned quantizer)")
    signed, narrow = bool(proxy.is_signed), bool(proxy.is_narrow_range)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    steps.append(_fake_quantizer(scale.detach().reshape(-1), low, high))


def _fake_quantizer(scale: torch.Tensor, low: int, high: int) -> torch.nn.Module:
    """A module that rounds to codes, by an operator that the export keeps; scales per channel lie along axis 1."""
    import torch

    class Codes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if scale.numel() == 1:
                return torch.fake_quantize_per_tensor_affine(x, float(scale), 0, low, high)
            zeros = torch.zeros(scale.numel(), dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(x, scale.float(), zeros, 1, low, high)

    return Codes().eval()
