"""Generation with unary spikes, tick by tick: the ticked engine against the same network in snnTorch and SpikingJelly.

    python benchmarks/unary.py [--models shipped stories260K] [--tokens N] [--rounds N] [--json FILE]

Measured are seconds per token, greedy, batch 1, one thread each, from the network's first token on. In every round ours
(both schedules) and every way of every peer run in turn, while the others are stopped.

The same on both sides: weights, thresholds, codes and their unary spikes (at most one -1 or +1 per neuron and tick),
integer norms, softmax and gates, keys and values kept from token to token, and the result: the tokens, and the code of
every population at every token, compared with `snngen.reference` by `==`, or the benchmark fails.

What differs: ours delivers events, and looks for quiet itself. The peers are dense torch, as SpikeZIP-TF and
SpikingJelly's recipe for it run such networks (`benchmarks/peers/dense_ticks.py`): every neuron and every synapse at
every tick; how many ticks a token takes is found beforehand and given to them for free. Linear layers are float32,
neurons float64, which is exact. SpikingJelly's neuron is its own `STBIFNode`; snnTorch has none with signs, so a pair
of `Leaky` neurons is one. Ways:

- single step: the whole network, one tick after the other, all layers at once (snnTorch's way; ours: eager);
- multi-step: the same ticks, layer after layer over all of them (SpikingJelly's way; ours: eager);
- layered: each population only while it spikes, after those before it (ours: layered). No recipe does this; it is here
  since it is the schedule that ours is fastest with.

All at once, a peer's ticks are a few fewer than ours: a spike passes through all layers in a tick, ours takes one per
projection. Layered, they are more: ours runs what does not depend on each other at the same time.
The first two tokens of a text are short of context; the share of attention in the work grows with it on both sides.
The whole takes a quarter of an hour on an idle machine, nearly all of it the peers'.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import record
from peers.link import Peer
from rich.console import Console
from rich.table import Table

import snngen
from snngen import reference
from snngen.codes.unary import Unary
from snngen.engines.ticked import TickedEngine
from snngen.network import Network
from snngen.neurons.softmax import POWER_BITS, Softmax
from snngen.powers import power_table

Array = npt.NDArray[Any]

TARGET = 50.0  # times as fast as each library's own way
TIMEOUT = 3600.0  # s for one answer of a peer
MODELS = ("shipped", "stories260K")
STORIES = Path(__file__).resolve().parents[2] / "shared" / "data" / "models" / "stories260K"
PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "peers" / "bin" / "python"
PEERS = {"snnTorch": "snntorch_unary", "SpikingJelly": "spikingjelly_unary"}
WAYS = {"single step": "eager", "multi-step": "eager", "layered": "layered"}  # and our schedule that it is like
OWN_WAY = {"snnTorch": "single step", "SpikingJelly": "multi-step"}
SCHEDULES = ("layered", "eager")


def load(model: str, cache: Path) -> Network:
    """A network by name; stories260K is converted once and kept in `cache`."""
    if model == "shipped":
        return snngen.load()
    kept = cache / "stories260K.h5"
    if not kept.exists():
        from snngen.converters.convert import convert

        cache.mkdir(parents=True, exist_ok=True)
        snngen.save(convert(STORIES / "stories260K.bin", STORIES / "tok512.bin").network, kept)
    return snngen.load(kept)


def plain(model: object) -> tuple[dict[str, Any], dict[str, Array]]:
    """The numbers and the arrays of a neuron or synapse model, by the names of its fields."""
    values = {field.name: getattr(model, field.name) for field in fields(model)}  # type: ignore[arg-type]
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    if hasattr(model, "matrix"):  # whatever the bits that hold it
        arrays |= {"matrix": model.matrix, "gain": model.gain}  # type: ignore[attr-defined]
    for name in ("width", "half"):
        if hasattr(model, name):
            values[name] = getattr(model, name)
    return {name: int(value) for name, value in values.items() if isinstance(value, int | np.integer)}, arrays


def export(network: Network, begin: int, tokens: int) -> dict[str, Any]:
    """The arrays from which a peer builds the network; it does not import snngen."""
    stored: dict[str, Any] = {"begin": begin, "tokens": tokens}
    populations, projections = [], []
    for index, population in enumerate(network.populations):
        numbers, arrays = plain(population.neuron)
        if isinstance(population.neuron, Softmax):
            arrays["table"] = power_table(POWER_BITS)
        operands = list(population.neuron.operands)
        named = {"name": population.name, "kind": population.neuron.kind, "operands": operands}
        populations.append({**numbers, **named})
        stored |= {f"population{index}.{name}": array for name, array in arrays.items()}
    for index, projection in enumerate(network.projections):
        numbers, arrays = plain(projection.synapse)
        ends = {
            "source": network.order[projection.source],
            "target": network.order[projection.target],
            "writer": None if projection.writer is None else network.order[projection.writer],
        }
        kind = "dense" if "matrix" in arrays else projection.synapse.kind
        projections.append({**numbers, **ends, "operand": projection.operand, "kind": kind})
        stored |= {f"projection{index}.{name}": array for name, array in arrays.items()}
    about = {"populations": populations, "projections": projections, "output": network.order[network.output]}
    return {**stored, "about": np.array(json.dumps(about))}


def generate(
    engine: TickedEngine, begin: int, tokens: int
) -> tuple[float, list[int], list[int], list[dict[str, Array]]]:
    """Seconds, the tokens, ticks of each, and the codes of every population at each."""
    engine.reset()
    said, ticks, codes, seconds = [begin], [], [], 0.0
    for _ in range(tokens):
        started = time.perf_counter()
        engine.step(said[-1])
        said.append(int(engine.output.argmax()))
        seconds += time.perf_counter() - started
        ticks.append(engine.ticks)
        codes.append(
            {population.name: engine.codes(population.name).copy() for population in engine.network.populations}
        )
        codes[-1][engine.network.output] = engine.output.copy()
    return seconds, said, ticks, codes


def certify(who: str, network: Network, said: Sequence[int], codes: Sequence[Mapping[str, Array]]) -> None:
    """Hold every code of every token to the reference; a softmax may leave out the keys that are still to come."""
    expected = reference.run(network, said[:-1])
    for index, (now, following) in enumerate(zip(codes, said[1:], strict=True)):
        for name, got in now.items():
            whole = expected[name][index]
            if isinstance(network[name].neuron, Softmax) and len(got) < len(whole):
                whole = whole.reshape(-1, network[name].neuron.context)[:, : index + 1].ravel()
            if not np.array_equal(got, whole):
                raise SystemExit(
                    f"{who}: token {index}, {name}: {(got != whole).sum()} codes differ from the reference"
                )
        if int(expected[network.output][index].argmax()) != following:
            raise SystemExit(f"{who}: token {index}: {following} is not what the reference says")


def their_codes(network: Network, got: Mapping[str, Array], tokens: int) -> list[dict[str, Array]]:
    """The codes that a peer gave, by token and population; all but the source."""
    return [
        {
            population.name: got[f"token{index}.{number}"]
            for number, population in enumerate(network.populations)
            if population not in network.sources
        }
        for index in range(tokens)
    ]


def measure(
    model: str, network: Network, begin: int, tokens: int, rounds: int, console: Console
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each of our schedules, and for each way of each peer; and the peers' versions."""
    engines = {schedule: TickedEngine(network, Unary(), schedule) for schedule in SCHEDULES}
    times: dict[tuple[str, str], list[float]] = {}
    ticks: dict[tuple[str, str], list[int]] = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder, "case.npz")
        np.savez(case, **export(network, begin, tokens))
        peers = {name: Peer(script, PYTHON, case, timeout=TIMEOUT) for name, script in PEERS.items()}
        try:
            for engine in engines.values():
                generate(engine, begin, 1)  # compiles what is not compiled yet
            for peer in peers.values():
                versions |= peer.versions
                peer.run(next(iter(WAYS)), 1)  # finds how many ticks the tokens take
            for _ in range(rounds):
                for schedule, engine in engines.items():
                    seconds, said, taken, codes = generate(engine, begin, tokens)
                    certify(f"{model}, ours, {schedule}", network, said, codes)
                    times.setdefault(("ours", schedule), []).append(seconds / tokens)
                    ticks["ours", schedule] = taken
                for name, peer in peers.items():
                    for way in WAYS:
                        (seconds,), got = peer.run(way, 1)
                        certify(
                            f"{model}, {name}, {way}",
                            network,
                            got["tokens"].tolist(),
                            their_codes(network, got, tokens),
                        )
                        times.setdefault((name, way), []).append(seconds / tokens)
                        console.print(f"{model}: {name}, {way}: {seconds / tokens:.2f} s per token")
                        ticks[name, way] = got["ticks"].tolist()
        finally:
            for peer in peers.values():
                peer.close()
    own = {schedule: record.best_and_median(times["ours", schedule]) for schedule in SCHEDULES}
    return [row(model, who, way, seconds, ticks[who, way], own) for (who, way), seconds in times.items()], versions


