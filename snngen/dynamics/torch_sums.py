"""Torch's sums: what arrives at neurons, added up by torch itself, so that float32 is rounded where a module rounds it.

A float32 sum depends on the order in which it is added. torch's order depends on the processor, the library under it
and the number of rows that are computed at once, so a sum is bit for bit a module's only if torch makes it in the same
way: one recording at a time (a batch of 1), step by step. Where every sum is exact (weights on a coarse binary grid) it
is the same for every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.pooling import pooling
from snngen.dynamics.rules import Rule
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.composite import Composite
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray

if TYPE_CHECKING:
    import torch

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Stage: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


class TorchRule(Rule):
    """The base of rules in float32 whose sums are torch's.

    raises: UnsupportedError where torch is not installed.
    """

    dtype = np.float32
    dimensionless = True

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        super().__init__(neuron, dt)
        self.bias: FloatArray = np.asarray(getattr(neuron, "bias", np.zeros(neuron.size)))
        self._sums, self._biased = TorchSums(dt), False

    def deliver(self, synapse: DynamicSynapse, events: Floats, now: bool = True) -> Floats:
        """As torch adds it up; the first delivery that arrives in its own step brings the bias with it."""
        bias = None if self._biased or not now else self.bias
        self._biased = self._biased or now
        return self._sums(synapse, events, bias)

    def taken(self, drive: Floats, gain: Floats | None) -> Floats:
        """(n,) what arrives in this step, its bias included, times a gain (None: 1). To be called once in a step."""
        if not self._biased:
            drive = drive + (self.bias * self.dt).astype(np.float32)
        self._biased = False
        return drive if gain is None else np.asarray(drive * gain)


def gain(values: FloatArray) -> Floats | None:
    """(n,) float32, or None where all are 1."""
    factors = np.asarray(values, dtype=np.float32)
    return None if (factors == 1).all() else factors


class TorchSums:
    """Sums of one population's input. dt: seconds per step: a bias b of the neurons adds b * dt in every step.

    raises: UnsupportedError where torch is not installed.
    """

    def __init__(self, dt: float) -> None:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            mend = "pip install 'snngen[torch]', or run ContinuousEngine(network)"
            raise UnsupportedError("torch's sums", "no package torch", "it", mend) from error
        self.dt = dt
        self._known: dict[tuple[int, bool], tuple[DynamicSynapse, list[Stage]]] = {}

    def __call__(self, synapse: DynamicSynapse, events: FloatArray, bias: FloatArray | None) -> Floats:
        """(targets,) float32. events: (sources,). bias: (targets,) per second, or None for none.

        The biases of a `Composite` stand in its stages.
        """
        import torch

        key = id(synapse), bias is None
        if key not in self._known:
            self._known[key] = synapse, self._stages(synapse, bias)
        with torch.no_grad():
            values = torch.tensor(np.asarray(events, dtype=np.float32))
            for stage in self._known[key][1]:
                values = stage(values)
            return np.asarray(values.reshape(-1).numpy())

    def _stages(self, synapse: DynamicSynapse, bias: FloatArray | None) -> list[Stage]:
        stages: Sequence[DynamicSynapse] = (synapse,)
        biases: Sequence[FloatArray | None] = (bias,)
        if isinstance(synapse, Composite):
            stages, biases = synapse.stages, synapse.biases if bias is not None else (None,) * len(synapse.stages)
        return [self._stage(stage, given) for stage, given in zip(stages, biases, strict=True)]

    def _stage(self, synapse: DynamicSynapse, bias: FloatArray | None) -> Stage:
        from torch.nn import functional

        added = None if bias is None or not bias.any() else np.asarray(bias * self.dt, dtype=np.float32)
        if isinstance(synapse, Dense):
            weight, offset = _tensor(synapse.weights.T), None if added is None else _tensor(added)
            return lambda x: functional.linear(x.reshape(1, -1), weight, offset)
        if isinstance(synapse, Convolution):
            return _convolution(synapse, added)
        sums = np.float32(0) if added is None else added
        return lambda x: _tensor(synapse.apply(x.reshape(1, -1).numpy()) + sums)


def _convolution(synapse: Convolution, bias: Floats | None) -> Stage:
    from torch.nn import functional

    shape, stride, padding = (1, *synapse.shape), synapse.stride, synapse.padding
    if pooling(synapse) == "average" and bias is None:
        size = synapse.kernel.shape[2:]
        return lambda x: functional.avg_pool2d(x.reshape(shape), size, stride, padding)
    kernel, dilation, groups = _tensor(synapse.kernel), synapse.dilation, synapse.groups
    per_channel = None if bias is None else bias.reshape(synapse.target_shape[0], -1)
    offset = after = None
    if per_channel is not None and (per_channel == per_channel[:, :1]).all():
        offset = _tensor(per_channel[:, 0])
    elif bias is not None:
        after = _tensor(bias)

    def stage(x: torch.Tensor) -> torch.Tensor:
        sums = functional.conv2d(x.reshape(shape), kernel, offset, stride, padding, dilation, groups)
        return sums if after is None else sums.reshape(-1) + after

    return stage


def _tensor(values: Any) -> torch.Tensor:
    """A copy in float32, laid out as a module's parameters are."""
    import torch

    return torch.tensor(np.ascontiguousarray(values, dtype=np.float32))
