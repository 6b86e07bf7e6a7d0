"""Ledger: what a run did, per token, population and projection, under every spike code.

Counted by the kernels while they run; nothing here is derived from layer sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.integers import FloatArray, IntArray
from snngen.kernels import settled
from snngen.network import Network

PREFILL, GENERATE = "prefill", "generate"
PHASES = (PREFILL, GENERATE)

# Where each code's events and synaptic operations stand in the counts. A time-to-first-spike code sends one event
# per non-zero code, as a graded one does; they differ in ticks and payload.
COLUMN = {
    "graded": settled.GRADED,
    "unary": settled.UNARY,
    "bitwise": settled.BITWISE,
    "ttfs": settled.GRADED,
    "delta": settled.CHANGED,
}
CODES = tuple(COLUMN)


@dataclass(eq=False)
class Ledger:
    """The counts of a run.

    network: what was run. counts are appended by `record`, one entry per token.
    """

    network: Network
    phases: list[str] = field(default_factory=list)
    _populations: list[IntArray] = field(default_factory=list, repr=False)
    _projections: list[IntArray] = field(default_factory=list, repr=False)

    def record(self, phase: str, populations: IntArray, projections: IntArray) -> None:
        """Append one token: (populations, 6) and (projections, 6) int64 counts as the kernels leave them."""
        self.phases.append(phase)
        self._populations.append(populations)
        self._projections.append(projections)

    def __len__(self) -> int:
        return len(self.phases)

    def tokens(self, phase: str | None = None) -> int:
        """Number of tokens run, of one phase or of both."""
        return len(self.phases) if phase is None else self.phases.count(phase)

    def populations(self, column: int, phase: str | None = None) -> IntArray:
        """(tokens, populations) int64: one column of the populations' counts."""
        return self._select(self._populations, len(self.network.populations), phase)[:, :, column]

    def projections(self, column: int, phase: str | None = None) -> IntArray:
        """(tokens, projections) int64: one column of the projections' counts."""
        return self._select(self._projections, len(self.network.projections), phase)[:, :, column]

    def events(self, code: str = "graded", phase: str | None = None) -> IntArray:
        """(tokens, populations): events sent under a code."""
        events = self.populations(COLUMN[code], phase)
        if code == "delta":  # a code that only meets weights which change must be sent in full
            full = self.populations(settled.GRADED, phase)
            events = np.where(self._persistent, events, full)
        return events

    def synaptic_operations(self, code: str = "graded", phase: str | None = None) -> IntArray:
        """(tokens, projections): synapses that an event passed, under a code."""
        return self.projections(COLUMN[code], phase)

    def neuron_updates(self, phase: str | None = None) -> IntArray:
        """(tokens, populations): neurons that were brought up to date."""
        return self.populations(settled.UPDATES, phase)

    def bytes_read(self, phase: str | None = None) -> IntArray:
        """(tokens, projections): bytes of weights read when each row is read once per code."""
        return self.projections(settled.BYTES, phase)

    def weights_written(self, phase: str | None = None) -> IntArray:
        """(tokens, projections): events that wrote a weight (keys and values)."""
        return self.projections(settled.WRITES, phase)

    def ticks(self, code: str = "graded", phase: str | None = None) -> IntArray:
        """(tokens,): ticks that each token takes when the stages run one after the other.

        A stage is as slow as its largest code: graded and delta 1 tick, bitwise one per bit of that code,
        unary one per unit of it, ttfs one per level of the code's range. A potential is sent graded.
        """
        peaks = self.populations(settled.PEAK, phase)
        wide = np.array([population.neuron.wide for population in self.network.populations])
        if code == "unary":
            slow = peaks
        elif code == "bitwise":
            slow = np.ceil(np.log2(peaks + 1)).astype(np.int64)
        elif code == "ttfs":
            levels = np.array([2 ** min(p.neuron.bits, 31) for p in self.network.populations], dtype=np.int64)
            slow = np.where(peaks > 0, levels, 0)
        else:
            slow = np.ones_like(peaks)
        ran = self.populations(settled.UPDATES, phase) > 0
        slow = np.where(ran, np.where(wide, 1, np.maximum(slow, 1)), 0)
        stages = np.array(self.network.stages)
        return sum(
            (slow[:, stages == stage].max(axis=1) for stage in range(int(stages.max()) + 1)),
            np.zeros(len(peaks), dtype=np.int64),
        )

    def per_token(self, code: str = "graded", phase: str = GENERATE) -> dict[str, float]:
        """Means per token of one phase: events, synaptic operations, bytes read, neuron updates, writes, ticks."""
        tokens = self.tokens(phase)
        if not tokens:
            return dict.fromkeys(
                ("events", "synaptic_operations", "bytes_read", "neuron_updates", "writes", "ticks"), 0.0
            )
        return {
            "events": float(self.events(code, phase).sum() / tokens),
            "synaptic_operations": float(self.synaptic_operations(code, phase).sum() / tokens),
            "bytes_read": float(self.bytes_read(phase).sum() / tokens),
            "neuron_updates": float(self.neuron_updates(phase).sum() / tokens),
            "writes": float(self.weights_written(phase).sum() / tokens),
            "ticks": float(self.ticks(code, phase).mean()),
        }

    def summary(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON: per phase and code, and per population in the generate phase."""
        names = [population.name for population in self.network.populations]
        phase = GENERATE if self.tokens(GENERATE) else PREFILL
        tokens = max(1, self.tokens(phase))
        return {
            "tokens": {phase: self.tokens(phase) for phase in PHASES},
            "per_token": {phase: {code: self.per_token(code, phase) for code in CODES} for phase in PHASES},
            "events_per_token": {
                code: dict(zip(names, _means(self.events(code, phase), tokens), strict=True)) for code in CODES
            },
            "activity": dict(zip(names, self.activity(phase).tolist(), strict=True)),
        }

    def activity(self, phase: str | None = None) -> FloatArray:
        """(populations,): share of the updated neurons whose code was not zero."""
        updates = self.neuron_updates(phase).sum(axis=0)
        active = self.populations(settled.GRADED, phase).sum(axis=0)
        share: FloatArray = active / np.maximum(updates, 1)
        return share

    @property
    def _persistent(self) -> npt.NDArray[np.bool_]:
        network = self.network
        return np.array(
            [
                any(p.synapse.persistent for p in network.projections if p.source == population.name)
                or all(p.source != population.name for p in network.projections)
                for population in network.populations
            ]
        )

    def _select(self, rows: Iterable[IntArray], width: int, phase: str | None) -> IntArray:
        chosen = [row for row, at in zip(rows, self.phases, strict=True) if phase in (None, at)]
        return np.stack(chosen) if chosen else np.zeros((0, width, settled.COUNTERS), dtype=np.int64)


def _means(counts: IntArray, tokens: int) -> list[float]:
    return [float(value) for value in counts.sum(axis=0) / tokens]