def row(
    model: str, who: str, way: str, seconds: Sequence[float], ticks: Sequence[int],
    own: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:  # fmt: skip
    """A way to run a model, and how many times as fast ours is: with the like schedule, and with its fastest."""
    kept = record.best_and_median(seconds)
    found: dict[str, Any] = {
        "model": model,
        "who": who,
        "way": way,
        "s per token": kept,
        "ticks per token": list(ticks),
    }
    if who == "ours":
        return found
    fastest = min(own, key=lambda schedule: own[schedule]["best"])
    found["own way"] = way == OWN_WAY[who]
    for what, schedule in (("like schedule", WAYS[way]), ("fastest schedule", fastest)):
        found[f"times as fast, {what}"] = {
            "ours": schedule,
            "best": kept["best"] / own[schedule]["best"],
            "median": kept["median"] / own[schedule]["median"],
        }
    found["target"] = TARGET if found["own way"] else None
    found["reached"] = found["times as fast, fastest schedule"]["best"] >= TARGET if found["own way"] else None
    return found


def show(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    title = "unary spikes, tick by tick, one thread: s per token, best (median); * the library's own way"
    table = Table(title=title, title_justify="left")
    for heading in ("model", "who", "way", "ticks/token", "s/token", "ours alike: x", "ours fastest: x"):
        table.add_column(heading, justify="left" if heading in ("model", "who", "way") else "right")
    for row in rows:
        kept, ratios = row["s per token"], [row.get(f"times as fast, {what} schedule") for what in ("like", "fastest")]
        table.add_row(
            row["model"],
            row["who"],
            row["way"] + (" *" if row.get("own way") else ""),
            f"{np.mean(row['ticks per token']):,.0f}",
            f"{kept['best']:.3f} ({kept['median']:.3f})",
            *("" if ratio is None else f"{ratio['best']:.1f} ({ratio['median']:.1f})" for ratio in ratios),
        )
    console.print(table)
    for row in rows:
        if row.get("own way"):
            ratio = row["times as fast, fastest schedule"]
            reached = f"target {TARGET:.0f}: {'reached' if row['reached'] else 'not reached'}"
            console.print(
                f"{row['model']}: {ratio['best']:.1f} times as fast as {row['who']}, {row['way']}"
                f" ({ratio['median']:.1f} by medians), {reached}",
                soft_wrap=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tokens", type=int, default=2, help="how many to generate")
    parser.add_argument("--rounds", type=int, default=2, help="how often everyone has a turn")
    cache = Path(tempfile.gettempdir()) / "snngen-benchmarks"
    parser.add_argument("--cache", type=Path, default=cache, help="where the converted network is kept")
    parser.add_argument("--json", type=Path, help="write the figures to this file, or - for standard output")
    options = parser.parse_args()
    if min(options.tokens, options.rounds) < 1:
        parser.error("expected --tokens and --rounds of 1 or more")
    if not PYTHON.exists():
        parser.error(f"no {PYTHON}: see benchmarks/peers/requirements.txt")
    models = [model for model in options.models if model != "stories260K" or STORIES.is_dir()]
    console = Console(highlight=False, file=sys.stderr if str(options.json) == "-" else None)
    for model in set(options.models) - set(models):
        console.print(f"{model} left out: no {STORIES}", soft_wrap=True)
    rows: list[dict[str, Any]] = []
    versions: dict[str, str | None] = {}
    for model in models:
        network = load(model, options.cache)
        begin = 1 if network.begin is None else network.begin
        found, told = measure(model, network, begin, options.tokens, options.rounds, console)
        rows += found
        versions |= told
    show(console, rows)
    if options.json is not None:
        record.write(options.json, "unary", rows, versions)


if __name__ == "__main__":
    main()
