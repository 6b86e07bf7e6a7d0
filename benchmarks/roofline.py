"""How near to the bandwidth of memory synaptic operations come, and how two threads compare with one.

    python benchmarks/roofline.py [--repeats N] [--json FILE] [--plot FILE]

A synaptic operation reads one weight. Events that read a share of random weights are delivered over and over, in turns
with a loop that only reads the same memory, in the same process (`snngen.roofline`):

- DRAM: 512 MB of weights; the target is 80 % of the bandwidth. L3: 16 MB; 60 %. L2, L1: for comparison.
- threads: 64 MB of weights, the events of a delivery shared by two of Python's threads; and a layer of 64 MB in the
  settled engine, whose two threads share its events; 1.7 x as fast as one thread.

Payloads are codes of 8 bits or spikes of +-1; weights have 8, 4 or 2 bits; 98 % of the rows spike, as in today's models
of 8-bit activations, or 40 %. The bandwidth is the fastest reading of the same bytes in the whole run. Every delivery
is first compared with NumPy's sum, by ==.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record
from rich.console import Console
from rich.table import Table

import snngen
from snngen import machine, roofline
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError
from snngen.integers import IntArray
from snngen.kernels import settled
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.roofline import Buffer, Point
from snngen.synapses.dense import Dense

TARGETS = {"DRAM": 0.8, "L3": 0.6}  # of the bandwidth
SPEEDUP = 1.7  # of two threads at SHARED bytes
TARGETS_OF_LAYER = 4096  # neurons that the engine's layer drives
ONES = np.ones(TARGETS_OF_LAYER, np.int32)  # gains
LARGE, SHARED = 512 << 20, 64 << 20
KINDS = ((8, 127), (8, 1), (4, 127), (2, 127))  # bits of a weight, largest payload
DENSITIES = (0.98, 0.4)


def settings(sizes: dict[str, int], shared: int) -> Iterator[tuple[Buffer, dict[str, Any], str, float | None]]:
    """Every buffer with the arguments of `roofline.measure`, what the target is about, and the target."""
    for level, size in sizes.items():
        buffer = Buffer.of(level, size)
        for density in DENSITIES:
            for bits, largest in KINDS:
                target = TARGETS.get(level) if bits == 8 else None
                yield buffer, {"bits": bits, "largest": largest, "density": density}, "share", target
    if machine.cores() > 1:
        buffer = Buffer.of("DRAM", shared)
        for largest in (127, 1):
            yield buffer, {"largest": largest, "threads": 2}, "speedup", SPEEDUP


def engines(size: int, repeats: int) -> dict[str, Any]:
    """A layer of so many bytes in the settled engine, whose two threads share its events, against one thread.

    Each step presents codes anew, checks them and counts; both engines are compared with NumPy first.
    """
    data = Buffer.of("DRAM", size).data
    synapse = Dense(data[: data.size // TARGETS_OF_LAYER * TARGETS_OF_LAYER].reshape(-1, TARGETS_OF_LAYER), ONES)
    sources = synapse.source_size
    rng = np.random.default_rng(1)
    codes = rng.integers(1, 128, sources) * rng.choice((-1, 1), sources) * (rng.random(sources) < DENSITIES[0])
    network = Network(
        (
            Population("input", Source(sources, -127, 127)),
            Population("output", Accumulator(np.zeros(TARGETS_OF_LAYER, np.int32))),
        ),
        (Projection("input", "output", synapse),),
    )
    works = []
    expected = synapse.reference(codes[None], None)[0]
    for threads in (1, 2):
        engine = SettledEngine(network, threads=threads)
        engine.step(codes={"input": codes})
        if (engine.output != expected).any():
            raise MismatchError(f"engine with {threads} threads", "another drive", "NumPy's")
        works.append([partial(step, engine, codes)])
    operations = int(engine.counted()[1][0, settled.GRADED])
    one, two = roofline.in_turns(works, repeats)
    return {
        "level": "DRAM, engine", "bytes": synapse.weight_bytes, "bits": 8, "largest payload": 127,
        "density": DENSITIES[0], "threads": 2, "operations": operations, "operations/s best": operations / two.best,
        "operations/s median": operations / two.median, "speedup best": one.best / two.best,
        "speedup median": one.median / two.median, "repeats": repeats, "equal to NumPy": True, "about": "speedup",
        "target": SPEEDUP,
    }  # fmt: skip


def step(engine: SettledEngine, codes: IntArray, passes: int) -> None:
    """Present the same codes, `passes` times."""
    for _ in range(passes):
        engine.step(codes={"input": codes})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--dram", type=int, default=LARGE >> 20, help="MB of weights that stand for DRAM")
    parser.add_argument("--shared", type=int, default=SHARED >> 20, help="MB of weights that two threads share")
    parser.add_argument("--json", type=Path, help="write the rows as JSON to this file, or - for standard output")
    parser.add_argument("--plot", type=Path, help="draw the roofline (.png, .svg or .pdf)")
    options = parser.parse_args()
    points, aims, sizes = [], [], roofline.sizes(options.dram << 20)
    try:
        with Console(stderr=True).status("deliveries") as status:
            for buffer, arguments, about, target in settings(sizes, options.shared << 20):
                status.update(f"deliveries, {buffer.level}, {arguments}")
                points.append(roofline.measure(buffer, repeats=options.repeats, **arguments))
                aims.append({"about": about, "target": target})
            points = roofline.under_one_roof(points)
            rows = [{**point.as_dict(), **aim} for point, aim in zip(points, aims, strict=True)]
            if machine.cores() > 1:
                status.update("a layer in the engine, one thread and two")
                rows.append(engines(options.shared << 20, options.repeats))
    except snngen.SnngenError as error:
        parser.error(str(error))
    if options.plot is not None:
        draw(points, options.plot)
    if options.json is not None:
        record.write(options.json, "synapses", rows)
    if str(options.json) != "-":
        show(rows)


def draw(points: list[Point], path: Path) -> None:
    """The roofline of what one thread measured at the higher density."""
    from snngen.plots import save
    from snngen.roofline_plot import plot_roofline

    chosen = [point for point in points if point.threads == 1 and point.density == DENSITIES[0]]
    save(plot_roofline(chosen, [], f"{machine.processor()}, one thread"), path)


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table: best, and median in brackets."""
    table = Table(title=f"snngen {snngen.__version__}, {machine.processor()}", title_justify="left")
    for heading in ("weights in", "MB", "bits", "payloads", "rows", "threads"):
        table.add_column(heading)
    for heading in ("read, GB/s", "G operations/s", "share of reading", "to one thread", "target"):
        table.add_column(heading, justify="right")
    for row in rows:
        target = (
            "" if row["target"] is None else f"{row['target']:.0%}" if row["about"] == "share" else str(row["target"])
        )
        read = f"{row['bandwidth best'] / 1e9:.1f} ({row['bandwidth median'] / 1e9:.1f})" if "share best" in row else ""
        size, payloads = f"{row['bytes'] / (1 << 20):.3g}", "±1" if row["largest payload"] == 1 else "8 bits"
        table.add_row(
            row["level"], size, str(row["bits"]), payloads, f"{row['density']:.0%}", str(row["threads"]),
            read,
            f"{row['operations/s best'] / 1e9:.1f} ({row['operations/s median'] / 1e9:.1f})",
            f"{row['share best']:.0%} ({row['share median']:.0%})" if "share best" in row else "",
            f"{row['speedup best']:.2f} ({row['speedup median']:.2f})" if row["threads"] > 1 else "",
            target,
        )  # fmt: skip
    Console(highlight=False, width=150).print(table)


if __name__ == "__main__":
    main()
