"""How many events of a sensor the continuous engine, which runs on one thread, takes.

    python benchmarks/stream.py [--rate EVENTS/S] [--seconds S] [--fan-out N] [--repeats N] [--json FILE]

A 128 x 128 sensor sends random events with microsecond time stamps into a layer of as many leaky integrate-and-fire
neurons (tau_mem 10 ms) over sparse synapses, in portions of 10 ms of stream, as a live run reads them. Three figures,
best, median and worst of several runs, kernels compiled:

- sustained: events/s, from `push` of the first portion to `advance` over the last.
- real time: seconds of stream per second; above 1 it keeps up at that rate.
- synaptic: synaptic operations/s.

Seconds are those of the wall clock; `processor` gives the same events per second of processor time, which other
programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.table import Table

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.synapses.sparse import Sparse
from snngen.engines.continuous import ContinuousEngine
from snngen.integers import IntArray

SIDE = 128
PORTION_US = 10_000
TAU = 0.01


def layer(fan_out: int, rate: float, generator: np.random.Generator) -> DynamicNetwork:
    """The sensor and its layer; weights such that neurons are driven to about their threshold, and some fire."""
    size = SIDE * SIDE
    sources, targets = np.repeat(np.arange(size), fan_out), generator.integers(0, size, size * fan_out)
    mean = 0.9 / (rate * fan_out / size)  # charge of an event: at rest, v = events/s * charge = 0.9
    weights = generator.uniform(0, 2 * mean, size * fan_out)
    populations = (
        DynamicPopulation("sensor", Input(size)),
        DynamicPopulation("layer", LeakyIntegrateAndFire(np.full(size, TAU), np.ones(size))),
    )
    synapse = Sparse.from_pairs(sources, targets, weights, size, size)
    return DynamicNetwork(populations, (DynamicProjection("sensor", "layer", synapse),))


def run(engine: ContinuousEngine, times: IntArray, neurons: IntArray, end: int) -> tuple[float, float, int]:
    """Seconds of the wall clock and of the processor, and spikes, of one run over the stream."""
    engine.reset()
    edges = np.searchsorted(times, np.arange(0, end + PORTION_US, PORTION_US))
    spikes = 0
    started, used = time.perf_counter(), time.process_time()
    for portion in range(len(edges) - 1):
        part = slice(edges[portion], edges[portion + 1])
        engine.push(times[part], neurons[part])
        spikes += len(engine.advance((portion + 1) * PORTION_US))
    return time.perf_counter() - started, time.process_time() - used, spikes


def main() -> None:
    """Measure, print a table, and write the figures where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2e6)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--fan-out", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    engine = ContinuousEngine(layer(given.fan_out, given.rate, generator))
    engine.run([0], [0])  # compile the kernels
    end, count = round(given.seconds * 1e6), round(given.rate * given.seconds)
    times = np.sort(generator.integers(0, end, count))
    neurons = generator.integers(0, SIDE * SIDE, count)
    runs = [run(engine, times, neurons, end) for _ in range(given.repeats)]
    counts, spikes = engine.counts, runs[0][2]
    if counts.events["sensor"] != count or counts.operations[0] != count * given.fan_out:
        raise SystemExit(f"got {counts}; expected every one of {count} events and its {given.fan_out} synapses")
    figures = {
        "sustained, events/s": [count / wall for wall, _, _ in runs],
        "processor, events/s": [count / used for _, used, _ in runs],
        "synaptic, operations/s": [counts.operations[0] / wall for wall, _, _ in runs],
        "real time, s/s": [given.seconds / wall for wall, _, _ in runs],
    }
    about = {
        "events": count,
        "seconds": given.seconds,
        "fan-out": given.fan_out,
        "spikes": spikes,
        "repeats": len(runs),
    }
    rows = [
        {"figure": name, "best": max(values), "median": statistics.median(values), "worst": min(values), **about}
        for name, values in figures.items()
    ]
    table = Table(title=f"{count} events in {given.seconds} s, fan-out {given.fan_out}, {spikes} spikes, one thread")
    for name in ("figure", "best", "median", "worst"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in rows:
        table.add_row(row["figure"], *(f"{row[column]:,.2f}" for column in ("best", "median", "worst")))
    Console().print(table)
    if given.json is not None:
        record.write(given.json, "stream", rows)


if __name__ == "__main__":
    main()
