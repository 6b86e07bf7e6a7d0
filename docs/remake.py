"""Remake every picture and table in the docs: `make docs-pictures`.

Pictures go to docs/pictures. A table stands in a page between two comments, the first of which holds the command that
makes it:

    <!-- table: snngen codes ... --markdown -->
    <!-- end -->

or, where a script of this folder makes it, `python docs/conversions.py` or `python docs/speed.py`. Speed is not
measured again: its table and picture are made of what the benchmarks left in benchmarks/results.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
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


def tables() -> None:
    """Fill every table of every page with what its command prints now."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")

        def fill(match: re.Match[str]) -> str:
            return f"{match[1]}\n{printed(*shlex.split(match['command']))}\n{match[3]}"

        filled = TABLE.sub(fill, text)
        if filled != text:
            page.write_text(filled, encoding="utf-8")


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


if __name__ == "__main__":
    animation()
    tables()
    pictures()
    growth()
