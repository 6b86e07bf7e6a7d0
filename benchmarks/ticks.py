"""What a tick costs in the ticked engine, on one thread.

    python benchmarks/ticks.py [--repeats N] [--json FILE]

Against no peer (`integrate_and_fire.py` and `unary.py` have those), but to see where the time of a tick goes:

- integrate-and-fire: 1024-4096-1024 neurons (int8 weights in -127..127, thresholds 1600 and 4000, reset by
  subtraction), 32 ticks of random input, in ms for the whole run; back to back, and with a pause of 50 ms before each
  run, so that clock and caches are colder. The spike counts are checked against plain NumPy.
- activity: ticks of a 4096-1024 layer of which 0.1 % to 50 % of the inputs fire, in us per tick and ns per event,
  inside a network with ten times as many neurons that stay silent. The cost follows the events.
- generation: the shipped model under each exact code and both schedules, in ms per token, us per tick and ns per spike.
  Every token's codes are checked against `snngen.reference`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.table import Table

import snngen
from snngen import codes, reference
from snngen.codes.unary import Unary
from snngen.engines.ticked import TickedEngine
from snngen.network import Network, Population, Projection
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense

TICKS = 32


def layer(rng: np.random.Generator, sources: int, targets: int) -> Dense:
    return Dense(rng.integers(-127, 128, (sources, targets)).astype(np.int8), np.ones(targets, np.int32))


def input_events(rng: np.random.Generator, size: int, rate: float, ticks: int) -> np.ndarray:
    tick, neuron = np.nonzero(rng.random((ticks, size)) < rate)
    return np.stack([tick, np.zeros_like(tick), neuron, np.ones_like(tick)], axis=1).astype(np.int32)


def best_and_median(run: Callable[[], object], repeats: int, pause: float = 0.0) -> tuple[float, float]:
    seconds = []
    for _ in range(repeats):
        time.sleep(pause)
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds), statistics.median(seconds)


def clocked_counts(events: np.ndarray, layers: list[Dense], thetas: list[int], ticks: int) -> list[int]:
    """Spikes per layer in plain NumPy, every neuron at every tick, each projection taking one tick."""
    potentials = [np.zeros(link.target_size, dtype=np.int64) for link in layers]
    fired = [np.zeros(link.target_size, dtype=bool) for link in layers]
    counts = [0] * len(layers)
    for tick in range(ticks):
        now = np.zeros(layers[0].source_size, dtype=bool)
        now[events[events[:, 0] == tick, 2]] = True
        before = [now, *(spikes.copy() for spikes in fired)]
        for index, (link, theta) in enumerate(zip(layers, thetas, strict=True)):
            potentials[index] += link.matrix[before[index]].astype(np.int64).sum(axis=0)
            fired[index] = potentials[index] >= theta
            potentials[index] -= theta * fired[index]
            counts[index] += int(fired[index].sum())
    return counts


def integrate_and_fire(repeats: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(12345)
    first, second, thetas = layer(rng, 1024, 4096), layer(rng, 4096, 1024), [1600, 4000]
    network = Network(
        (
            Population("input", Source(1024)),
            Population("hidden", IntegrateAndFire(np.full(4096, thetas[0]))),
            Population("output", IntegrateAndFire(np.full(1024, thetas[1]))),
        ),
        (Projection("input", "hidden", first), Projection("hidden", "output", second)),
    )
    engine = TickedEngine(network, Unary(), "eager")
    engine.warm()
    rows = []
    for rate in (0.01, 0.05, 0.2):
        events = input_events(rng, 1024, rate, TICKS)
        run = lambda events=events: engine.stream(events, TICKS + 2)  # noqa: E731
        run()
        spikes = engine.counted()[0][1:, 1].tolist()
        expected = clocked_counts(events, [first, second], thetas, TICKS + 1)
        if spikes != expected:
            raise SystemExit(f"rate {rate}: {spikes} spikes, expected {expected}")
        operations = int(engine.counted()[1][:, 1].sum())
        (hot, hot_median), (cold, cold_median) = best_and_median(run, repeats), best_and_median(run, repeats, 0.05)
        rows.append(
            {
                "input rate": rate, "spikes": sum(spikes), "synaptic operations": operations,
                "ms, best": hot * 1e3, "ms, median": hot_median * 1e3,
                "ms after a pause, best": cold * 1e3, "ms after a pause, median": cold_median * 1e3,
                "G operations/s": operations / hot / 1e9,
            }
        )  # fmt: skip
    return rows


def activity(repeats: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(1)
    silent = 40_960
    network = Network(
        (
            Population("input", Source(4096)),
            Population("silent input", Source(4)),
            Population("layer", IntegrateAndFire(np.full(1024, 2**30))),
            Population("silent", IntegrateAndFire(np.full(silent, 2**30))),
        ),
        (
            Projection("input", "layer", layer(rng, 4096, 1024)),
            Projection("silent input", "silent", layer(rng, 4, silent)),
        ),
    )
    engine = TickedEngine(network, Unary(), "eager")
    engine.warm()
    rows = []
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5):
        events = input_events(rng, 4096, rate, TICKS)

        def ticks(events: np.ndarray = events) -> float:
            """Seconds of the ticks alone: laying out the state is no part of them."""
            engine.reset()
            engine._clear(read=True)
            engine.tables = engine.tables._replace(inputs=events)
            started = time.perf_counter()
            engine.advance(TICKS)
            return time.perf_counter() - started

        best = min(ticks() for _ in range(repeats))
        rows.append(
            {
                "input rate": rate, "events per tick": len(events) / TICKS, "us per tick": best / TICKS * 1e6,
                "ns per event": best / len(events) * 1e9,
            }
        )  # fmt: skip
    return rows


def generation(repeats: int) -> list[dict[str, float | str]]:
    network = snngen.load()
    tokens = list(b"ROMEO:\nWhat")
    expected = reference.run(network, tokens)
    rows: list[dict[str, float | str]] = []
    for name in codes.kinds():
        if not codes.by_name(name).exact:
            continue
        for schedule in ("layered", "eager"):
            engine = TickedEngine(network, codes.by_name(name), schedule)
            engine.warm()
            seconds, ticks, spikes = [], 0, 0
            for _ in range(max(2, repeats // 8)):
                engine.reset()
                elapsed = ticks = spikes = 0
                for index, token in enumerate(tokens):
                    started = time.perf_counter()
                    engine.step(token)
                    elapsed += time.perf_counter() - started
                    ticks, spikes = ticks + engine.ticks, spikes + int(engine.counted()[0][:, 1].sum())
                    check(engine, expected, index)
                seconds.append(elapsed)
            best = min(seconds)
            rows.append(
                {
                    "code": name, "schedule": schedule, "ms per token, best": best / len(tokens) * 1e3,
                    "ms per token, median": statistics.median(seconds) / len(tokens) * 1e3,
                    "ticks": ticks / len(tokens), "spikes": spikes / len(tokens),
                    "us per tick": best / ticks * 1e6, "ns per spike": best / spikes * 1e9,
                }
            )  # fmt: skip
    return rows


def check(engine: TickedEngine, expected: dict[str, np.ndarray], index: int) -> None:
    """Every code of every population is that of the reference, or the benchmark ends."""
    for population in engine.network.populations:
        codes_now, wanted = engine.codes(population.name), expected[population.name][index]
        if isinstance(population.neuron, Softmax):  # of keys that are not written yet there is no share
            codes_now, wanted = (x.reshape(population.neuron.heads, -1)[:, : index + 1] for x in (codes_now, wanted))
        if not np.array_equal(codes_now, wanted):
            raise SystemExit(f"{engine.code.name}, {engine.schedule}: {population.name} differs at token {index}")


def shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def show(console: Console, title: str, rows: Sequence[Mapping[str, float | str]]) -> None:
    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(shown(value) for value in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    measured: dict[str, Sequence[Mapping[str, float | str]]] = {
        "1024-4096-1024 integrate-and-fire, 32 ticks": integrate_and_fire(options.repeats),
        "cost of a tick, 4096-1024 beside 40,960 silent neurons": activity(options.repeats),
        "generation, the shipped model": generation(options.repeats),
    }
    console = Console()
    for title, rows in measured.items():
        show(console, title, rows)
    if options.json is not None:
        rows = [{"measured": title, **row} for title, rows in measured.items() for row in rows]
        record.write(options.json, "ticks", rows)


if __name__ == "__main__":
    main()
