"""Integrate-and-fire neurons, the ticked engine against simulators of others, side by side.

    python benchmarks/integrate_and_fire.py [--rounds N] [--repeats N] [--threads 1 2] [--peers NAME ...] [--json FILE]

1024-4096-1024 neurons (int8 weights in -127..127, thresholds 1600 and 4000), 32 ticks of random input of which 1, 5
or 20 % fires, one sample. Measured is one run from zero potentials to the last spikes, in ms; reading of counts is no
part of it. Every peer is a script of `benchmarks/peers/` in the Python of its own environment, started once; in every
round ours and then one peer after the other runs a few times, ours before each of them, while the others are stopped.

Every peer is given its fastest form that is still its own: one matrix product over all ticks where a library allows
that, single precision, no gradients. Ours runs on one thread always, and two ticks more than the layer-by-layer
libraries (as do NEST, Brian2 and Lava), since a projection takes a tick.

What each computes is compared with plain NumPy integers, neuron by neuron: reset by subtraction (soft) or to zero
(hard), a spike where the potential is at least (>=) or above (>) the threshold. Ours must equal soft >=, or the
benchmark fails; a row says which of the four its peer equals. Peers' Pythons: see `benchmarks/peers/requirements.txt`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import record
from peers.link import Peer, PeerError
from rich.console import Console
from rich.table import Table

from snngen.codes.unary import Unary
from snngen.engines.ticked import TickedEngine
from snngen.network import Network, Population, Projection
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense

Array = npt.NDArray[Any]

SIZES, THETAS, TICKS = (1024, 4096, 1024), (1600, 4000), 32
TARGETS = {0.01: 40.0, 0.05: 20.0, 0.2: 10.0}  # times as fast as the fastest peer, by the rate of the input
MEANINGS = {"soft >=": (False, False), "soft >": (False, True), "hard >=": (True, False), "hard >": (True, True)}

ENVIRONMENTS = Path(__file__).resolve().parents[1] / ".venv"
PEERS = {  # name: script, Python, whether a number of threads can be asked for
    "SpikingJelly multi-step": ("spikingjelly_multistep", "peers/bin/python", True),
    "sinabs": ("sinabs_iaf", "peers/bin/python", True),
    "snnTorch": ("snntorch_leaky", "peers/bin/python", True),
    "norse": ("norse_iaf", "peers/bin/python", True),
    "NEST": ("nest_delta", "peers/bin/python", True),
    "Brian2 C++": ("brian2_standalone", "peers/bin/python", True),
    "Lava fixed point": ("lava_fixed", "lava/bin/python", False),
}


def case() -> tuple[list[Array], dict[float, Array]]:
    """The weights of each layer, (sources, targets) int8, and the input of each rate, (ticks, sources) bool."""
    rng = np.random.default_rng(12345)
    weights = [rng.integers(-127, 128, shape).astype(np.int8) for shape in itertools.pairwise(SIZES)]
    return weights, {rate: rng.random((TICKS, SIZES[0])) < rate for rate in TARGETS}


def reference(spikes: Array, weights: Sequence[Array], hard: bool, strict: bool) -> list[Array]:
    """Spikes of each neuron of each layer, in plain int64; hard: reset to zero; strict: fire above the threshold."""
    counts = []
    for matrix, theta in zip(weights, THETAS, strict=True):
        potential, fired = np.zeros(matrix.shape[1], dtype=np.int64), np.zeros((TICKS, matrix.shape[1]), dtype=bool)
        for tick in range(TICKS):
            potential += matrix[spikes[tick]].sum(axis=0, dtype=np.int64)
            fired[tick] = potential > theta if strict else potential >= theta
            potential = np.where(fired[tick], 0, potential) if hard else potential - theta * fired[tick]
        spikes = fired
        counts.append(fired.sum(axis=0))
    return counts


class Ours:
    """The ticked engine with the network, and the inputs as events."""

    def __init__(self, weights: Sequence[Array], inputs: Mapping[float, Array]) -> None:
        dense = [Dense(matrix, np.ones(matrix.shape[1], np.int32)) for matrix in weights]
        hidden, output = (IntegrateAndFire(np.full(size, theta)) for size, theta in zip(SIZES[1:], THETAS, strict=True))
        self.engine = TickedEngine(
            Network(
                (Population("input", Source(SIZES[0])), Population("hidden", hidden), Population("output", output)),
                (Projection("input", "hidden", dense[0]), Projection("hidden", "output", dense[1])),
            ),
            Unary(),
            "eager",
        )
        self.engine.warm()
        self.events = {}
        for rate, spikes in inputs.items():
            tick, neuron = np.nonzero(spikes)
            rows = [tick, np.zeros_like(tick), neuron, np.ones_like(tick)]
            self.events[rate] = np.stack(rows, axis=1).astype(np.int32)

    def check(self, rate: float, expected: Sequence[Array]) -> int:
        """Compare each layer over its own 32 ticks, which begin one tick after those before; synaptic operations."""
        for delay, (name, counts) in enumerate(zip(("hidden", "output"), expected, strict=True), start=1):
            self.engine.stream(self.events[rate], TICKS + delay)
            if not np.array_equal(self.engine.codes(name), counts):
                got = int(self.engine.codes(name).sum())
                raise SystemExit(f"{name} at {rate:.0%}: {got} spikes, expected {counts.sum()}, neuron by neuron")
        return int(self.engine.counted()[1][:, 1].sum())

    def run(self, rate: float, repeats: int) -> list[float]:
        """Seconds of each of several runs."""
        events, seconds = self.events[rate], []
        for _ in range(repeats):
            started = time.perf_counter()
            self.engine.stream(events, TICKS + len(THETAS))
            seconds.append(time.perf_counter() - started)
        return seconds


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    kept = record.best_and_median(seconds)
    return {"best": kept["best"] * 1e3, "median": kept["median"] * 1e3}


def matching(got: Mapping[str, Array], expected: Mapping[str, Sequence[Array]]) -> list[str]:
    """The meanings of which every neuron's count is what a peer has."""
    return [
        meaning
        for meaning, layers in expected.items()
        if all(np.array_equal(got[f"counts{index}"], counts) for index, counts in enumerate(layers))
    ]


