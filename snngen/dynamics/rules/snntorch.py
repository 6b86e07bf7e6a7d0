"""snnTorch's rule: a step of Leaky, Lapicque or Synaptic, in float32, in the order in which snnTorch computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.dynamics.rules import Floats
from snngen.dynamics.torch_sums import TorchRule, gain
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray, IntArray


class Snntorch(TorchRule):
    """A step, with beta = exp(-dt / tau_mem), alpha = exp(-dt / tau_syn), and x what arrives:

        reset = v > v_threshold
        Leaky     v = beta * v + x - reset * v_threshold,    reset to 0: v = beta * (1 - reset) * v + x
        Lapicque  the same,                                  reset to 0: v = (1 - reset) * (beta * v + x)
        Synaptic  i = alpha * i + x, v = beta * v + i, and on as Lapicque
        fires where v - v_threshold > 0
        not reset_delay: where it fires and was not reset above, it is reset at once

    An event adds its weight times the neuron's jump. Neurons that have no `reset_delay` are taken as delayed.
    Sums are torch's own (`torch_sums.py`), so that spikes are those of the module, to the last one.
    raises: UnsupportedError for potentials at rest or after a reset other than 0, and without torch.
    Source: snntorch/_neurons/leaky.py, lapicque.py, synaptic.py of snnTorch 1.0.0.
    """

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        super().__init__(neuron, dt)
        given: Any = neuron
        for name in ("v_leak", "v_reset"):
            if np.any(getattr(neuron, name, 0)):
                raise UnsupportedError("rule snntorch", f"{neuron.kind} with {name} other than 0", "0", "rule='norse'")
        self._current = neuron.current_based
        self._beta = _decay(getattr(neuron, "tau_mem", None), dt, neuron.size)
        self._alpha = _decay(given.tau_syn, dt, neuron.size) if self._current else None
        self._gain = gain(neuron.jump)
        self._through = gain(given.r * (dt / given.tau_mem)) if self._current else None
        self._threshold = np.asarray(given.v_threshold, dtype=np.float32) if neuron.fires else None
        self._reset = given.reset if neuron.fires else "none"
        self._delay = getattr(neuron, "reset_delay", True)
        self._keeps = given.keeps_input if isinstance(neuron, ClockedLeaky) else not self._current

    def step(self, drive: Floats) -> IntArray:
        drive = self.taken(drive, self._gain)
        if self._threshold is None:
            self.v = self._integrate(self.v, drive)
            return np.zeros(self.v.size, dtype=np.int64)
        threshold = self._threshold
        reset = ((self.v - threshold) > 0).astype(np.float32)
        if self._reset == "value" and self._keeps:
            v = self._integrate((1 - reset) * self.v, drive)
        else:
            v = self._integrate(self.v, drive)
            v = self._after(v, reset)
        spikes = (v - threshold) > 0
        if not self._delay:
            v = self._after(v, spikes.astype(np.float32) - reset)
        self.v = v
        return np.asarray(spikes, dtype=np.int64)

    def _integrate(self, v: Floats, drive: Floats) -> Floats:
        """The potential before a reset."""
        if self._alpha is None:
            return np.asarray(self._beta * v + drive)
        self.i = self._alpha * self.i + drive
        current = self.i if self._through is None else self.i * self._through
        return np.asarray(self._beta * v + current)

    def _after(self, v: Floats, reset: Floats) -> Floats:
        """The potential after a reset where `reset` is 1 (and taken back where it is -1)."""
        if self._reset == "subtract" and self._threshold is not None:
            return np.asarray(v - reset * self._threshold)
        return np.asarray(v - reset * v) if self._reset == "value" else v


def _decay(tau: FloatArray | None, dt: float, size: int) -> Floats:
    """(n,) float32 what is left after a step; 1 without a time constant."""
    return np.ones(size, dtype=np.float32) if tau is None else np.exp(-dt / tau).astype(np.float32)
