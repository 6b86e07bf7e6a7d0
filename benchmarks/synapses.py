"""How fast the kernels add events through dense, packed and sparse weights, on one thread.

    python benchmarks/synapses.py [--sources N] [--targets N] [--active SHARE] [--largest CODE] [--repeats N]
                                  [--json FILE]

A row is the best of several runs over one set of events: time, and synaptic operations per second; `dense` is 1. Dense
operations are one multiplication per weight, zero or not; sparse ones only those of synapses that are there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
from rich.console import Console
from rich.table import Table

import snngen
from snngen.engines.settled import SettledEngine
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses import Synapse
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed
from snngen.synapses.sparse import Sparse


def examples(rng: np.random.Generator, sources: int, targets: int) -> dict[str, Synapse]:
    """Synapses of every kind between the same populations."""
    gain, shape = np.ones(targets, np.int32), (sources, targets)
    matrix = rng.integers(-127, 128, shape).astype(np.int8)
    found: dict[str, Synapse] = {
        "dense": Dense(matrix, gain),
        "packed, 4 bits": Packed.of(rng.integers(-8, 8, shape), gain, 4),
        "packed, 2 bits": Packed.of(rng.integers(-1, 2, shape), gain, 2),
    }
    for share in (0.5, 0.1, 0.02):
        found[f"sparse, {share:.0%}"] = Sparse.of((matrix * (rng.random(shape) < share)).astype(np.int8), gain)
    return found


def measure(synapse: Synapse, codes: np.ndarray, repeats: int) -> tuple[float, int]:
    """Best time of a step of a network of nothing else, in seconds, and its synaptic operations."""
    largest = max(1, int(np.abs(codes).max()))
    network = Network(
        (
            Population("input", Source(synapse.source_size, -largest, largest)),
            Population("output", Accumulator(np.zeros(synapse.target_size, np.int32))),
        ),
        (Projection("input", "output", synapse),),
    )
    engine, best = SettledEngine(network), np.inf
    for _ in range(repeats + 1):
        started = time.perf_counter()
        engine.step(codes={"input": codes})
        best = min(best, time.perf_counter() - started)
    return best, int(engine.counted()[1][0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=4096)
    parser.add_argument("--targets", type=int, default=4096)
    parser.add_argument("--active", type=float, default=0.3, help="share of sources that send")
    parser.add_argument("--largest", type=int, default=127, help="largest code")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = rng.integers(1, options.largest + 1, options.sources) * (rng.random(options.sources) < options.active)
    rows: list[dict[str, Any]] = []
    for name, synapse in examples(rng, options.sources, options.targets).items():
        seconds, operations = measure(synapse, codes, options.repeats)
        rows.append({"synapses": name, "s": seconds, "operations": operations, "operations/s": operations / seconds})
    table = Table(title=f"{options.sources} x {options.targets}, snngen {snngen.__version__}", title_justify="left")
    for heading in ("", "ms", "operations", "G operations/s", "to dense, per operation", "to dense, time"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(
            row["synapses"], f"{1e3 * row['s']:.3f}", f"{row['operations']:,}", f"{row['operations/s'] / 1e9:.1f}",
            f"{row['operations/s'] / rows[0]['operations/s']:.2f}", f"{row['s'] / rows[0]['s']:.2f}",
        )  # fmt: skip
    Console(highlight=False, width=110).print(table)
    if options.json is not None:
        record.write(options.json, "kinds of synapses", rows)


if __name__ == "__main__":
    main()