def measure(
    ours: Ours, peers: Mapping[str, Peer], inputs: Mapping[float, Array], weights: Sequence[Array],
    threads: int, rounds: int, repeats: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for every rate and peer."""
    rows: list[dict[str, Any]] = []
    for rate, spikes in inputs.items():
        expected = {name: reference(spikes, weights, *how) for name, how in MEANINGS.items()}
        operations = ours.check(rate, expected["soft >="])
        own: list[float] = []
        theirs: dict[str, list[float]] = {name: [] for name in peers}
        got: dict[str, dict[str, Array]] = {}
        for peer in peers.values():
            peer.run(f"{rate}", 1)  # what is compiled or laid out at first
        for _ in range(rounds):
            for name, peer in peers.items():
                own += ours.run(rate, repeats)
                seconds, got[name] = peer.run(f"{rate}", repeats)
                theirs[name] += seconds
        mine = milliseconds(own)
        for name in peers:
            times = milliseconds(theirs[name])
            rows.append(
                {
                    "input rate": rate, "peer": name,
                    "threads": threads if PEERS[name][2] else "all", "peer ms": times, "ours ms": mine,
                    "times as fast, best": times["best"] / mine["best"],
                    "times as fast, median": times["median"] / mine["median"],
                    "peer spikes": [int(got[name][f"counts{index}"].sum()) for index in range(len(THETAS))],
                    "peer equals": matching(got[name], expected), "our spikes equal": "soft >=",
                    "our spikes": [int(counts.sum()) for counts in expected["soft >="]],
                    "synaptic operations": operations, "runs": len(own),
                }
            )  # fmt: skip
    return rows


def against_fastest(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every rate and number of threads: the fastest peer by its best run, and whether the target is reached."""
    found = []
    for rate, target in TARGETS.items():
        for threads in sorted({row["threads"] for row in rows if row["threads"] != "all"}):
            fitting = [row for row in rows if row["input rate"] == rate and row["threads"] in (threads, "all")]
            fastest = min(fitting, key=lambda row: row["peer ms"]["best"])
            found.append(
                {
                    "input rate": rate, "peer": "fastest", "fastest": fastest["peer"], "threads": threads,
                    "times as fast, best": fastest["times as fast, best"],
                    "times as fast, median": fastest["times as fast, median"],
                    "target": target, "reached": fastest["times as fast, best"] >= target,
                }
            )  # fmt: skip
    return found


def show(console: Console, rows: Sequence[Mapping[str, Any]], summary: Sequence[Mapping[str, Any]]) -> None:
    title = "1024-4096-1024 integrate-and-fire, 32 ticks: ms of a run, best (median); ours on one thread"
    table = Table(title=title, title_justify="left")
    for heading in ("input", "peer", "threads", "peer", "ours", "times as fast", "peer's spikes", "equal to"):
        table.add_column(heading, justify="left" if heading in ("peer", "equal to") else "right")
    for row in rows:
        peer, own = row["peer ms"], row["ours ms"]
        table.add_row(
            f"{row['input rate']:.0%}",
            row["peer"],
            str(row["threads"]),
            f"{peer['best']:.2f} ({peer['median']:.2f})",
            f"{own['best']:.3f} ({own['median']:.3f})",
            f"{row['times as fast, best']:.1f} ({row['times as fast, median']:.1f})",
            " ".join(map(str, row["peer spikes"])),
            ", ".join(row["peer equals"]) or "none",
        )
    console.print(table)
    for row in summary:
        console.print(
            f"{row['input rate']:.0%} input, {row['threads']} thread(s): {row['times as fast, best']:.1f} times as fast"
            f" as {row['fastest']} ({row['times as fast, median']:.1f} by medians), target {row['target']:.0f}: "
            + ("reached" if row["reached"] else "not reached"),
            soft_wrap=True,
        )


def start(names: Sequence[str], stored: Path, threads: int, console: Console) -> dict[str, Peer]:
    """The peers that can be started; the others are told of."""
    peers = {}
    for name in names:
        script, python, choosable = PEERS[name]
        if threads > 1 and not choosable:
            continue
        if not (ENVIRONMENTS / python).exists():
            console.print(f"{name} left out: no {ENVIRONMENTS / python}, see benchmarks/peers/requirements.txt")
            continue
        console.print(f"starting {name}, {threads} thread(s)")
        try:
            peers[name] = Peer(script, ENVIRONMENTS / python, stored, threads)
        except PeerError as error:
            console.print(f"{name} left out: {error}", markup=False)
    return peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often every peer has its turn")
    parser.add_argument("--repeats", type=int, default=5, help="runs in each turn")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the peers")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--json", type=Path, help="write the figures to this file, or - for standard output")
    options = parser.parse_args()
    if min(options.rounds, options.repeats, *options.threads) < 1:
        parser.error("expected --rounds, --repeats and --threads of 1 or more")
    console = Console(highlight=False, file=sys.stderr if str(options.json) == "-" else None)
    weights, inputs = case()
    ours = Ours(weights, inputs)
    rows: list[dict[str, Any]] = []
    versions: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder, "case.npz")
        arrays: dict[str, Any] = {f"weights{index}": matrix for index, matrix in enumerate(weights)}
        arrays |= {f"{rate}": spikes for rate, spikes in inputs.items()}
        np.savez(stored, thetas=np.array(THETAS), works=np.array([f"{rate}" for rate in inputs]), **arrays)
        for threads in options.threads:
            peers = start(options.peers, stored, threads, console)
            try:
                rows += measure(ours, peers, inputs, weights, threads, options.rounds, options.repeats)
                for peer in peers.values():
                    versions |= peer.versions
            finally:
                for peer in peers.values():
                    peer.close()
    if not rows:
        parser.error("no peer could be started")
    summary = against_fastest(rows)
    show(console, rows, summary)
    if options.json is not None:
        record.write(options.json, "integrate_and_fire", [*rows, *summary], versions)


if __name__ == "__main__":
    main()
