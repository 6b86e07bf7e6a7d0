"""How the cost of a token grows: with events, with the context, with the width, with threads.

    python benchmarks/growth.py [--repeats N] [--quick] [--plot FILE] [--json FILE]
    python benchmarks/growth.py --from FILE --plot FILE    # draws what was measured before

Random networks of LLaMA's shape (`snngen.synthetic`) run in the settled engine; each is first certified against the
reference. The times of one panel are taken in turns.

- events: the same shape with fewer and fewer codes that are not zero, against synaptic operations. A line is fitted.
- context: a token against the tokens before it: attention reads one key and one value per token. A line is fitted.
- width: channels doubled again and again; an exponent is fitted, to operations and to channels.
- threads: tokens/s with one thread to as many as there are cores, and the same for a delivery of 64 MB alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import snngen
from snngen import machine, roofline
from snngen.engines.settled import SettledEngine
from snngen.kernels import settled
from snngen.network import Network
from snngen.plots import DARK, STYLES, save
from snngen.synthetic import SHAPES, Shape, llama

SHARES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.98)
WIDTHS = (64, 128, 256, 512, 1024)
VOCABULARY = 1024  # where the vocabulary is not what is measured
CONTEXT, BIN = 1024, 64
COMPARED = 2  # tokens of each network that are certified


def prompt(network: Network, tokens: int) -> list[int]:
    """Random tokens."""
    drawn: list[int] = np.random.default_rng(3).integers(0, network.vocabulary, tokens).tolist()
    return drawn


def certified(network: Network, threads: int = 1) -> SettledEngine:
    """An engine that equals the reference on the first tokens. raises: MismatchError where it does not."""
    engine = SettledEngine(network, threads=threads)
    snngen.certify(network, prompt(network, COMPARED), engine).require()
    return engine


def generate(engine: SettledEngine, tokens: Sequence[int], passes: int) -> None:
    """Run the tokens from the beginning of the context, `passes` times."""
    for _ in range(passes):
        engine.reset()
        for token in tokens:
            engine.step(token)


def counted(engine: SettledEngine, tokens: Sequence[int]) -> dict[str, float]:
    """Events and synaptic operations per token, on average."""
    engine.reset()
    events, operations = [], []
    for token in tokens:
        engine.step(token)
        populations, projections = engine.counted()
        events.append(populations[:, settled.GRADED].sum())
        operations.append(projections[:, settled.GRADED].sum())
    return {"events/token": float(np.mean(events)), "operations/token": float(np.mean(operations))}


def in_turns(panel: str, engines: dict[float, SettledEngine], tokens: int, repeats: int) -> list[dict[str, Any]]:
    """A row per engine: x, counts, seconds per token (best and median), taken in turns."""
    chosen = {x: prompt(engine.network, tokens) for x, engine in engines.items()}
    works: list[Sequence[Callable[[int], Any]]] = [[partial(generate, e, chosen[x])] for x, e in engines.items()]
    rows = []
    for (x, engine), times in zip(engines.items(), roofline.in_turns(works, repeats), strict=True):
        seconds = record.best_and_median([taken / tokens for taken in times.seconds])
        rows.append({"panel": panel, "x": x, **counted(engine, chosen[x]), **seconds, "tokens compared": COMPARED})
    return rows


def by_events(shape: Shape, tokens: int, repeats: int) -> list[dict[str, Any]]:
    """The same shape, with other shares of codes that are not zero."""
    engines: dict[float, SettledEngine] = {
        share: certified(llama(shape, share, context=max(64, tokens))) for share in SHARES
    }
    return in_turns("events", engines, tokens, repeats)


def by_width(widths: Sequence[int], tokens: int, repeats: int) -> list[dict[str, Any]]:
    """Channels doubled; hidden channels, heads (of 32 channels) and operations grow along."""
    engines: dict[float, SettledEngine] = {}
    for width in widths:
        shape = Shape(width, 8 * width // 3 // 8 * 8, 4, width // 32, width // 32, VOCABULARY)
        engines[width] = certified(llama(shape, context=max(64, tokens)))
    return in_turns("width", engines, tokens, repeats)


def by_context(shape: Shape, context: int, repeats: int) -> list[dict[str, Any]]:
    """Token after token until the context is full: the time of each, best and median, on average over a bin."""
    engine = certified(llama(shape, context=context))
    tokens = prompt(engine.network, context)
    seconds = np.empty((repeats, context))
    operations = np.empty(context)
    for repeat in range(repeats + 1):  # the first is not counted
        engine.reset()
        for at, token in enumerate(tokens):
            started = time.perf_counter()
            engine.step(token)
            seconds[repeat - 1, at] = time.perf_counter() - started
            operations[at] = engine.counted()[1][:, settled.GRADED].sum()
    rows = []
    for first in range(0, context - BIN + 1, BIN):
        own = seconds[:, first : first + BIN]
        rows.append({
            "panel": "context", "x": first + BIN / 2, "operations/token": float(operations[first : first + BIN].mean()),
            "best": float(own.min(axis=0).mean()), "median": float(np.median(own, axis=0).mean()),
            "repeats": repeats, "tokens compared": COMPARED,
        })  # fmt: skip
    return rows


def by_threads(shape: Shape, size: int, tokens: int, repeats: int) -> list[dict[str, Any]]:
    """Whole networks and single deliveries with one thread and more."""
    threads = sorted({1, 2, *(1 << at for at in range(8)), machine.cores()} & set(range(1, machine.cores() + 1)))
    network = llama(shape, context=max(64, tokens))
    rows = in_turns("threads", {number: certified(network, number) for number in threads}, tokens, repeats)
    buffer = roofline.Buffer.of("DRAM", size)
    for number in threads:
        point = roofline.measure(buffer, threads=number, repeats=repeats)
        rows.append({
            "panel": "threads, delivery", "x": number, "best": point.delivery.best, "median": point.delivery.median,
            "operations/token": point.operations, "speedup best": point.speedup, "repeats": repeats,
        })  # fmt: skip
    return rows


def fitted(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """y = intercept + slope * x by least squares; R2, the share of the variance that the line explains."""
    slope, intercept = np.polyfit(x, y, 1)
    rest = np.asarray(y) - intercept - slope * np.asarray(x)
    return {
        "intercept": float(intercept),
        "slope": float(slope),
        "R2": float(1 - rest.var() / np.var(y)),
        "exponent": float(np.polyfit(np.log(x), np.log(y), 1)[0]),
    }


def fits(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A fit per panel, of the best times."""
    found = []
    for panel, against in (
        ("events", "operations/token"),
        ("context", "x"),
        ("width", "operations/token"),
        ("width", "x"),
    ):
        own = [row for row in rows if row["panel"] == panel]
        fit = fitted([row[against] for row in own], [row["best"] for row in own])
        found.append({"fit": panel, "against": {"x": panel}.get(against, against), **fit})
    return found


