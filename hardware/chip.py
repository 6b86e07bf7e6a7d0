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
TICK, SYNAPSE_TIME, UPDATE_TIME, MEMORY = "tick", "synapse time", "neuron update time", "synaptic memory"
ENERGY = (SYNAPSES, NEURON_UPDATES, STATIC_POWER)

# The causes that a chip can have a figure for, and the unit of each.
CAUSES = {
    SYNAPSES: "J/synaptic operation",
    NEURON_UPDATES: "J/neuron update",
    STATIC_POWER: "W/chip",
    TICK: "s/tick",
    SYNAPSE_TIME: "s/synaptic operation",
    UPDATE_TIME: "s/neuron update",
    MEMORY: "bytes/chip",
}


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
    quantities: per-operation figures by cause (CAUSES); a neuromorphic chip has at least its tick and its synaptic
        memory. The tick is the shortest that the chip can make.
    missing: why a cause of energy (ENERGY) has no figure; every one has a figure or a reason.
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
            if self.quantities or self.missing or not self.cited:
                raise PriceError(self.name, "figures by cause, or none that are cited", "cited figures and no others")
            return
        if self.cited or not {TICK, MEMORY} <= set(self.quantities) or not self.quantities[MEMORY].low > 0:
            raise PriceError(self.name, ", ".join(self.quantities), f"{TICK}, {MEMORY} above 0, and nothing cited")
        priced = {cause for cause in ENERGY if cause in self.quantities}
        if not priced or set(self.missing) != set(ENERGY) - priced or not all(self.missing.values()):
            got = f"figures for {sorted(priced)}, reasons for {sorted(self.missing)}"
            raise PriceError(self.name, got, f"for each of {', '.join(ENERGY)} a figure or a reason, not all reasons")
