"""DynamicNetwork: populations and projections in continuous time, frozen, and checked when built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.synapses import DynamicSynapse
from snngen.errors import NetworkError
from snngen.integers import IntArray, checked

LONGEST_DELAY = 10**9  # microseconds


@dataclass(frozen=True, eq=False)
class DynamicPopulation:
    """Neurons of one model under one name. name: unique in the network. neuron: the model with its parameters."""

    name: str
    neuron: DynamicNeuron

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or "/" in self.name:
            raise NetworkError("DynamicPopulation.name", repr(self.name), "a name without '/' and outer blanks")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.neuron.size


@dataclass(frozen=True, eq=False)
class DynamicProjection:
    """Synapses from one population to another.

    source, target: names of populations. synapse: the model with its weights.
    delay_us: axonal delay in whole microseconds, one for all, or (source_size,) integers; 0 only towards a later
        population.
    """

    source: str
    target: str
    synapse: DynamicSynapse
    delay_us: int | IntArray = 0

    def __post_init__(self) -> None:
        if isinstance(self.delay_us, np.ndarray):
            object.__setattr__(self, "delay_us", checked(self.delay_us, np.int64, f"{self.name}.delay_us"))
            if self.delays_us.size != self.synapse.source_size:
                got, wanted = f"{self.delays_us.size} delays", f"1 or {self.synapse.source_size}, one per source neuron"
                raise NetworkError(f"{self.name}.delay_us", got, wanted)
        elif int(self.delay_us) != self.delay_us:
            raise NetworkError(f"{self.name}.delay_us", repr(self.delay_us), "whole microseconds")
        if not 0 <= self.delays_us.min() <= self.delays_us.max() <= LONGEST_DELAY:
            got = f"{self.delays_us.min()}..{self.delays_us.max()} us"
            raise NetworkError(f"{self.name}.delay_us", got, f"0..{LONGEST_DELAY} us")

    @property
    def name(self) -> str:
        """``source -> target``, for messages."""
        return f"{self.source} -> {self.target}"

    @property
    def delays_us(self) -> IntArray:
        """(1,) or (source_size,) int64."""
        return np.atleast_1d(np.asarray(self.delay_us, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class DynamicNetwork:
    """Populations in an order in which events of one moment can be passed on, and projections between them.

    populations: those whose projections have no delay stand before their targets.
    inputs: names of the populations that are fed from outside, all those of `Input`; found if not given.
    outputs: names of the populations whose events and potentials are asked for; the last one if not given.
    metadata: whatever else is known of it (units, where it came from); it plays no part in running.
    raises: NetworkError where the parts do not fit.
    """

    populations: tuple[DynamicPopulation, ...]
    projections: tuple[DynamicProjection, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(self.populations))
        object.__setattr__(self, "projections", tuple(self.projections))
        if not self.populations:
            raise NetworkError("DynamicNetwork", "no populations", "at least one")
        names = [population.name for population in self.populations]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise NetworkError("DynamicNetwork.populations", f"{twice} more than once", "unique names")
        found = tuple(p.name for p in self.populations if isinstance(p.neuron, Input))
        if not self.inputs:
            object.__setattr__(self, "inputs", found)
        if sorted(self.inputs) != sorted(found):
            raise NetworkError("DynamicNetwork.inputs", str(self.inputs), f"the populations of Input, {found}")
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs) or (names[-1],))
        for name in self.outputs:
            if name not in self.order:
                raise NetworkError("DynamicNetwork.outputs", repr(name), "one of " + ", ".join(names))
        if sum(population.size for population in self.populations) >= 2**31:
            raise NetworkError("DynamicNetwork", "2**31 neurons or more", "fewer")
        for projection in self.projections:
            self._check(projection)

    def _check(self, projection: DynamicProjection) -> None:
        for end in (projection.source, projection.target):
            if end not in self.order:
                raise NetworkError(projection.name, f"population {end!r}", "one of " + ", ".join(self.order))
        source, target = self[projection.source], self[projection.target]
        sizes = projection.synapse.source_size, projection.synapse.target_size
        if (source.size, target.size) != sizes:
            got = f"source and target of {source.size} and {target.size} neurons"
            raise NetworkError(projection.name, got, f"{sizes[0]} and {sizes[1]}, as its synapses have them")
        if isinstance(target.neuron, Input):
            raise NetworkError(projection.name, "an input as target", "a population that takes events")
        if not (source.neuron.fires or isinstance(source.neuron, Input)):
            raise NetworkError(projection.name, f"{source.neuron.kind} neurons as source", "neurons that fire")
        if self.order[source.name] >= self.order[target.name] and projection.delays_us.min() == 0:
            raise NetworkError(
                projection.name, "no delay and a source that is not before its target",
                "sources before targets, or a delay", "delay_us=1 or more in every cycle",
            )  # fmt: skip

    @cached_property
    def order(self) -> dict[str, int]:
        """Position of each population by name."""
        return {population.name: index for index, population in enumerate(self.populations)}

    def __getitem__(self, name: str) -> DynamicPopulation:
        if name not in self.order:
            raise NetworkError("DynamicNetwork", f"population {name!r}", "one of " + ", ".join(self.order))
        return self.populations[self.order[name]]

    @property
    def size(self) -> int:
        """Number of neurons, inputs included."""
        return sum(population.size for population in self.populations)
