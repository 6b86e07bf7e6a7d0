"""snnTorch: a network as a trainable module of `snntorch.Leaky` neurons, spike for spike the ticked engine.

Traps of snnTorch 1.0, and how they are passed: it fires strictly above the threshold (potentials start half a unit
up, see `snngen/hardware/spiking.py`); with `reset_delay=False` a neuron whose potential is still above the threshold
after its reset misses its next spike, because the next tick subtracts a second time before it looks, so the default
delayed reset is used, which subtracts before the next tick's drive and gives the same spikes; input is not scaled.
"""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor

from snngen.hardware.spiking import Cell, SpikingModule
from snngen.network import Network


class LeakyCell(Cell):
    """`snntorch.Leaky` with beta = 1: no leak."""

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.leaky = snntorch.Leaky(
            beta=torch.ones((), dtype=torch.float64),
            threshold=threshold,
            reset_mechanism="subtract",
            reset_delay=True,
        )

    def forward(self, drive: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        spikes, potential = self.leaky(drive, potential)
        return spikes, potential


def to_module(network: Network) -> SpikingModule:
    """The network as a module of snnTorch neurons.

    raises: UnsupportedError naming everything that they cannot express.
    """
    return SpikingModule(network, LeakyCell)


def to_network(module: SpikingModule) -> Network:
    """The module's network with its weights as they are now, rounded to int8; `provenance` says what that cost."""
    return module.to_network()
