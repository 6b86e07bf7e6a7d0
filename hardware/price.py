"""Price: a ledger becomes energy and time per token on a chip, prefill and generate apart, and says what it leaves out.

synapses = J/synaptic operation * synaptic operations/token
neuron updates = J/neuron update * neuron updates/token
spike output = J/event * events/token
messages = J/message * messages/token: one for each core that an event goes to, as placed, or else one at least
routing = J/hop * hops/token, by a placement
static power = W/chip * chips * s/token, chips as placed, or else at least ceil(weight bytes / synaptic memory per chip)
s/token >= max(s/tick * ticks/token, sum over stages of max(updates, operations of the busiest core, each * its time))

The bound of time is that of Timcheck et al., arXiv:2601.10035, without the terms whose rates nobody has printed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any, Protocol

import numpy as np

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    ACCOUNTED,
    CONVENTIONAL,
    MEMORY,
    MESSAGES,
    NEURON_UPDATES,
    ROUTING,
    SPIKE_OUTPUT,
    STATIC_POWER,
    SYNAPSE_TIME,
    SYNAPSES,
    TICK,
    UPDATE_TIME,
    Chip,
    Cited,
)
from snngen.hardware.placement import Unplaced, placed
from snngen.hardware.quantity import PER_OPERATION, PriceError, Quantity
from snngen.hardware.work import Work, spiking
from snngen.integers import FloatArray
from snngen.ledger import PHASES, Ledger
from snngen.network import Network

# What no chip has a price for yet, and why.
UNPRICED = {
    "idle neuron updates": "the ledger counts a neuron once a token; a chip may update it at every tick",
    "memory reads and links within a tick": "their rates are not published; they lengthen the token",
    "messages to more cores": "an event is counted as one message; it is one for each core that it goes to",
    "barriers": "their energy is not published",
    "written weights": "the energy of writing a weight while it runs (keys, values) is not published",
    "host link": "depends on the board; input and output of every token pass it",
    "un-embedding and sampling on the host": "what the network itself does not hold of choosing the next token",
}
RATES = {UPDATE_TIME: "neuron update/token", SYNAPSE_TIME: "synaptic operation/token"}
NOT_PLACED = "needs a placement: the hops of each event"
COMPUTE_TIME, CROSSINGS = "compute time within a tick", "links between chips"


class Placement(Protocol):
    """Where the populations of a network lie on a chip's cores; see `snngen.hardware.placement`."""

    @property
    def chips(self) -> int:
        """Chips that are used."""

    @property
    def cores(self) -> int:
        """Cores that are used."""

    def hops(self, index: int, written: bool = False) -> float:
        """Mean hops through the mesh of an event of the projection of that number (or of its writer), to all cores."""

    def crossings(self, index: int, written: bool = False) -> float:
        """Mean crossings from chip to chip of such an event."""

    def fan(self, index: int, written: bool = False) -> float:
        """Mean number of cores that such an event goes to."""

    def busiest(self, updates: FloatArray, operations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Most neuron updates, and most synaptic operations, that fall to one core.

        updates: (..., populations), operations: (..., projections). returns: (...,) of each.
        """


@dataclass(frozen=True)
class Term:
    """Energy of one cause.

    energy: J/token. at_least: True where it rests on a bound (time, number of chips) and not on a count.
    """

    cause: str
    energy: Quantity
    at_least: bool = False


@dataclass(frozen=True)
class Share:
    """What one population costs. terms: all but static power; synapses by their target, events by their sender."""

    population: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Phase:
    """Prefill or generate, per token.

    name: of the ledger's phases. tokens: how many were run.
    terms: at least one, all in J/token and of one scope.
    time: s/token, a lower bound: ticks as short as the chip can make them, and, where the network was placed, the
        work of the busiest core; None where the chip has neither a tick nor rates.
    shares: the same energy by population, as far as it is counted so.
    raises: PriceError for terms that cannot be added, or other units.
    """

    name: str
    tokens: int
    terms: tuple[Term, ...]
    time: Quantity | None
    shares: tuple[Share, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in PHASES or self.tokens < 1 or not self.terms:
            got = f"phase {self.name!r}, {self.tokens} tokens, {len(self.terms)} terms"
            raise PriceError("Phase", got, f"one of {', '.join(PHASES)}, with tokens and terms")
        time = "s/token" if self.time is None else self.time.unit
        if self.total.unit != "J/token" or time != "s/token":
            raise PriceError(f"Phase {self.name}", f"{self.total.unit}, {time}", "J/token, s/token")

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
    placement: what gave chips, hops and busiest core, or why there is none; None for cited figures.
    phases: those that had tokens. unpriced: what the totals lack. cited: all-in figures, never added to a term.
    raises: PriceError where priced and cited figures come together.
    """

    chip: Chip
    code: str
    chips: int | None = None
    phases: tuple[Phase, ...] = ()
    unpriced: tuple[Unpriced, ...] = ()
    cited: tuple[Cited, ...] = ()
    placement: Placement | Unplaced | None = None

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
    def placed(self) -> bool:
        """True where a placement gave chips, hops and busiest core."""
        return not isinstance(self.placement, Unplaced | None)

    @property
    def where(self) -> str:
        """Chips and cores in a few words: ``1 chip, 32 cores``, ``1 chip, not placed``; empty for cited figures."""
        if self.chips is None or self.placement is None:
            return ""
        chips = f"{self.chips} chip{'s' if self.chips > 1 else ''}"
        if isinstance(self.placement, Unplaced):
            return f"{chips}, not placed"
        return f"{chips}, {self.placement.cores:,} core{'s' if self.placement.cores > 1 else ''}"

    @property
    def rests_on(self) -> str:
        """Over which time static power is counted, and what is left out of it, in a sentence; empty without phases."""
        if not self.phases or self.placement is None:
            return ""
        known = self.chip.quantities
        why = f"not placed: {self.placement.why}" if isinstance(self.placement, Unplaced) else ""
        if STATIC_POWER not in known:
            return "; ".join(filter(None, (f"static power not counted: {self.chip.missing[STATIC_POWER]}", why)))
        rates = [str(known[cause]) for cause in RATES if cause in known]
        if rates and not why:
            return f"static power is counted over the work of the busiest core, at {' and '.join(rates)}"
        over = ", only that over the ticks at their shortest" if TICK in known else ""
        return f"static power over the work of the cores not counted{over}; {why or 'no rate of a core is published'}"

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
            "placed": self.placed,
            "where": self.where,
            "rests_on": self.rests_on,
            "at_least": self.at_least,
            "phases": {phase.name: self._phase_as_dict(phase) for phase in self.phases},
            "unpriced": {item.cause: item.why for item in self.unpriced},
            "cited": [asdict(row) for row in self.cited],
            "notes": list(self.chip.notes),
        }

    def _phase_as_dict(self, phase: Phase) -> dict[str, Any]:
        return {
            "tokens": phase.tokens,
            "terms": _plain(phase.terms),
            "total": asdict(phase.total) | {"at_least": self.at_least},
            "time": None if phase.time is None else asdict(phase.time) | {"at_least": True},
            "populations": {
                share.population: {term.cause: term.energy.value for term in share.terms} for share in phase.shares
            },
        }