def draw(rows: Sequence[dict[str, Any]], fit: Sequence[dict[str, Any]], processor: str, path: Path) -> None:
    """Four panels: what was measured as markers, what was fitted as lines."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    events, context, width, threads = figure.subplots(2, 2).flat
    figure.suptitle(f"What a token costs, {processor}")
    own = {panel: [row for row in rows if row["panel"] == panel] for panel in {row["panel"] for row in rows}}
    line(events, own["events"], "operations/token", 1e6, fit[0])
    events.set(xlabel="synaptic operations per token, millions", title=f"events: R² of a line {fit[0]['R2']:.4f}")
    line(context, own["context"], "x", 1, fit[1])
    context.set(xlabel="tokens before it", title=f"context: R² of a line {fit[1]['R2']:.4f}")
    power(width, own["width"], fit[2], fit[3])
    scaling(threads, own)
    for axes in (events, context, width):
        axes.set_ylabel("ms per token")
        axes.legend(fontsize=8)
    save(figure, path)


def line(axes: Axes, rows: Sequence[dict[str, Any]], key: str, unit: float, fit: dict[str, Any]) -> None:
    """Times with a fitted line."""
    x = np.array([row[key] for row in rows])
    axes.plot(x / unit, [1e3 * row["median"] for row in rows], "o", color=DARK, markerfacecolor="white", label="median")
    axes.plot(x / unit, [1e3 * row["best"] for row in rows], "o", color=DARK, label="best")
    ends = np.array([0, x.max()])
    axes.plot(ends / unit, 1e3 * (fit["intercept"] + fit["slope"] * ends), "--", color=STYLES[1][1], label="line")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)


def power(axes: Axes, rows: Sequence[dict[str, Any]], operations: dict[str, Any], channels: dict[str, Any]) -> None:
    """Times against channels, both logarithmic, with a line of slope 2."""
    x, best = np.array([row["x"] for row in rows]), np.array([1e3 * row["best"] for row in rows])
    axes.plot(x, [1e3 * row["median"] for row in rows], "o", color=DARK, markerfacecolor="white", label="median")
    axes.plot(x, best, "o", color=DARK, label="best")
    axes.plot(x, best[-1] * (x / x[-1]) ** 2, "--", color=STYLES[1][1], label="channels², as many as the weights")
    axes.set(xscale="log", yscale="log", xlabel="channels")
    axes.set_xticks(x, [str(int(value)) for value in x])
    axes.minorticks_off()
    axes.set_title(f"width: as channels^{channels['exponent']:.2f}, operations^{operations['exponent']:.2f}")
    axes.grid(alpha=0.3)


def scaling(axes: Axes, own: dict[str, list[dict[str, Any]]]) -> None:
    """Speed with threads, to one thread's."""
    panels = (("threads", "o-", "tokens of the network"), ("threads, delivery", "s--", "a delivery of 8-bit weights"))
    most = 1.0
    for (panel, style, label), (_, colour) in zip(panels, STYLES, strict=False):
        rows = own[panel]
        speedup = [rows[0]["best"] / row["best"] for row in rows]
        most = max(most, *(row["x"] for row in rows))
        axes.plot([row["x"] for row in rows], speedup, style, color=colour, label=label)
    axes.plot([1, most], [1, most], ":", color=DARK, label="as many times as threads")
    axes.set_xticks([row["x"] for row in own["threads"]])
    axes.set(xlabel="threads", ylabel="times as fast as one thread", title="threads", ylim=(0, None))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def show(rows: Sequence[dict[str, Any]], fit: Sequence[dict[str, Any]]) -> None:
    table = Table(title=f"snngen {snngen.__version__}, {machine.processor()}", title_justify="left")
    for heading in ("panel", "at", "operations/token", "best, ms", "median, ms"):
        table.add_column(heading, justify="left" if heading == "panel" else "right")
    for row in rows:
        times = (f"{1e3 * row[key]:.3f}" for key in ("best", "median"))
        table.add_row(row["panel"], f"{row['x']:g}", f"{row['operations/token']:,.0f}", *times)
    console = Console(highlight=False, width=110)
    console.print(table)
    for one in fit:
        what = f"R2 of a line {one['R2']:.4f}, exponent {one['exponent']:.2f}, slope {1e9 * one['slope']:.4g} ns"
        console.print(f"{one['fit']} against {one['against']}: {what}")


