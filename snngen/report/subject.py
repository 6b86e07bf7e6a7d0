"""Subject: what a report is about: a saved run beside its network, with the verdict on every chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.errors import UnsupportedError
from snngen.hardware.chip import Chip
from snngen.hardware.price import Breakdown
from snngen.hardware.verdict import Verdict, judge
from snngen.integers import FloatArray, IntArray
from snngen.ledger import GENERATE, PREFILL, Ledger
from snngen.network import Network
from snngen.saved_run import SavedRun


@dataclass(frozen=True, eq=False)
class Subject:
    """A run and what it is priced on.

    run: as saved. network: the one that was run; it is not run again. chips: in the order in which they are shown.
    code: the spike code that is priced; by default the one that was sent, or asked for when it was run.
    raises: FormatError for a run of another network, UnsupportedError for an unknown code or one that was not sent.
    """

    run: SavedRun
    network: Network
    chips: Sequence[Chip]
    code: str = ""

    def __post_init__(self) -> None:
        if len({chip.name for chip in self.chips}) != len(self.chips):
            raise UnsupportedError("report", "a chip twice", "each once")
        object.__setattr__(self, "code", self.ledger.known(self.code or self.run.about.code))

    @cached_property
    def ledger(self) -> Ledger:
        """The counts of the run."""
        return self.run.ledger(self.network)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Price and verdict of the whole run, one per chip."""
        return tuple(judge(self.ledger, chip, self.code) for chip in self.chips)

    @property
    def priced(self) -> tuple[Breakdown, ...]:
        """The chips that have figures by cause."""
        return tuple(verdict.breakdown for verdict in self.verdicts if verdict.breakdown.phases)

    @property
    def phase(self) -> str:
        """The phase that figures per token are of: generate, or prefill where nothing was read after the prompt."""
        return GENERATE if self.ledger.tokens(GENERATE) else PREFILL

    @cached_property
    def first_rows(self) -> IntArray:
        """(tokens,) row of the ledger in which each token was read first, -1 where it never was."""
        rows = np.full(len(self.run.tokens), -1, dtype=np.int64)
        for row, token in reversed(list(enumerate(self.run.read.tolist()))):
            if token >= 0:
                rows[token] = row
        return rows

    @cached_property
    def layers(self) -> dict[str, list[int]]:
        """Numbers of the populations of each layer: those that share the name before the first dot, in order."""
        layers: dict[str, list[int]] = {}
        for number, (name, _) in enumerate(self.run.about.populations):
            layers.setdefault(name.split(".")[0], []).append(number)
        return layers

    @cached_property
    def active(self) -> FloatArray:
        """(populations,) share of neurons whose code was not zero, mean over the generated tokens."""
        sizes = np.array([size for _, size in self.run.about.populations])
        first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        share: FloatArray = np.add.reduceat(self.run.codes_active().mean(axis=0), first) / sizes
        return share
