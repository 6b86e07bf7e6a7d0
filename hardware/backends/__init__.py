"""Backends: a network run by another library. One file per backend, found by its name.

`by_name` imports a backend only when it is asked for, so that none of their libraries is needed for the rest.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from snngen import folder
from snngen.errors import UnsupportedError


def kinds() -> list[str]:
    """Names of all backends, one per file of this folder."""
    return folder.names(__path__)


def by_name(name: str) -> ModuleType:
    """The module of a backend.

    raises: UnsupportedError for an unknown backend, or one whose library cannot be imported here.
    """
    if name not in kinds():
        raise UnsupportedError("backend", repr(name), "one of " + ", ".join(kinds()))
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UnsupportedError(
            f"backend {name}", reason, f"the libraries that {name} runs on", 'pip install "snngen[torch]", or [loihi]'
        ) from error
