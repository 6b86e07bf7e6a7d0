"""Decoders: a latent vector through linear maps, convolutions and their transposes to a picture.

The configuration lists the layers, since a state dict does not say them:

    {"model_type": "decoder", "latent": 16, "picture": [1, 8, 8], "range": [0, 1], "left_out": ["encoder."],
     "layers": [{"kind": "linear", "name": "decoder.0"}, {"kind": "activation", "function": "relu"},
                {"kind": "view", "shape": [32, 2, 2]},
                {"kind": "transposed_convolution", "name": "decoder.3", "stride": 2, "padding": 1}, ...]}

`picture` is (channels, height, width), its values lie in `range`; `left_out` names beginnings of tensor names that are
no part of the generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from snngen.converters import configuration
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Graph
from snngen.converters.operations import ACTIVATIONS, Convolution, Floats, GroupNorm, Linear, Pointwise
from snngen.converters.pictures import repeat
from snngen.errors import FormatError

MODEL_TYPES = ("decoder",)
LARGEST_PICTURE = 2**24  # values
USED = {"latent", "picture", "range", "layers", "left_out"}
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}  # of pictures, by their last activation
OPTIONS = {
    "linear": {"name"},
    "activation": {"function"},
    "view": {"shape"},
    "convolution": {"name", "stride", "padding", "dilation", "groups"},
    "transposed_convolution": {"name", "stride", "padding", "dilation", "groups", "output_padding"},
    "batch_norm": {"name", "epsilon"},
    "group_norm": {"name", "epsilon", "groups"},
    "upsample": {"factor"},
}


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a decoder.

    raises: UnsupportedError with all the parts that are not carried; FormatError for a configuration or tensors that
    do not fit one another.
    """
    layers = checkpoint.config.get("layers")
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise FormatError(f"{checkpoint.source}: layers", f"{layers!r:.60}", "a list of layers")
    configuration.refuse(checkpoint, _wrong(checkpoint.config, layers), "a decoder of " + ", ".join(OPTIONS))
    latent = configuration.size(checkpoint, "latent")
    shape = _numbers(checkpoint, "picture", checkpoint.config.get("picture"), 3, 1)
    picture = (shape[0], shape[1], shape[2])
    notes = _leave_out(checkpoint)
    graph = Graph(
        0, None, notes=[*checkpoint.notes, *notes], channels=latent, picture=picture,
        picture_range=_range(checkpoint, layers[-1]),
        provenance={"source": checkpoint.source, "format": checkpoint.format, "source_sha256": checkpoint.digest},
    )  # fmt: skip
    builder = _Builder(checkpoint, graph, latent)
    for index, layer in enumerate(layers):
        builder.add(f"layers[{index}]", layer)
    if builder.width != math.prod(picture):
        raise FormatError(checkpoint.source, f"layers that end in {builder.width} values", f"{picture}, the picture")
    checkpoint.require_spent()
    return graph


def _wrong(config: dict[str, Any], layers: list[dict[str, Any]]) -> list[str]:
    """Complaints about everything that is not carried."""
    wrong = configuration.unknown(config, USED)
    for index, layer in enumerate(layers):
        kind = layer.get("kind")
        if not isinstance(kind, str) or kind not in OPTIONS:
            wrong.append(f"layers[{index}]: kind {kind!r:.60}")
            continue
        extra = sorted(layer.keys() - OPTIONS[kind] - {"kind"})
        wrong += [f"layers[{index}]: {key} of a {kind}" for key in extra]
        function = layer.get("function")
        if kind == "activation" and (not isinstance(function, str) or function not in ACTIVATIONS):
            wrong.append(f"layers[{index}]: activation {function!r:.60} (only {', '.join(ACTIVATIONS)})")
    return wrong


def _leave_out(checkpoint: Checkpoint) -> list[str]:
    """Drop the tensors that are no part of the generator; returns the note that says so."""
    prefixes = checkpoint.config.get("left_out", [])
    if not isinstance(prefixes, list) or not all(isinstance(prefix, str) and prefix for prefix in prefixes):
        raise FormatError(f"{checkpoint.source}: left_out", f"{prefixes!r:.60}", "a list of beginnings of names")
    gone = sorted(name for name in checkpoint.tensors if name.startswith(tuple(prefixes)))
    for name in gone:
        del checkpoint.tensors[name]
    return [f"left out, as they are no part of the generator: {', '.join(gone)}"] if gone else []


def _range(checkpoint: Checkpoint, last: dict[str, Any]) -> tuple[float, float]:
    """(lowest, highest) value of a pixel."""
    given = checkpoint.config.get("range", RANGES.get(str(last.get("function"))))
    where, expected = f"{checkpoint.source}: range", "two numbers, the lowest and the highest value of a pixel"
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise FormatError(where, f"{given!r:.60}", expected)
    if not all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e6 for x in given):
        raise FormatError(where, f"{given!r:.60}", expected)
    if not given[0] < given[1]:
        raise FormatError(where, f"{given!r:.60}", expected)
    return float(given[0]), float(given[1])


