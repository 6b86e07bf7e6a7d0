"""Folder: whatever is found by the name of its file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import TypeVar

from snngen.errors import UnsupportedError

Model = TypeVar("Model")


def names(path: Iterable[str]) -> list[str]:
    """Names of the files of a package, given its `__path__`."""
    return sorted(module.name for module in pkgutil.iter_modules(path))


def modules(package: str, path: Iterable[str]) -> dict[str, ModuleType]:
    """The modules of a package, by name."""
    return {name: importlib.import_module(f"{package}.{name}") for name in names(path)}


def model(package: str, path: Iterable[str], name: str, base: type[Model]) -> type[Model]:
    """The one class of `base` that the file `name` of a package defines.

    raises: UnsupportedError for a file that is not there.
    """
    known = names(path)
    if name not in known:
        raise UnsupportedError(package.rsplit(".", 1)[-1], repr(name), "one of " + ", ".join(known))
    module = importlib.import_module(f"{package}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        # the module first: on Python 3.10 an alias such as NDArray[...] passes for a class
        if getattr(value, "__module__", "") == module.__name__ and isinstance(value, type) and issubclass(value, base)
    )
    return found
