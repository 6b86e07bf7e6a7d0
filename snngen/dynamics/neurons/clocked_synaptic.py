"""Clocked current-based leaky integrate-and-fire: snnTorch's Synaptic, with its ways to reset."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.dynamics.neurons import Form
from snngen.dynamics.neurons.clocked_leaky import check_clocked_reset, refuse_no_reset
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.parameters import spread


@dataclass(frozen=True, eq=False)
class ClockedSynaptic(CurrentLif):
    """`CurrentLif` with what only a clocked run knows; see `ClockedLeaky`.

    reset: also "none". reset_delay: True where the reset comes with the next step. A reset to a value loses what the
    membrane takes in the same step, and leaves the synaptic current as it is.
    """

    reset_delay: bool = True

    def __post_init__(self) -> None:
        names = ("tau_mem", "tau_syn", "v_threshold", "r", "v_leak", "v_reset", "w_in", "bias")
        spread(self, names, positive=("tau_mem", "tau_syn"))
        object.__setattr__(self, "reset_delay", bool(self.reset_delay))
        check_clocked_reset(self)

    @property
    def form(self) -> Form | None:
        refuse_no_reset(self)
        return super().form
