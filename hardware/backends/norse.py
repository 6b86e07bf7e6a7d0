"""norse: a network as a trainable module of norse's boxed LIF neurons, spike for spike the ticked engine.

Traps of norse 1.1, and how they are passed: it fires strictly above the threshold (potentials start half a unit up,
see `snngen/hardware/spiking.py`); input and leak are scaled by dt / tau, which is 1 here; its IAF neuron can only reset
to a value, and LIFBox leaks, so LIFBox leaks towards where it already is, which is no leak, and subtracts.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from snngen.hardware.spiking import Cell, SpikingModule
from snngen.network import Network

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # norse still calls torch.jit.script when it is imported
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
    from norse.torch.functional.reset import reset_subtract


class BoxCell(Cell):
    """norse's LIFBox with dt = tau = 1, a leak potential that follows the potential, and reset by subtraction."""

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold)

    def forward(self, drive: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        parameters = LIFBoxParameters(
            tau_mem_inv=torch.ones((), dtype=torch.float64),
            v_leak=potential,
            v_th=self.threshold,
            reset_method=reset_subtract,
        )
        spikes, state = lif_box_feed_forward_step(drive, LIFBoxFeedForwardState(v=potential), parameters, dt=1.0)
        return spikes, state.v


def to_module(network: Network) -> SpikingModule:
    """The network as a module of norse neurons.

    raises: UnsupportedError naming everything that they cannot express.
    """
    return SpikingModule(network, BoxCell)


def to_network(module: SpikingModule) -> Network:
    """The module's network with its weights as they are now, rounded to int8; `provenance` says what that cost."""
    return module.to_network()