def _numbers(checkpoint: Checkpoint, where: str, value: object, count: int, least: int) -> tuple[int, ...]:
    """`count` integers of at least `least`; a single number stands for all of them where there are two."""
    given = [value] * 2 if count == 2 and isinstance(value, int) else value
    if not isinstance(given, list) or len(given) != count:
        raise FormatError(f"{checkpoint.source}: {where}", f"{value!r:.60}", f"{count} integers")
    if not all(isinstance(x, int) and not isinstance(x, bool) and least <= x <= LARGEST_PICTURE for x in given):
        raise FormatError(f"{checkpoint.source}: {where}", f"{value!r:.60}", f"{count} integers of {least} or more")
    if math.prod(given) > LARGEST_PICTURE:
        raise FormatError(f"{checkpoint.source}: {where}", f"{value!r:.60}", f"at most {LARGEST_PICTURE} values")
    return tuple(given)


class _Builder:
    """Adds layer after layer to a graph; `shape` is that of the value so far, None where it is a plain vector."""

    def __init__(self, checkpoint: Checkpoint, graph: Graph, latent: int) -> None:
        self.checkpoint, self.graph = checkpoint, graph
        self.value, self.width = graph.entry, latent
        self.shape: tuple[int, int, int] | None = None

    def add(self, where: str, layer: dict[str, Any]) -> None:
        """One layer of the configuration."""
        steps: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "linear": self._linear,
            "activation": self._activation,
            "view": self._view,
            "convolution": self._convolution,
            "transposed_convolution": self._convolution,
            "batch_norm": self._batch_norm,
            "group_norm": self._group_norm,
            "upsample": self._upsample,
        }
        steps[layer["kind"]](where, layer)

    def _append(self, name: str, operation: Linear | Convolution | Pointwise | GroupNorm) -> None:
        taken = {node.name for node in self.graph.nodes}
        free = name if name not in taken else f"{name}_{len(taken)}"
        self.value = self.graph.add(free, operation, self.value)
        self.width = operation.width([self.width])
        self.shape = operation.output_shape if isinstance(operation, Convolution) else self.shape

    def _name(self, where: str, layer: dict[str, Any]) -> str:
        name = layer.get("name")
        if not isinstance(name, str) or not name or "/" in name or name != name.strip():
            raise FormatError(f"{self.checkpoint.source}: {where}.name", f"{name!r:.60}", "the layer's name")
        return name

    def _bias(self, name: str, outputs: int) -> Floats | None:
        there = f"{name}.bias" in self.checkpoint.tensors
        return self.checkpoint.take(f"{name}.bias", (outputs,)) if there else None

    def _first(self, name: str, axes: int, axis: int = 0) -> int:
        """Size of one axis of a weight; 0 where there is no such tensor, so that taking it complains."""
        tensor = self.checkpoint.tensors.get(f"{name}.weight")
        return 0 if tensor is None or tensor.ndim != axes else int(tensor.shape[axis])

    def _linear(self, where: str, layer: dict[str, Any]) -> None:
        name = self._name(where, layer)
        outputs = self._first(name, 2)
        weight = self.checkpoint.take(f"{name}.weight", (outputs, self.width))
        self._append(name, Linear(weight, self._bias(name, outputs)))
        self.shape = None

    def _activation(self, where: str, layer: dict[str, Any]) -> None:
        self._append(f"{self.value}.{layer['function']}", Pointwise(layer["function"]))

    def _view(self, where: str, layer: dict[str, Any]) -> None:
        shape = _numbers(self.checkpoint, f"{where}.shape", layer.get("shape"), 3, 1)
        if math.prod(shape) != self.width:
            raise FormatError(f"{self.checkpoint.source}: {where}.shape", f"{shape}", f"{self.width} values")
        self.shape = (shape[0], shape[1], shape[2])

    def _picture(self, where: str) -> tuple[int, int, int]:
        if self.shape is None:
            raise FormatError(f"{self.checkpoint.source}: {where}", "a vector", "a picture", "Put a view before it")
        return self.shape

    def _pair(self, where: str, layer: dict[str, Any], key: str, default: int, least: int) -> tuple[int, int]:
        pair = _numbers(self.checkpoint, f"{where}.{key}", layer.get(key, default), 2, least)
        return pair[0], pair[1]

    def _convolution(self, where: str, layer: dict[str, Any]) -> None:
        name, shape = self._name(where, layer), self._picture(where)
        transposed, groups = layer["kind"] == "transposed_convolution", layer.get("groups", 1)
        (groups,) = _numbers(self.checkpoint, f"{where}.groups", [groups], 1, 1)
        if shape[0] % groups:
            raise FormatError(f"{self.checkpoint.source}: {where}.groups", f"{groups}", f"a divisor of {shape[0]}")
        sides = (self._first(name, 4, 2), self._first(name, 4, 3))
        if transposed:
            expected = (shape[0], self._first(name, 4, 1), *sides)
        else:
            expected = (self._first(name, 4), shape[0] // groups, *sides)
        operation = Convolution(
            self.checkpoint.take(f"{name}.weight", expected), None, shape,
            stride=self._pair(where, layer, "stride", 1, 1),
            padding=self._pair(where, layer, "padding", 0, 0),
            dilation=self._pair(where, layer, "dilation", 1, 1),
            groups=groups, transposed=transposed,
            output_padding=self._pair(where, layer, "output_padding", 0, 0),
        )  # fmt: skip
        if min(operation.output_shape) < 1 or operation.width([]) > LARGEST_PICTURE or operation.outputs % groups:
            expected_text = f"{groups} groups that divide, and up to {LARGEST_PICTURE} values"
            raise FormatError(f"{self.checkpoint.source}: {where}", f"{operation.output_shape}", expected_text)
        self._append(name, replace(operation, bias=self._bias(name, operation.outputs)))

    def _batch_norm(self, where: str, layer: dict[str, Any]) -> None:
        """y = (x - mean) / sqrt(variance + epsilon) * weight + bias, folded into the map before it."""
        name, checkpoint = self._name(where, layer), self.checkpoint
        node = self.graph.nodes[-1] if self.graph.nodes else None
        before = None if node is None else node.operation
        if node is None or not isinstance(before, Linear | Convolution):
            raise FormatError(f"{checkpoint.source}: {where}", "nothing to fold it into", "a linear layer before it")
        outputs = before.outputs if isinstance(before, Convolution) else len(before.weight)
        mean = checkpoint.take(f"{name}.running_mean", (outputs,)).astype(np.float64)
        variance = checkpoint.take(f"{name}.running_var", (outputs,)).astype(np.float64)
        checkpoint.tensors.pop(f"{name}.num_batches_tracked", None)
        affine = f"{name}.weight" in checkpoint.tensors
        epsilon = configuration.positive(checkpoint, f"{where}.epsilon", layer.get("epsilon", 1e-5))
        if variance.min() < 0:
            raise FormatError(f"{checkpoint.source}: {name}.running_var", f"{variance.min()}", "0 or more")
        factor = 1 / np.sqrt(variance + epsilon)
        if affine:
            factor = factor * checkpoint.take(f"{name}.weight", (outputs,))
        shift = checkpoint.take(f"{name}.bias", (outputs,)) if affine else np.zeros(outputs)
        bias = (0 if before.bias is None else before.bias) * factor + shift - mean * factor
        self.graph.nodes[-1] = replace(node, operation=_folded(before, factor, bias))

    def _group_norm(self, where: str, layer: dict[str, Any]) -> None:
        name, shape = self._name(where, layer), self._picture(where)
        (groups,) = _numbers(self.checkpoint, f"{where}.groups", [layer.get("groups", 1)], 1, 1)
        if shape[0] % groups:
            raise FormatError(f"{self.checkpoint.source}: {where}.groups", f"{groups}", f"a divisor of {shape[0]}")
        epsilon = configuration.positive(self.checkpoint, f"{where}.epsilon", layer.get("epsilon", 1e-5))
        places = shape[1] * shape[2]
        weight = np.repeat(self.checkpoint.take(f"{name}.weight", (shape[0],)), places)
        bias = np.repeat(self.checkpoint.take(f"{name}.bias", (shape[0],)), places)
        self._append(name, GroupNorm(weight, bias, epsilon, groups))

    def _upsample(self, where: str, layer: dict[str, Any]) -> None:
        """Every value becomes a block of equal ones: a transposed convolution of each channel with ones."""
        shape = self._picture(where)
        tall, wide = self._pair(where, layer, "factor", 2, 1)
        if math.prod(shape) * tall * wide > LARGEST_PICTURE:
            raise FormatError(f"{self.checkpoint.source}: {where}", f"{shape}", f"up to {LARGEST_PICTURE} values")
        self._append(f"{self.value}.upsampled", repeat(shape, (tall, wide)))


def _folded(before: Linear | Convolution, factor: Any, bias: Any) -> Linear | Convolution:
    """A map whose outputs are scaled by a factor per channel, with a new bias."""
    weight = before.weight.astype(np.float64)
    if isinstance(before, Convolution) and before.transposed:  # (inputs, outputs / groups, ...)
        within, each = before.weight.shape[0] // before.groups, before.weight.shape[1]
        weight = weight * factor.reshape(before.groups, each).repeat(within, axis=0)[:, :, None, None]
    else:
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return replace(before, weight=weight.astype(np.float32), bias=np.asarray(bias, dtype=np.float32))
