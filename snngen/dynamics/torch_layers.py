"""Torch layers: a row of torch modules as populations and projections."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.pooling import pool
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.composite import Composite, folded
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.errors import SnngenError, UnsupportedError
from snngen.integers import FloatArray

if TYPE_CHECKING:
    from torch import nn

Shape: TypeAlias = tuple[int, ...]
NeuronOf: TypeAlias = "Callable[[nn.Module, Shape], DynamicNeuron | None]"


def in_order(module: nn.Module | Sequence[nn.Module], name: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of a Sequential, or those that are given, in order, with their names; nested ones in place.

    raises: UnsupportedError for a module of another kind, whose `forward` decides what comes first.
    """
    from torch import nn

    if isinstance(module, nn.Module) and not isinstance(module, nn.Sequential):
        got = f"{type(module).__name__}, whose order of layers is in its forward()"
        raise UnsupportedError("module", got, "a Sequential", "pass the layers in order: [net.fc1, net.lif1, ...]")
    found = []
    for index, layer in enumerate(module):
        at = f"{name}{index}"
        found += in_order(layer, f"{at}.") if isinstance(layer, nn.Sequential) else [(at, layer)]
    return found


@dataclass
class TorchLayers:
    """Builds a network layer by layer.

    library: for messages. shape: of what comes next, without batch: (n,) or (channels, height, width). dt: seconds per
    step. neuron_of: the neurons of a module for a shape, None where it has none; raises UnsupportedError.
    leading: axes before the shape: 1 for the batch, 2 for time and batch.
    """

    library: str
    shape: Shape
    dt: float
    neuron_of: NeuronOf
    leading: int = 1
    wrong: list[str] = field(default_factory=list)

    def network(self, layers: Sequence[tuple[str, nn.Module]], metadata: dict[str, Any]) -> DynamicNetwork:
        """The network of layers.

        raises: UnsupportedError naming every layer that cannot be carried.
        """
        size = math.prod(self.shape) if self.shape else 0
        if not 1 <= len(self.shape) <= 3 or min(self.shape) < 1:
            raise UnsupportedError("shape", str(self.shape), "(neurons,) or (channels, height, width), without batch")
        self._populations = [DynamicPopulation("input", Input(size))]
        self._projections: list[DynamicProjection] = []
        self._stages: list[tuple[DynamicSynapse, FloatArray | None]] = []
        for name, layer in layers:
            try:
                self._add(name, layer)
            except SnngenError as error:
                self.wrong.append(f"{name} ({type(layer).__name__}: {error.got})")
        if self._stages and not self.wrong:
            self.wrong.append(f"{layers[-1][0]} ({type(layers[-1][1]).__name__}: no neurons behind it)")
        if len(self._populations) == 1 and not self.wrong:
            self.wrong.append("no neurons")
        if self.wrong:
            expected = f"Linear, Conv2d, AvgPool2d, Flatten and feed-forward neurons of {self.library}"
            raise UnsupportedError(f"module of {self.library}", "; ".join(self.wrong), expected)
        return DynamicNetwork(tuple(self._populations), tuple(self._projections), metadata=metadata)

    def _add(self, name: str, layer: nn.Module) -> None:
        neuron = self.neuron_of(layer, self.shape)
        if neuron is None:
            stage = self._linear(layer)
            if stage is not None and not self.wrong:
                self._stages.append(stage)
            return
        if self.wrong:
            return
        source, size = self._populations[-1], math.prod(self.shape)
        stages, biases = [stage for stage, _ in self._stages], [bias for _, bias in self._stages]
        synapse: DynamicSynapse = OneToOne(np.ones(size))
        if stages:
            neuron = replace(neuron, bias=folded(stages, biases))  # type: ignore[type-var]
            synapse = stages[0] if len(stages) == 1 else Composite(tuple(stages), tuple(biases))
        self._stages = []
        self._populations.append(DynamicPopulation(name, neuron))
        self._projections.append(DynamicProjection(source.name, name, synapse))

    def _linear(self, layer: nn.Module) -> tuple[DynamicSynapse, FloatArray | None] | None:
        """The map and the bias per second of a layer without neurons, None for one that changes no value."""
        from torch import nn

        if isinstance(layer, nn.Identity) or (isinstance(layer, nn.Dropout) and not (layer.training and layer.p)):
            return None
        if isinstance(layer, nn.Flatten):
            if layer.start_dim != self.leading or layer.end_dim not in (-1, self.leading + len(self.shape) - 1):
                raise UnsupportedError("", f"start_dim {layer.start_dim}, end_dim {layer.end_dim}", "")
            self.shape = (math.prod(self.shape),)
            return None
        if isinstance(layer, nn.Dropout):
            raise UnsupportedError("", "in training mode, call eval() first", "")
        if isinstance(layer, nn.Linear):
            return self._dense(layer)
        if isinstance(layer, nn.Conv2d):
            return self._convolution(layer)
        if isinstance(layer, nn.AvgPool2d):
            return self._pool(layer)
        raise UnsupportedError("", "not carried", "")

    def _dense(self, layer: nn.Linear) -> tuple[DynamicSynapse, FloatArray | None]:
        if self.shape != (layer.in_features,) and not self.wrong:
            raise UnsupportedError("", f"{layer.in_features} inputs where a shape of {self.shape} arrives", "")
        self.shape = (layer.out_features,)
        bias = None if layer.bias is None else floats(layer.bias, "bias") / self.dt
        return Dense(floats(layer.weight, "weight").T), bias

    def _convolution(self, layer: nn.Conv2d) -> tuple[DynamicSynapse, FloatArray | None]:
        if layer.padding_mode != "zeros":
            raise UnsupportedError("", f"padding mode {layer.padding_mode}", "")
        padding = layer.padding
        if isinstance(padding, str):
            reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
            if padding == "same" and any(total % 2 for total in reach):
                raise UnsupportedError("", "padding 'same' that is one more on one side", "")
            padding = tuple(total // 2 for total in reach) if padding == "same" else (0, 0)
        shape, kernel = self._picture(layer.in_channels), floats(layer.weight, "weight")
        synapse = Convolution(
            kernel, shape, pair(layer.stride), pair(padding), pair(layer.dilation), layer.groups
        )  # fmt: skip
        self.shape = synapse.target_shape
        if layer.bias is None:
            return synapse, None
        places = math.prod(self.shape[1:])
        return synapse, np.repeat(floats(layer.bias, "bias") / self.dt, places)

    def _pool(self, layer: nn.AvgPool2d) -> tuple[DynamicSynapse, FloatArray | None]:
        padding, size = pair(layer.padding), pair(layer.kernel_size)
        if layer.ceil_mode or layer.divisor_override or (any(padding) and not layer.count_include_pad):
            raise UnsupportedError("", "ceil_mode, divisor_override or padding that is not counted", "")
        synapse = pool("average", self._picture(None), size, pair(layer.stride), padding)
        self.shape = synapse.target_shape
        return synapse, None

    def _picture(self, channels: int | None) -> tuple[int, int, int]:
        if len(self.shape) != 3 or channels not in (None, self.shape[0]):
            wanted = "a picture" if channels is None else f"a picture of {channels} channels"
            raise UnsupportedError("", f"{wanted} needed where a shape of {self.shape} arrives", "")
        return self.shape[0], self.shape[1], self.shape[2]


def pair(values: Any) -> tuple[int, int]:
    """One integer for both axes, or one each."""
    first, second = (values, values) if isinstance(values, int) else values
    return int(first), int(second)


def floats(values: Any, what: str) -> FloatArray:
    """float64 of a float32 tensor, or of a number.

    raises: UnsupportedError for a tensor in another type, in which the module would compute otherwise.
    """
    import torch

    tensor = torch.as_tensor(values)
    if tensor.dtype != torch.float32 and tensor.ndim:
        raise UnsupportedError("", f"{what} in {tensor.dtype}, only float32 is carried", "")
    return np.asarray(tensor.detach().to(torch.float32).cpu().numpy().astype(np.float64))


def per_neuron(values: Any, shape: Shape, what: str) -> FloatArray:
    """(n,) float64 of a parameter that is shared or has one value per neuron.

    raises: UnsupportedError where it fits the shape in no way.
    """
    given = floats(values, what)
    try:
        return np.ascontiguousarray(np.broadcast_to(given, shape)).reshape(-1)
    except ValueError as error:
        raise UnsupportedError("", f"{what} of shape {given.shape} for neurons of {shape}", "") from error
