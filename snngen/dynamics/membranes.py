"""Membranes: how a potential moves between events, whether or not the model fires."""

from __future__ import annotations

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron, Form, two_exponentials
from snngen.integers import FloatArray


class PerfectMembrane(DynamicNeuron):
    """Adds up and forgets nothing: dv/dt = r * (current + bias)."""

    r: FloatArray
    bias: FloatArray

    @property
    def size(self) -> int:
        return int(self.r.size)

    @property
    def jump(self) -> FloatArray:
        return self.r

    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.r * (current + self.bias), np.zeros_like(i)

    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        return v + self.r * self.bias * seconds, i

    @property
    def form(self) -> Form | None:
        zeros = np.zeros(self.size)
        return Form(None, None, zeros, self.r * self.bias, self.r, zeros)


class LeakyMembrane(DynamicNeuron):
    """Decays to rest: tau_mem * dv/dt = v_leak - v + r * (current + bias)."""

    tau_mem: FloatArray
    r: FloatArray
    v_leak: FloatArray
    bias: FloatArray

    @property
    def size(self) -> int:
        return int(self.tau_mem.size)

    @property
    def start(self) -> tuple[FloatArray, FloatArray]:
        return self.v_leak, np.zeros(self.size)

    @property
    def jump(self) -> FloatArray:
        return np.asarray(self.r / self.tau_mem)

    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        return (self.v_leak - v + self.r * (current + self.bias)) / self.tau_mem, np.zeros_like(i)

    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        rest = self.v_leak + self.r * self.bias
        return rest + (v - rest) * np.exp(-seconds / self.tau_mem), i

    @property
    def form(self) -> Form | None:
        zeros = np.zeros(self.size)
        return Form(self.tau_mem, None, self.v_leak + self.r * self.bias, zeros, self.r, zeros)


class SynapticMembrane(LeakyMembrane):
    """A leaky one whose current is synaptic and decays itself: tau_syn * di/dt = -i + w_in * (current + bias)."""

    tau_syn: FloatArray
    w_in: FloatArray

    @property
    def jump(self) -> FloatArray:
        return np.asarray(self.w_in / self.tau_syn)

    @property
    def current_based(self) -> bool:
        return True

    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        return (self.v_leak - v + self.r * i) / self.tau_mem, (-i + self.w_in * (current + self.bias)) / self.tau_syn

    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        steady = self.w_in * self.bias
        rest = self.v_leak + self.r * steady
        rise = self.r * (i - steady) * two_exponentials(seconds, self.tau_mem, self.tau_syn)
        later = rest + (v - rest) * np.exp(-seconds / self.tau_mem) + rise
        return later, steady + (i - steady) * np.exp(-seconds / self.tau_syn)

    @property
    def form(self) -> Form | None:
        steady = self.w_in * self.bias
        rest = self.v_leak + self.r * steady
        return Form(self.tau_mem, self.tau_syn, rest, np.zeros(self.size), self.r, -steady)
