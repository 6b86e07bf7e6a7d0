"""The table of conversions: what each format and family keeps, and what it costs.

    python docs/conversions.py           # prints it
    python docs/conversions.py --write   # fills it into docs/converters.md
    python docs/conversions.py --only GGUF --write  # only these rows

Every figure is computed here: models are converted with the default settings (8-bit weights, 8-bit codes) and
compared with the framework that they come from. Models that the examples train are kept in ``.trained``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads slow such small products down
sys.path.insert(0, str(Path(__file__).parent))

from conversion_row import Row, measured
from conversion_subjects import SUBJECTS

PAGE = Path(__file__).with_name("converters.md")
BEGIN, END = "<!-- table: python docs/conversions.py -->", "<!-- end -->"
HEAD = ("format", "family", "model", "parity", "figure", "float", "network", "change", "events", "synaptic operations",
        "energy, loihi2", "certificate")  # fmt: skip


def rows(only: str = "", left_out: list[str] | None = None) -> Iterator[Row]:
    """The rows, as they come.

    only: a title, or part of some. left_out: receives a line per group whose libraries are absent.
    """
    chosen = [subject for subject in SUBJECTS if subject[0] == only]
    chosen = chosen or [subject for subject in SUBJECTS if only.lower() in subject[0].lower()]
    with tempfile.TemporaryDirectory() as scratch:
        for title, libraries, make in chosen:
            absent = [name for name in libraries if importlib.util.find_spec(name) is None]
            if absent:
                line = f"{title}: left out, as {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
                (left_out if left_out is not None else []).append(line)
                continue
            folder = Path(scratch) / title.replace(" ", "-")
            folder.mkdir()
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the frameworks that are compared with
                for subject in make(folder):
                    row = measured(subject)
                    print(f"{' / '.join(row.key)}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
                    started = time.perf_counter()
                    yield row


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    figure = row.figure
    percent = figure.kind in ("perplexity", "nats per latent")
    unit = "" if percent else " dB"
    certificate = f"equal: {row.settled.codes:,} codes, ticked {row.ticked.codes:,}"
    if not (row.settled.clean and row.ticked.clean):
        certificate = f"settled {row.settled}; ticked {row.ticked}"
    digits = 4 if figure.kind == "nats per latent" else 2
    return (
        *row.key, str(row.parity), figure.kind,
        "" if figure.exact is None else f"{figure.exact:.{digits}f}{unit}",
        f"{figure.network:.{digits}f}{unit}",
        "" if figure.change is None else f"{round(figure.change, 2) + 0.0:+.2f} {'%' if percent else 'dB'}",
        f"{row.events:,.0f}", f"{row.operations:,.0f}", row.energy, certificate,
    )  # fmt: skip


def table(found: list[Row], left_out: list[str]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |"]
    lines.append("| " + " | ".join("---:" if 5 <= column <= 9 else "---" for column in range(len(HEAD))) + " |")
    lines += ["| " + " | ".join(cells(row)) + " |" for row in found]
    return "\n".join([*lines, *(["", *left_out] if left_out else [])]) + "\n"


def lines_of(text: str) -> dict[tuple[str, str, str], str]:
    """The lines of a table, head aside, by (format, family, model)."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    names = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines]
    return {(name[0], name[1], name[2]): line for name, line in zip(names, lines, strict=True)}


def committed(page: Path = PAGE) -> str:
    """The table in the page."""
    text = page.read_text(encoding="utf-8")
    start = text.index(BEGIN) + len(BEGIN)
    return text[start : text.index(END, start)]


def write(text: str, page: Path = PAGE) -> None:
    """Put the table between its two comments."""
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace(BEGIN + committed(page), f"{BEGIN}\n\n{text}\n"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a group's title")
    parser.add_argument("--write", action="store_true", help="fill the table into docs/converters.md")
    arguments = parser.parse_args()
    left_out: list[str] = []
    text = table(list(rows(arguments.only, left_out)), left_out)
    if not arguments.write:
        print(text)
    elif left_out:
        sys.exit("the page holds all rows: " + "; ".join(left_out))
    elif arguments.only:
        head = text.splitlines()[:2]
        write("\n".join([*head, *(lines_of(committed()) | lines_of(text)).values()]) + "\n")
    else:
        write(text)


if __name__ == "__main__":
    main()
