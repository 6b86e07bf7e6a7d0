"""Work: what a network did between two answers, for its energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snngen.dynamics.counts import Counts


@dataclass(frozen=True)
class Work:
    """Operations of one output, or of several, by place.

    events: per population, events that left it (of an input: that came in). operations: per projection, in the
    network's order, synaptic operations. updates: per population, neurons brought up to date.
    """

    events: Mapping[str, int] = field(default_factory=dict)
    operations: tuple[int, ...] = ()
    updates: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def between(cls, before: Counts | None, after: Counts) -> Work:
        """What was done from one count of an engine to a later one; from its reset where there is none before."""
        if before is None:
            return cls(dict(after.events), tuple(after.operations), dict(after.updates))
        return cls(
            {name: count - before.events[name] for name, count in after.events.items()},
            tuple(late - early for late, early in zip(after.operations, before.operations, strict=True)),
            {name: count - before.updates[name] for name, count in after.updates.items()},
        )

    def __add__(self, other: Work) -> Work:
        """Both together; they are of one network."""
        long, short = sorted((self.operations, other.operations), key=len, reverse=True)
        return Work(
            _sum(self.events, other.events),
            tuple(count + (short[index] if index < len(short) else 0) for index, count in enumerate(long)),
            _sum(self.updates, other.updates),
        )

    @property
    def synaptic_operations(self) -> int:
        """All of them."""
        return sum(self.operations)

    @property
    def neuron_updates(self) -> int:
        """All of them."""
        return sum(self.updates.values())


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    if first.keys() == second.keys():  # of every live answer
        return {name: count + second[name] for name, count in first.items()}
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}
