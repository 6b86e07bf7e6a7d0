"""The settled engine: populations in order, each waits until its inputs are quiet. Fewest events, the default."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snngen.engines.layout import Layout, check_codes, check_room, check_token
from snngen.errors import UnsupportedError
from snngen.integers import IntArray
from snngen.kernels import settled as kernel
from snngen.network import Network, Population, Projection


class SettledEngine:
    """Runs a network token by token with the settled kernel.

    The network is laid out once as flat arrays (see `snngen/kernels/settled.py`); a token is one compiled call.

    network: what to run. The engine holds its own copy of the weights.
    raises: UnsupportedError for neurons whose output depends on the order of arrival.
    """

    def __init__(self, network: Network) -> None:
        ordered = [population.name for population in network.populations if population.neuron.ordered]
        if ordered:
            raise UnsupportedError("SettledEngine", f"populations {ordered} that need ticks", "codes that settle")
        self.network = network
        self._layout = layout = Layout(network)
        self.weights, self.memory, self.constants = layout.weights, layout.memory, layout.constants
        self.drives = np.zeros(layout.drives, dtype=np.int32)
        self.neurons = np.zeros((5, layout.neurons), dtype=np.int32)
        self.scratch = np.zeros(2 * layout.scratch, dtype=np.int32)
        self._settlings = np.zeros(len(network.populations), dtype=np.int64)
        self._deliveries = np.zeros(len(network.projections), dtype=np.int64)
        rows: list[list[int]] = []
        for population in network.populations:
            for index, projection in enumerate(network.projections):
                if projection.target == population.name and not projection.delayed:
                    self._deliveries[index] = len(rows)
                    rows.append(self._delivery(index, projection, len(rows)))
            self._settlings[network.order[population.name]] = len(rows)
            rows.append(self._settling(population, len(rows)))
        for index, projection in enumerate(network.projections):  # what these deliver counts for the next token
            if projection.delayed:
                self._deliveries[index] = len(rows)
                rows.append(self._delivery(index, projection, len(rows)))
        self.program = np.array(rows, dtype=np.int64)
        self._prefill = self.program[self._feeds_memory()]
        self.counts = np.zeros((len(rows), kernel.COUNTERS), dtype=np.int64)
        self.position = self.ticks = self.runs = 0
        self._took_codes = False

    @property
    def spikes(self) -> None:
        """No spikes are sent: settled codes are counted under every code."""
        return None

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    def warm(self) -> None:
        """Compile the kernel, or load it from Numba's cache, without running anything."""
        self._call(self.program[:0], -1)

    def reset(self) -> None:
        """Forget all tokens: the next one is the first."""
        self.neurons[:] = 0
        self.drives[:] = 0
        self.position = 0
        self._took_codes = False
        self.runs += 1

    def step(self, token: int | None = None, codes: Mapping[str, IntArray] | None = None, read: bool = True) -> None:
        """Run one token.

        token: its number, for a network whose only source is a vocabulary; or
        codes: (size,) integers by the name of each source.
        read: False where the output is not wanted (all but the last token of a prompt): populations that feed
            no memory are then left out.
        raises: PromptError for a token or code outside the source's range, CapacityError when the context is full.
        """
        if token is not None:
            check_token(self.network, token, self.position)
            if self._took_codes:  # the kernel takes back one event only: this token is presented as codes, too
                self.codes(self.network.sources[0].name)[:] = 0
                self.codes(self.network.sources[0].name)[token] = 1
        else:
            check_room(self.network, self.position)
            for name, values in check_codes(self.network, codes or {}).items():
                self.codes(name)[:] = values
        program = self.program if read or not len(self._prefill) else self._prefill
        self._call(program, -1 if token is None or self._took_codes else token)
        self._took_codes = token is None
        self.position += 1

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """(size,) int32 view of the codes (or potentials) of a population after the last step."""
        start = self._layout.first[name]
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

    def _settling(self, population: Population, number: int) -> list[int]:
        name, layout = population.name, self._layout
        row = [0] * kernel.COLUMNS
        row[kernel.OPCODE], row[kernel.ROW] = population.neuron.opcode, number
        row[kernel.INTO], row[kernel.SIZE] = layout.first[name], population.size
        operands = population.neuron.operands  # their drives lie side by side
        row[kernel.FROM] = layout.drive[name, operands[0]] if operands else 0
        row[kernel.OPERANDS], row[kernel.WIDE] = len(operands), population.neuron.wide
        row[kernel.CONSTANTS] = layout.population_constants[self.network.order[name]]
        return row

    def _delivery(self, index: int, projection: Projection, number: int) -> list[int]:
        network, order, layout = self.network, self.network.order, self._layout
        row = [0] * kernel.COLUMNS
        row[kernel.OPCODE], row[kernel.ROW] = projection.synapse.opcode, number
        row[kernel.FROM] = layout.first[projection.source]
        row[kernel.FROM_ROW] = self._settlings[order[projection.source]]
        row[kernel.FROM_SIZE], row[kernel.WIDE] = projection.synapse.source_size, network[projection.source].neuron.wide
        row[kernel.KEPT] = network.kept(projection)
        row[kernel.INTO] = layout.drive[projection.target, projection.operand]
        row[kernel.SIZE] = projection.synapse.target_size
        row[kernel.WEIGHTS] = layout.memory_at.get(index, layout.weights_at.get(index, 0))
        row[kernel.WRITER_ROW] = -1
        if projection.writer is not None:
            row[kernel.WRITER] = layout.first[projection.writer]
            row[kernel.WRITER_ROW] = self._settlings[order[projection.writer]]
        row[kernel.CONSTANTS] = layout.projection_constants[index]
        return row

    def _feeds_memory(self) -> npt.NDArray[np.bool_]:
        """Rows of the program that some memory depends on."""
        network, feeding = self.network, self._layout.feeding
        keep = np.zeros(len(self.program), dtype=bool)
        for population in network.populations:
            keep[self._settlings[network.order[population.name]]] = population.name in feeding
        for index, projection in enumerate(network.projections):
            keep[self._deliveries[index]] = projection.target in feeding or projection.synapse.memory_bytes > 0
        return keep
