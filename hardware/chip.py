"""Chip: what a piece of hardware costs by cause, or what others measured on it all-in; never the one plus the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from snngen.hardware.quantity import ALL_IN, PER_OPERATION, PriceError, Quantity
from snngen.ledger import PHASES

NEUROMORPHIC, CONVENTIONAL = "neuromorphic", "conventional"
KINDS = (NEUROMORPHIC, CONVENTIONAL)

SYNAPSES, NEURON_UPDATES, STATIC_POWER = "synapses", "neuron updates", "static power"
SPIKE_OUTPUT, MESSAGES, ROUTING = "spike output", "messages", "routing"
MULTIPLICATIONS, WEIGHT_READS = "multiplications", "weight reads"
TICK, SYNAPSE_TIME, UPDATE_TIME, MEMORY = "tick", "synapse time", "neuron update time", "synaptic memory"
ENERGY = (SYNAPSES, NEURON_UPDATES, SPIKE_OUTPUT, MESSAGES, ROUTING, STATIC_POWER)

# What every neuromorphic chip has a figure or a reason for.
ACCOUNTED = (*ENERGY, TICK, MEMORY)

# The causes that a chip can have a figure for, and the unit of each. An event leaves a neuron once (spike output),
# as one message for each core that it goes to, and each message makes hops through the mesh (routing).
# Multiplications and weight reads are those of a network that does not spike, where the silicon could run one.
CAUSES = {
    SYNAPSES: "J/synaptic operation",
    NEURON_UPDATES: "J/neuron update",
    SPIKE_OUTPUT: "J/event",
    MESSAGES: "J/message",
    ROUTING: "J/hop",
    MULTIPLICATIONS: "J/multiply-accumulate",
    WEIGHT_READS: "J/byte",
    STATIC_POWER: "W/chip",
    TICK: "s/tick",
    SYNAPSE_TIME: "s/synaptic operation",
    UPDATE_TIME: "s/neuron update",
    MEMORY: "bytes/chip",
}

# The one cause of a conventional chip: what a meter sees.
MEASURED = "measured energy"


@dataclass(frozen=True)
class Cited:
    """What others measured for a model of theirs. It is quoted as it stands, never scaled to another model.

    model: the model and the software that ran it. phase: prefill or generate.
    energy: J/token, all-in.
    boundary: what the meter saw.
    rate: token/s at which it ran, or None.
    raises: PriceError for another unit, scope or phase.
    """

    model: str
    phase: str
    energy: Quantity
    boundary: str
    rate: Quantity | None = None

    def __post_init__(self) -> None:
        if not self.model.strip() or not self.boundary.strip():
            raise PriceError("Cited", f"model {self.model!r}, boundary {self.boundary!r}", "both named")
        if self.phase not in PHASES:
            raise PriceError(f"{self.model}: phase", repr(self.phase), "one of " + ", ".join(PHASES))
        for quantity, unit in ((self.energy, "J/token"), (self.rate, "token/s")):
            if quantity is not None and (quantity.unit, quantity.scope) != (unit, ALL_IN):
                raise PriceError(self.model, f"{quantity.unit}, {quantity.scope}", f"{unit}, {ALL_IN}")


@dataclass(frozen=True, eq=False)
class Chip:
    """A piece of hardware.

    name: as on the command line. title: in full.
    kind: NEUROMORPHIC, with a figure per cause, or CONVENTIONAL, with cited figures only.
    quantities: per-operation figures by cause (CAUSES). The tick is the shortest that the chip can make.
    missing: why there is no figure: for each of ACCOUNTED a neuromorphic chip has a figure or a reason; a
        conventional one has cited figures or, for MEASURED, a reason.
    cited: all-in figures of others.
    notes: what a reader must know to use the figures.
    raises: PriceError for a chip that does not hold to this.
    """

    name: str
    title: str
    kind: str
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    cited: tuple[Cited, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("quantities", "missing"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name) or not self.title.strip():
            raise PriceError("Chip", f"name {self.name!r}, title {self.title!r}", "a-z, 0-9, inner '-'; a title")
        if self.kind not in KINDS:
            raise PriceError(f"{self.name}: kind", repr(self.kind), "one of " + ", ".join(KINDS))
        for cause, quantity in self.quantities.items():
            if CAUSES.get(cause) != quantity.unit or quantity.scope != PER_OPERATION:
                wanted = ", ".join(f"{known} in {unit}" for known, unit in CAUSES.items())
                got = f"{cause} in {quantity.unit}, {quantity.scope}"
                raise PriceError(self.name, got, f"{wanted}; {PER_OPERATION}")
        if self.kind == CONVENTIONAL:
            self._check_conventional()
        else:
            self._check_neuromorphic()

    def _check_conventional(self) -> None:
        reasoned = set(self.missing) == {MEASURED} and all(reason.strip() for reason in self.missing.values())
        if self.quantities or bool(self.cited) == bool(self.missing) or not (self.cited or reasoned):
            got = f"{len(self.quantities)} figures by cause, {len(self.cited)} cited, reasons for {list(self.missing)}"
            raise PriceError(self.name, got, f"cited figures and no others, or a reason for {MEASURED}")

    def _check_neuromorphic(self) -> None:
        if self.cited or (MEMORY in self.quantities and not self.quantities[MEMORY].low > 0):
            raise PriceError(self.name, ", ".join(self.quantities), f"{MEMORY} above 0, and nothing cited")
        if (MULTIPLICATIONS in self.quantities) != (WEIGHT_READS in self.quantities):
            raise PriceError(
                self.name, ", ".join(self.quantities), f"both {MULTIPLICATIONS} and {WEIGHT_READS}, or none"
            )
        known = {cause for cause in ACCOUNTED if cause in self.quantities}
        reasons = all(reason.strip() for reason in self.missing.values())
        if not known & set(ENERGY) or set(self.missing) != set(ACCOUNTED) - known or not reasons:
            got = f"figures for {sorted(known)}, reasons for {sorted(self.missing)}"
            wanted = f"for each of {', '.join(ACCOUNTED)} a figure or a reason, not all reasons"
            raise PriceError(self.name, got, wanted)
