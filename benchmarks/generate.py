"""How fast the settled engine generates, on one thread.

    python benchmarks/generate.py [--model NETWORK.h5] [--prompt TEXT] [--tokens N] [--repeats N] [--compilations N]
                                  [--json FILE]

Four figures, each measured several times, given as best, median and worst:

- generate: tokens/s from the first token to the last, sampling and ledger included, kernels compiled.
- prefill: tokens/s of a prompt (the text that was generated), the first token's sampling included.
- first token, warm: seconds of a whole fresh process, from its start to its end, that generates one token with the
  kernels in Numba's cache: start of Python, imports, reading of the network, prefill, sampling.
- first token, cold: the same with an empty Numba cache, so that the kernels are compiled.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record
from rich.console import Console
from rich.table import Table

import snngen
from snngen.text import Text


@dataclass(frozen=True)
class Figure:
    """One figure, measured several times. unit: tokens/s (more is better) or s (less is better)."""

    name: str
    unit: str
    values: Sequence[float]

    def as_dict(self) -> dict[str, Any]:
        low, high = min(self.values), max(self.values)
        best, worst = (low, high) if self.unit == "s" else (high, low)
        median = statistics.median(self.values)
        return {"unit": self.unit, "best": best, "median": median, "worst": worst, "repeats": len(self.values)}


def speeds(network: snngen.Network, prompt: str, tokens: int, repeats: int) -> tuple[int, int, Figure, Figure]:
    """Tokens generated, tokens of the prompt that prefill reads, and the two rates."""
    engine = snngen.SettledEngine(network)
    engine.warm()
    generated: list[int] = []
    generate, prefill = [], []
    for _ in range(repeats):
        run = snngen.generate(network, prompt, tokens, temperature=0.8, seed=1, engine=engine)
        stamps = [time.perf_counter() for _ in run]
        if len(stamps) < 2:
            sys.exit(
                f"got {len(stamps)} token, then {run.stopped}; expected 2 or more: another --prompt, more --tokens"
            )
        generate.append((len(stamps) - 1) / (stamps[-1] - stamps[0]))
        generated = run.tokens[: network.context]
        started = time.perf_counter()
        next(iter(snngen.generate(network, generated, 1, engine=engine)))
        prefill.append(len(generated) / (time.perf_counter() - started))
    rates = Figure("generate", "tokens/s", generate), Figure("prefill", "tokens/s", prefill)
    return len(stamps), len(generated), *rates


def first_token(model: Path | None, prompt: str, cache: Path) -> float:
    """Seconds of a whole process that generates one token; `cache` is its NUMBA_CACHE_DIR."""
    network = [] if model is None else [str(model)]
    command = [str(Path(sys.executable).with_name("snngen")), "generate", *network, prompt]
    command += ["--tokens", "1", "--quiet", "--no-certificate"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "NUMBA_CACHE_DIR": str(cache)})
    return time.perf_counter() - started


def starts(model: Path | None, prompt: str, repeats: int, compilations: int) -> tuple[Figure, Figure]:
    """Time to the first token of a fresh process, warm and cold."""
    with tempfile.TemporaryDirectory() as folder:
        cold = [first_token(model, prompt, Path(folder) / str(index)) for index in range(compilations)]
        warm = [first_token(model, prompt, Path(folder) / "0") for _ in range(repeats)]
    return Figure("first token, warm", "s", warm), Figure("first token, cold", "s", cold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a network (.h5); the one in the package, if left out")
    parser.add_argument("--prompt", default="The ", help="what to begin with")
    parser.add_argument(
        "--tokens", type=int, default=200, help="how many to generate, at most; the context limits them"
    )
    parser.add_argument("--repeats", type=int, default=9, help="of every figure but the cold start")
    parser.add_argument("--compilations", type=int, default=3, help="repeats of the cold start")
    parser.add_argument("--json", type=Path, help="write the figures as JSON to this file, or - for standard output")
    options = parser.parse_args()
    if min(options.repeats, options.compilations) < 1 or options.tokens < 2:
        parser.error("expected --repeats and --compilations of 1 or more, --tokens of 2 or more")

    try:
        network = snngen.load(options.model)
        length = len(Text(network).encode(options.prompt))
        generated, read, *rates = speeds(network, options.prompt, options.tokens, options.repeats)
    except snngen.SnngenError as error:
        parser.error(str(error))
    figures = [*rates, *starts(options.model, options.prompt, options.repeats, options.compilations)]
    facts = {
        "network": network.digest,
        "prompt_tokens": length,
        "generated_tokens": generated,
        "prefill_tokens": read,
    }
    rows = [{"figure": figure.name, **figure.as_dict(), **facts} for figure in figures]
    result = record.result("generate", rows)
    if options.json is not None:
        record.write(options.json, "generate", rows)
        if str(options.json) == "-":
            return
    table = Table(title=f"one thread, network {network.digest[:12]}", title_justify="left")
    for heading in ("", "best", "median", "worst", "unit", "repeats"):
        table.add_column(heading, justify="right" if heading in ("best", "median", "worst", "repeats") else "left")
    for row in rows:
        digits = ",.0f" if row["unit"] == "tokens/s" else ".2f"
        best, median, worst = (format(row[key], digits) for key in ("best", "median", "worst"))
        table.add_row(row["figure"], best, median, worst, row["unit"], str(row["repeats"]))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"generate: {generated} tokens after a prompt of {length}; prefill: {read} tokens", soft_wrap=True)
    for part in ("machine", "versions"):
        console.print(", ".join(f"{key} {value}" for key, value in result[part].items()), soft_wrap=True)


if __name__ == "__main__":
    main()
