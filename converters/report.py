"""Report: what became of every part of a model, in words and in JSON, beside the network.

Nothing is dropped, approximated or kept otherwise without a line here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from snngen.aside import write_text
from snngen.converters.convert import Conversion
from snngen.converters.graph import Node
from snngen.converters.operations import Convolution, Embedding, Linear, Position
from snngen.converters.sparsity import sparsity
from snngen.network import Projection


def describe(conversion: Conversion) -> dict[str, Any]:
    """The conversion in plain values.

    returns: provenance; notes; operations, one row per node of the float graph with what became of it; added,
    the populations that stand for no node; projections with how their weights are stored; totals.
    """
    network, graph = conversion.network, conversion.graph
    noise = {layer.population: layer for layer in conversion.layers}
    operations = []
    for node in graph.nodes:
        row: dict[str, Any] = {
            "node": node.name,
            "operation": type(node.operation).__name__,
            "became": _became(conversion, node),
            "kept": _kept(node),
        }
        if node.name in noise:
            layer = noise[node.name]
            row |= {"decibels": _plain(layer.decibels), "clipped": layer.clipped, "active": layer.active}
        operations.append(row)
    names = {node.name for node in graph.nodes}
    measured = [] if graph.channels else sparsity(network, conversion.calibration[0].tolist())
    return {
        "provenance": network.provenance,
        "notes": list(network.provenance.get("notes", [])),
        "operations": operations,
        "added": [
            {"population": p.name, "neuron": p.neuron.kind, "neurons": p.size}
            for p in network.populations
            if p.name not in names
        ],
        "projections": [_projection(projection) for projection in network.projections],
        "totals": {
            "neurons": sum(p.size for p in network.populations),
            "synapses": sum(p.synapse.count for p in network.projections),
            "weight_bytes": sum(p.synapse.weight_bytes for p in network.projections if p.writer is None),
            "float_parameters": graph.parameters,
        },
        "sparsity": [layer.as_dict(neurons=False) for layer in measured],
        "layers": [
            {"population": n.population, "decibels": _plain(n.decibels), "clipped": n.clipped, "active": n.active}
            for n in conversion.layers
        ],
    }


def _became(conversion: Conversion, node: Node) -> str:
    network, graph = conversion.network, conversion.graph
    if node.name in network.order:
        population = network[node.name]
        low, high = population.neuron.range
        codes = "potentials of 32 bits" if population.neuron.wide else f"codes {low}..{high}"
        return f"{population.size} {population.neuron.kind} neurons, {codes}"
    readers = [reader.name for reader in graph.consumers(node.name) if reader.name in network.order]
    kinds = {type(reader.operation).__name__ for reader in graph.consumers(node.name)}
    how = "its rounding is the ReLU of" if kinds == {"Pointwise"} else "drives"
    return f"no population of its own: {how} {', '.join(readers) or 'nothing'}"


def _kept(node: Node) -> str:
    """What was taken over from the source as it is, and what was rounded here."""
    parts = []
    if getattr(node.operation, "integers", None) is not None:
        parts.append(f"weights of {node.operation.integers.bits} bits taken over")  # type: ignore[attr-defined]
    elif isinstance(node.operation, Linear | Convolution | Embedding | Position):
        parts.append("weights rounded here")
    parts.append("codes taken over" if node.codes is not None else "codes chosen by calibration")
    return ", ".join(parts)


def _projection(projection: Projection) -> dict[str, Any]:
    synapse = projection.synapse
    stored = synapse.weight_bytes
    return {
        "projection": projection.name,
        "synapse": synapse.kind,
        "synapses": synapse.count,
        "weight_bytes": stored,
        "bits_per_synapse": round(8 * stored / max(1, synapse.count), 3),
        "delayed": projection.delayed,
    }


def markdown(conversion: Conversion) -> str:
    """The report as Markdown."""
    report = describe(conversion)
    provenance, totals = report["provenance"], report["totals"]
    lines = ["# Conversion report", ""]
    for key in ("source", "format", "family", "source_sha256", "snngen", "calibration", "calibration_tokens"):
        if key in provenance:
            lines.append(f"- {key.replace('_', ' ')}: {provenance[key]}")
    lines.append(f"- settings: {json.dumps(provenance.get('quantizer', {}))}")
    lines += [f"- {key.replace('_', ' ')}: {value:,}" for key, value in totals.items()]
    lines += ["", "## Notes", ""]
    lines += [f"- {note}" for note in report["notes"]] or ["none: every part was carried as it is described below"]
    lines += ["", "## What became of every operation", ""]
    lines += ["| node | operation | became | source | signal/noise dB | clipped | active |"]
    lines += ["| --- | --- | --- | --- | --: | --: | --: |"]
    for row in report["operations"]:
        decibels, clipped, active = (row.get(key) for key in ("decibels", "clipped", "active"))
        figures = ["" if decibels is None else f"{decibels:.1f}"]
        figures += ["" if share is None else f"{share:.2%}" for share in (clipped, active)]
        cells = [row["node"], row["operation"], row["became"], row["kept"], *figures]
        lines.append("| " + " | ".join(cells) + " |")
    if report["added"]:
        lines += ["", "## Populations that stand for no operation", ""]
        lines += [f"- {row['population']}: {row['neurons']} {row['neuron']} neurons" for row in report["added"]]
    lines += ["", "## Weights", "", "| projection | synapse | synapses | bytes | bits per synapse |"]
    lines += ["| --- | --- | --: | --: | --: |"]
    for row in report["projections"]:
        cells = [row["projection"], row["synapse"], f"{row['synapses']:,}", f"{row['weight_bytes']:,}"]
        lines.append("| " + " | ".join([*cells, f"{row['bits_per_synapse']:g}"]) + " |")
    if report["sparsity"]:
        lines += ["", "## Sparsity, which energy follows", "", "Of the first calibration sequence.", ""]
        lines += ["| population | codes not zero | per head | silent neurons | weights not zero | operations/token |"]
        lines += ["| --- | --: | --- | --: | --: | --: |"]
        for row in report["sparsity"]:
            heads = ", ".join(f"{share:.0%}" for share in row["heads"])
            shares = [f"{row['active']:.1%}", heads, f"{row['silent']:.1%}", f"{row['weights']:.1%}"]
            lines.append("| " + " | ".join([row["population"], *shares, f"{row['operations']:,.0f}"]) + " |")
    return "\n".join(lines) + "\n"


def write(conversion: Conversion, network_path: Path) -> tuple[Path, Path]:
    """Write ``NAME.report.md`` and ``NAME.report.json`` beside a network; returns both paths.

    raises: FormatError where they cannot be written.
    """
    paths = (network_path.with_suffix(".report.md"), network_path.with_suffix(".report.json"))
    write_text(paths[0], markdown(conversion))
    write_text(paths[1], json.dumps(describe(conversion), indent=1, sort_keys=True) + "\n")
    return paths


def _plain(decibels: float) -> float | None:
    return round(decibels, 2) if np.isfinite(decibels) else None  # JSON has no infinities
