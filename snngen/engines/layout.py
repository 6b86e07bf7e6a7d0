"""Layout: a network as flat arrays, the ground on which every kernel stands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.integers import IntArray
from snngen.kernels import evaluate, rows
from snngen.network import Network, Population
from snngen.neurons.source import Source

ALIGNMENT = rows.BLOCK  # bytes; what follows the last row is at least as long, so that rows are read in whole blocks


class Layout:
    """Gives every population, operand, weight matrix, memory and constant its place.

    first: population -> where its codes begin. drive: (population, operand) -> where its drive begins.
    weights_at, memory_at: projection number -> where its int8 weights begin.
    population_constants, projection_constants: where their constants begin.
    neurons, drives: lengths. Populations that a token of a block shares with the next one come first, up to
    shared_neurons and shared_drives: attention's scores, and what only the output depends on.
    weights, constants: filled; the weights are those of the network itself where all lie in one buffer. Nobody writes.
    memory: zero. feeding: populations that some memory, or the next token, depends on; the others matter for the output
    only.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.first: dict[str, int] = {}
        self.drive: dict[tuple[str, str], int] = {}
        self.weights_at: dict[int, int] = {}
        self.memory_at: dict[int, int] = {}
        self._constants: list[IntArray] = [np.zeros(1, dtype=np.int64)]
        self._begins: dict[bytes, int] = {}
        self._placed = 1
        self.neurons = self.drives = self.shared_neurons = self.shared_drives = 0
        self.feeding = self._feeding()
        for shared in (True, False):
            for population in network.populations:
                if self.shares(population.name) is shared:
                    self._seat(population)
            if shared:
                self.shared_neurons, self.shared_drives = self.neurons, self.drives
        memory = 0
        for index, projection in enumerate(network.projections):
            if projection.synapse.memory_bytes:
                self.memory_at[index] = memory
                memory += projection.synapse.memory_room
        self.weights = self._weights()
        self.memory = np.zeros(memory + ALIGNMENT, dtype=np.int8)
        self.population_constants = [self._place(p.neuron.constants()) for p in network.populations]
        self.projection_constants = [self._place(p.synapse.constants()) for p in network.projections]
        self.constants = np.concatenate(self._constants)
        del self._constants, self._begins  # the constants would be held twice

    def shares(self, name: str) -> bool:
        """Whether the tokens of a block use one place for a population in turns."""
        return self.network[name].neuron.opcode == evaluate.SOFTMAX or name not in self.feeding

    def scratch(self, tokens: int) -> int:
        """int32 entries of scratch that deliveries of so many tokens at once need."""
        sizes = [(p.synapse.source_size, p.synapse.target_size) for p in self.network.projections]
        return max((rows.scratch_size(sources, targets, tokens) for sources, targets in sizes), default=0)

    def _seat(self, population: Population) -> None:
        self.first[population.name] = self.neurons
        self.neurons += population.size
        for operand in population.neuron.operands:
            self.drive[population.name, operand] = self.drives
            self.drives += population.size

    def _weights(self) -> IntArray:
        """All constant weights as one array: the buffer that they lie in, where there is one, or a copy."""
        matrices = {
            index: projection.synapse.weights
            for index, projection in enumerate(self.network.projections)
            if projection.synapse.weights is not None
        }
        weights = _buffer_of(list(matrices.values()))
        if weights is None:
            length = sum(matrix.size + -matrix.size % ALIGNMENT for matrix in matrices.values())
            weights = np.zeros(length + ALIGNMENT, dtype=np.int8)
            at = 0
            for index, matrix in matrices.items():
                weights[at : at + matrix.size] = matrix.reshape(-1)
                self.weights_at[index] = at
                at += matrix.size + -matrix.size % ALIGNMENT
        else:
            for index, matrix in matrices.items():
                self.weights_at[index] = _address(matrix) - _address(weights)
        return weights

    def _place(self, values: list[int | IntArray]) -> int:
        """Where the constants of a model begin; those that two models have in common stand once."""
        parts = [np.atleast_1d(np.asarray(value, dtype=np.int64)).reshape(-1) for value in values]
        block = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        begin = self._begins.setdefault(hashlib.sha256(block.tobytes()).digest(), self._placed)
        if begin == self._placed:
            self._constants.append(block)
            self._placed += block.size
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


def _address(array: IntArray) -> int:
    return int(array.__array_interface__["data"][0])


def _buffer_of(matrices: list[IntArray]) -> IntArray | None:
    """The one array of int8 that all matrices are views of, with a block of padding, or None.

    One that cannot be written would do, but be another type to Numba, and compile everything anew.
    """
    owners = []
    for matrix in matrices:
        owner = matrix
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        owners.append(owner)
    if not owners or any(owner is not owners[0] for owner in owners):
        return None
    buffer = owners[0]
    if buffer.dtype != np.int8 or buffer.ndim != 1 or not buffer.flags.c_contiguous or not buffer.flags.writeable:
        return None
    room = min(_address(buffer) + buffer.nbytes - _address(matrix) - matrix.nbytes for matrix in matrices)
    aligned = all((_address(matrix) - _address(buffer)) % ALIGNMENT == 0 for matrix in matrices)
    return buffer if aligned and room >= ALIGNMENT else None


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
