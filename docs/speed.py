"""The tables of speed: what was to be reached, what was, and how it was measured.

    python docs/speed.py             # prints that of docs/speed.md
    python docs/speed.py --sensors   # prints those of docs/sensors.md
    python docs/speed.py --write     # fills both pages, as `python docs/remake.py docs/speed.md docs/sensors.md` does

Every figure is read from benchmarks/results/*.json, which the benchmarks write; none is kept here. What is kept here is
why a target was missed (`WHY`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remake import fill, line

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PAGES = (DOCS / "speed.md", DOCS / "sensors.md")
HEAD = ("work", "against", "target", "reached: best (median)", "", "measured", "why")
SOURCES = ("file", "command", "date", "machine", "versions")

DRAM_BOUND = (
    "The weights come from DRAM. llama.cpp reads them at two thirds to three quarters of what plain reading reaches, "
    "so 1.3 x would need nearly all of it; rows of events, fetched ahead, reach two thirds."
)
SCATTERED = (
    "Rows that are left out save operations, but what is read lies scattered: DRAM gives about half of its bandwidth, "
    "and neuron updates and attention, which do not shrink, take a quarter of the time."
)
EDGE_OF_L3 = "24 MB of weights fill an L3 that other users of the machine share: a run of 32 tokens depends on them."
SERIAL = "Neuron updates and attention run on the first thread alone; llama.cpp gains more from its second one."
ROWS_FROM_DRAM = (
    "Eight rows stream at once; one long sequential read has fewer open DRAM pages. Longer distances did not help."
)

# Why a target was missed, or what a figure hides: by how the text in the column `work` begins
WHY: dict[str, str] = {
    "settled generation, 15M, 98% of codes non-zero, one": EDGE_OF_L3,
    "settled generation, 15M, 98% of codes non-zero, 2": f"{EDGE_OF_L3} {SERIAL}",
    "settled generation, 15M, 40% of codes non-zero, one": "Neuron updates and attention take two fifths of the time.",
    "settled generation, 15M, 40% of codes non-zero, 2": SERIAL,
    "settled generation, 110M, 98%": DRAM_BOUND,
    "settled generation, 1.1B, 98%": DRAM_BOUND,
    "settled generation, 110M, 40%": SCATTERED,
    "settled generation, 1.1B, 40%": SCATTERED,
    "prompt of 256 tokens, shipped, 2": "The matrices are too small to share; llama.cpp shares the tokens.",
    "integrate-and-fire 1024-4096-1024, 32 ticks, 20%": "At 20 % the peers' dense products waste the least.",
    "512 MB of weights": ROWS_FROM_DRAM,
    "first token, warm": "On the line: most of it is the import of NumPy and Numba, and the loading of kernels.",
    "peak memory, 110M": "The slots of a prompt's block take 32 MB; fewer would slow prompts of larger models.",
    "first token, cold": "Compiling. `snngen compile` does it ahead; then the first token is a warm one.",
}


def why(work: str) -> str:
    """The reason that is kept for a row, if there is one."""
    return next((reason for beginning, reason in WHY.items() if work.startswith(beginning)), "")


@dataclass(frozen=True)
class Row:
    """A line of the table. met: whether the target is reached; None where there is nothing to reach."""

    work: str
    against: str
    target: str
    reached: str
    met: bool | None


def llama(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Generation and prefill against llama.cpp: ratios of tokens/s."""
    for row in rows:
        asked = row["share asked for"]
        share = "" if asked is None else f", {asked:.0%} of codes non-zero"
        what = f"prompt of {row['tokens']} tokens" if row["work"] == "prefill" else "settled generation"
        rates = f"{row['tokens/s best']:,.0f} / {row['llama.cpp tokens/s best']:,.0f} tokens/s"
        yield Row(
            f"{what}, {row['model']}{share}, {threads(row['threads'])}",
            "llama.cpp Q8_0",
            f"{row['target']:.1f} x",
            f"{row['ratio best']:.2f} x ({row['ratio median']:.2f} x): {rates}",
            bool(row["reached"]),
        )


