"""Summary: networks, generations and energies as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from snngen.certificate import Certificate
from snngen.generation import Generation
from snngen.ledger import GENERATE, PREFILL
from snngen.network import Network

if TYPE_CHECKING:
    from snngen.converters.noise import LayerNoise
    from snngen.hardware.price import Breakdown


def print_generation(console: Console, generation: Generation, certificate: Certificate | None) -> None:
    """Speed, counts per token, and the certificate in one line."""
    ledger = generation.ledger
    table = Table(title="per token", title_justify="left")
    for heading in ("", "tokens", "tokens/s", "events", "synaptic operations", "weight bytes read", "ticks"):
        table.add_column(heading, overflow="fold", justify="left" if not heading else "right")
    for phase, rate in ((PREFILL, generation.prefill_rate), (GENERATE, generation.generate_rate)):
        mean = ledger.per_token("graded", phase)
        counts = (f"{mean[key]:,.0f}" for key in ("events", "synaptic_operations", "bytes_read", "ticks"))
        table.add_row(phase, f"{ledger.tokens(phase):,}", f"{rate:,.0f}", *counts)
    console.print(table)
    if generation.slides:
        console.print(f"the context was full {generation.slides} times and began anew with its newest half")
    if certificate is not None:
        console.print(f"certificate: {certificate}", markup=False, soft_wrap=True)


def print_layers(console: Console, layers: Sequence[LayerNoise]) -> None:
    """Signal-to-noise ratio per population, the worst first."""
    table = Table(title="against the float model, noisiest first", title_justify="left")
    for heading in ("population", "signal/noise dB", "clipped", "active"):
        table.add_column(heading, overflow="fold", justify="left" if heading == "population" else "right")
    for layer in sorted(layers, key=lambda layer: layer.decibels):
        table.add_row(layer.population, f"{layer.decibels:.1f}", f"{layer.clipped:.3%}", f"{layer.active:.1%}")
    console.print(table)


def describe(network: Network) -> dict[str, Any]:
    """A network in plain values, for JSON."""
    return {
        "digest": network.digest,
        "vocabulary": network.vocabulary,
        "context": network.context,
        "output": network.output,
        "begin": network.begin,
        "end": list(network.end),
        "neurons": sum(population.size for population in network.populations),
        "synapses": sum(projection.synapse.count for projection in network.projections),
        "weight_bytes": sum(projection.synapse.weight_bytes for projection in network.projections),
        "populations": [
            {
                "name": population.name,
                "kind": population.neuron.kind,
                "neurons": population.size,
                "range": list(population.neuron.range),
                "scale": [float(population.scale.min()), float(population.scale.max())],
                "stage": stage,
            }
            for population, stage in zip(network.populations, network.stages, strict=True)
        ],
        "projections": [
            {
                "name": projection.name,
                "kind": projection.synapse.kind,
                "synapses": projection.synapse.count,
                "weight_bytes": projection.synapse.weight_bytes,
                "written_by": projection.writer,
            }
            for projection in network.projections
        ],
        "provenance": network.provenance,
    }


def print_network(console: Console, network: Network) -> None:
    """Populations, projections and provenance."""
    about = describe(network)
    console.print(
        f"network {about['digest'][:16]}: {about['neurons']:,} neurons in {len(network.populations)} populations, "
        f"{about['synapses']:,} synapses in {len(network.projections)} projections, {about['weight_bytes']:,} bytes of "
        f"weights; vocabulary {about['vocabulary']:,}, context {about['context']}"
    )
    table = Table(title="populations", title_justify="left")
    for heading in ("name", "kind", "neurons", "codes", "worth of one unit", "stage"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("name", "kind") else "right")
    for population, entry in zip(network.populations, about["populations"], strict=True):
        low, high = entry["range"]
        codes = "potential" if population.neuron.wide else f"{low}..{high}"
        least, most = entry["scale"]
        worth = f"{least:.3g}" if least == most else f"{least:.3g}..{most:.3g}"
        table.add_row(population.name, entry["kind"], f"{population.size:,}", codes, worth, str(entry["stage"]))
    console.print(table)
    table = Table(title="projections", title_justify="left")
    for heading in ("source -> target", "kind", "synapses", "weight bytes", "written by"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading in ("synapses", "weight bytes") else "left"
        )
    for entry in about["projections"]:
        sizes = f"{entry['synapses']:,}", f"{entry['weight_bytes']:,}"
        table.add_row(entry["name"], entry["kind"], *sizes, entry["written_by"] or "")
    console.print(table)
    console.print("provenance:")
    for key, value in about["provenance"].items():
        console.print(f"  {key}: {value}", markup=False, soft_wrap=True)


def print_energy(console: Console, breakdowns: Sequence[Breakdown]) -> None:
    """Energy per token on each chip, by cause, prefill and generate apart, with what has no price."""
    from snngen.hardware.price import rows

    for breakdown in breakdowns:
        chip = breakdown.chip
        count = "" if breakdown.chips is None else f", {breakdown.chips} chip{'s' if breakdown.chips > 1 else ''}"
        table = Table(title=f"energy per token: {chip.title}{count}, {breakdown.code} code", title_justify="left")
        table.add_column("cause")
        for column in breakdown.columns:
            table.add_column(column, justify="right")
        table.add_column("evidence")
        for row in rows(breakdown):
            table.add_row(row.cause, *row.cells, row.evidence)
        console.print(table)
        if breakdown.unpriced:
            console.print("  without a price: " + ", ".join(part.cause for part in breakdown.unpriced), markup=False)
