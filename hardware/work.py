"""Work: what a token asks of a chip, as a run counted it or as a network that does not spike would.

The one is compared with the other on one chip, so both are counted per population and projection in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from snngen.hardware.quantity import PriceError
from snngen.integers import FloatArray
from snngen.ledger import PREFILL, Ledger
from snngen.network import Network
from snngen.synapses import Synapse
from snngen.synapses.position import Position
from snngen.synapses.rotary import Rotary


@dataclass(frozen=True, eq=False)
class Work:
    """Means per token of one phase.

    network: whose populations and projections are counted. source: who counted.
    updates, events: (populations,): neurons brought up to date, and events that left them.
    operations, bytes_read: (projections,): synaptic operations, and bytes of weights when each is read once.
    ticks: one token after the other. follow: ticks per token when tokens follow each other as closely as they can.
    staged: True where no two stages run in one tick.
    raises: PriceError for counts that are no counts of this network.
    """

    network: Network
    source: str
    updates: FloatArray
    events: FloatArray
    operations: FloatArray
    bytes_read: FloatArray
    ticks: float
    follow: float
    staged: bool = True

    def __post_init__(self) -> None:
        sizes = {"updates": "populations", "events": "populations"}
        for field in fields(self)[2:6]:
            kind = sizes.get(field.name, "projections")
            counts, expected = getattr(self, field.name), (len(getattr(self.network, kind)),)
            if counts.shape != expected or not np.isfinite(counts).all() or counts.min(initial=0) < 0:
                raise PriceError(f"Work.{field.name}", f"shape {counts.shape}", f"{expected} ({kind}), finite, >= 0")
        if not 0 <= self.follow <= self.ticks:
            raise PriceError("Work.follow", f"{self.follow} of {self.ticks} ticks", "0 <= follow <= ticks")

    @property
    def ways(self) -> tuple[tuple[int, bool, int], ...]:
        """What events travel by: number of the projection, True where they write its weights, number of the sender."""
        order = self.network.order
        return tuple(
            (index, written, order[sender])
            for index, projection in enumerate(self.network.projections)
            for written, sender in ((False, projection.source), (True, projection.writer))
            if sender is not None
        )


def spiking(ledger: Ledger, code: str, phase: str) -> Work:
    """What a run did per token of a phase that had tokens, under a code."""
    tokens = ledger.tokens(phase)
    ticks = float(ledger.ticks(code, phase).sum()) / tokens
    return Work(
        ledger.network,
        "ledger of the run",
        ledger.neuron_updates(phase).sum(axis=0) / tokens,
        ledger.events(code, phase).sum(axis=0) / tokens,
        ledger.synaptic_operations(code, phase).sum(axis=0) / tokens,
        ledger.bytes_read(phase).sum(axis=0) / tokens,
        ticks,
        _follow(ticks, phase),
        staged=ledger.code is None,
    )


def each_token(ledger: Ledger, code: str) -> Iterator[Work]:
    """What a run did at each of its tokens, in the order in which they were run; `spiking` has the means of these."""
    counts = (
        ledger.neuron_updates().astype(np.float64),
        ledger.events(code).astype(np.float64),
        ledger.synaptic_operations(code).astype(np.float64),
        ledger.bytes_read().astype(np.float64),
    )
    for row, ticks in enumerate(ledger.ticks(code).tolist()):
        follow = _follow(float(ticks), ledger.phases[row])
        updates, events, operations, read = (column[row] for column in counts)
        yield Work(
            ledger.network, "ledger of the run", updates, events, operations, read, float(ticks), follow,
            staged=ledger.code is None,
        )  # fmt: skip


def _follow(ticks: float, phase: str) -> float:
    """Ticks per token when tokens follow each other closely: those of a prompt are known, so stages can overlap."""
    return min(1.0, ticks) if phase == PREFILL else ticks


def _read_by_all(synapse: Synapse) -> int:
    """Bytes of weights that a token reads where every source neuron sends: of a table by position, its own entries."""
    if isinstance(synapse, Rotary):
        return 2 * synapse.count  # of 16 bits
    return synapse.count if isinstance(synapse, Position) else synapse.weight_bytes


def dense(ledger: Ledger, phase: str) -> Work:
    """What the equal network without spikes does per token: the same weights and codes, every synapse once.

    A token picks one row of the embedding, and attention reads only what has been written: of each projection the
    share counts that the run brought up to date at both of its ends. Every neuron sends its code once, in one tick.
    """
    network, tokens = ledger.network, ledger.tokens(phase)
    updates = ledger.neuron_updates(phase)
    sizes = np.array([population.size for population in network.populations])
    shares = np.minimum(updates / sizes, 1.0)
    counts = np.array([projection.synapse.count for projection in network.projections], dtype=np.float64)
    stored = np.array([_read_by_all(projection.synapse) for projection in network.projections], dtype=np.float64)
    order = network.order
    ends = [(order[projection.source], order[projection.target]) for projection in network.projections]
    used = [np.minimum(shares[:, first], shares[:, second]).sum() / tokens for first, second in ends]
    stages = float(max(network.stages) + 1)
    mean = updates.sum(axis=0) / tokens
    return Work(
        network,
        "dense network of the same populations and synapses",
        mean,
        mean,
        counts * np.array(used),
        stored * np.array(used),
        stages,
        1.0 if phase == PREFILL else stages,
    )
