"""How a benchmark's result is kept: one JSON file with the date, the machine, the versions and the rows.

    {"benchmark": name, "date": iso, "command": words, "machine": {...}, "versions": {...}, "rows": [{...}]}

Times taken once are noise: of repeated ones, the best says what the program can do, the median what it did.
"""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from snngen.aside import write_text
from snngen.machine import describe

PACKAGES = ("snngen", "numpy", "numba", "llvmlite")


def machine() -> dict[str, Any]:
    """The machine that this runs on, its load included (see `snngen.machine.describe`)."""
    return describe()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Versions of Python and of distributions of this environment by name; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def best_and_median(times: Sequence[float]) -> dict[str, float]:
    """{"best": the least, "median": ..., "repeats": how many} of repeated times, in their unit."""
    return {"best": min(times), "median": statistics.median(times), "repeats": len(times)}


def result(
    benchmark: str, rows: Sequence[Mapping[str, Any]], packages: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """The whole result of a benchmark, as `write` writes it.

    packages: versions besides those of PACKAGES, such as the peers' that another environment reported.
    """
    return {
        "benchmark": benchmark,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *_words()]),
        "machine": machine(),
        "versions": {**versions(), **(packages or {})},
        "rows": [dict(row) for row in rows],
    }


def write(
    path: Path,
    benchmark: str,
    rows: Sequence[Mapping[str, Any]],
    packages: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """Write a result aside, then rename; ``-`` is standard output. Returns it.

    raises: FormatError where the folder cannot be written; TypeError where a row is no JSON (a NumPy number is).
    """
    whole = result(benchmark, rows, packages)
    text = json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return whole


def read(path: Path) -> dict[str, Any]:
    """A result that `write` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _plain(value: object) -> object:
    """A NumPy number as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"got {type(value).__name__}, expected what JSON holds")


def _words() -> list[str]:
    """The words of this command, the script named from the root of the repository."""
    script, root = Path(sys.argv[0]).resolve(), Path(__file__).resolve().parents[1]
    name = str(script.relative_to(root)) if script.is_relative_to(root) else sys.argv[0]
    return [name, *sys.argv[1:]]
