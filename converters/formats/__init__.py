"""File formats. One file per format, found by its name; each has `recognizes(path)` and `read(path, tokenizer)`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from snngen import folder
from snngen.converters.checkpoint import Checkpoint
from snngen.errors import FormatError


def formats() -> dict[str, ModuleType]:
    """The readers, by name."""
    return folder.modules(__name__, __path__)


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read a model in whatever format it is.

    path: file or folder. tokenizer: its tokenizer, where the format keeps it apart.
    raises: FormatError for a path that does not exist, that no reader knows, or that is damaged.
    """
    if not path.exists():
        raise FormatError(str(path), "no such file or folder", "a model")
    readers = formats()
    for reader in readers.values():
        if reader.recognizes(path):
            checkpoint: Checkpoint = reader.read(path, tokenizer)
            return checkpoint
    raise FormatError(str(path), "an unknown format", "one of " + ", ".join(readers))
