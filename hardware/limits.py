"""Limits: what one core of a chip can hold, how its cores are laid out, and the boards that were built of it.

Each limit says its unit, how it is known and where it is found. A limit that is not published is left out and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from snngen.errors import UnsupportedError
from snngen.hardware.quantity import EVIDENCE, PriceError

NEURONS, MEMORY, IN_AXONS, OUT_AXONS = "neurons", "synaptic memory", "in-axons", "out-axons"
PER_CORE = {NEURONS: "neurons/core", MEMORY: "bytes/core", IN_AXONS: "axons/core", OUT_AXONS: "axons/core"}
CORES, PAYLOAD, CHIPS = "cores/router", "bits/event", "chips/board"
UNITS = (*dict.fromkeys(PER_CORE.values()), CORES, PAYLOAD, CHIPS, "routers")


@dataclass(frozen=True)
class Limit:
    """A whole number that a chip cannot exceed.

    value: 0 or more. unit: one of UNITS. evidence: one of `snngen.hardware.quantity.EVIDENCE`.
    source: where the number is found.
    raises: PriceError for anything else.
    """

    value: int
    unit: str
    evidence: str
    source: str

    def __post_init__(self) -> None:
        where = f"Limit in {self.unit}"
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise PriceError(where, repr(self.value), "a whole number, 0 or more")
        if self.unit not in UNITS or self.evidence not in EVIDENCE:
            expected = f"a unit of {', '.join(UNITS)}; evidence of {', '.join(EVIDENCE)}"
            raise PriceError(where, f"evidence {self.evidence!r}", expected)
        if not self.source.strip():
            raise PriceError(f"{where}: source", "none", "where the number is found")


@dataclass(frozen=True, eq=False)
class Limits:
    """The capacity and the geometry of a chip.

    name: of the chip. per_core: by limit (PER_CORE); neurons and synaptic memory always, above 0.
    columns, rows: routers of the chip's mesh. per_router: cores on each. payload: bits that an event carries.
    boards: chips on each, by name. missing: why a limit of PER_CORE is left out; every one has a number or a reason.
    notes: what a reader of a placement must know.
    raises: PriceError for limits that do not hold to this.
    """

    name: str
    per_core: Mapping[str, Limit]
    columns: Limit
    rows: Limit
    per_router: Limit
    payload: Limit
    boards: Mapping[str, Limit]
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("per_core", "boards", "missing"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not {NEURONS, MEMORY} <= set(self.per_core) or any(limit.value < 1 for limit in self.per_core.values()):
            raise PriceError(f"{self.name}: per core", ", ".join(self.per_core), f"{NEURONS}, {MEMORY}, all above 0")
        if set(self.missing) != set(PER_CORE) - set(self.per_core) or not all(self.missing.values()):
            got = f"limits {sorted(self.per_core)}, reasons for {sorted(self.missing)}"
            raise PriceError(
                f"{self.name}: per core", got, "for each of " + ", ".join(PER_CORE) + " a limit or a reason"
            )
        units = {name: (limit.unit, PER_CORE[name]) for name, limit in self.per_core.items()}
        units |= {name: (limit.unit, CHIPS) for name, limit in self.boards.items()}
        units |= {"columns": (self.columns.unit, "routers"), "rows": (self.rows.unit, "routers")}
        units |= {"per router": (self.per_router.unit, CORES), "payload": (self.payload.unit, PAYLOAD)}
        for name, (got, expected) in units.items():
            if got != expected:
                raise PriceError(f"{self.name}: {name}", got, expected)
        if self.cores < 1 or any(limit.value < 1 for limit in self.boards.values()):
            raise PriceError(self.name, f"{self.cores} cores, boards {dict(self.boards)}", "at least 1 of each")

    def __getitem__(self, name: str) -> int:
        """A limit per core as a plain number; one that is missing raises KeyError."""
        return self.per_core[name].value

    @property
    def cores(self) -> int:
        """Cores of a chip."""
        return self.columns.value * self.rows.value * self.per_router.value

    def board(self, chips: int) -> str:
        """The smallest board that holds so many chips, as many of the largest as it takes, or what is not known."""
        if not self.boards:
            return "no board is known"
        fitting = {name: limit.value for name, limit in self.boards.items() if limit.value >= chips}
        if fitting:
            name = min(fitting, key=fitting.__getitem__)
            return f"{name} ({fitting[name]} chip{'s' if fitting[name] > 1 else ''})"
        name = max(self.boards, key=lambda board: self.boards[board].value)
        largest = self.boards[name].value
        return f"{-(-chips // largest)} x {name} ({largest} chips each): larger than any board built"


def by_name(name: str) -> Limits:
    """The limits of the chip of that name, as on the command line: ``loihi2``.

    raises: UnsupportedError for a chip whose limits are not known here.
    """
    if name not in LIMITS:
        raise UnsupportedError("placement", f"chip {name!r}", "one of " + ", ".join(LIMITS))
    return LIMITS[name]


_BRIEF = "Intel Labs 2021, Loihi 2 technology brief, read in a transcription"
_DAVIES = "Davies et al. 2018, IEEE Micro 38(1), read in a transcription"
_OHEO = "fbhtechinfo.com 2021, Intel's new Loihi-2 chip: Oheo Gulch (one chip), Kapoho Point (eight)"
_ABREU = "Abreu et al. 2025, arXiv:2503.18002 (24 of 32 chips of an Alia Point), read in a transcription"
_HALA = "Intel 2024, Hala Point announcement as quoted at lifeboat.com/blog/?p=187742 (1,152 Loihi 2 chips)"
_NAHUKU = (
    "PC World 2020, Pohoiki Springs (idgcdn.com.au/article/print/671997): 24 Nahuku boards of 32 chips, 768 in all; "
    "Kapoho Bay has two"
)
_NEIGHBOURS = (
    "Assumed: chips stand on a nearly square grid and each mesh goes on in the next one's. How the chips of a board "
    "are wired is not in the sources read."
)


def _of_intel(source: str, memory: int, neurons: int) -> dict[str, Limit]:
    return {
        NEURONS: Limit(neurons, PER_CORE[NEURONS], "stated", source),
        MEMORY: Limit(memory, PER_CORE[MEMORY], "stated", source),
    }


_ALL = (
    Limits(
        "loihi1",
        per_core={
            **_of_intel(_DAVIES, 2**17, 1024),
            IN_AXONS: Limit(4096, PER_CORE[IN_AXONS], "stated", _DAVIES),
            OUT_AXONS: Limit(4096, PER_CORE[OUT_AXONS], "stated", _DAVIES),
        },
        # 32 tiles of 4 cores; the same grid as Loihi 2's is an assumption
        columns=Limit(8, "routers", "assumed", f"32 tiles: {_DAVIES}; the grid of Loihi 2"),
        rows=Limit(4, "routers", "assumed", f"32 tiles: {_DAVIES}; the grid of Loihi 2"),
        per_router=Limit(4, CORES, "stated", _DAVIES),
        payload=Limit(0, PAYLOAD, "stated", _DAVIES),
        boards={
            "Kapoho Bay": Limit(2, CHIPS, "cited", _NAHUKU),
            "Nahuku": Limit(32, CHIPS, "cited", _NAHUKU),
            "Pohoiki Springs": Limit(768, CHIPS, "cited", _NAHUKU),
        },
        notes=(_NEIGHBOURS, "Assumed: the 32 tiles stand 8 by 4, as those of Loihi 2 do."),
    ),
    Limits(
        "loihi2",
        per_core=_of_intel(_BRIEF, 2**17, 8192),
        columns=Limit(8, "routers", "stated", _BRIEF),
        rows=Limit(4, "routers", "stated", _BRIEF),
        per_router=Limit(4, CORES, "stated", _BRIEF),
        payload=Limit(24, PAYLOAD, "stated", f"{_BRIEF} (32-bit field, 24 usable)"),
        boards={
            "Oheo Gulch": Limit(1, CHIPS, "cited", _OHEO),
            "Kapoho Point": Limit(8, CHIPS, "cited", _OHEO),
            "Alia Point": Limit(32, CHIPS, "cited", _ABREU),
            "Hala Point": Limit(1152, CHIPS, "cited", _HALA),
        },
        missing={
            IN_AXONS: "the size of Loihi 2's fan-in tables is not published",
            OUT_AXONS: "the size of Loihi 2's fan-out tables is not published",
        },
        notes=(_NEIGHBOURS,),
    ),
)
LIMITS: Mapping[str, Limits] = MappingProxyType(
    {limits.name: limits for limits in (_ALL[0], replace(_ALL[0], name="loihi1-fitted"), *_ALL[1:])}
)
