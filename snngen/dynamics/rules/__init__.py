"""Rules: how a clocked run makes one step. One file per rule, found by file name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen import folder
from snngen.dynamics.neurons import DynamicNeuron, Firing
from snngen.dynamics.synapses import DynamicSynapse
from snngen.errors import CapacityError
from snngen.integers import IntArray
from snngen.kernels import clocked

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


class Rule(ABC):
    """One population under one rule: its state, and a step.

    A rule is made anew for every population of a run: ``Rule(neuron, dt)``.

    neuron: the model with its parameters. dt: seconds per step.
    dimensionless: True for the rule of a library whose weights are currents of one step.
    v, i: (n,) potential and synaptic current after the last step, in `dtype`.
    """

    dtype: ClassVar[type[np.floating[Any]]] = np.float64
    dimensionless: ClassVar[bool] = False

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        self.neuron, self.dt = neuron, dt
        self.v: Floats = np.array(neuron.start[0], dtype=self.dtype)
        self.i: Floats = np.array(neuron.start[1], dtype=self.dtype)

    @abstractmethod
    def step(self, drive: Floats) -> IntArray:
        """One step. drive: (n,) sum of the weights of all events that arrive in it, in `dtype`.

        returns: (n,) int64, how often each neuron fires in it.
        """

    def deliver(self, synapse: DynamicSynapse, events: Floats, now: bool = True) -> Floats:
        """(targets,) weighted sums of what fired: (sources,) in `dtype`, how often or with which weight."""
        sums: Floats = synapse.apply(events[None])[0]
        return sums


def fire(rule: Rule) -> IntArray:
    """(n,) int64: fire and reset where `rule.v` is above (strictly) the threshold, as the neuron model says.

    raises: CapacityError for a neuron that does not stop firing in one step.
    """
    fires: IntArray = np.zeros(rule.v.size, dtype=np.int64)
    if rule.neuron.fires:
        neuron: Firing = rule.neuron  # type: ignore[assignment]
        threshold, reset = neuron.v_threshold.astype(rule.dtype), neuron.v_reset.astype(rule.dtype)
        if not clocked.fire(threshold, reset, neuron.reset == "subtract", rule.v, fires):
            got, mend = f"{clocked.MOST_AT_ONCE} spikes in one step", "a larger threshold or smaller weights"
            raise CapacityError(rule.neuron.kind, got, "fewer", mend)
    return fires


def kinds() -> list[str]:
    """Names of all rules, one per file of this folder."""
    return folder.names(__path__)


def by_name(name: str) -> type[Rule]:
    """The rule that the file `name` defines."""
    return folder.model(__name__, __path__, name, Rule)  # type: ignore[type-abstract]
