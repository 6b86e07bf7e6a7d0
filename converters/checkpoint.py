"""Checkpoint: what a format reader hands to a family: named float tensors, a configuration, a tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snngen.converters.graph import Graph
from snngen.converters.operations import Floats
from snngen.errors import FormatError


@dataclass(eq=False)
class Checkpoint:
    """A model as it lay in a file, under Hugging Face's tensor names and configuration keys.

    source: file or folder. format: name of the reader. digest: SHA-256 of what was read.
    graph: of a format that stores operations and not the tensors of a known architecture; no family has to build it.
    """

    source: str
    format: str
    digest: str
    config: dict[str, Any]
    tensors: dict[str, Floats]
    tokenizer: str | None = None
    begin: int | None = None
    end: tuple[int, ...] = ()
    notes: list[str] = field(default_factory=list)
    graph: Graph | None = None

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Remove and return a tensor, checked: present, of this shape, finite.

        raises: FormatError otherwise.
        """
        where = f"{self.source}: {name}"
        if name not in self.tensors:
            near = [known for known in self.tensors if known.rsplit(".", 2)[-2:] == name.rsplit(".", 2)[-2:]][:3]
            raise FormatError(where, "no such tensor", f"shape {shape}", f"The file has {near}" if near else "")
        tensor = self.tensors.pop(name)
        if tensor.shape != shape:
            raise FormatError(where, f"shape {tensor.shape}", f"{shape}, as the configuration says")
        if not np.isfinite(tensor).all():
            bad = int((~np.isfinite(tensor)).sum())
            raise FormatError(where, f"{bad} values that are NaN or infinite", "finite weights")
        return np.asarray(tensor, dtype=np.float32)

    def require_spent(self) -> None:
        """Every tensor was taken.

        raises: FormatError otherwise.
        """
        if self.tensors:
            raise FormatError(self.source, f"tensors left over: {sorted(self.tensors)[:8]}", "a known use for each")


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in order."""
    hasher = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                hasher.update(block)
    return hasher.hexdigest()
