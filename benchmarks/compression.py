"""What fewer bits and fewer synapses cost a real model: perplexity, bytes of weights, synaptic operations.

    python benchmarks/compression.py MODEL [--tokenizer FILE] [--calibration N] [--sequences N] [--json FILE]

Every row converts the model anew, calibrated on sequences that it sampled, and measures it on others (seed 1). The
first rows are the float model and W8A8; `loss` is the perplexity over the float model's, less one. Pruning happens in
the float model (half of the weights of every row, or neurons), 8 bits after it; `kept` counts weights of linear maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import record
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import snngen
from snngen.converters import families, formats
from snngen.converters.graph import Graph
from snngen.converters.precision import choose_bits, sensitivities
from snngen.converters.pruning import linear_maps, prune_neurons, prune_weights
from snngen.converters.quantize import Settings, quantize
from snngen.converters.sparsity import sparsity
from snngen.likelihood import nats, nats_per_token

Tokens = npt.NDArray[np.int64]
Recipe = tuple[Callable[[Graph, Tokens], Graph], Callable[[Graph, Tokens], Settings]]
LENGTH, RANGES = 256, 5  # tokens of a sequence; sequences that plain rounding is calibrated on


def unpruned(graph: Graph, tokens: Tokens) -> Graph:
    """The model as it is."""
    return graph


def plainly(**settings: Any) -> Callable[[Graph, Tokens], Settings]:
    """Fixed settings."""
    return lambda graph, tokens: Settings(**settings)


def mixed(share: float) -> Callable[[Graph, Tokens], Settings]:
    """Bits by sensitivity, within a budget that lies so far between all 4 and all 8 bits."""

    def settings(graph: Graph, tokens: Tokens) -> Settings:
        found = sensitivities(graph, tokens[:4])
        few, many = (sum(one.bytes for one in found if one.bits == bits) for bits in (4, 8))
        bits = choose_bits(found, round(few + share * (many - few)))
        return Settings(rounding="compensated", bits=bits)

    return settings


def ternary_hidden(graph: Graph, tokens: Tokens) -> Settings:
    """Two bits for the three maps of the MLP that is the least sensitive, 8 elsewhere."""
    found = [one for one in sensitivities(graph, tokens[:2], (2,)) if one.node.split(".")[-1] in ("gate", "up")]
    layers = {one.node.split(".")[0] for one in found}
    costs = {layer: sum(one.divergence for one in found if one.node.startswith(f"{layer}.")) for layer in layers}
    best = min(costs, key=lambda layer: costs[layer])
    return Settings(rounding="compensated", bits={f"{best}.{kind}": 2 for kind in ("gate", "up")})


RECIPES: dict[str, Recipe] = {
    "W8A8": (unpruned, plainly()),
    "W4A8 plain": (unpruned, plainly(weight_bits=4)),
    "W4A8 compensated": (unpruned, plainly(weight_bits=4, rounding="compensated")),
    "8/4/2 bits, halfway": (unpruned, mixed(0.5)),
    "ternary gate and up of one layer": (unpruned, ternary_hidden),
    "50 % by magnitude": (lambda graph, tokens: prune_weights(graph, 0.5), plainly(sparse_below=0.6)),
    "50 % refitted": (lambda graph, tokens: prune_weights(graph, 0.5, tokens, True), plainly(sparse_below=0.6)),
    "2:4 refitted": (lambda graph, tokens: prune_weights(graph, (2, 4), tokens, True), plainly(sparse_below=0.6)),
    "80 % pruned, refitted": (lambda graph, tokens: prune_weights(graph, 0.2, tokens, True), plainly()),
    "3/4 of the neurons": (lambda graph, tokens: prune_neurons(graph, 0.75, tokens), plainly()),
}


def float_perplexity(graph: Graph, tokens: Tokens) -> float:
    """Of the float model, scored as `nats_per_token` scores a network."""
    logits = graph.run(tokens)[:, :-1].astype(np.float64)
    pairs = zip(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1), strict=True)
    return float(np.exp(np.mean([nats(row, int(token)) for row, token in pairs])))


def measured(graph: Graph, recipe: Recipe, calibration: Tokens, held_out: Tokens) -> dict[str, Any]:
    """One row of the table."""
    prune, choose = recipe
    pruned = prune(graph, calibration)
    settings = choose(pruned, calibration)
    tokens = calibration if settings.rounding == "compensated" else calibration[:RANGES]
    network = quantize(pruned, tokens, settings)
    rows = sparsity(network, held_out[0].tolist())
    total, left = (
        sum(np.count_nonzero(node.operation.weight) for node in linear_maps(which))  # type: ignore[attr-defined]
        for which in (graph, pruned)
    )
    return {
        "perplexity": float(np.exp(nats_per_token(network, [(s, 1) for s in held_out.tolist()]))),
        "bytes": sum(row.bytes for row in rows),
        "kept": left / total,
        "operations": sum(row.operations for row in rows),
        "clean": snngen.certify(network, held_out[0, :12].tolist()).clean,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--calibration", type=int, default=24, help="sequences to compensate on")
    parser.add_argument("--sequences", type=int, default=20, help="to measure on")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    graph = families.build(formats.read(options.model, options.tokenizer))
    length = min(LENGTH, graph.context or LENGTH)
    with threadpool_limits(limits=1):
        calibration = graph.sample(options.calibration, length, 0)
        held_out = graph.sample(options.sequences, length, 1)
        base = float_perplexity(graph, held_out)
        rows: dict[str, dict[str, Any]] = {"float": {"perplexity": base}}
        for name, recipe in RECIPES.items():
            rows[name] = measured(graph, recipe, calibration, held_out)
    table = Table(title=f"{options.model.name}: {options.sequences} sequences of {length} tokens", title_justify="left")
    for heading in ("", "perplexity", "loss %", "weight bytes", "kept %", "operations/token", "certificate"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in rows.items():
        loss = f"{100 * (row['perplexity'] / base - 1):.2f}"
        rest = [""] * 4
        if name != "float":
            certificate = "clean" if row["clean"] else "NOT CLEAN"
            rest = [f"{row['bytes']:,}", f"{100 * row['kept']:.0f}", f"{row['operations']:,.0f}", certificate]
        table.add_row(name, f"{row['perplexity']:.4f}", loss, *rest)
    Console(highlight=False, width=120).print(table)
    if options.json is not None:
        record.write(options.json, "compression", [{"model": name, **row} for name, row in rows.items()])


if __name__ == "__main__":
    main()
