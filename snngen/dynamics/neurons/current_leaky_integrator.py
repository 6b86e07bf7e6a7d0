"""Current-based leaky integrator: synapses with a time constant before the membrane (NIR CubaLI); it never fires."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import SynapticMembrane
from snngen.dynamics.parameters import spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class CurrentLeakyIntegrator(SynapticMembrane):
    """tau_syn di/dt = -i + w_in (I + bias),   tau_mem dv/dt = v_leak - v + r i.

    An event of weight w raises i by w_in * w / tau_syn; i starts at 0, v at v_leak.

    tau_mem, tau_syn: (n,) seconds > 0. r: (n,) resistance. v_leak: (n,) potential at rest. w_in: (n,) input gain.
    bias: (n,) constant input.
    Source: NIR primitive CubaLI; `bias` is that of an Affine node before it.
    """

    tau_mem: FloatArray
    tau_syn: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_leak: FloatArray = field(default_factory=lambda: np.zeros(1))
    w_in: FloatArray = field(default_factory=lambda: np.ones(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        names = ("tau_mem", "tau_syn", "r", "v_leak", "w_in", "bias")
        spread(self, names, positive=("tau_mem", "tau_syn"))
