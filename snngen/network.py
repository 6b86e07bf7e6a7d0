"""Network: populations and projections, frozen, and checked as a whole when it is built."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, FloatArray
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
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
    delayed: True where what is delivered drives the target at the next token; nothing does at the first. This is
        how a network is recurrent: source and target may stand in any order, or be the same.
    """

    source: str
    target: str
    synapse: Synapse
    operand: str = "drive"
    writer: str | None = None
    delayed: bool = False

    @property
    def name(self) -> str:
        """``source -> target`` (``~>`` where delayed) and the operand where it is not the only one."""
        operand = "" if self.operand == "drive" else f":{self.operand}"
        return f"{self.source} {'~>' if self.delayed else '->'} {self.target}{operand}"


@dataclass(frozen=True, eq=False)
class Network:
    """A spiking network in the order in which its populations settle.

    populations, projections: see there; every population but a Source is driven in each of its operands.
    output: the population that is read, by default the last.
    tokenizer: a `tokenizers` JSON text, or None where the network has no text.
    begin: the token that opens every text, or None. end: the tokens that close one.
    provenance: where the network came from; text and numbers only.
    picture: (channels, height, width) where the output is a picture, channel by channel and row by row; else None.
    picture_range: what its darkest and brightest values are, in the output's scale.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str = ""
    tokenizer: str | None = None
    begin: int | None = None
    end: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    picture: tuple[int, int, int] | None = None
    picture_range: tuple[float, float] = (0.0, 1.0)

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
        self._check_picture()

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
                if not projection.delayed
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
            delayed = ["delayed"] if projection.delayed else []
            hasher.update(json.dumps([*ends, projection.synapse.kind, *delayed]).encode())
            _digest_fields(hasher, projection.synapse)
        hasher.update(json.dumps([self.output, self.tokenizer, self.begin, list(self.end)]).encode())
        if self.picture is not None:
            hasher.update(json.dumps(["picture", list(self.picture), list(self.picture_range)]).encode())
        return hasher.hexdigest()

    def sent_when_changed(self, name: str) -> bool:
        """True where a code that keeps drive from token to token (`delta`) sends a population only when it changes.

        Not so where it meets weights that change themselves, where it is written as weights, or where it shares a
        drive with a population that is sent in full: a drive is kept as a whole or not at all.
        """
        return name not in self._sent_in_full

    @cached_property
    def _sent_in_full(self) -> set[str]:
        full = {projection.writer for projection in self.projections if projection.writer is not None}
        full |= {projection.source for projection in self.projections if not projection.synapse.persistent}
        drives: dict[tuple[str, str], set[str]] = {}
        for projection in self.projections:
            drives.setdefault((projection.target, projection.operand), set()).add(projection.source)
        while mixed := [sources for sources in drives.values() if sources & full and not sources <= full]:
            full = full.union(*mixed)
        return full

    def kept(self, projection: Projection) -> bool:
        """True where the drive of a projection stays from token to token under a code that sends changes."""
        return projection.synapse.persistent and self.sent_when_changed(projection.source)

    @cached_property
    def recurrent(self) -> bool:
        """True where some projection is delayed."""
        return any(projection.delayed for projection in self.projections)

    def bound(self, name: str) -> int:
        """Largest magnitude of any code of a population."""
        low, high = self[name].neuron.range
        bound = max(-low, high)
        return min(bound, self._potential_bounds.get(name, bound))

    def _check_picture(self) -> None:
        if self.picture is None:
            return
        size, (low, high) = self[self.output].size, self.picture_range
        if len(self.picture) != 3 or min(self.picture) < 1 or math.prod(self.picture) != size:
            raise NetworkError("Network.picture", str(self.picture), f"channels, height, width of {size} values")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise NetworkError("Network.picture_range", f"{low}..{high}", "finite, from dark to bright")

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
            if earlier is not None and not projection.delayed and self.order[earlier] >= self.order[projection.target]:
                raise NetworkError(where, f"{earlier!r} after its target", "sources before targets")
        if projection.delayed and not synapse.persistent:
            raise NetworkError(where, f"delayed {synapse.kind} synapses", "weights that stay as they are")
        if projection.writer is not None and synapse.memory_bytes:
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
                total += self._drive_bound(projection, written)
            if total > INT32_MAX:
                raise NetworkError(
                    f"{population.name}:{operand}",
                    f"a drive of up to {total}",
                    f"at most {INT32_MAX} (int32)",
                    "fewer bits, or a coarser grid",
                )
            bounds.append(total)
        if isinstance(population.neuron, Accumulator):
            self._potential_bounds[population.name] = bounds[0]
        population.neuron.check_operands(tuple(bounds))

    def _drive_bound(self, projection: Projection, written: int) -> int:
        source = self[projection.source]
        if isinstance(source.neuron, Source) and source.neuron.one_hot:
            return projection.synapse.bound_of_one(self.bound(source.name))
        return projection.synapse.bound(self.bound(source.name), written)

    @cached_property
    def _potential_bounds(self) -> dict[str, int]:
        """Largest magnitude that each accumulator can reach, from its weights and the ranges of its sources."""
        return {}


def largest_bias(population: Population) -> int:
    """Largest magnitude of the biases of a population, 0 where it has none."""
    return int(np.abs(np.asarray(getattr(population.neuron, "bias", 0), dtype=np.int64)).max())


def _digest_fields(hasher: Any, model: Neuron | Synapse) -> None:
    for part in fields(model):  # type: ignore[arg-type]
        value = getattr(model, part.name)
        if part.metadata.get("later") and value == part.default:
            continue  # a field that came later leaves the digests of older networks as they are
        if isinstance(value, np.ndarray):
            hasher.update(json.dumps([part.name, value.dtype.str, list(value.shape)]).encode())
            hasher.update(np.ascontiguousarray(value).data)
        else:
            hasher.update(json.dumps([part.name, value]).encode())
