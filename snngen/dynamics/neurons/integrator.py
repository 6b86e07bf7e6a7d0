"""Integrator: the sum of what came in (NIR I); it never fires."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.membranes import PerfectMembrane
from snngen.dynamics.parameters import spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class Integrator(PerfectMembrane):
    """dv/dt = r (I + bias). An event of weight w raises v by r * w; v starts at 0.

    r: (n,) resistance. bias: (n,) constant current.
    Source: NIR primitive I; `bias` is that of an Affine node before it.
    """

    r: FloatArray = field(default_factory=lambda: np.ones(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        spread(self, ("r", "bias"))
