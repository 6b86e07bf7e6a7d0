"""Exact: the solution of the differential equations from step to step; events fall on the grid."""

from __future__ import annotations

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.rules import Floats, Rule, fire
from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import clocked as kernel


class Exact(Rule):
    """Decays exp(-dt / tau), then the events of the step's end, then the threshold: what `ContinuousEngine` does on a
    grid, but for crossings between the steps, which are seen at the next one.
    """

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        super().__init__(neuron, dt)
        form, n = neuron.form, neuron.size
        if form is None:
            raise NetworkError("Exact", f"{neuron.kind} neurons", "neurons with a potential")
        self.steps = 0
        zeros, ones = np.zeros(n), np.ones(n)
        steady = -form.current
        origin = neuron.evolve(form.rest, steady, dt)[0]
        of_v = ones if form.tau_mem is None else np.exp(-dt / form.tau_mem)
        of_i = neuron.evolve(form.rest, steady + 1, dt)[0] - origin if neuron.current_based else zeros
        to_i = ones if form.tau_syn is None else np.exp(-dt / form.tau_syn)
        drive, into = (zeros, neuron.jump) if neuron.current_based else (neuron.jump, zeros)
        rows = [form.rest, of_v, of_i, form.drift * dt, drive, steady, to_i, into]
        self.constants: Floats = np.array(rows, dtype=self.dtype)

    def step(self, drive: Floats) -> IntArray:
        if self.steps == 0:  # the initial state is that of step 0
            self.v += self.constants[4] * drive
            self.i += self.constants[7] * drive
        else:
            kernel.exact(drive, self.constants, self.v, self.i)
        self.steps += 1
        return fire(self)
