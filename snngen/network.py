"""Network: populations and projections, frozen, and checked as a whole when it is built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, FloatArray
from snngen.neurons import Neuron
from snngen.neurons.source import Source
from snngen.synapses import Synapse


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model under one name.

    name: unique in the network, for example ``layer0.gate``.
    neuron: the model with its parameters.
    scale: (size,) or (1,) float64: what one unit of code is worth in the float model; it plays no part in running.
    """

    name: str
    neuron: Neuron
    scale: FloatArray = field(default_factory=lambda: np.ones(1))

    def __post_init__(self) -> None:
        scale = np.array(self.scale, dtype=np.float64)
        if not self.name or self.name != self.name.strip() or "/" in self.name:
            raise NetworkError("Population.name", repr(self.name), "a name without '/' and outer blanks")
        if scale.shape not in ((1,), (self.size,)) or not np.isfinite(scale).all():
            raise NetworkError(f"{self.name}.scale", f"shape {scale.shape}", f"(1,) or ({self.size},), finite")
        scale.flags.writeable = False
        object.__setattr__(self, "scale", scale)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.neuron.size


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to one operand of another.

    source, target: names of populations; the source settles first.
    operand: which input of the target it drives.
    writer: the population that writes the weights, for synapse models that are written.
    """

    source: str
    target: str
    synapse: Synapse
    operand: str = "drive"
    writer: str | None = None

    @property
    def name(self) -> str:
        """``source -> target`` and the operand where it is not the only one."""
        operand = "" if self.operand == "drive" else f":{self.operand}"
        return f"{self.source} -> {self.target}{operand}"


@dataclass(frozen=True, eq=False)
class Network:
    """A spiking network in the order in which its populations settle.

    populations, projections: see there; every population but a Source is driven in each of its operands.
    output: the population that is read, by default the last.
    tokenizer: a `tokenizers` JSON text, or None where the network has no text.
    begin: the token that opens every text, or None. end: the tokens that close one.
    provenance: where the network came from; text and numbers only.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str = ""
    tokenizer: str | None = None
    begin: int | None = None
    end: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(self.populations))
        object.__setattr__(self, "projections", tuple(self.projections))
        if not self.populations:
            raise NetworkError("Network", "no populations", "at least one")
        if not self.output:
            object.__setattr__(self, "output", self.populations[-1].name)
        if len(self.order) != len(self.populations):
            names = [population.name for population in self.populations]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise NetworkError("Network.populations", f"{twice} more than once", "unique names")
        if self.output not in self.order:
            raise NetworkError("Network.output", repr(self.output), "the name of a population")
        for projection in self.projections:
            self._check_projection(projection)
        for population in self.populations:
            self._check_drive(population)
        for token in (*self.end, *(() if self.begin is None else (self.begin,))):
            if not 0 <= token < self.vocabulary:
                raise NetworkError("Network.begin/end", f"token {token}", f"0..{self.vocabulary - 1}")

    @cached_property
    def order(self) -> dict[str, int]:
        """Position of each population by name."""
        return {population.name: index for index, population in enumerate(self.populations)}

    def __getitem__(self, name: str) -> Population:
        if name not in self.order:
            raise NetworkError("Network", f"population {name!r}", "one of " + ", ".join(self.order))
        return self.populations[self.order[name]]

    def into(self, name: str) -> tuple[Projection, ...]:
        """The projections that end in a population."""
        return self._into.get(name, ())

    @cached_property
    def _into(self) -> dict[str, tuple[Projection, ...]]:
        grouped: dict[str, list[Projection]] = {}
        for projection in self.projections:
            grouped.setdefault(projection.target, []).append(projection)
        return {name: tuple(group) for name, group in grouped.items()}

    @cached_property
    def sources(self) -> tuple[Population, ...]:
        """The populations that are fed from outside."""
        return tuple(population for population in self.populations if isinstance(population.neuron, Source))

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the first source knows."""
        return self.sources[0].size if self.sources else 0

    @cached_property
    def context(self) -> int | None:
        """Tokens that fit the attention memories, or None where nothing limits them."""
        limits = [p.synapse.context for p in self.projections if hasattr(p.synapse, "context")]
        return min(limits) if limits else None

    @cached_property
    def stages(self) -> tuple[int, ...]:
        """Of each population: how many populations must settle before it, one after the other."""
        stages: list[int] = []
        for population in self.populations:
            before = [
                stages[self.order[name]]
                for projection in self.into(population.name)
                for name in (projection.source, projection.writer)
                if name is not None
            ]
            stages.append(max(before) + 1 if before else 0)
        return tuple(stages)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides what the network computes."""
        hasher = hashlib.sha256()
        for population in self.populations:
            hasher.update(json.dumps([population.name, population.neuron.kind]).encode())
            _digest_fields(hasher, population.neuron)
        for projection in self.projections:
            ends = [projection.source, projection.target, projection.operand, projection.writer]
            hasher.update(json.dumps([*ends, projection.synapse.kind]).encode())
            _digest_fields(hasher, projection.synapse)
        hasher.update(json.dumps([self.output, self.tokenizer, self.begin, list(self.end)]).encode())
        return hasher.hexdigest()

    def sent_when_changed(self, name: str) -> bool:
        """True where a code that keeps drive from token to token (`delta`) sends a population only when it changes.

        Not so where all that it meets are weights that change themselves, or where it is written as weights.
        """
        sending = [projection.synapse.persistent for projection in self.projections if projection.source == name]
        writes = any(projection.writer == name for projection in self.projections)
        return not writes and (not sending or any(sending))

    def bound(self, name: str) -> int:
        """Largest magnitude of any code of a population."""
        low, high = self[name].neuron.range
        return max(-low, high)

    def _check_projection(self, projection: Projection) -> None:
        where, synapse = projection.name, projection.synapse
        for end in (projection.source, projection.target, projection.writer):
            if end is not None and end not in self.order:
                raise NetworkError(where, f"population {end!r}", "one of the network's populations")
        source, target = self[projection.source], self[projection.target]
        sizes = (source.size, target.size, 0 if projection.writer is None else self[projection.writer].size)
        expected = (synapse.source_size, synapse.target_size, synapse.writer_size)
        if sizes != expected:
            raise NetworkError(where, f"source, target, writer of {sizes} neurons", f"{expected}")
        if projection.operand not in target.neuron.operands:
            raise NetworkError(where, f"operand {projection.operand!r}", f"one of {target.neuron.operands}")
        for earlier in (projection.source, projection.writer):
            if earlier is not None and self.order[earlier] >= self.order[projection.target]:
                raise NetworkError(where, f"{earlier!r} after its target", "sources before targets")
        if projection.writer is not None:
            low, high = self[projection.writer].neuron.range
            if low < -128 or high > 127:
                raise NetworkError(where, f"written codes {low}..{high}", "-128..127, the int8 of a written weight")

    def _check_drive(self, population: Population) -> None:
        bounds = []
        for operand in population.neuron.operands:
            feeding = [p for p in self.into(population.name) if p.operand == operand]
            if not feeding:
                raise NetworkError(population.name, f"nothing that drives operand {operand!r}", "a projection")
            total = largest_bias(population) if population.neuron.wide else 0
            for projection in feeding:
                written = 0 if projection.writer is None else self.bound(projection.writer)
                wide = self[projection.source].neuron.wide
                largest = self.potential_bound(projection.source) if wide else self.bound(projection.source)
                total += projection.synapse.bound(largest, written)
            if total > INT32_MAX:
                raise NetworkError(
                    f"{population.name}:{operand}",
                    f"a drive of up to {total}",
                    f"at most {INT32_MAX} (int32)",
                    "fewer bits, or a coarser grid",
                )
            bounds.append(total)
        self._drive_bounds[population.name] = tuple(bounds)
        population.neuron.check_operands(tuple(bounds))

    @cached_property
    def _drive_bounds(self) -> dict[str, tuple[int, ...]]:
        return {}

    def potential_bound(self, name: str) -> int:
        """Largest magnitude that an accumulator can reach, from its weights and the ranges of its sources."""
        return self._drive_bounds[name][0]


def largest_bias(population: Population) -> int:
    """Largest magnitude of the biases of a population, 0 where it has none."""
    return int(np.abs(np.asarray(getattr(population.neuron, "bias", 0), dtype=np.int64)).max())


def _digest_fields(hasher: Any, model: Neuron | Synapse) -> None:
    for part in fields(model):  # type: ignore[arg-type]
        value = getattr(model, part.name)
        if isinstance(value, np.ndarray):
            hasher.update(json.dumps([part.name, value.dtype.str, list(value.shape)]).encode())
            hasher.update(np.ascontiguousarray(value).data)
        else:
            hasher.update(json.dumps([part.name, value]).encode())
