"""snnTorch: a decoder network whose codes are sent by pairs of `Leaky` neurons, see `dense_ticks.py`.

snnTorch has no signed neuron. One neuron holds v, the other theta - v; each spike of the one drives the other by theta,
so that their sum stays theta, and the first fires where v reaches theta, the second where v falls below 0. A spike
beyond the range of the code is stopped, and its reset given back (as in `snngen/hardware/spiking.py`).
"""

from __future__ import annotations

import snntorch
import torch
from dense_ticks import Neurons, build_with
from link import serve
from torch import Tensor


class Pair(Neurons):
    def __init__(self, theta: Tensor, first: Tensor, low: int, high: int) -> None:
        self.theta, self.first, self.low, self.high = theta, first, low, high
        self.cells = [
            snntorch.Leaky(beta=torch.ones((), dtype=torch.float64), threshold=theta, reset_mechanism="subtract").eval()
            for _ in range(2)
        ]

    def begin(self) -> None:
        self.up = self.down = self.count = torch.zeros(1, dtype=torch.float64)
        self.to_up, self.to_down = self.first, self.theta - self.first

    def __call__(self, drive: Tensor) -> Tensor:
        return torch.stack([self.tick(arriving) for arriving in drive])

    def tick(self, drive: Tensor) -> Tensor:
        if len(self.up) != len(drive):
            self.up = self.down = self.count = torch.zeros_like(drive)
        raised, self.up = self.cells[0](drive + self.to_up, self.up)
        lowered, self.down = self.cells[1](self.to_down - drive, self.down)
        plus, minus = raised * (self.count < self.high), lowered * (self.count > self.low)
        spikes: Tensor = (plus - minus).double()
        self.to_up = self.theta * (raised - spikes)
        self.to_down = self.theta * (lowered + spikes)
        self.count = self.count + spikes
        return spikes


if __name__ == "__main__":
    serve(build_with(Pair), ["snntorch", "torch"])
