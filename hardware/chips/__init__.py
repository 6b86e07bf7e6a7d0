"""Chips: numbers with unit, range, evidence and source. One file per chip, found by its name; each has `CHIP`."""

from __future__ import annotations

from snngen import folder
from snngen.errors import UnsupportedError
from snngen.hardware.chip import Chip


def chips() -> dict[str, Chip]:
    """The chips, by name."""
    found: list[Chip] = [module.CHIP for module in folder.modules(__name__, __path__).values()]
    return {chip.name: chip for chip in found}


def by_name(name: str) -> Chip:
    """The chip of that name, as on the command line: ``loihi2``.

    raises: UnsupportedError for a name that no file has.
    """
    known = chips()
    if name not in known:
        raise UnsupportedError("chip", repr(name), "one of " + ", ".join(known))
    return known[name]
