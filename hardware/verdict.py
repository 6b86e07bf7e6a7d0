"""Verdict: does it pay that the network spikes? Against the same network without spikes, and against what a GPU takes.

The network without spikes has the same weights and codes and runs on the same silicon: every synapse once a token,
every neuron sends its code once. It answers whether the events save anything, and it may say no.
"""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

from snngen.errors import UnsupportedError
from snngen.hardware.chip import (
    CONVENTIONAL,
    MULTIPLICATIONS,
    NEURON_UPDATES,
    STATIC_POWER,
    SYNAPSES,
    WEIGHT_READS,
    Chip,
    Cited,
)
from snngen.hardware.price import Breakdown, Placement, Term, chips_used, price, terms
from snngen.hardware.quantity import PER_OPERATION, PriceError, Quantity
from snngen.hardware.work import Work, dense, spiking
from snngen.ledger import GENERATE, PREFILL, Ledger

WINS, LOSES, EVEN, OPEN, UNPROVEN = "spiking wins", "spiking loses", "even", "undecided", "not shown"

# What stands on the two sides: the same constants, constants of the same silicon, or another device altogether.
CONSTANTS, SILICON, DEVICE = "the same constants", "the same silicon", "another device"
# Energies closer than this share print alike.
ALIKE = 0.005
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
    break_even: spikes per synapse per token at which both cost the same, at the run's ticks; 0 where
        none is few enough; None where it is not asked. note: what the comparison rests on.
    raises: PriceError for another unit, or an unknown basis.
    """

    other: str
    spiking: Quantity
    ann: Quantity
    basis: str
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

    @property
    def factor(self) -> float | None:
        """How many times the other's energy the spiking network takes, at best figures; None where that is 0."""
        return self.spiking.value / self.ann.value if self.ann.value > 0 else None

    @property
    def outcome(self) -> str:
        """Who wins: by the best figures where both sides have the same constants, else over the whole ranges.

        Against another device the spiking total lacks what has no price: it can lose, but not be shown to win.
        """
        if self.basis == CONSTANTS:
            if self.factor is None or abs(self.factor - 1) < ALIKE:
                return EVEN
            return WINS if self.factor < 1 else LOSES
        if self.spiking.low > self.ann.high:
            return LOSES
        if self.basis == DEVICE:
            return UNPROVEN
        return WINS if self.spiking.high < self.ann.low else OPEN

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        factor = "" if self.factor is None else f", {self.factor:.3g} times the energy of {self.other}"
        if self.outcome == UNPROVEN:
            return f"{UNPROVEN}{factor}: of the spiking network only what has a price is counted"
        if self.outcome == OPEN and self.factor is not None:
            leaning = "more" if self.factor > 1 else "less"
            return f"{OPEN} over the range of the constants, {leaning} at their best figures{factor}"
        return f"{self.outcome}{factor}"


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
                asdict(one) | {"factor": one.factor, "outcome": one.outcome, "sentence": one.sentence}
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
                "factor": "" if one.factor is None else f"{one.factor:.3g}",
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
    placement: Placement | None = None,
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
        chips = chips_used(ledger.network, chip, placement)
        silicon = _same_silicon(chip, chips, placement, ran, without)
        against += [silicon] if silicon is not None else []
        total = breakdown[phase].total
        rows = () if gpu is None else gpu.cited
        against += [_cited(row, total, gpu.title) for row in rows if gpu is not None and row.phase == phase]
    return Verdict(breakdown, phase, tuple(against), _thresholds(ledger, ran, without))


def _same_silicon(chip: Chip, chips: int, placement: Placement | None, ran: Work, without: Work) -> Against | None:
    """The network without spikes on the same chip; None where the chip has no energy for what they differ in."""
    if SYNAPSES not in chip.quantities:
        return None
    spent = tuple(terms(ran, chip, chips, placement))
    if MULTIPLICATIONS in chip.quantities:
        basis, note = SILICON, OWN_CONSTANTS
        common = tuple(term for term in terms(without, chip, chips, placement) if term.cause in PASSIVE)
        other = (*_multiplications(chip, without), *common)
    else:
        basis, note = CONSTANTS, SAME_CONSTANT
        other = tuple(terms(without, chip, chips, placement))
    total, rival = _total(spent), _total(other)
    break_even = _break_even(chip, chips, placement, ran, rival.value)
    if break_even is not None:
        break_even *= spikes_per_synapse(ran, without)
    return Against(f"the same network without spikes on {chip.name}", total, rival, basis, break_even, note)


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
    return Against(f"{row.model} on {title}", total, row.energy, DEVICE, None, note)


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
