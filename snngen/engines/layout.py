"""Layout: a network as flat arrays, the ground on which every kernel stands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.integers import IntArray
from snngen.network import Network
from snngen.neurons.source import Source

ALIGNMENT = 8  # bytes, so that a part of the weights can be read as wider integers


class Layout:
    """Gives every population, operand, weight matrix, memory and constant its place.

    first: population -> where its codes begin. drive: (population, operand) -> where its drive begins.
    weights_at, memory_at: projection number -> where its int8 weights begin.
    population_constants, projection_constants: where their constants begin.
    neurons, drives, scratch: lengths. weights, constants: filled. memory: zero.
    feeding: populations that some memory, or the next token, depends on; the others matter for the output only.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.first: dict[str, int] = {}
        self.drive: dict[tuple[str, str], int] = {}
        self.weights_at: dict[int, int] = {}
        self.memory_at: dict[int, int] = {}
        self._constants: list[IntArray] = [np.zeros(1, dtype=np.int64)]
        self._placed = 1
        self.neurons = self.drives = 0
        self.scratch = 4  # the padding of a packed row
        for population in network.populations:
            self.first[population.name] = self.neurons
            self.neurons += population.size
            for operand in population.neuron.operands:
                self.drive[population.name, operand] = self.drives
                self.drives += population.size
        weights = memory = 0
        matrices = []
        for index, projection in enumerate(network.projections):
            synapse = projection.synapse
            if synapse.weights is not None:
                flat = synapse.weights.reshape(-1)
                gap = -flat.size % ALIGNMENT
                self.weights_at[index] = weights
                matrices.append(np.concatenate([flat, np.zeros(gap, dtype=np.int8)]) if gap else flat)
                weights += flat.size + gap
            if synapse.memory_bytes:
                self.memory_at[index] = memory
                memory += synapse.memory_bytes
            self.scratch = max(self.scratch, synapse.target_size)
        self.weights = np.concatenate([*matrices, np.zeros(1, dtype=np.int8)])
        self.memory = np.zeros(memory + 1, dtype=np.int8)
        self.population_constants = [self._place(p.neuron.constants()) for p in network.populations]
        self.projection_constants = [self._place(p.synapse.constants()) for p in network.projections]
        self.constants = np.concatenate(self._constants)
        self.feeding = self._feeding()

    def _place(self, values: list[int | IntArray]) -> int:
        begin = self._placed
        for value in values:
            flat = np.atleast_1d(np.asarray(value, dtype=np.int64)).reshape(-1)
            self._constants.append(flat)
            self._placed += flat.size
        return begin

    def _feeding(self) -> set[str]:
        network = self.network
        feeding = {p.writer for p in network.projections if p.writer is not None and p.synapse.memory_bytes}
        for projection in network.projections:
            if projection.delayed:
                feeding |= {projection.source, projection.target}
        for population in reversed(network.populations):
            if population.name in feeding:
                feeding |= {p.source for p in network.into(population.name)}
                feeding |= {p.writer for p in network.into(population.name) if p.writer is not None}
        return feeding


def check_token(network: Network, token: int, position: int) -> None:
    """Refuse a token outside the vocabulary, and any token beyond the context."""
    check_room(network, position)
    if len(network.sources) != 1 or not 0 <= token < network.vocabulary:
        raise PromptError("token", str(token), f"0..{network.vocabulary - 1} of the only source")


def check_room(network: Network, position: int) -> None:
    """Refuse to run beyond the context."""
    if network.context is not None and position >= network.context:
        raise CapacityError(
            "context", f"token {position + 1}", f"at most {network.context} tokens", "reset(), or slide"
        )


def check_codes(network: Network, codes: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """The codes of every source, checked: all present, of the right size, integers in range."""
    checked = {}
    for source in network.sources:
        if source.name not in codes:
            raise PromptError("codes", f"sources {sorted(codes)}", f"codes for {source.name!r} too")
        given = np.asarray(codes[source.name])
        low, high = source.neuron.range
        if given.shape != (source.size,) or given.dtype.kind not in "iu":
            raise PromptError(source.name, f"shape {given.shape} of {given.dtype}", f"({source.size},) integers")
        if not low <= given.min() <= given.max() <= high:
            raise PromptError(source.name, f"codes {given.min()}..{given.max()}", f"{low}..{high}")
        if isinstance(source.neuron, Source) and source.neuron.one_hot and np.count_nonzero(given) > 1:
            raise PromptError(source.name, f"{np.count_nonzero(given)} tokens at once", "at most one")
        checked[source.name] = given
    return checked
