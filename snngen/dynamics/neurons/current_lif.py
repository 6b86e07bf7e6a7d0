"""Current-based leaky integrate-and-fire: synapses with a time constant before the membrane (NIR CubaLIF)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import SynapticMembrane
from snngen.dynamics.parameters import check_reset, spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class CurrentLif(SynapticMembrane):
    """tau_syn di/dt = -i + w_in (I + bias),   tau_mem dv/dt = v_leak - v + r i;   fires where v > v_threshold.

    An event of weight w raises i by w_in * w / tau_syn; i starts at 0, v at v_leak. The potential can rise between
    events and fire then. A reset leaves i as it is.

    tau_mem, tau_syn: (n,) seconds > 0. v_threshold, v_leak, v_reset: (n,) potentials. r: (n,) resistance.
    w_in: (n,) input gain. bias: (n,) constant input. reset: "value" (v = v_reset, as in NIR) or "subtract".
    Source: NIR primitive CubaLIF; `bias` is that of an Affine node before it.
    """

    tau_mem: FloatArray
    tau_syn: FloatArray
    v_threshold: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_leak: FloatArray = field(default_factory=lambda: np.zeros(1))
    v_reset: FloatArray = field(default_factory=lambda: np.zeros(1))
    w_in: FloatArray = field(default_factory=lambda: np.ones(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    reset: str = "value"

    fires = True

    def __post_init__(self) -> None:
        names = ("tau_mem", "tau_syn", "v_threshold", "r", "v_leak", "v_reset", "w_in", "bias")
        spread(self, names, positive=("tau_mem", "tau_syn"))
        check_reset(self)