@dataclass(frozen=True)
class Row:
    """A line of the table. cells: one text per column of the breakdown, empty where there is no figure."""

    cause: str
    cells: tuple[str, ...]
    evidence: str
    source: str


def price(
    ledger: Ledger, chip: Chip, code: str | None = None, placement: Placement | Unplaced | None = None
) -> Breakdown:
    """Price a run on a chip; the network is not run again.

    ledger: of a run; phases without tokens are left out. chip: see `snngen.hardware.chips`.
    code: one of `snngen.ledger.CODES`, the spike code whose events, synaptic operations and ticks are priced; by
        default the one that was really sent, or `graded` for a run of the settled engine.
    placement: of the ledger's network on this chip; by default it is placed where the chip's limits are known
        (`snngen.hardware.placement.placed`). Where it is `Unplaced` there is no routing, chips are counted by memory
        alone, and time by ticks alone: all of it less, and `Breakdown.rests_on` says so.
    returns: per token and phase; low..high is the range of the chip's constants. In prefill the low end of the time
        lets tokens follow each other one tick apart, the value has them run one after the other.
    raises: UnsupportedError for an unknown code.
    """
    code = ledger.known(code)
    if chip.kind == CONVENTIONAL:
        reasons = tuple(Unpriced(*item) for item in chip.missing.items())
        return Breakdown(chip, code, unpriced=reasons, cited=chip.cited)
    lies = placed(ledger.network, chip.name) if placement is None else placement
    cores = None if isinstance(lies, Unplaced) else lies
    chips = chips_used(ledger.network, chip, cores)
    phases = []
    for name in PHASES:
        if ledger.tokens(name):
            work = spiking(ledger, code, name)
            found = tuple(terms(work, chip, chips, cores))
            if found:
                time = time_bound(work, chip, cores)
                phases.append(Phase(name, ledger.tokens(name), found, time, _shares(work, chip, cores)))
    return Breakdown(chip, code, chips, tuple(phases), _unpriced(ledger, chip, cores), placement=lies)


