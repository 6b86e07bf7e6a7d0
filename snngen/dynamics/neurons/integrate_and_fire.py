"""Integrate-and-fire: the sum of what came in, until it is above the threshold (NIR IF)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import PerfectMembrane
from snngen.dynamics.parameters import check_reset, spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class IntegrateAndFire(PerfectMembrane):
    """dv/dt = r (I + bias); fires where v > v_threshold. An event of weight w raises v by r * w; v starts at 0.

    v_threshold, v_reset: (n,) potentials. r: (n,) resistance. bias: (n,) constant current.
    reset: "value" (v = v_reset, as in NIR) or "subtract" (v -= v_threshold).
    Source: NIR primitive IF; `bias` is that of an Affine node before it.
    """

    v_threshold: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_reset: FloatArray = field(default_factory=lambda: np.zeros(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    reset: str = "value"

    fires = True

    def __post_init__(self) -> None:
        spread(self, ("v_threshold", "r", "v_reset", "bias"))
        check_reset(self)
