"""Lowering: how each operation of the float graph becomes populations and projections. One file per kind of operation.

Each file registers with `snngen.converters.builder.lower`.
"""

from __future__ import annotations

from types import ModuleType

from snngen import folder


def lowerings() -> dict[str, ModuleType]:
    """The files of this folder, imported, so that their operations are registered."""
    return folder.modules(__name__, __path__)
