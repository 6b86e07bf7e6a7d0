"""Price: a ledger becomes energy and time per token on a chip, prefill and generate apart, and says what it leaves out.

synapses = J/synaptic operation * synaptic operations/token
neuron updates = J/neuron update * neuron updates/token
static power = W/chip * chips * s/token, where s/token >= s/tick * ticks/token
and chips >= ceil(weight bytes / synaptic memory per chip)
"""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    CONVENTIONAL,
    ENERGY,
    MEMORY,
    NEURON_UPDATES,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    Chip,
    Cited,
)
from snngen.hardware.quantity import PER_OPERATION, PriceError, Quantity
from snngen.ledger import PHASES, PREFILL, Ledger
from snngen.network import Network

# What no chip has a price for yet, and why.
UNPRICED = {
    "idle neuron updates": "the ledger counts a neuron once a token; a chip may update it at every tick",
    "compute time within a tick": "needs a placement; it lengthens the token, and static energy with it",
    "routing": "needs a placement: the hops of each event and its payload",
    "barriers": "their energy is not published",
    "written weights": "the energy of writing a weight while it runs (keys, values) is not published",
    "host link": "depends on the board; input and output of every token pass it",
    "un-embedding and sampling on the host": "what the network itself does not hold of choosing the next token",
}


@dataclass(frozen=True)
class Term:
    """Energy of one cause.

    energy: J/token. at_least: True where it rests on a bound (time, number of chips) and not on a count.
    """

    cause: str
    energy: Quantity
    at_least: bool = False


@dataclass(frozen=True)
class Phase:
    """Prefill or generate, per token.

    name: of the ledger's phases. tokens: how many were run.
    terms: at least one, all in J/token and of one scope.
    time: s/token, a lower bound: only the ticks, each as short as the chip can make it.
    raises: PriceError for terms that cannot be added, or other units.
    """

    name: str
    tokens: int
    terms: tuple[Term, ...]
    time: Quantity

    def __post_init__(self) -> None:
        if self.name not in PHASES or self.tokens < 1 or not self.terms:
            got = f"phase {self.name!r}, {self.tokens} tokens, {len(self.terms)} terms"
            raise PriceError("Phase", got, f"one of {', '.join(PHASES)}, with tokens and terms")
        if self.total.unit != "J/token" or self.time.unit != "s/token":
            raise PriceError(f"Phase {self.name}", f"{self.total.unit}, {self.time.unit}", "J/token, s/token")

    @property
    def total(self) -> Quantity:
        """Sum of all terms, J/token: what is priced, and no more."""
        return reduce(operator.add, (term.energy for term in self.terms))


@dataclass(frozen=True)
class Unpriced:
    """A cause of energy that the total does not hold. why: what is lacking to price it."""

    cause: str
    why: str


@dataclass(frozen=True, eq=False)
class Breakdown:
    """What a run costs on a chip, or, for a conventional one, what others measured there with models of theirs.

    chip, code: what was priced. chips: how many hold the weights, at least; None for cited figures.
    phases: those that had tokens. unpriced: what the totals lack. cited: all-in figures, never added to a term.
    raises: PriceError where priced and cited figures come together.
    """

    chip: Chip
    code: str
    chips: int | None = None
    phases: tuple[Phase, ...] = ()
    unpriced: tuple[Unpriced, ...] = ()
    cited: tuple[Cited, ...] = ()

    def __post_init__(self) -> None:
        if self.cited and (self.phases or self.unpriced or self.chips is not None):
            raise PriceError(
                f"Breakdown on {self.chip.name}", "priced terms and cited figures", "either", "one breakdown for each"
            )

    @property
    def at_least(self) -> bool:
        """True where the totals are lower bounds, at the chip's constants, because something is not priced."""
        return bool(self.unpriced)

    @property
    def columns(self) -> tuple[str, ...]:
        """The phases there is a figure for, in order: the columns of `rows`."""
        named = {phase.name for phase in self.phases} | {row.phase for row in self.cited}
        return tuple(phase for phase in PHASES if phase in named)

    def __getitem__(self, name: str) -> Phase:
        """The phase of that name; raises UnsupportedError where it had no tokens or nothing is priced."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        names = ", ".join(phase.name for phase in self.phases) or "none: nothing is priced"
        raise UnsupportedError(f"Breakdown on {self.chip.name}", f"phase {name!r}", names)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and text, for JSON; energies in J/token, times in s/token."""
        return {
            "chip": self.chip.name,
            "title": self.chip.title,
            "kind": self.chip.kind,
            "code": self.code,
            "chips": self.chips,
            "at_least": self.at_least,
            "phases": {
                phase.name: {
                    "tokens": phase.tokens,
                    "terms": {term.cause: asdict(term.energy) | {"at_least": term.at_least} for term in phase.terms},
                    "total": asdict(phase.total) | {"at_least": self.at_least},
                    "time": asdict(phase.time) | {"at_least": True},
                }
                for phase in self.phases
            },
            "unpriced": {item.cause: item.why for item in self.unpriced},
            "cited": [asdict(row) for row in self.cited],
            "notes": list(self.chip.notes),
        }


