"""Chips: numbers with unit, range, evidence and source. One file per chip, found by its name; each has `CHIP`."""

from __future__ import annotations

import importlib
import pkgutil

from snngen.errors import UnsupportedError
from snngen.hardware.chip import Chip


def chips() -> dict[str, Chip]:
    """The chips, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found: list[Chip] = [importlib.import_module(f"{__name__}.{name}").CHIP for name in names]
    return {chip.name: chip for chip in found}


def by_name(name: str) -> Chip:
    """The chip of that name, as on the command line: ``loihi2``.

    raises: UnsupportedError for a name that no file has.
    """
    known = chips()
    if name not in known:
        raise UnsupportedError("chip", repr(name), "one of " + ", ".join(known))
    return known[name]