def chips_used(network: Network, chip: Chip, placement: Placement | None = None) -> int:
    """Chips that the placement takes, or `chips_needed`; one at least where the chip's memory is not known."""
    if placement is not None:
        return placement.chips
    return chips_needed(network, chip) if MEMORY in chip.quantities else 1


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
        (same[0].cause, [term.energy for term in same], same[0].at_least)
        for same in zip(*(phase.terms for phase in phases), strict=True)
    ]
    lines.append(("total", [phase.total for phase in phases], breakdown.at_least))
    times = [phase.time for phase in phases if phase.time is not None]
    if times:
        lines.append(("time", times, True))
    return [
        Row(
            cause,
            tuple(f"at least {quantity}" if at_least else str(quantity) for quantity in quantities),
            quantities[0].evidence,
            quantities[0].source,
        )
        for cause, quantities, at_least in lines
    ]


def terms(work: Work, chip: Chip, chips: int, placement: Placement | None = None) -> Iterator[Term]:
    """Energy of some work per cause, J/token: those that the chip has a figure for."""
    for cause, counts, unit, at_least in _by_population(work, placement):
        if cause in chip.quantities:
            yield Term(cause, chip.quantities[cause] * _counted(work, float(counts.sum()), unit), at_least)
    time = time_bound(work, chip, placement)
    if STATIC_POWER in chip.quantities and time is not None:
        yield Term(STATIC_POWER, chip.quantities[STATIC_POWER] * _counted(work, chips, "chip") * time, at_least=True)


def time_bound(work: Work, chip: Chip, placement: Placement | None = None) -> Quantity | None:
    """Least time of some work, s/token; None where the chip has no tick and, as placed, no rates."""
    bounds = []
    if TICK in chip.quantities:
        bounds.append(chip.quantities[TICK] * _counted(work, work.ticks, "tick/token", low=work.follow))
    if placement is not None and any(cause in chip.quantities for cause in RATES):
        together = _busiest(work, chip, placement, work.updates, work.operations)
        bounds.append(together)
        if work.staged:
            bounds.append(_stage_after_stage(work, chip, placement, together))
    return reduce(Quantity.maximum, bounds) if bounds else None


def _stage_after_stage(work: Work, chip: Chip, placement: Placement, together: Quantity) -> Quantity:
    network = work.network
    stages = np.array(network.stages)
    targets = [network.order[projection.target] for projection in network.projections]
    at = np.arange(int(stages.max()) + 1)[:, None]
    total = _busiest(work, chip, placement, work.updates * (stages == at), work.operations * (stages[targets] == at))
    if work.follow < work.ticks:  # tokens that overlap keep a core busy with other stages
        total = replace(total, low=min(together.low, total.low))
    return total


