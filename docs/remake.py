"""Remake every picture and table in the docs: `make docs-pictures`.

    python docs/remake.py                               # all of them
    python docs/remake.py docs/speed.md docs/sensors.md # the tables of these pages

Pictures go to docs/pictures. A table stands in a page between two comments, the first of which holds the command that
makes it:

    <!-- table: snngen codes ... --markdown -->
    <!-- end -->

or, where a script of this folder makes it, `python docs/conversions.py` or `python docs/speed.py`. Speed is not
measured again: tables and picture are made of what the benchmarks left in benchmarks/results (`make bench`). Nor are
other systems asked again (docs/comparison.json).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parent
PAGES = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
PICTURES = DOCS / "pictures"
TABLE = re.compile(r"(<!-- table: (?P<command>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def snngen(*words: str) -> str:
    """Run the command `snngen`; returns what it prints."""
    return printed("snngen", *words)


def printed(program: str, *words: str) -> str:
    """Run `snngen` or `python` of this environment from the root of the repository; returns what it prints."""
    command = [str(Path(sys.executable).with_name(program)), *words]
    print("$", shlex.join([program, *words]), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=DOCS.parent).stdout


def fill(page: Path) -> None:
    """Fill every table of a page with what its command prints now.

    raises: CalledProcessError where a command fails; the page is as it was.
    """
    commands = [match["command"] for match in TABLE.finditer(page.read_text(encoding="utf-8"))]
    texts = {command: printed(*shlex.split(command)) for command in commands}
    text = page.read_text(encoding="utf-8")  # again: a command may have taken minutes
    if filled(text, texts) != text:
        page.write_text(filled(text, texts), encoding="utf-8")


def filled(text: str, texts: Mapping[str, str]) -> str:
    """A page whose tables are these texts, by command."""
    return TABLE.sub(lambda match: f"{match[1]}\n{texts[match['command']].strip()}\n\n{match[3]}", text)


def line(*cells: str) -> str:
    """A line of a table in Markdown; a bar in a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def pictures() -> None:
    """Draw the pictures that no table's command draws."""
    PICTURES.mkdir(exist_ok=True)
    model = "snngen/models/shakespeare.h5"
    snngen(
        "compare", model, "ROMEO:", "--tokens", "100", "--seed", "1", "--out", str(PICTURES / "compare.png"), "--quiet"
    )
    snngen("place", model, "--chip", "loihi2", "--out", str(PICTURES / "place.png"))
    with tempfile.TemporaryDirectory() as folder:
        for name, code, schedule in (("raster-layered", "bitwise", "layered"), ("raster-eager", "bitwise", "eager")):
            trace = str(Path(folder) / "run.h5")
            snngen(
                "generate", model, "ROMEO:", "--tokens", "10", "--seed", "1", "--code", code, "--schedule", schedule,
                "--trace", trace, "--no-certificate", "--quiet",
            )  # fmt: skip
            snngen("plot", trace, "--out", str(PICTURES / f"{name}.png"))


def animation() -> None:
    """Draw the digits before the event camera (`docs/digits_animation.py`)."""
    printed("python", "docs/digits_animation.py", str(PICTURES / "digits.gif"))


def growth() -> None:
    """Draw how the cost of a token grows, from what was measured (`benchmarks/growth.py`), if it was."""
    measured = "benchmarks/results/growth.json"
    if (DOCS.parent / measured).exists():
        printed("python", "benchmarks/growth.py", "--from", measured, "--plot", str(PICTURES / "speed_growth.png"))


def main() -> None:
    chosen = [Path(word) for word in sys.argv[1:]]
    for page in chosen or PAGES:
        fill(page)
    if not chosen:
        animation()
        pictures()
        growth()


if __name__ == "__main__":
    main()
