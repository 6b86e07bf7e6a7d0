"""Files are written aside and then renamed: a file is either whole or absent, and an old one is never half lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snngen.errors import FormatError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    raises: FormatError where the folder cannot be written.
    """
    aside = _begin(path)
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before the work whose result is to go there.

    raises: FormatError.
    """
    _begin(path).unlink()


def _begin(path: Path) -> Path:
    """An empty temporary file beside `path`."""
    if path.is_dir():
        raise FormatError(str(path), "a folder", "a file name")
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.touch()
    except OSError as error:
        raise FormatError(str(path), error.strerror or str(error), "a path that can be written") from error
    return aside


def write_text(path: Path, text: str) -> None:
    """Write a text file aside, then rename."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
