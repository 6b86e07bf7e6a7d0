"""Leaky integrate-and-fire: a leaky integrator with a threshold (NIR LIF)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import LeakyMembrane
from snngen.dynamics.parameters import check_reset, spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class LeakyIntegrateAndFire(LeakyMembrane):
    """tau_mem dv/dt = v_leak - v + r (I + bias); fires where v > v_threshold.

    An event of weight w raises v by r * w / tau_mem; v starts at v_leak.

    tau_mem: (n,) seconds > 0. v_threshold, v_leak, v_reset: (n,) potentials. r: (n,) resistance.
    bias: (n,) constant current; where v_leak + r * bias is above the threshold, the neuron fires by itself.
    reset: "value" (v = v_reset, as in NIR) or "subtract" (v -= v_threshold).
    Source: NIR primitive LIF; `bias` is that of an Affine node before it.
    """

    tau_mem: FloatArray
    v_threshold: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_leak: FloatArray = field(default_factory=lambda: np.zeros(1))
    v_reset: FloatArray = field(default_factory=lambda: np.zeros(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    reset: str = "value"

    fires = True

    def __post_init__(self) -> None:
        spread(self, ("tau_mem", "v_threshold", "r", "v_leak", "v_reset", "bias"), positive=("tau_mem",))
        check_reset(self)
