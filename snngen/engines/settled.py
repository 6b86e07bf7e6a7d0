"""The settled engine: populations in order, each waits until its inputs are quiet. Fewest events, the default."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snngen.errors import CapacityError, PromptError
from snngen.integers import IntArray
from snngen.kernels import settled as kernel
from snngen.network import Network, Population, Projection


class SettledEngine:
    """Runs a network token by token with the settled kernel.

    The network is laid out once as flat arrays (see `snngen/kernels/settled.py`); a token is one compiled call.

    network: what to run. The engine holds its own copy of the weights.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._constants: list[IntArray] = []
        self._length = 0
        self._layout()
        rows = [row for population in network.populations for row in self._rows(population)]
        self.program = np.array(rows, dtype=np.int64)
        self.constants = np.concatenate([*self._constants, np.zeros(1, dtype=np.int64)])
        self._prefill = self.program[self._feeds_memory()]
        self.counts = np.zeros((len(rows), kernel.COUNTERS), dtype=np.int64)
        self.position = 0

    def warm(self) -> None:
        """Compile the kernel, or load it from Numba's cache, without running anything."""
        self._call(self.program[:0], -1)

    def reset(self) -> None:
        """Forget all tokens: the next one is the first."""
        self.neurons[:] = 0
        self.drives[:] = 0
        self.position = 0

    def step(self, token: int | None = None, codes: Mapping[str, IntArray] | None = None, read: bool = True) -> None:
        """Run one token.

        token: its number, for a network whose only source is a vocabulary; or
        codes: (size,) integers by the name of each source.
        read: False where the output is not wanted (all but the last token of a prompt): populations that feed
            no memory are then left out.
        raises: PromptError for a token or code outside the source's range, CapacityError when the context is full.
        """
        network = self.network
        if network.context is not None and self.position >= network.context:
            raise CapacityError(
                "context", f"token {self.position + 1}", f"at most {network.context} tokens", "reset(), or slide"
            )
        if token is not None:
            if len(network.sources) != 1 or not 0 <= token < network.vocabulary:
                raise PromptError("token", str(token), f"0..{network.vocabulary - 1} of the only source")
        else:
            self._present(codes or {})
        program = self.program if read or not len(self._prefill) else self._prefill
        self._call(program, -1 if token is None else token)
        self.position += 1

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """(size,) int32 view of the codes (or potentials) of a population after the last step."""
        start = self._codes[name]
        return self.neurons[kernel.CODE, start : start + self.network[name].size]

    @property
    def output(self) -> npt.NDArray[np.int32]:
        """The codes of the network's output population."""
        return self.codes(self.network.output)

    def counted(self) -> tuple[IntArray, IntArray]:
        """Counts of the last step: (populations, 6) and (projections, 6) int64, see `snngen/ledger.py`."""
        return self.counts[self._settlings], self.counts[self._deliveries]

    def _call(self, program: IntArray, token: int) -> None:
        kernel.run_token(
            program,
            self.weights,
            self.constants,
            token,
            self.position,
            self.memory,
            self.drives,
            self.neurons,
            self.scratch,
            self.counts,
        )

    def _layout(self) -> None:
        """Give every population, operand, memory and weight matrix its place in the flat arrays."""
        network = self.network
        self._codes: dict[str, int] = {}
        self._drives: dict[tuple[str, str], int] = {}
        self._matrices: dict[int, int] = {}
        self._memories: dict[int, int] = {}
        neurons = drives = weights = memory = scratch = 0
        for population in network.populations:
            self._codes[population.name] = neurons
            neurons += population.size
            for operand in population.neuron.operands:
                self._drives[population.name, operand] = drives
                drives += population.size
        matrices = []
        for index, projection in enumerate(network.projections):
            synapse = projection.synapse
            if synapse.weights is not None:
                self._matrices[index] = weights
                matrices.append(synapse.weights.reshape(-1))
                weights += synapse.weights.size
            if synapse.writer_size:
                self._memories[index] = memory
                memory += synapse.weight_bytes
            scratch = max(scratch, synapse.target_size)
        self.weights = np.concatenate([*matrices, np.zeros(1, dtype=np.int8)])
        self.memory = np.zeros(memory + 1, dtype=np.int8)
        self.drives = np.zeros(drives, dtype=np.int32)
        self.neurons = np.zeros((4, neurons), dtype=np.int32)
        self.scratch = np.zeros(scratch + 1, dtype=np.int32)
        self._settlings = np.zeros(len(network.populations), dtype=np.int64)
        self._deliveries = np.zeros(len(network.projections), dtype=np.int64)
        self._next_row = 0

    def _rows(self, population: Population) -> list[list[int]]:
        """The deliveries into a population, then its settling, as rows of the program."""
        network, name = self.network, population.name
        rows = []
        for index, projection in enumerate(network.projections):
            if projection.target == name:
                self._deliveries[index] = self._next_row
                rows.append(self._delivery(index, projection))
        self._settlings[network.order[name]] = self._next_row
        row = [0] * kernel.COLUMNS
        row[kernel.OPCODE] = population.neuron.opcode
        row[kernel.ROW] = self._next_row
        row[kernel.INTO], row[kernel.SIZE] = self._codes[name], population.size
        begins = [self._drives[name, operand] for operand in population.neuron.operands]
        row[kernel.FROM], row[kernel.SECOND] = [*begins, 0, 0][:2]
        row[kernel.CONSTANTS] = self._place(population.neuron.constants())
        self._next_row += 1
        return [*rows, row]

    def _delivery(self, index: int, projection: Projection) -> list[int]:
        network, synapse = self.network, projection.synapse
        row = [0] * kernel.COLUMNS
        row[kernel.OPCODE] = synapse.opcode
        row[kernel.ROW] = self._next_row
        row[kernel.FROM] = self._codes[projection.source]
        row[kernel.FROM_ROW] = self._settlings[network.order[projection.source]]
        row[kernel.INTO], row[kernel.SIZE] = (
            self._drives[projection.target, projection.operand],
            synapse.target_size,
        )
        row[kernel.WRITER_ROW] = -1
        row[kernel.WEIGHTS] = self._memories.get(index, self._matrices.get(index, 0))
        if projection.writer is not None:
            row[kernel.WRITER] = self._codes[projection.writer]
            row[kernel.WRITER_ROW] = self._settlings[network.order[projection.writer]]
        row[kernel.CONSTANTS] = self._place(synapse.constants())
        self._next_row += 1
        return row

    def _place(self, values: list[int | IntArray]) -> int:
        """Append constants; returns where they begin."""
        begin = self._length
        for value in values:
            flat = np.atleast_1d(np.asarray(value, dtype=np.int64)).reshape(-1)
            self._constants.append(flat)
            self._length += flat.size
        return begin

    def _feeds_memory(self) -> npt.NDArray[np.bool_]:
        """Rows of the program that some memory depends on."""
        network = self.network
        wanted = {p.writer for p in network.projections if p.writer is not None}
        writing = {id(p) for p in network.projections if p.writer is not None}
        for population in reversed(network.populations):
            if population.name in wanted:
                wanted |= {p.source for p in network.into(population.name)}
        keep = np.zeros(len(self.program), dtype=bool)
        for population in network.populations:
            keep[self._settlings[network.order[population.name]]] = population.name in wanted
        for index, projection in enumerate(network.projections):
            keep[self._deliveries[index]] = projection.target in wanted or id(projection) in writing
        return keep

    def _present(self, codes: Mapping[str, IntArray]) -> None:
        for source in self.network.sources:
            if source.name not in codes:
                raise PromptError("codes", f"sources {sorted(codes)}", f"codes for {source.name!r} too")
            given = np.asarray(codes[source.name])
            low, high = source.neuron.range
            if given.shape != (source.size,) or given.dtype.kind not in "iu":
                raise PromptError(source.name, f"shape {given.shape} of {given.dtype}", f"({source.size},) integers")
            if not low <= given.min() <= given.max() <= high:
                raise PromptError(source.name, f"codes {given.min()}..{given.max()}", f"{low}..{high}")
            self.codes(source.name)[:] = given