def redraw(before: Path, path: Path) -> None:
    """Draw the panels from a result that was written before."""
    result = record.read(before)
    measured = [row for row in result["rows"] if "fit" not in row]
    draw(measured, fits(measured), result["machine"]["processor"], path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=16, help="of a timing")
    parser.add_argument("--quick", action="store_true", help="smaller networks: to see that it works")
    parser.add_argument("--plot", type=Path, help="draw the four panels (.png, .svg or .pdf)")
    parser.add_argument("--json", type=Path, help="write the rows as JSON to this file, or - for standard output")
    parser.add_argument("--from", type=Path, dest="before", help="do not measure: draw from this JSON")
    options = parser.parse_args()
    if options.before is not None:
        if options.plot is None:
            parser.error("expected --plot with --from")
        redraw(options.before, options.plot)
        return
    if min(options.repeats, options.tokens) < 1:
        parser.error("expected --repeats and --tokens of 1 or more")
    quick, tokens, repeats = options.quick, options.tokens, options.repeats
    small = Shape(288, 768, 6, 6, 6, VOCABULARY)
    rows = by_events(small if quick else SHAPES["15M"], tokens, repeats)
    rows += by_context(small, CONTEXT // (4 if quick else 1), repeats)
    rows += by_width(WIDTHS[: 4 if quick else None], tokens, repeats)
    rows += by_threads(SHAPES["15M" if quick else "110M"], (16 if quick else 64) << 20, tokens, repeats)
    fit = fits(rows)
    if options.plot is not None:
        draw(rows, fit, machine.processor(), options.plot)
    if options.json is not None:
        record.write(options.json, "growth", [*rows, *fit])
    if str(options.json) != "-":
        show(rows, fit)


if __name__ == "__main__":
    main()
