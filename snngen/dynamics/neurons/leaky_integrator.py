"""Leaky integrator: what came in, forgotten exponentially (NIR LI); it never fires."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import LeakyMembrane
from snngen.dynamics.parameters import spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class LeakyIntegrator(LeakyMembrane):
    """tau_mem dv/dt = v_leak - v + r (I + bias). An event of weight w raises v by r * w / tau_mem; v starts at v_leak.

    tau_mem: (n,) seconds > 0. r: (n,) resistance. v_leak: (n,) potential at rest. bias: (n,) constant current.
    Source: NIR primitive LI; `bias` is that of an Affine node before it.
    """

    tau_mem: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_leak: FloatArray = field(default_factory=lambda: np.zeros(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        spread(self, ("tau_mem", "r", "v_leak", "bias"), positive=("tau_mem",))
