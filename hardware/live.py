"""Live: what the outputs of a stream cost on a chip, priced like the tokens of a ledger.

synapses = J/synaptic operation * synaptic operations
neuron updates = J/neuron update * neuron updates
spike output = J/event * events of neurons (those of a sensor come from outside)
messages = J/message * events of all populations that send: one message for each core at least
static power = W/chip * chips * seconds of the stream, where chips >= ceil(synapses, one byte each / memory per chip)

A chip that listens is switched on: the time of an output is that of the stream since the output before. Per-token units
stand for per-output ones.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from snngen.dynamics.network import DynamicNetwork
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
    SYNAPSES,
    TICK,
    Chip,
)
from snngen.hardware.price import NOT_PLACED, UNPRICED, Term, Unpriced
from snngen.hardware.quantity import PER_OPERATION, Quantity
from snngen.network import Network
from snngen.streaming.work import Work

# What a ledger's total leaves out and a stream's too.
LEFT_OUT = ("idle neuron updates", "messages to more cores", "host link")


PER_OUTPUT = "J/output"


@dataclass(frozen=True)
class Circuit:
    """What prices need to know of all that runs for a stream.

    inputs: populations whose events come from outside. senders: those that events leave towards others. synapses: how
    many.
    """

    inputs: frozenset[str]
    senders: frozenset[str]
    synapses: int

    @classmethod
    def of(cls, networks: Mapping[str, DynamicNetwork | Network]) -> Circuit:
        """networks: by the prefix that their populations have in the work, "" for the one that hears the sensor."""
        outside = [f"{prefix}{name}" for prefix, network in networks.items() for name in _from_outside(network)]
        links = [(prefix, link) for prefix, network in networks.items() for link in network.projections]
        senders = frozenset(f"{prefix}{link.source}" for prefix, link in links)
        return cls(frozenset(outside), senders, sum(link.synapse.count for _, link in links))

    def chips(self, chip: Chip) -> int:
        """ceil(synapses of one byte / synaptic memory per chip), at least 1; 1 where the memory is not known."""
        if MEMORY not in chip.quantities:
            return 1
        return max(1, -(-self.synapses // int(chip.quantities[MEMORY].value)))


@dataclass(frozen=True, eq=False)
class LivePrice:
    """What an output costs on a chip, on the mean.

    chips: how many hold the synapses at least, at one byte each. outputs: how many were counted. seconds: of the stream
    per output. terms: J per output, in units of tokens; at least one. unpriced: what the total lacks.
    """

    chip: Chip
    chips: int
    outputs: int
    seconds: float
    terms: tuple[Term, ...]
    unpriced: tuple[Unpriced, ...]

    @property
    def total(self) -> Quantity:
        """Sum of the terms: what is priced, and no more."""
        return reduce(operator.add, (term.energy for term in self.terms))

    @property
    def rests_on(self) -> str:
        """Which static power is counted, in a sentence."""
        if STATIC_POWER not in self.chip.quantities:
            return f"static power not counted: {self.chip.missing[STATIC_POWER]}"
        many = f"{self.chips} chip{'s' if self.chips > 1 else ''}"
        by = "counted by synaptic memory" if MEMORY in self.chip.quantities else "one at least"
        return f"static power of {many} for as long as the stream took; not placed on cores, chips are {by} alone"

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for JSON; J per output."""
        return {
            "chip": self.chip.name,
            "chips": self.chips,
            "outputs": self.outputs,
            "seconds_per_output": self.seconds,
            "terms": {
                term.cause: asdict(term.energy) | {"unit": PER_OUTPUT, "at_least": term.at_least} for term in self.terms
            },
            "total": asdict(self.total) | {"unit": PER_OUTPUT, "at_least": bool(self.unpriced)},
            "rests_on": self.rests_on,
            "unpriced": {item.cause: item.why for item in self.unpriced},
        }


def price_live(circuit: Circuit, work: Work, seconds: float, outputs: int, chip: Chip) -> LivePrice:
    """Price what was done for some outputs.

    work, seconds: of all outputs together. chip: a neuromorphic one.
    raises: UnsupportedError for a conventional chip, which has no figures by cause; for no outputs.
    """
    _require_neuromorphic(chip)
    if outputs < 1:
        raise UnsupportedError("price_live", f"{outputs} outputs", "at least one")
    chips = circuit.chips(chip)
    terms = tuple(
        Term(cause, chip.quantities[cause] * _counted(count / outputs, unit), at_least)
        for cause, count, unit, at_least in _counts(circuit, work)
        if cause in chip.quantities
    )
    if STATIC_POWER in chip.quantities:
        power = chip.quantities[STATIC_POWER] * _counted(chips, "chip")
        terms += (Term(STATIC_POWER, power * _counted(seconds / outputs, "s/token"), at_least=True),)
    reasons = {
        cause: chip.missing[cause] for cause in ACCOUNTED if cause in chip.missing and cause not in (TICK, MEMORY)
    }
    reasons |= {cause: UNPRICED[cause] for cause in LEFT_OUT if MESSAGES in chip.quantities or "cores" not in cause}
    reasons.setdefault(ROUTING, NOT_PLACED)
    return LivePrice(chip, chips, outputs, seconds / outputs, terms, tuple(Unpriced(*item) for item in reasons.items()))


def pricing(circuit: Circuit, chips: Sequence[Chip]) -> Callable[[Work, float], Mapping[str, float]]:
    """Joules by chip of some work in some seconds of a stream, quickly: the best figures alone.

    raises: UnsupportedError for a conventional chip.
    """
    for chip in chips:
        _require_neuromorphic(chip)
    held = {chip.name: circuit.chips(chip) for chip in chips}

    def joules(work: Work, seconds: float) -> dict[str, float]:
        counts = [(cause, count) for cause, count, _, _ in _counts(circuit, work)]
        found = {}
        for chip in chips:
            known = chip.quantities
            energy = sum(known[cause].value * count for cause, count in counts if cause in known)
            static = known[STATIC_POWER].value * held[chip.name] * seconds if STATIC_POWER in known else 0.0
            found[chip.name] = energy + static
        return found

    return joules


def _counts(circuit: Circuit, work: Work) -> Iterator[tuple[str, float, str, bool]]:
    """Cause, how often, unit, and whether it is a lower bound."""
    own = sum(count for name, count in work.events.items() if name not in circuit.inputs)
    sent = sum(count for name, count in work.events.items() if name in circuit.senders)
    yield SYNAPSES, work.synaptic_operations, "synaptic operation/token", False
    yield NEURON_UPDATES, work.neuron_updates, "neuron update/token", False
    yield SPIKE_OUTPUT, own, "event/token", False
    yield MESSAGES, sent, "message/token", True


def _from_outside(network: DynamicNetwork | Network) -> tuple[str, ...]:
    """Populations whose events a sensor, or another network, has sent."""
    return network.inputs if isinstance(network, DynamicNetwork) else tuple(source.name for source in network.sources)


def _require_neuromorphic(chip: Chip) -> None:
    if chip.kind == CONVENTIONAL:
        raise UnsupportedError(
            f"{chip.name}: energy of a stream", "a conventional chip, known by cited totals only", "a neuromorphic chip"
        )


def _counted(value: float, unit: str) -> Quantity:
    return Quantity(float(value), float(value), float(value), unit, PER_OPERATION, "counted", "counts of the stream")
