"""The settled engine: populations in order, each waits until its inputs are quiet. Fewest events, the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from snngen.engines.crew import Crew
from snngen.engines.layout import Layout, check_codes, check_room, check_token
from snngen.errors import UnsupportedError
from snngen.integers import IntArray, lines
from snngen.kernels import deliver, rows
from snngen.kernels import settled as kernel
from snngen.network import Network, Population, Projection

NO_TOKENS = np.zeros(0, dtype=np.int64)
BY_CODES = (deliver.ONE_TO_ONE, deliver.ROTARY)  # synapses that take all codes at once
BLOCK_TOKENS = 16  # of a prompt that run together, at most
BLOCK_BYTES = 2**25  # that their codes and drives may take
BLOCK_LEAST = 3  # tokens that run together even where they take more
SHARED_BYTES = 2**17  # of weights from which on threads share a delivery


class SettledEngine:
    """Runs a network token by token, or a prompt block by block, with the settled kernel.

    The network is laid out once as flat arrays (see `snngen/kernels/settled.py`); a token is one compiled call.

    network: what to run. Its weights are used where they lie, if they lie in one buffer, and copied otherwise.
    threads: how many share deliveries through large weight matrices, 1 or more; the codes do not depend on it. Each
        should have a core of its own: they wait for each other without sleeping.
    raises: UnsupportedError for neurons whose output depends on the order of arrival, and for no threads.
    """

    def __init__(self, network: Network, threads: int = 1) -> None:
        ordered = [population.name for population in network.populations if population.neuron.ordered]
        if ordered:
            raise UnsupportedError("SettledEngine", f"populations {ordered} that need ticks", "codes that settle")
        if threads < 1:
            raise UnsupportedError("SettledEngine.threads", str(threads), "1 or more")
        self.network, self.threads = network, threads
        self._layout = layout = Layout(network)
        self._slot = layout.neurons - layout.shared_neurons, layout.drives - layout.shared_drives
        self._settlings = np.zeros(len(network.populations), dtype=np.int64)
        self._deliveries = np.zeros(len(network.projections), dtype=np.int64)
        program: list[list[int]] = []
        for population in network.populations:
            for index, projection in enumerate(network.projections):
                if projection.target == population.name and not projection.delayed:
                    self._deliveries[index] = len(program)
                    program.append(self._delivery(index, projection, len(program)))
            self._settlings[network.order[population.name]] = len(program)
            program.append(self._settling(population, len(program)))
        for index, projection in enumerate(network.projections):  # what these deliver counts for the next token
            if projection.delayed:
                self._deliveries[index] = len(program)
                program.append(self._delivery(index, projection, len(program)))
        if threads > 1 and len(program) >= 2**16:
            raise UnsupportedError(
                "SettledEngine.threads", f"{len(program)} operations", "fewer than 65536", "threads=1"
            )
        self._program = np.array(program, dtype=np.int64)
        self._whole, self._prefill = np.arange(len(program)), np.flatnonzero(self._feeds_memory())
        self._unread = [  # drives that a memory gets where its target is left out
            slice(layout.drive[p.target, p.operand], layout.drive[p.target, p.operand] + p.synapse.target_size)
            for p in network.projections
            if p.synapse.memory_bytes and p.source in layout.feeding and p.target not in layout.feeding
        ]
        self.block = self._tokens_of_a_block()
        self.tables = self._tables()
        self._used = layout.neurons, layout.drives  # of what the tables hold: the rest was never written
        self._crew = Crew(threads, self.tables) if threads > 1 and self._program[:, kernel.SHARED].any() else None
        self.position = self.ticks = self.runs = 0
        self._took_codes = False

    def _tables(self) -> kernel.Tables:
        layout, (neurons, drives), spare = self._layout, self._slot, self.block - 1
        signals = np.zeros(kernel.SIGNALS, dtype=np.int64)
        signals[kernel.OFFER] = kernel.PARTS * self.threads  # all parts of nothing are taken: nothing is on offer
        return kernel.Tables(
            self._program,
            layout.weights,
            layout.constants,
            layout.memory,
            np.zeros(layout.drives + spare * drives, dtype=np.int32),
            np.zeros((5, layout.neurons + spare * neurons), dtype=np.int32),
            lines(self.threads, layout.scratch(self.block)),
            np.zeros((self.block, len(self._program), kernel.COUNTERS), dtype=np.int64),
            signals,
        )

    def _tokens_of_a_block(self) -> int:
        """How many tokens of a prompt can run together: 1 where one depends on more than the memories of the last."""
        network = self.network
        if any(projection.delayed for projection in network.projections) or len(network.sources) != 1:
            return 1
        if not self._layout.feeding or network.vocabulary == 0:
            return 1
        touched: dict[int, set[int]] = {}  # what is shared, by the row that settles it -> the stretches that touch it
        stretch = 0
        shared = {
            int(self._settlings[network.order[p.name]]) for p in network.populations if self._layout.shares(p.name)
        }
        settled_by = {
            int(self._deliveries[index]): int(self._settlings[network.order[projection.target]])
            for index, projection in enumerate(network.projections)
        }
        for row in self._program[self._prefill]:
            number = int(row[kernel.ROW])
            batched = row[kernel.OPCODE] in kernel.BATCHED
            stretch += batched
            ends = {
                number,
                int(row[kernel.FROM_ROW]),
                int(row[kernel.WRITER_ROW]),
                settled_by.get(number, number),
            } & shared
            for end in ends:
                touched.setdefault(end, set()).update({stretch, -stretch} if batched else {stretch})
            stretch += batched
        if any(len(stretches) > 1 for stretches in touched.values()):
            return 1
        room = BLOCK_BYTES // (4 * (5 * self._slot[0] + self._slot[1]) or 1)
        return min(BLOCK_TOKENS, max(BLOCK_LEAST, room))

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
        self._call(self._whole[:0], NO_TOKENS)
        if self.threads > 1:
            kernel.assist(1, self.threads, self.tables)

    def reset(self) -> None:
        """Forget all tokens: the next one is the first."""
        self.tables.neurons[:, : self._used[0]] = 0
        self.tables.drives[: self._used[1]] = 0
        self._used = self._layout.neurons, self._layout.drives
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
        order = self._whole if read or not len(self._prefill) else self._prefill
        self._call(order, np.array([-1 if token is None or self._took_codes else token]))
        self._took_codes = token is None
        self.position += 1

    def prefill(self, tokens: Sequence[int]) -> Iterator[tuple[IntArray, IntArray]]:
        """Run tokens of a prompt, block by block, where the output is not wanted; the same as `step(read=False)` each.

        A weight is read once for all tokens of a block. The last token of a prompt goes through `step`.

        tokens: their numbers, for a network whose only source is a vocabulary.
        returns: for each token what it took, as `counted` has it; a block runs when its first token is asked for.
        raises: PromptError, CapacityError as `step`, for the first token that cannot run.
        """
        given = [int(token) for token in tokens]
        if self.block == 1 or self._took_codes:
            for token in given:
                self.step(token, read=False)
                yield self.counted()
            return
        for start in range(0, len(given), self.block):
            block = given[start : start + self.block]
            for at, token in enumerate(block):
                check_token(self.network, token, self.position + at)
            if len(block) > 1:
                self._used = self.tables.neurons.shape[1], self.tables.drives.size
            self._call(self._prefill, np.array(block))
            self.position += len(block)
            for counts in self.tables.counts[: len(block)]:
                yield counts[self._settlings], counts[self._deliveries]

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """(size,) int32 view of the codes (or potentials) of a population after the last step."""
        start = self._layout.first[name]
        codes = self.tables.neurons[kernel.CODE, start : start + self.network[name].size]
        return codes.view(np.int32)

    @property
    def output(self) -> npt.NDArray[np.int32]:
        """The codes of the network's output population."""
        return self.codes(self.network.output)

    def counted(self) -> tuple[IntArray, IntArray]:
        """Counts of the last step: (populations, 6) and (projections, 6) int64, see `snngen/ledger.py`."""
        counts = self.tables.counts[0]
        return counts[self._settlings], counts[self._deliveries]

    def _call(self, order: IntArray, tokens: IntArray) -> None:
        threads = 1
        if self._crew is not None and len(tokens):
            threads = self.threads
            self._crew.wake()
        kernel.run(tokens, self.position, order, threads, self.tables)
        if order is self._prefill:
            for unread in self._unread:
                self.tables.drives[unread] = 0

    def _slots(self, name: str) -> tuple[int, int]:
        """How far the codes, and the drives, of a population lie apart for two tokens of a block."""
        return (0, 0) if self._layout.shares(name) else self._slot

    def _settling(self, population: Population, number: int) -> list[int]:
        name, layout = population.name, self._layout
        row = [0] * kernel.COLUMNS
        row[kernel.OPCODE], row[kernel.ROW] = population.neuron.opcode, number
        row[kernel.INTO], row[kernel.SIZE] = layout.first[name], population.size
        operands = population.neuron.operands  # their drives lie side by side
        row[kernel.FROM] = layout.drive[name, operands[0]] if operands else 0
        row[kernel.OPERANDS], row[kernel.WIDE] = len(operands), population.neuron.wide
        row[kernel.CONSTANTS] = layout.population_constants[self.network.order[name]]
        listening = [projection for projection in self.network.projections if projection.source == name]
        small = not population.neuron.wide and max(map(abs, population.neuron.range)) <= rows.LARGEST
        by_codes = (*kernel.BATCHED, *BY_CODES) if small else BY_CODES
        heard = any(projection.synapse.opcode not in by_codes for projection in listening)
        row[kernel.HEARD] = heard or population in self.network.sources
        row[kernel.MARKED] = any(projection.synapse.fan_out is not None for projection in listening)
        row[kernel.INTO_SLOT], row[kernel.DRIVE_SLOT] = self._slots(name)
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
            row[kernel.WRITER_SLOT] = self._slots(projection.writer)[0]
        row[kernel.CONSTANTS] = layout.projection_constants[index]
        row[kernel.FROM_SLOT] = self._slots(projection.source)[0]
        row[kernel.DRIVE_SLOT] = self._slots(projection.target)[1]
        weights = projection.synapse.weights
        large = weights is not None and weights.nbytes >= SHARED_BYTES
        row[kernel.SHARED] = large and row[kernel.OPCODE] in kernel.BATCHED
        return row

    def _feeds_memory(self) -> npt.NDArray[np.bool_]:
        """Rows of the program that some memory depends on."""
        network, feeding = self.network, self._layout.feeding
        keep = np.zeros(len(self._program), dtype=bool)
        for population in network.populations:
            keep[self._settlings[network.order[population.name]]] = population.name in feeding
        for index, projection in enumerate(network.projections):
            keep[self._deliveries[index]] = projection.target in feeding or projection.synapse.memory_bytes > 0
        return keep
