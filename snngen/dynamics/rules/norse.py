"""norse's rule: one step of LIF, LIFBox, LI, LIBox or IAF, in float32, in the order in which norse 1.1 computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.rules import Floats
from snngen.dynamics.torch_sums import TorchRule, gain
from snngen.errors import UnsupportedError
from snngen.integers import IntArray


class Norse(TorchRule):
    """A step, with x what arrives:

        LIFBox, LIBox  v += dt / tau_mem * (x + v_leak - v); LIBox adds x last
        LIF, LI        i += x;  v += dt / tau_mem * ((v_leak - v) + i);  i -= dt / tau_syn * i
        IAF            v += x
        fires where v - v_threshold > 0, then v = v_reset or v - v_threshold

    An event adds its weight to x, times r / dt, w_in / tau_syn (and i times r), or r, which are 1 where a network comes
    from norse. Sums are torch's own (`torch_sums.py`), so that spikes are those of the module, to the last one.
    raises: UnsupportedError for resets that only snnTorch has, and without torch.
    Source: norse/torch/functional/lif.py, lif_box.py, leaky_integrator.py, iaf.py of norse 1.1.0.
    """

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        super().__init__(neuron, dt)
        given: Any = neuron
        if getattr(neuron, "reset_delay", False) or getattr(neuron, "reset", "") == "none":
            got = f"{neuron.kind} with a delayed reset or none"
            raise UnsupportedError("rule norse", got, "a reset at once", "rule='snntorch'")
        zeros = np.zeros(neuron.size)
        step = np.float32(dt)
        self._current, tau = neuron.current_based, getattr(neuron, "tau_mem", None)
        self._mem = None if tau is None else step * (1 / tau).astype(np.float32)
        self._syn = -step * (1 / given.tau_syn).astype(np.float32) if self._current else None
        self._gain = gain(neuron.jump if self._current or tau is None else given.r / dt)
        self._through = gain(given.r) if self._current else None
        self._leak = np.asarray(getattr(neuron, "v_leak", zeros), dtype=np.float32)
        self._threshold = np.asarray(given.v_threshold, dtype=np.float32) if neuron.fires else None
        self._value = np.asarray(given.v_reset, dtype=np.float32) if neuron.fires else None

    def step(self, drive: Floats) -> IntArray:
        drive = self.taken(drive, self._gain)
        v = self._integrate(drive)
        if self._threshold is None or self._value is None:
            self.v = v
            return np.zeros(v.size, dtype=np.int64)
        fired = (v - self._threshold) > 0
        z = fired.astype(np.float32)
        given: Any = self.neuron
        self.v = (1 - z) * v + z * (v - self._threshold if given.reset == "subtract" else self._value)
        return np.asarray(fired, dtype=np.int64)

    def _integrate(self, drive: Floats) -> Floats:
        """The potential before a reset."""
        if self._mem is None:
            return np.asarray(self.v + drive)
        if self._syn is None:
            towards = (drive + self._leak) - self.v if self.neuron.fires else (self._leak - self.v) + drive
            return np.asarray(self.v + self._mem * towards)
        current = self.i + drive
        through = current if self._through is None else current * self._through
        self.i = current + self._syn * current
        return np.asarray(self.v + self._mem * ((self._leak - self.v) + through))
