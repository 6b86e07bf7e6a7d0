"""Clocked leaky integrate-and-fire: a leaky neuron as libraries with a clock run it, with their ways to reset."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.dynamics.neurons import Form
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.parameters import check_reset, spread
from snngen.errors import NetworkError, UnsupportedError


@dataclass(frozen=True, eq=False)
class ClockedLeaky(LeakyIntegrateAndFire):
    """`LeakyIntegrateAndFire` with what only a clocked run knows.

    In continuous time a reset is immediate, and what is said below plays no part; without a reset there is no run in
    continuous time. `rules/snntorch.py` says what a step does.

    reset: also "none". reset_delay: True where the reset comes with the next step, as the default of snnTorch.
    keeps_input: True where a reset to a value keeps the input of its own step (snnTorch's Leaky), False where it loses
    it (Lapicque).
    """

    reset_delay: bool = True
    keeps_input: bool = True

    def __post_init__(self) -> None:
        spread(self, ("tau_mem", "v_threshold", "r", "v_leak", "v_reset", "bias"), positive=("tau_mem",))
        object.__setattr__(self, "reset_delay", bool(self.reset_delay))
        object.__setattr__(self, "keeps_input", bool(self.keeps_input))
        check_clocked_reset(self)

    @property
    def form(self) -> Form | None:
        refuse_no_reset(self)
        return super().form


def check_clocked_reset(model: LeakyIntegrateAndFire | CurrentLif) -> None:
    """As `check_reset`, and "none" is allowed.

    raises: NetworkError where a reset to a value is not to 0, the only one that libraries with a delayed reset have.
    """
    if model.reset != "none":
        check_reset(model)
    if model.reset == "value" and model.v_reset.any():
        raise NetworkError(f"{type(model).__name__}.v_reset", "values other than 0", "0")


def refuse_no_reset(model: LeakyIntegrateAndFire | CurrentLif) -> None:
    """raises: UnsupportedError for a neuron that is never reset: in continuous time it would fire for ever."""
    if model.reset == "none":
        got = "reset 'none' in continuous time"
        raise UnsupportedError(type(model).__name__, got, "a clock", "ClockedEngine(network, dt, 'snntorch')")