def integrate_and_fire(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """1024-4096-1024 neurons against the fastest peer."""
    for row in rows:
        if row["peer"] != "fastest":
            continue
        yield Row(
            f"integrate-and-fire 1024-4096-1024, 32 ticks, {row['input rate']:.0%} input, "
            f"peers with {threads(row['threads'])}",
            f"{row['fastest']}, the fastest",
            f"{row['target']:.0f} x",
            f"{row['times as fast, best']:.1f} x ({row['times as fast, median']:.1f} x)",
            bool(row["reached"]),
        )


def unary(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Ticked unary generation against the same network in others' simulators."""
    for row in rows:
        if row["who"] == "ours" or row["target"] is None:
            continue
        ratio = row["times as fast, fastest schedule"]
        yield Row(
            f"ticked unary generation, {row['model']}, {row['way']}",
            row["who"],
            f"{row['target']:.0f} x",
            f"{ratio['best']:.1f} x ({ratio['median']:.1f} x)",
            bool(row["reached"]),
        )


def synapses(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Synaptic operations against the bandwidth, and two threads against one."""
    for row in rows:
        if row["target"] is None:
            continue
        payloads = "spikes of ±1" if row["largest payload"] == 1 else "8-bit codes"
        work = f"{row['bytes'] >> 20} MB of weights, {row['level']}, {payloads}, {row['density']:.0%} of rows"
        rate = f"{row['operations/s best'] / 1e9:.1f} G operations/s"
        best, median = row[f"{row['about']} best"], row[f"{row['about']} median"]
        if row["about"] == "share":
            reached = f"{best:.0%} ({median:.0%}): {rate} at {row['bandwidth best'] / 1e9:.1f} GB/s"
            yield Row(work, "bandwidth of reading", f"{row['target']:.0%}", reached, best >= row["target"])
        else:
            reached = f"{best:.2f} x ({median:.2f} x): {rate}"
            yield Row(f"{work}, two threads", "one thread", f"{row['target']} x", reached, best >= row["target"])


def memory(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Peak memory against the limit."""
    for row in rows:
        yield Row(
            f"peak memory, {row['network']}, {row['weight_bytes'] / 1e6:,.0f} MB of weights",
            "bytes of the weights",
            f"{row['limit_bytes'] / 1e6:,.0f} MB = 1.1 x + 200 MB",
            f"{row['peak_bytes'] / 1e6:,.0f} MB, {row['peak_over_limit']:.0%} of the target",
            row["peak_over_limit"] <= 1,
        )


FIRST_TOKEN = {"first token, warm": 1.0, "first token, cold": 10.0}  # seconds


def generate(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Seconds to the first token of a fresh process."""
    for row in rows:
        target = FIRST_TOKEN.get(row["figure"])
        if target is not None:
            reached = f"{row['best']:.2f} s ({row['median']:.2f} s)"
            yield Row(f"{row['figure']} cache", "", f"{target:g} s", reached, row["best"] <= target)


def instructions(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """Instructions per synaptic operation, as valgrind counts them."""
    key = "instructions per synaptic operation"
    plain = next(row[key] for row in rows if row["path"] == "the plain kernel")
    for row in rows:
        if row["path"] != "the plain kernel":
            work = f"{key}, AVX2, {row['path']}"
            yield Row(work, f"the plain kernel: {plain:.2f}", "shown", f"{row[key]:.2f}", None)


def growth(rows: list[dict[str, Any]]) -> Iterator[Row]:
    """How straight the lines are."""
    wanted = {("events", "operations/token"): "linear", ("context", "context"): "linear", ("width", "width"): "shown"}
    for row in rows:
        target = wanted.get((row.get("fit", ""), row.get("against", "")))
        if target is None:
            continue
        line = f"exponent {row['exponent']:.2f}" if target == "shown" else f"R² of a line {row['R2']:.4f}"
        yield Row(f"cost of a token against {row['fit']}", row["against"], target, line, None)
    for row in rows:
        if row.get("panel") == "threads" and row["x"] > 1:
            one = next(other for other in rows if other.get("panel") == "threads" and other["x"] == 1)
            best, median = one["best"] / row["best"], one["median"] / row["median"]
            work = f"cost of a token against threads: {row['x']:.0f} threads"
            yield Row(work, "one thread", "shown", f"{best:.2f} x ({median:.2f} x)", None)


def threads(number: int | str) -> str:
    """So many threads, in words."""
    return "one thread" if number == 1 else f"{number} threads"


TABLES: dict[str, Callable[[list[dict[str, Any]]], Iterator[Row]]] = {
    "llama": llama,
    "integrate_and_fire": integrate_and_fire,
    "unary": unary,
    "synapses": synapses,
    "memory": memory,
    "generate": generate,
    "growth": growth,
    "instructions": instructions,
}


def markdown(results: Path = RESULTS) -> str:
    """The table, and a second one of where its figures come from. A miss without a why is said on standard error."""
    unexplained: list[str] = []
    lines, sources = headed(HEAD), headed(SOURCES)
    for name, rows_of in TABLES.items():
        path = results / f"{name}.json"
        if not path.exists():
            lines.append(line(name.replace("_", " "), "", "", "not measured", "", name, ""))
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        for one in rows_of(result["rows"]):
            unexplained += [one.work] if one.met is False and not why(one.work) else []
            met = {True: "reached", False: "missed", None: ""}[one.met]
            reason = "" if one.met else why(one.work)
            lines.append(line(one.work, one.against, one.target, one.reached, met, name, reason))
        sources.append(line(*source(path, result)))
    for work in unexplained:
        print(f"missed, without a why: {work}", file=sys.stderr)
    return "\n".join([*lines, "", *sources])


def sensors(results: Path = RESULTS) -> str:
    """What the continuous engine takes, how late answers come, and where the figures come from."""
    lines, sources = [], headed(SOURCES)
    for name, lines_of in (("stream", stream), ("latency", latency)):
        path = results / f"{name}.json"
        if not path.exists():
            lines += [f"{name}: not measured", ""]
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        lines += [*lines_of(result["rows"]), ""]
        sources.append(line(*source(path, result)))
    return "\n".join([*lines, *sources])


def stream(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The continuous engine alone."""
    about = rows[0]
    yield (
        f"The engine alone, on one thread: {about['events']:,} events in {about['seconds']:g} s of stream, fan-out "
        f"{about['fan-out']}, {about['spikes']:,} spikes; {about['repeats']} runs."
    )
    yield ""
    yield from headed(("figure", "best", "median", "worst"))
    for one in rows:
        digits = ".2f" if one["median"] < 100 else ",.0f"
        yield line(one["figure"], *(format(one[column], digits) for column in ("best", "median", "worst")))


def latency(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The whole stream, by rate, alone and beside busy programs."""
    about = rows[0]
    yield (
        f"The whole stream, digits, an answer every {about['period, ms']:g} ms, a queue of {about['queue']:,} events, "
        "drop-oldest."
    )
    yield ""
    times = ("p50, ms", "p95, ms", "p99, ms", "longest, ms")
    factors = ("real time, s/s", "if it never waited")
    yield from headed(("events/s", "busy programs started beside it", "dropped", *times, *factors))
    for one in rows:
        dropped = f"{one['dropped'] / one['sent']:.1%}" if one["dropped"] else "none"
        figures = [*(f"{one[key]:.1f}" for key in times), *(f"{one[key]:.2f}" for key in factors)]
        yield line(f"{one['rate, events/s']:,.0f}", str(one["busy beside"]), dropped, *figures)


def headed(columns: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [line(*columns), line(*["---"] * len(columns))]


def source(path: Path, result: dict[str, Any]) -> list[str]:
    """Where the figures of a file come from."""
    machine = result["machine"]
    load = "" if machine["load"] is None else f", load {machine['load'][0]:.1f} at the end"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version is not None)
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GiB"
    described = f"{machine['processor']}, {machine['cores']} cores{memory}{load}"
    return [path.stem, f"`{result['command']}`", result["date"][:10], described, versions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--sensors", action="store_true", help="the tables of docs/sensors.md")
    parser.add_argument("--write", action="store_true", help="fill docs/speed.md and docs/sensors.md")
    options = parser.parse_args()
    if options.write:
        for page in PAGES:
            fill(page)
    else:
        print(sensors(options.results) if options.sensors else markdown(options.results))


if __name__ == "__main__":
    main()