def _busiest(work: Work, chip: Chip, placement: Placement, updates: FloatArray, operations: FloatArray) -> Quantity:
    """Time of the busiest core, s/token, by the rates of a chip that has one; summed over a first axis of stages."""
    counts = zip(placement.busiest(updates, operations), RATES.items(), strict=True)
    rates = [
        (chip.quantities[cause], unit, np.asarray(count)) for count, (cause, unit) in counts if cause in chip.quantities
    ]
    known = reduce(Quantity.maximum, (rate * _counted(work, float(count.sum()), unit) for rate, unit, count in rates))
    value, low, high = (
        float(np.sum(reduce(np.maximum, (getattr(rate, end) * count for rate, _, count in rates))))
        for end in ("value", "low", "high")
    )
    return replace(known, value=value, low=low, high=high)


def _by_population(work: Work, placement: Placement | None) -> Iterator[tuple[str, FloatArray, str, bool]]:
    """Per cause of events: (populations,) counts, their unit, and whether they are a bound."""
    order = work.network.order
    operations, messages, hops = np.zeros((3, len(order)))
    np.add.at(operations, [order[projection.target] for projection in work.network.projections], work.operations)
    for index, written, sender in work.ways:
        if placement is None:
            messages[sender] = work.events[sender]
        else:
            messages[sender] += work.events[sender] * placement.fan(index, written)
            hops[sender] += work.events[sender] * placement.hops(index, written)
    yield SYNAPSES, operations, "synaptic operation/token", False
    yield NEURON_UPDATES, work.updates, "neuron update/token", False
    yield SPIKE_OUTPUT, work.events, "event/token", False
    yield MESSAGES, messages, "message/token", placement is None
    if placement is not None:
        yield ROUTING, hops, "hop/token", False


def _shares(work: Work, chip: Chip, placement: Placement | None) -> tuple[Share, ...]:
    causes = [entry for entry in _by_population(work, placement) if entry[0] in chip.quantities]
    return tuple(
        Share(
            population.name,
            tuple(
                Term(cause, chip.quantities[cause] * _counted(work, float(counts[index]), unit), at_least)
                for cause, counts, unit, at_least in causes
            ),
        )
        for index, population in enumerate(work.network.populations)
    )


def _unpriced(ledger: Ledger, chip: Chip, placement: Placement | None) -> tuple[Unpriced, ...]:
    unpriced = {cause: chip.missing[cause] for cause in ACCOUNTED if cause in chip.missing} | UNPRICED
    rates = {SYNAPSE_TIME, UPDATE_TIME} & set(chip.quantities)
    if placement is None:
        unpriced[COMPUTE_TIME] = "needs a placement; it lengthens the token, and static energy with it"
        unpriced.setdefault(ROUTING, NOT_PLACED)
    else:
        if not rates:
            unpriced[COMPUTE_TIME] = "the chip's rates are not published: only ticks are counted"
        if any(placement.crossings(index) > 0 for index in range(len(ledger.network.projections))):
            unpriced[CROSSINGS] = "energy and time of a crossing from chip to chip are not published"
    if STATIC_POWER in chip.quantities and TICK not in chip.quantities and (placement is None or not rates):
        unpriced[STATIC_POWER] = "needs the time: the chip has no tick, and no work of a core was counted"
    if MEMORY in chip.missing and placement is not None:
        del unpriced[MEMORY]
    if MESSAGES not in chip.quantities or placement is not None:
        del unpriced["messages to more cores"]
    if not ledger.weights_written().any():
        del unpriced["written weights"]
    return tuple(Unpriced(*item) for item in unpriced.items())


def _counted(work: Work, value: float, unit: str, low: float | None = None) -> Quantity:
    return Quantity(value, value if low is None else low, value, unit, PER_OPERATION, "counted", work.source)


def _plain(of: tuple[Term, ...]) -> dict[str, Any]:
    return {term.cause: asdict(term.energy) | {"at_least": term.at_least} for term in of}
