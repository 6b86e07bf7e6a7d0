"""Verdict: does it pay that the network spikes? Against the same network without spikes, and against what a GPU takes.

The network without spikes has the same weights and codes and runs on the same silicon: every synapse once a token,
every neuron sends its code once. It answers whether the events save anything, and it may say no.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import chain, product
from typing import Any

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    CONVENTIONAL,
    MULTIPLICATIONS,
    NEURON_UPDATES,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    WEIGHT_READS,
    Chip,
    Cited,
)
from snngen.hardware.placement import Unplaced
from snngen.hardware.price import RATES, Breakdown, Placement, Term, price, terms
from snngen.hardware.quantity import PER_OPERATION, PriceError, Quantity
from snngen.hardware.work import Work, dense, spiking
from snngen.ledger import GENERATE, PREFILL, Ledger

WINS, LOSES, EVEN, OPEN, UNPROVEN = "spiking wins", "spiking loses", "even", "undecided", "not shown"
WINS_NARROWLY, LOSES_NARROWLY = "spiking wins narrowly", "spiking loses narrowly"

# What stands on the two sides: the same constants, constants of the same silicon, or another device altogether.
CONSTANTS, SILICON, DEVICE = "the same constants", "the same silicon", "another device"
# Energies closer than this share print alike; a difference of less than that is narrow: what has no price may be more.
ALIKE, NARROW = 0.005, 0.1
HALVINGS = 24

# Causes that the network without spikes has as well where the silicon multiplies for it.
PASSIVE = (NEURON_UPDATES, STATIC_POWER)

SAME_CONSTANT = (
    "assumed: the chip publishes no energy for a network that does not spike; every synapse once, every neuron sending "
    "its code once in one tick a stage, at the constants of its spikes"
)
OWN_CONSTANTS = "multiply-accumulates and weights read once, at the figures of the same silicon"

SPIKES_PER_SYNAPSE, SPIKE_RATE = "spikes per synapse per token", "spikes per neuron and tick"
DAVIDSON = "Davidson and Furber 2021, Front. Neurosci. 15:651141"
DAMPFHOFFER = "Dampfhoffer et al. 2023, IEEE TETCI 7(3):731"
YAN = "Yan et al., arXiv:2409.08290 v4: at T = 5, against a quantized network of ceil(log2(T + 1)) bits"


@dataclass(frozen=True)
class Threshold:
    """A published limit below which spiking pays, beside this run's own figure.

    figure: SPIKES_PER_SYNAPSE or SPIKE_RATE. own: of this run. low, high: the limit, a range where it is one.
    applies: False where the limit was published for another case than this run's. note: which.
    """

    figure: str
    own: float
    low: float
    high: float
    source: str
    note: str
    applies: bool = True

    @property
    def outcome(self) -> str:
        """Below all of it, within it, or above: what those authors would expect."""
        if not self.applies:
            return "does not apply"
        if self.own < self.low:
            return "below: spiking can pay"
        return "above: spiking does not pay" if self.own > self.high else "within: it depends on the chip"


@dataclass(frozen=True)
class Against:
    """The run beside something that does not spike.

    other: what it is. spiking, ann: J/token. basis: CONSTANTS, SILICON or DEVICE.
    low, high: range of the factor: least and most with the constants at the ends of their ranges, in all combinations.
        A constant of both sides is at the same end on both, so it does not widen the range as much as it widens the
        two energies. Infinite where the other may take nothing.
    break_even: spikes per synapse per token at which both cost the same, at the run's ticks; 0 where
        none is few enough; None where it is not asked. note: what the comparison rests on.
    raises: PriceError for another unit, an unknown basis, or a factor that is not in its range.
    """

    other: str
    spiking: Quantity
    ann: Quantity
    basis: str
    low: float
    high: float
    break_even: float | None
    note: str

    def __post_init__(self) -> None:
        units = {self.spiking.unit, self.ann.unit}
        if units != {"J/token"} or self.basis not in (CONSTANTS, SILICON, DEVICE):
            raise PriceError(
                f"Against {self.other}",
                f"{sorted(units)}, basis {self.basis!r}",
                f"J/token; {CONSTANTS}, {SILICON}, {DEVICE}",
            )
        if not self.low <= (self.low if self.factor is None else self.factor) <= self.high:
            raise PriceError(
                f"Against {self.other}: factor", f"{self.factor} in {self.low}..{self.high}", "in its range"
            )

    @property
    def factor(self) -> float | None:
        """How many times the other's energy the spiking network takes, at best figures; None where that is 0."""
        return self.spiking.value / self.ann.value if self.ann.value > 0 else None

    @property
    def outcome(self) -> str:
        """Who wins, where the whole range of the factor says so, and whether narrowly; undecided where it does not.

        Against another device the spiking total lacks what has no price: it can lose, but not be shown to win.
        """
        if self.low > 1 - ALIKE and self.high < 1 + ALIKE:
            return EVEN
        if self.low > 1:
            return LOSES if self.low > 1 + NARROW else LOSES_NARROWLY
        if self.basis == DEVICE:
            return UNPROVEN
        if self.high < 1:
            return WINS if self.high < 1 - NARROW else WINS_NARROWLY
        return OPEN

    @property
    def times(self) -> str:
        """The factor with its range, to three digits: ``0.957 (0.951..0.962)``; empty where there is none."""
        if self.factor is None:
            return ""
        value, low, high = (f"{number:.3g}" for number in (self.factor, self.low, self.high))
        return value if low == value == high else f"{value} ({low}..{high})"

    @property
    def sentence(self) -> str:
        """The verdict in one line: the outcome, the factor with its range, and how much that is."""
        if self.factor is None:
            return f"{self.outcome}: {self.other} takes nothing that has a price"
        said = f"{self.outcome}: {self.times} times the energy of {self.other}"
        if self.outcome == UNPROVEN:
            return f"{said}; of the spiking network only what has a price is counted"
        if self.outcome == OPEN:
            leaning = "more" if self.factor > 1 else "less"
            return f"{said}; {leaning} at the best figures of the constants, but not over their range"
        if self.outcome in (WINS_NARROWLY, LOSES_NARROWLY):
            more = "less" if self.factor < 1 else "more"
            return f"{said}, {100 * abs(self.factor - 1):.1f} % {more} of what has a price"
        return said


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether spiking paid in a run.

    breakdown: the price that was judged. phase: the phase that was judged.
    against: one per competitor; empty where the chip has no price to compare. thresholds: the published ones.
    """

    breakdown: Breakdown
    phase: str
    against: tuple[Against, ...]
    thresholds: tuple[Threshold, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and text, for JSON."""
        return {
            "chip": self.breakdown.chip.name,
            "code": self.breakdown.code,
            "phase": self.phase,
            "against": [
                asdict(one)
                | {"factor": one.factor, "low": one.low, "high": one.high if math.isfinite(one.high) else None}
                | {"outcome": one.outcome, "sentence": one.sentence}
                for one in self.against
            ],
            "thresholds": [asdict(one) | {"outcome": one.outcome} for one in self.thresholds],
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per competitor: energies, factor, outcome and break-even, with the same keys."""
        return [
            {
                "chip": self.breakdown.chip.name,
                "code": self.breakdown.code,
                "against": one.other,
                "spiking": f"at least {one.spiking}",
                "other": str(one.ann),
                "factor": one.times,
                "verdict": one.outcome,
                "in words": one.sentence,
                "break-even, spikes per synapse": _sparsest(one.break_even),
                "rests on": one.note,
            }
            for one in self.against
        ]

    def threshold_rows(self) -> list[dict[str, Any]]:
        """One row per published threshold: this run's figure beside it, with the same keys."""
        return [
            {
                "figure": one.figure,
                "this run": f"{one.own:.3g}",
                "pays below": f"{one.low:g}" if one.low == one.high else f"{one.low:g}..{one.high:g}",
                "verdict": one.outcome,
                "source": one.source,
                "note": one.note,
            }
            for one in self.thresholds
        ]


def judge(
    ledger: Ledger,
    chip: Chip,
    code: str | None = None,
    placement: Placement | Unplaced | None = None,
    gpu: Chip | None = None,
) -> Verdict:
    """Judge a run on a chip: against the same network without spikes there, and against the rows of a GPU.

    ledger, chip, code, placement: as for `price`. gpu: a conventional chip whose cited rows are compared; they are of
    other models, and say so.
    returns: for the generate phase, or for prefill where nothing was generated.
    raises: UnsupportedError for an empty ledger, an unknown code, or a `gpu` with figures by cause.
    """
    code = ledger.known(code)
    if not len(ledger):
        raise UnsupportedError("verdict", "a ledger without tokens", "a run of at least one")
    if gpu is not None and gpu.kind != CONVENTIONAL:
        raise UnsupportedError("verdict: gpu", gpu.name, "a conventional chip, with cited figures")
    phase = GENERATE if ledger.tokens(GENERATE) else PREFILL
    breakdown = price(ledger, chip, code, placement)
    ran, without = spiking(ledger, code, phase), dense(ledger, phase)
    against: list[Against] = []
    if breakdown.phases:
        cores = None if isinstance(breakdown.placement, Unplaced) else breakdown.placement
        silicon = _same_silicon(chip, breakdown.chips or 1, cores, ran, without)
        against += [silicon] if silicon is not None else []
        total = breakdown[phase].total
        rows = () if gpu is None else gpu.cited
        against += [_cited(row, total, gpu.title) for row in rows if gpu is not None and row.phase == phase]
    return Verdict(breakdown, phase, tuple(against), _thresholds(ledger, ran, without))


def _same_silicon(chip: Chip, chips: int, placement: Placement | None, ran: Work, without: Work) -> Against | None:
    """The network without spikes on the same chip; None where the chip has no energy for what they differ in."""
    if SYNAPSES not in chip.quantities:
        return None
    multiplies = MULTIPLICATIONS in chip.quantities
    basis, note = (SILICON, OWN_CONSTANTS) if multiplies else (CONSTANTS, SAME_CONSTANT)
    total, rival = (_total(side) for side in _sides(chip, chips, placement, ran, without))
    ends = (_ratios(*_sides(at, chips, placement, ran, without)) for at in _ends_of_time(chip))
    factors = [_ratio(total.value, rival.value), *chain.from_iterable(ends)]
    break_even = _break_even(chip, chips, placement, ran, rival.value)
    if break_even is not None:
        break_even *= spikes_per_synapse(ran, without)
    other = f"the same network without spikes on {chip.name}"
    return Against(other, total, rival, basis, min(factors), max(factors), break_even, note)


def _sides(
    chip: Chip, chips: int, placement: Placement | None, ran: Work, without: Work
) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """What the run costs, and what the network without spikes does."""
    spent, other = (tuple(terms(work, chip, chips, placement)) for work in (ran, without))
    if MULTIPLICATIONS in chip.quantities:
        other = (*_multiplications(chip, without), *(term for term in other if term.cause in PASSIVE))
    return spent, other


def _ends_of_time(chip: Chip) -> Iterator[Chip]:
    """The chip with every constant of time at either end of its range, in all combinations."""
    ranges = {cause: chip.quantities[cause] for cause in (TICK, *RATES) if cause in chip.quantities}
    for ends in product(*({known.low, known.high} for known in ranges.values())):
        fixed = {
            cause: replace(known, value=end, low=end, high=end)
            for (cause, known), end in zip(ranges.items(), ends, strict=True)
        }
        yield replace(chip, quantities={**chip.quantities, **fixed})


def _ratios(spent: tuple[Term, ...], other: tuple[Term, ...]) -> Iterator[float]:
    """Energies of one over those of the other, with every cause at either end of its range, the same on both sides."""
    ours, theirs = ({term.cause: term.energy for term in side} for side in (spent, other))
    for ends in product(("low", "high"), repeat=len(ours | theirs)):
        at = dict(zip(ours | theirs, ends, strict=True))
        yield _ratio(*(sum(getattr(side[cause], at[cause]) for cause in side) for side in (ours, theirs)))


def _ratio(ours: float, theirs: float) -> float:
    if theirs > 0:
        return ours / theirs
    return math.inf if ours > 0 else 1.0


def _multiplications(chip: Chip, without: Work) -> tuple[Term, ...]:
    counts = (
        (MULTIPLICATIONS, float(without.operations.sum()), "multiply-accumulate/token"),
        (WEIGHT_READS, float(without.bytes_read.sum()), "byte/token"),
    )
    return tuple(
        Term(
            cause,
            chip.quantities[cause] * Quantity(count, count, count, unit, PER_OPERATION, "counted", without.source),
        )
        for cause, count, unit in counts
    )


def _break_even(chip: Chip, chips: int, placement: Placement | None, ran: Work, rival: float) -> float | None:
    """What part of the run's events would cost as much as the rival: 0 where none is few enough, None without events.

    The energy is a sum of maxima of what is proportional to the events, so it never falls with them: halving finds it.
    """
    if not ran.operations.any():
        return None

    def energy(part: float) -> float:
        fewer = replace(ran, events=ran.events * part, operations=ran.operations * part)
        return _total(tuple(terms(fewer, chip, chips, placement))).value

    low, high = 0.0, 1.0
    if energy(low) >= rival:
        return 0.0
    while energy(high) < rival:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if energy(middle) < rival else (low, middle)
    return (low + high) / 2


def _total(of: tuple[Term, ...]) -> Quantity:
    return reduce(operator.add, (term.energy for term in of))


def _cited(row: Cited, total: Quantity, title: str) -> Against:
    note = f"another model, all-in ({row.boundary}), not scaled; of the spiking network only what has a price"
    low, high = _ratio(total.low, row.energy.high), _ratio(total.high, row.energy.low)
    return Against(f"{row.model} on {title}", total, row.energy, DEVICE, low, high, None, note)


def spikes_per_synapse(ran: Work, without: Work) -> float:
    """Synaptic operations of the run per synapse that the network without spikes uses, each once."""
    used = float(without.operations.sum())
    return float(ran.operations.sum()) / used if used else 0.0


def spike_rate(ledger: Ledger, ran: Work) -> tuple[float, float]:
    """Events per neuron and tick, and the mean ticks of a stage (the T of the literature)."""
    stages = max(ledger.network.stages) + 1
    ticks = ran.ticks / stages
    slots = float(ran.updates.sum()) * ticks
    return (float(ran.events.sum()) / slots if slots else 0.0), ticks


def _thresholds(ledger: Ledger, ran: Work, without: Work) -> tuple[Threshold, ...]:
    spikes = spikes_per_synapse(ran, without)
    rate, ticks = spike_rate(ledger, ran)
    graded = "published for one-bit spikes; an event of a graded or delta code carries a whole code"
    return (
        Threshold(SPIKES_PER_SYNAPSE, spikes, 1.72, 1.72, DAVIDSON, graded),
        Threshold(SPIKES_PER_SYNAPSE, spikes, 0.15, 1.38, DAMPFHOFFER, graded),
        Threshold(
            SPIKE_RATE,
            rate,
            0.057,
            0.057,
            YAN,
            f"published for T = 5, and longer trains must be sparser; this run has T = {ticks:.3g} on average",
            applies=round(ticks) >= 5,
        ),
    )


def _sparsest(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if value > 0 else "none: its other costs alone are more"
