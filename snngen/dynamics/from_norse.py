"""From norse: trained modules as networks in continuous time that run, clocked, spike for spike as they did."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.current_leaky_integrator import CurrentLeakyIntegrator
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.neurons.primed_integrate_and_fire import PrimedIntegrateAndFire
from snngen.dynamics.torch_layers import Shape, TorchLayers, in_order, per_neuron
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray

if TYPE_CHECKING:
    from torch import nn

METHODS = ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc")  # gradients: all fire strictly above


def from_norse(module: nn.Module | Sequence[nn.Module], shape: Sequence[int]) -> DynamicNetwork:
    """A trained norse module as a network.

        network = from_norse(net, (784,))
        ClockedEngine(network, network.metadata["dt"], "norse")     # the spikes of net, to the last one
        ContinuousEngine(network)                                   # without a clock

    norse gives the current w for one step of length dt, which is the charge w * dt: that is in r (LIFBox) or w_in (LIF)
    of the neurons. Its times are seconds.

    module: a SequentialState of Linear, Conv2d, AvgPool2d, Flatten (each also in a Lift), LIFCell, LIFBoxCell, LICell,
        LIBoxCell and IAFCell, or such layers in the order in which a forward() calls them; or of LIF, LI and IAF, which
        take all steps at once: torch then adds the sums of all steps up at once, in another order than step by step, so
        that their last bits may differ where sums are not exact. Only float32. shape: of one input, without batch.
    raises: UnsupportedError naming every layer that cannot be carried, and why.
    """
    norse = _norse()
    layers = [
        (name, layer.lifted_module if isinstance(layer, norse.Lift) else layer) for name, layer in in_order(module)
    ]
    steps = sorted({float(getattr(layer, "dt")) for _, layer in layers if hasattr(layer, "dt")})  # noqa: B009
    whole = (norse.LIF, norse.LI, norse.IAF)
    timed = {isinstance(layer, whole) for _, layer in layers if hasattr(layer, "dt")}
    neurons = _Neurons(norse)
    built = TorchLayers("norse", tuple(int(side) for side in shape), steps[0] if steps else 1e-3, neurons)
    built.leading = 2 if timed == {True} else 1
    if len(steps) > 1:
        built.wrong.append(f"steps of {steps} seconds in one module")
    if len(timed) > 1:
        built.wrong.append("cells beside layers that take all steps at once")
    metadata = {"source": f"norse {version('norse')}", "rule": "norse", "dt": built.dt, "shape": list(built.shape)}
    return built.network(layers, metadata)


def _norse() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # norse still calls torch.jit.script when it is imported
        return importlib.import_module("norse.torch")


class _Neurons:
    """The neurons of one module. norse: the package norse.torch."""

    def __init__(self, norse: ModuleType) -> None:
        self.norse = norse

    def __call__(self, module: nn.Module, shape: Shape) -> DynamicNeuron | None:
        given: Any = module
        norse, kind = self.norse, type(module)
        known = (norse.LIFCell, norse.LIF, norse.LIFBoxCell, norse.LICell, norse.LI, norse.LIBoxCell)
        if kind not in (*known, norse.IAFCell, norse.IAF):
            if hasattr(module, "p") and hasattr(module, "dt"):
                raise UnsupportedError("", "not carried", "")
            return None
        parameters: Any = given.p
        if getattr(parameters, "method", "super") not in METHODS:
            raise UnsupportedError("", f"method {parameters.method!r}", "")
        if kind in (norse.IAFCell, norse.IAF):
            return _primed(parameters, shape)
        tau = 1 / _each(parameters, shape, tau="tau_mem_inv")["tau"]
        leak = _each(parameters, shape, v_leak="v_leak")
        step = np.full(tau.size, float(given.dt))
        if kind is norse.LIBoxCell:
            return LeakyIntegrator(tau, r=step, **leak)
        if kind is norse.LIFBoxCell:
            ends = _each(parameters, shape, v_threshold="v_th", v_reset="v_reset")
            return LeakyIntegrateAndFire(tau, r=step, reset=self._reset(parameters), **ends, **leak)
        syn = 1 / _each(parameters, shape, tau="tau_syn_inv")["tau"]
        if kind in (norse.LICell, norse.LI):
            return CurrentLeakyIntegrator(tau, syn, w_in=syn, **leak)
        ends = _each(parameters, shape, v_threshold="v_th", v_reset="v_reset")
        return CurrentLif(tau, syn, w_in=syn, reset="value", **ends, **leak)

    def _reset(self, parameters: Any) -> str:
        from norse.torch.functional.reset import reset_subtract, reset_value

        for name, method in (("value", reset_value), ("subtract", reset_subtract)):
            if parameters.reset_method is method:
                return name
        raise UnsupportedError("", f"reset method {parameters.reset_method!r}", "")


def _primed(parameters: Any, shape: Shape) -> IntegrateAndFire:
    """norse's IAF starts at its v_reset."""
    given = _each(parameters, shape, v_threshold="v_th", v_reset="v_reset")
    if given["v_reset"].any():
        return PrimedIntegrateAndFire(reset="value", v_start=given["v_reset"], **given)
    return IntegrateAndFire(reset="value", **given)


def _each(parameters: Any, shape: Shape, **names: str) -> dict[str, FloatArray]:
    """(n,) float64 of parameters, by our names."""
    return {ours: per_neuron(getattr(parameters, theirs), shape, theirs) for ours, theirs in names.items()}
