"""Architectures. One file per family, found by its name; each has `MODEL_TYPES` and `build(checkpoint) -> Graph`.

A family that knows its models by the names of their tensors, where a file has no configuration, also has
`recognizes(checkpoint) -> bool`; it is asked only where there is no ``model_type``.
"""

from __future__ import annotations

from types import ModuleType

from snngen import folder
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Graph
from snngen.errors import UnsupportedError


def families() -> dict[str, ModuleType]:
    """The families, by name."""
    return folder.modules(__name__, __path__)


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a checkpoint: the one that its file is, or what its family builds.

    raises: UnsupportedError for an architecture that no family knows; what the family's `build` raises.
    """
    if checkpoint.graph is not None:
        return checkpoint.graph
    model_type = checkpoint.config.get("model_type")
    known = families()
    for family in known.values():
        recognizes = getattr(family, "recognizes", None) if model_type is None else None
        if model_type in family.MODEL_TYPES or (recognizes is not None and recognizes(checkpoint)):
            graph: Graph = family.build(checkpoint)
            return graph
    types = sorted(name for family in known.values() for name in family.MODEL_TYPES)
    raise UnsupportedError(f"{checkpoint.source}: model_type", repr(model_type), "one of " + ", ".join(types))
