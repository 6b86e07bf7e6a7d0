"""Spikes: what fired, when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import PromptError
from snngen.integers import IntArray


@dataclass(frozen=True, eq=False)
class Spikes:
    """What fired, in order: by time, population, neuron.

    times_ns: (m,) int64 nanoseconds. populations: (m,) int32 positions in `names`. neurons: (m,) int32 numbers within
    their populations. names: all populations of the network. A neuron that fires twice at one time stands there twice.
    """

    times_ns: IntArray
    populations: IntArray
    neurons: IntArray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.times_ns.size)

    @property
    def times_us(self) -> IntArray:
        """(m,) int64 microseconds, the whole ones that have passed."""
        return self.times_ns // 1000

    def of(self, name: str) -> Spikes:
        """Those of one population. raises: PromptError for a name that is none."""
        if name not in self.names:
            raise PromptError("Spikes", f"population {name!r}", "one of " + ", ".join(self.names))
        chosen = self.populations == self.names.index(name)
        return Spikes(self.times_ns[chosen], self.populations[chosen], self.neurons[chosen], self.names)

    @classmethod
    def joined(cls, parts: list[Spikes], names: tuple[str, ...]) -> Spikes:
        """Parts in their order, as one; none: no spikes."""
        if not parts:
            none = np.zeros(0, dtype=np.int32)
            return cls(np.zeros(0, dtype=np.int64), none, none, names)
        times = np.concatenate([part.times_ns for part in parts])
        populations = np.concatenate([part.populations for part in parts])
        neurons = np.concatenate([part.neurons for part in parts])
        return cls(times, populations, neurons, names)
