"""Ledger: what a run did, per token, population and projection, under every spike code.

Counted by the kernels while they run; nothing here is derived from layer sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.codes import by_name
from snngen.errors import UnsupportedError
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
POTENTIAL_BITS = 32


@dataclass(eq=False)
class Ledger:
    """The counts of a run.

    network: what was run. code: the code whose spikes were really sent, tick by tick; None where settled codes were
    counted under every code. phases, and the counts: appended by `record`, one entry per token.
    """

    network: Network
    code: str | None = None
    phases: list[str] = field(default_factory=list)
    _ticks: list[int] = field(default_factory=list, repr=False)
    _populations: list[IntArray] = field(default_factory=list, repr=False)
    _projections: list[IntArray] = field(default_factory=list, repr=False)

    def record(self, phase: str, populations: IntArray, projections: IntArray, ticks: int = 0) -> None:
        """Append one token: (populations, 6) and (projections, 6) int64 counts as the engines give them.

        ticks: that it took, where it was run tick by tick.
        """
        self.phases.append(phase)
        self._ticks.append(ticks)
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

    def events(self, code: str | None = None, phase: str | None = None) -> IntArray:
        """(tokens, populations): events sent under a code.

        In prefill the settled engine leaves out what nobody reads. Under `delta`, whose targets keep their drive,
        nothing may be left out, so a prompt sent that way tick by tick takes more than is counted here.
        """
        code = self.known(code)
        events = self.populations(COLUMN.get(code, settled.GRADED), phase)
        if code == "delta" and self.code is None:  # codes that meet changing weights are sent in full
            events = np.where(self._when_changed, events, self.populations(settled.GRADED, phase))
        return events

    def synaptic_operations(self, code: str | None = None, phase: str | None = None) -> IntArray:
        """(tokens, projections): synapses that an event passed, under a code."""
        return self.projections(COLUMN.get(self.known(code), settled.GRADED), phase)

    def known(self, code: str | None) -> str:
        """The code that is asked for; a ledger of real spikes knows the one that was sent.

        raises: UnsupportedError for any other.
        """
        if self.code is not None and code not in (None, self.code):
            raise UnsupportedError("ledger", f"code {code!r}", f"{self.code!r}, whose spikes were really sent")
        if self.code is None and code not in (None, *CODES):
            raise UnsupportedError("ledger", f"code {code!r}", "one of " + ", ".join(CODES))
        return code or self.code or "graded"

    def bits(self, code: str | None = None, phase: str | None = None) -> IntArray:
        """(tokens, populations): bits of payload sent under a code; a potential takes 32."""
        spike_code = by_name(self.known(code))
        widths = [
            POTENTIAL_BITS if population.neuron.wide else spike_code.payload_bits(*population.neuron.range)
            for population in self.network.populations
        ]
        return self.events(code, phase) * np.array(widths, dtype=np.int64)

    def neuron_updates(self, phase: str | None = None) -> IntArray:
        """(tokens, populations): neurons that were brought up to date."""
        return self.populations(settled.UPDATES, phase)

    def bytes_read(self, phase: str | None = None) -> IntArray:
        """(tokens, projections): bytes of weights read when each row is read once per code."""
        return self.projections(settled.BYTES, phase)

    def weights_written(self, phase: str | None = None) -> IntArray:
        """(tokens, projections): events that wrote a weight (keys and values)."""
        return self.projections(settled.WRITES, phase)

    def ticks(self, code: str | None = None, phase: str | None = None) -> IntArray:
        """(tokens,): ticks that each token takes; as run, or for settled codes when stage runs after stage.

        A stage is as slow as its slowest population: graded and delta take 1 tick, unary as many as the largest
        magnitude; the clocked codes hold their whole window, bitwise one tick per bit and ttfs one per level of the
        range. A potential is sent graded.
        """
        code = self.known(code)
        if self.code is not None:
            kept = [ticks for ticks, at in zip(self._ticks, self.phases, strict=True) if phase in (None, at)]
            return np.array(kept, dtype=np.int64)
        peaks = self.populations(settled.PEAK, phase)
        slow = np.ones_like(peaks)
        if code == "unary":
            slow = np.maximum(peaks, 1)
        else:
            windows = [by_name(code).ticks(*population.neuron.range) for population in self.network.populations]
            slow = np.where(peaks > 0, np.array(windows, dtype=np.int64), 1)
        wide = np.array([population.neuron.wide for population in self.network.populations])
        ran = self.populations(settled.UPDATES, phase) > 0
        slow = np.where(ran, np.where(wide, 1, slow), 0)
        stages = np.array(self.network.stages)
        total = np.zeros(len(peaks), dtype=np.int64)
        for stage in range(int(stages.max()) + 1):
            total += slow[:, stages == stage].max(axis=1)
        return total

    def per_token(self, code: str | None = None, phase: str = GENERATE) -> dict[str, float]:
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
        codes = CODES if self.code is None else (self.code,)
        summary: dict[str, Any] = {
            "tokens": {phase: self.tokens(phase) for phase in PHASES},
            "per_token": {phase: {code: self.per_token(code, phase) for code in codes} for phase in PHASES},
            "events_per_token": {
                code: dict(zip(names, _means(self.events(code, phase), tokens), strict=True)) for code in codes
            },
        }
        if self.code is None:
            summary["activity"] = dict(zip(names, self.activity(phase).tolist(), strict=True))
        return summary

    def activity(self, phase: str | None = None) -> FloatArray:
        """(populations,): share of the updated neurons whose code was not zero; of settled codes only."""
        updates = self.neuron_updates(phase).sum(axis=0)
        active = self.populations(settled.GRADED, phase).sum(axis=0)
        share: FloatArray = active / np.maximum(updates, 1)
        return share

    @cached_property
    def _when_changed(self) -> npt.NDArray[np.bool_]:
        return np.array([self.network.sent_when_changed(population.name) for population in self.network.populations])

    def _select(self, rows: Iterable[IntArray], width: int, phase: str | None) -> IntArray:
        chosen = [row for row, at in zip(rows, self.phases, strict=True) if phase in (None, at)]
        if len(chosen) == 1:  # of every live answer
            return chosen[0][np.newaxis]
        return np.stack(chosen) if chosen else np.zeros((0, width, settled.COUNTERS), dtype=np.int64)


def _means(counts: IntArray, tokens: int) -> list[float]:
    return [float(value) for value in counts.sum(axis=0) / tokens]
