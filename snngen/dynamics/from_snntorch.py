"""From snnTorch: trained modules as networks in continuous time that run, clocked, spike for spike as they did."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.dynamics.neurons.clocked_synaptic import ClockedSynaptic
from snngen.dynamics.torch_layers import Shape, TorchLayers, floats, in_order, per_neuron
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray

if TYPE_CHECKING:
    from torch import nn

RESETS = {"subtract": "subtract", "zero": "value", "none": "none"}
LONGEST, SHORTEST = 2.0**100, 2.0**-10  # time constants in steps: exp(-1 / tau) is 1 and 0, exactly


def from_snntorch(module: nn.Module | Sequence[nn.Module], shape: Sequence[int], dt: float = 1e-3) -> DynamicNetwork:
    """A trained snnTorch module as a network.

        network = from_snntorch(net, (784,), dt=1e-3)
        ClockedEngine(network, 1e-3, "snntorch")     # the spikes of net, to the last one
        ContinuousEngine(network)                    # without a clock

    A decay beta per step becomes tau = -dt / ln(beta), and an event raises a potential by its weight, so that in
    continuous time, too, events on a grid of dt give the potentials of snnTorch, until a neuron fires.

    module: a Sequential of Linear, Conv2d, AvgPool2d, Flatten, Dropout (in eval mode), Leaky, Lapicque and Synaptic, or
        such layers in the order in which a forward() calls them. Only float32. shape: of one input, without batch.
    dt: what one step is worth in seconds; snnTorch does not say.
    raises: UnsupportedError naming every layer that cannot be carried, and why.
    """
    layers = TorchLayers("snnTorch", tuple(int(side) for side in shape), dt, _Neurons(dt))
    metadata = {"source": f"snnTorch {version('snntorch')}", "rule": "snntorch", "dt": dt, "shape": list(layers.shape)}
    return layers.network(in_order(module), metadata)


class _Neurons:
    """The neurons of one module. dt: seconds per step."""

    def __init__(self, dt: float) -> None:
        self.dt = dt

    def __call__(self, module: nn.Module, shape: Shape) -> DynamicNeuron | None:
        from snntorch import Lapicque, Leaky, SpikingNeuron, Synaptic

        given: Any = module
        if type(module) not in (Leaky, Lapicque, Synaptic):
            if isinstance(module, SpikingNeuron):
                raise UnsupportedError("", "not carried", "")
            return None
        _refuse(given)
        parameters: dict[str, Any] = {
            "v_threshold": per_neuron(given.threshold, shape, "threshold"),
            "reset": RESETS[list(RESETS)[int(given.reset_mechanism_val)]],
        }
        if type(module) is Lapicque:
            decay, jump = _lapicque(given)
            tau = self._tau(per_neuron(decay, shape, "beta"))
            gain = per_neuron(jump, shape, "R, C")
            return ClockedLeaky(tau, r=tau * gain, reset_delay=True, keeps_input=False, **parameters)
        delay = bool(given.reset_delay)
        tau = self._tau(per_neuron(given.beta.clamp(0, 1), shape, "beta"))
        if type(module) is Leaky:
            return ClockedLeaky(tau, r=tau, reset_delay=delay, **parameters)
        syn = self._tau(per_neuron(given.alpha.clamp(0, 1), shape, "alpha"))
        return ClockedSynaptic(tau, syn, r=tau / self.dt, w_in=syn, reset_delay=delay, **parameters)

    def _tau(self, decay: FloatArray) -> FloatArray:
        """(n,) seconds, of decays per step in 0..1."""
        with np.errstate(divide="ignore"):
            steps = -1 / np.log(decay)
        return self.dt * np.where(decay >= 1, LONGEST, np.where(decay <= 0, SHORTEST, steps))


def _refuse(module: Any) -> None:
    """raises: UnsupportedError for what a module does beside integrating and firing."""
    wrong = [name for name in ("inhibition", "state_quant") if getattr(module, name)]
    built = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}.get(module.state_function.__name__)
    if built != list(RESETS)[int(module.reset_mechanism_val)]:
        wrong.append("a reset mechanism changed after it was built")
    if (floats(module.graded_spikes_factor, "graded_spikes_factor") != 1).any():
        wrong.append("graded_spikes_factor")
    if wrong:
        raise UnsupportedError("", f"with {', '.join(wrong)}", "")


def _lapicque(module: Any) -> tuple[Any, Any]:
    """What is left of a potential after a step, and by how much an input of 1 raises it, as tensors.

    raises: UnsupportedError where the input is rounded more than once, or the potential changes its sign.
    """
    import torch

    for name in ("R", "time_step"):
        mantissa = torch.frexp(torch.as_tensor(getattr(module, name)).to(torch.float32))[0]
        if not bool((mantissa == 0.5).all()):
            raise UnsupportedError("", f"{name} that is no power of two", "")
    decay = 1 - module.time_step / (module.R * module.C)
    if bool((decay < 0).any()) or bool((decay > 1).any()):
        raise UnsupportedError("", "a decay 1 - time_step / (R C) outside 0..1", "")
    return decay, torch.ones(()) * module.R * (1 / (module.R * module.C)) * module.time_step
