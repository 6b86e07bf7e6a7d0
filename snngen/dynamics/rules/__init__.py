"""Rules: how a clocked run makes one step. One file per rule, found by file name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen import folder
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.synapses import DynamicSynapse
from snngen.integers import FloatArray, IntArray

Floats = npt.NDArray[np.floating[Any]]


class Rule(ABC):
    """One population under one rule: its state, and a step.

    A rule is made anew for every population of a run: ``Rule(neuron, dt)``.

    neuron: the model with its parameters. dt: seconds per step.
    v, i: (n,) potential and synaptic current after the last step.
    """

    dtype: type[np.floating[Any]] = np.float64

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        self.neuron, self.dt = neuron, dt
        self.v, self.i = (np.array(state, dtype=self.dtype) for state in neuron.start)

    @abstractmethod
    def step(self, drive: Floats) -> IntArray:
        """One step. drive: (n,) sum of the weights of all events that arrive in it, in `dtype`.

        returns: (n,) int64, how often each neuron fires in it.
        """

    def deliver(self, synapse: DynamicSynapse, events: FloatArray) -> Floats:
        """(targets,) weighted sums of what fired: (sources,) in `dtype`, how often or with which weight."""
        sums: Floats = synapse.apply(events[None])[0]
        return sums


def kinds() -> list[str]:
    """Names of all rules, one per file of this folder."""
    return folder.names(__path__)


def by_name(name: str) -> type[Rule]:
    """The rule that the file `name` defines."""
    return folder.model(__name__, __path__, name, Rule)  # type: ignore[type-abstract]