@dataclass(frozen=True)
class Row:
    """A line of the table. cells: one text per column of the breakdown, empty where there is no figure."""

    cause: str
    cells: tuple[str, ...]
    evidence: str
    source: str


def price(ledger: Ledger, chip: Chip, code: str | None = None) -> Breakdown:
    """Price a run on a chip; the network is not run again.

    ledger: of a run; phases without tokens are left out. chip: see `snngen.hardware.chips`.
    code: one of `snngen.ledger.CODES`, the spike code whose events, synaptic operations and ticks are priced; by
        default the one that was really sent, or `graded` for a run of the settled engine.
    returns: per token and phase; low..high is the range of the chip's constants. In prefill the low end of the time
        lets tokens follow each other one tick apart, the value has them run one after the other.
    raises: UnsupportedError for an unknown code.
    """
    code = ledger.known(code)
    if chip.kind == CONVENTIONAL:
        return Breakdown(chip, code, cited=chip.cited)
    chips = chips_needed(ledger.network, chip)
    phases = tuple(_phase(ledger, chip, code, chips, phase) for phase in PHASES if ledger.tokens(phase))
    unpriced = {cause: chip.missing[cause] for cause in ENERGY if cause in chip.missing} | UNPRICED
    if not ledger.weights_written().any():
        del unpriced["written weights"]
    return Breakdown(chip, code, chips, phases, tuple(Unpriced(*item) for item in unpriced.items()))


def chips_needed(network: Network, chip: Chip) -> int:
    """ceil(weight bytes / synaptic memory per chip), at least 1: a lower bound, since no placement fills every core.

    raises: PriceError for a chip without synaptic memory.
    """
    if MEMORY not in chip.quantities:
        raise PriceError(f"{chip.name}: {MEMORY}", "none", "a neuromorphic chip")
    stored = sum(projection.synapse.weight_bytes for projection in network.projections)
    return max(1, -(-stored // int(chip.quantities[MEMORY].value)))


def rows(breakdown: Breakdown) -> list[Row]:
    """The table of a breakdown: a line per cause, then ``total`` and ``time``; or a line per cited model.

    Cells are ``value (low..high) unit``, with ``at least`` before what is a lower bound.
    """
    cited = [
        Row(
            f"all-in: {row.model} [{row.boundary}]",
            tuple(str(row.energy) if row.phase == column else "" for column in breakdown.columns),
            row.energy.evidence,
            row.energy.source,
        )
        for row in breakdown.cited
    ]
    if not breakdown.phases:
        return cited
    phases = [breakdown[column] for column in breakdown.columns]
    lines = [
        (terms[0].cause, [term.energy for term in terms], terms[0].at_least)
        for terms in zip(*(phase.terms for phase in phases), strict=True)
    ]
    lines.append(("total", [phase.total for phase in phases], breakdown.at_least))
    lines.append(("time", [phase.time for phase in phases], True))
    return [
        Row(
            cause,
            tuple(f"at least {quantity}" if at_least else str(quantity) for quantity in quantities),
            quantities[0].evidence,
            quantities[0].source,
        )
        for cause, quantities, at_least in lines
    ]


def _phase(ledger: Ledger, chip: Chip, code: str, chips: int, phase: str) -> Phase:
    tokens, figures = ledger.tokens(phase), chip.quantities
    ticks = float(ledger.ticks(code, phase).sum()) / tokens
    follow = min(1.0, ticks) if phase == PREFILL else ticks  # prompt tokens are known: stages can overlap them
    time = figures[TICK] * _counted(ticks, "tick/token", low=follow)
    operations = _counted(float(ledger.synaptic_operations(code, phase).sum()) / tokens, "synaptic operation/token")
    updates = _counted(float(ledger.neuron_updates(phase).sum()) / tokens, "neuron update/token")
    terms = []
    if SYNAPSES in figures:
        terms.append(Term(SYNAPSES, figures[SYNAPSES] * operations))
    if NEURON_UPDATES in figures:
        terms.append(Term(NEURON_UPDATES, figures[NEURON_UPDATES] * updates))
    if STATIC_POWER in figures:
        terms.append(Term(STATIC_POWER, figures[STATIC_POWER] * _counted(chips, "chip") * time, at_least=True))
    return Phase(phase, tokens, tuple(terms), time)


def _counted(value: float, unit: str, low: float | None = None) -> Quantity:
    return Quantity(value, value if low is None else low, value, unit, PER_OPERATION, "counted", "ledger of the run")
