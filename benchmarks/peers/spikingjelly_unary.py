"""SpikingJelly: a decoder network whose codes are sent by its own `STBIFNode` (SpikeZIP-TF), see `dense_ticks.py`.

The node has one threshold for all neurons, so drives are divided by theta first; in float64, and half a unit away from
every tie, that is exact. What a potential has at the start arrives with the first tick.
"""

from __future__ import annotations

import torch
from dense_ticks import Neurons, build_with
from link import serve
from spikingjelly.activation_based.neuron import STBIFNode
from torch import Tensor

START = 0.5  # where the node itself begins


class Ternary(Neurons):
    def __init__(self, theta: Tensor, first: Tensor, low: int, high: int) -> None:
        self.node = STBIFNode(1.0, level=high - low + 1, pos_max=high, neg_min=low)
        self.theta = None if bool((theta == 1).all()) else theta
        self.offset = first / theta - START

    def begin(self) -> None:
        self.node.reset()
        self.late = bool(self.offset.any())

    def __call__(self, drive: Tensor) -> Tensor:
        if self.theta is not None:
            drive = drive / self.theta
        if self.late:
            drive = torch.cat((drive[:1] + self.offset, drive[1:]))
            self.late = False
        if len(drive) == 1:
            self.node.step_mode = "s"
            spikes: Tensor = self.node(drive[0])
            return spikes[None]
        self.node.step_mode = "m"
        train: Tensor = self.node(drive)
        return train

    @property
    def count(self) -> Tensor:  # type: ignore[override]
        sent: Tensor = self.node.acc_q
        return sent


if __name__ == "__main__":
    serve(build_with(Ternary), ["spikingjelly", "torch"])
