"""Exports: networks in others' formats. One file per format, found by its name; each has `write(network, path)`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from snngen import folder
from snngen.errors import UnsupportedError
from snngen.network import Network


def exports() -> dict[str, ModuleType]:
    """The writers, by name."""
    return folder.modules(__name__, __path__)


def write(network: Network, path: Path, kind: str, **options: Any) -> list[str]:
    """Write a network in another format; an existing file is replaced only once the new one is whole.

    kind: name of the format. options: what its `write` takes beside network and path.
    returns: notes, what a reader of the export has to know.
    raises: UnsupportedError for an unknown kind, or with everything that the format cannot express; FormatError for
    a path that cannot be written.
    """
    known = exports()
    if kind not in known:
        raise UnsupportedError("export", repr(kind), "one of " + ", ".join(known))
    notes: list[str] = known[kind].write(network, path, **options)
    return notes
