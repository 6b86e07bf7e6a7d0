"""Summary: networks, generations and energies as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from snngen.certificate import Certificate
from snngen.engines.ticked import TickedEngine
from snngen.generation import Generation
from snngen.ledger import GENERATE, PREFILL
from snngen.network import Network

if TYPE_CHECKING:
    from snngen.anytime import Anytime
    from snngen.comparison import CodeRun
    from snngen.converters.noise import LayerNoise
    from snngen.hardware.price import Breakdown
    from snngen.hardware.verdict import Verdict


def print_generation(
    console: Console, generation: Generation, certificate: Certificate | None, code: str | None = None
) -> None:
    """Speed, counts per token under a code (the one really sent, by default), and the certificate in one line."""
    ledger = generation.ledger
    table = Table(title=f"per token, {ledger.known(code)} code", title_justify="left")
    for heading in ("", "tokens", "tokens/s", "events", "synaptic operations", "weight bytes read", "ticks"):
        table.add_column(heading, justify="left" if not heading else "right")
    for phase, rate in ((PREFILL, generation.prefill_rate), (GENERATE, generation.generate_rate)):
        mean = ledger.per_token(code, phase)
        counts = (f"{mean[key]:,.0f}" for key in ("events", "synaptic_operations", "bytes_read", "ticks"))
        table.add_row(phase, f"{ledger.tokens(phase):,}", f"{rate:,.0f}", *counts)
    console.print(table)
    if generation.slides:
        console.print(f"the context was full {generation.slides} times and began anew with its newest half")
    engine = generation.engine
    if isinstance(engine, TickedEngine) and engine.stop_when_safe:
        share = f"{engine.safe_stops} of {engine.position} tokens since the last reset"
        console.print(f"{share} ended before all was quiet, their answer being safe; `snngen anytime` shows how early")
    if not engine.exact:
        console.print("this run was told to lose something; the certificate counts what")
    if certificate is not None:
        console.print(f"certificate: {certificate}", markup=False, soft_wrap=True)
        rest = len(generation.tokens) - certificate.tokens
        if rest:
            console.print(f"not compared: {rest} tokens beyond the first context")


def describe_generation(
    generation: Generation, certificate: Certificate | None, breakdowns: Sequence[Breakdown]
) -> dict[str, Any]:
    """A generation in plain values, for JSON."""
    engine = generation.engine
    return {
        "text": generation.text,
        "tokens": generation.tokens,
        "prompt_tokens": len(generation.prompt),
        "stopped": generation.stopped,
        "slides": generation.slides,
        "engine": "ticked" if isinstance(engine, TickedEngine) else "settled",
        "exact": engine.exact,
        "safe_stops": engine.safe_stops if isinstance(engine, TickedEngine) else 0,
        "speed": {
            "prefill_tokens_per_second": generation.prefill_rate,
            "generate_tokens_per_second": generation.generate_rate,
        },
        "ledger": generation.ledger.summary(),
        "certificate": None if certificate is None else certificate.as_dict(),
        "energy": {one.chip.name: one.as_dict() for one in breakdowns},
    }


def code_rows(runs: Sequence[CodeRun], breakdowns: Sequence[Breakdown]) -> list[dict[str, Any]]:
    """One row per code: what it took per token, whether it came out equal, and its energy."""
    rows = []
    for run, breakdown in zip(runs, breakdowns, strict=True):
        mean, bits = run.ledger.per_token(), run.ledger.bits().sum(axis=1).mean()
        certificate = run.certificate
        equality = "equal" if certificate.clean else f"{certificate.mismatches / certificate.codes:.1%} of codes differ"
        priced = [phase.total for phase in breakdown.phases if phase.name == GENERATE]
        energy = f"{'at least ' if breakdown.at_least else ''}{priced[0]}" if priced else "not priced"
        if priced and not breakdown.placed:
            energy += ", not placed"
        rows.append(
            {
                "code": run.code.name,
                "events": round(mean["events"]),
                "ticks": round(mean["ticks"]),
                "synaptic operations": round(mean["synaptic_operations"]),
                "bits sent": round(float(bits)),
                "certificate": equality,
                f"energy, {breakdown.chip.name}": energy,
            }
        )
    return rows


def anytime_rows(curves: Sequence[Anytime]) -> list[dict[str, Any]]:
    """One row per curve: ticks to quiet, and how often and how early the answer was safe."""
    rows = []
    for curve in curves:
        about = curve.as_dict()
        half = int(curve.ticks[int((curve.tokens_right >= 0.5).argmax())])
        rows.append(
            {
                "code": curve.code,
                "schedule": curve.schedule,
                "ticks to quiet": round(float(curve.settled.mean())),
                "half the tokens right by tick": half,
                "safe before quiet": f"{about['stops_early']:.0%} of tokens",
                "ticks spared by stopping when safe": f"{about['ticks_spared']:.2%}",
            }
        )
    return rows


def print_rows(console: Console, rows: Sequence[dict[str, Any]], markdown: bool, leave_out: Sequence[str] = ()) -> None:
    """A table of rows with the same keys; numbers stand right, with thousands apart.

    leave_out: keys that are too long for a table; they are in the JSON.
    """
    rows = [{key: value for key, value in row.items() if key not in leave_out} for row in rows]
    texts = [[cell(value) for value in row.values()] for row in rows]
    if markdown:
        marks = ["---:" if isinstance(value, int | float) else "---" for value in rows[0].values()]
        for cells in (list(rows[0]), marks, *texts):
            print("| " + " | ".join(cells) + " |")
        return
    table = Table()
    for heading, value in rows[0].items():
        table.add_column(heading, justify="right" if isinstance(value, int | float) else "left")
    for cells in texts:
        table.add_row(*cells)
    console.print(table)


def cell(value: Any) -> str:
    """A value as a table shows it: integers with thousands apart, other numbers to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


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
        where = f", {breakdown.where}" if breakdown.where else ""
        table = Table(title=f"energy per token: {chip.title}{where}, {breakdown.code} code", title_justify="left")
        table.add_column("cause")
        for column in breakdown.columns:
            table.add_column(column, justify="right")
        table.add_column("evidence")
        for row in rows(breakdown):
            table.add_row(row.cause, *row.cells, row.evidence)
        console.print(table)
        if breakdown.rests_on:
            console.print(f"  {breakdown.rests_on}", markup=False)
        if breakdown.unpriced:
            console.print("  without a price: " + ", ".join(part.cause for part in breakdown.unpriced), markup=False)


def print_comparison(
    console: Console, breakdowns: Sequence[Breakdown], verdicts: Sequence[Verdict], markdown: bool
) -> None:
    """Energy, time and chips per chip; who wins; the published thresholds; what has no price."""
    print_rows(console, comparison_rows(breakdowns), markdown)
    print("")
    for breakdown in breakdowns:
        if breakdown.rests_on:
            console.print(f"{breakdown.chip.name}: {breakdown.rests_on}", markup=False, soft_wrap=True)
    print("")
    for verdict in verdicts:
        for against in verdict.against:
            console.print(f"- {verdict.breakdown.chip.name}: {against.sentence}", markup=False, soft_wrap=True)
    thresholds = verdicts[0].threshold_rows()
    if thresholds:
        print("")
        print_rows(console, thresholds, markdown, leave_out=("source", "note"))
    print("")
    for breakdown in breakdowns:
        if breakdown.unpriced:
            causes = ", ".join(part.cause for part in breakdown.unpriced)
            console.print(f"{breakdown.chip.name} without a price: {causes}", markup=False, soft_wrap=True)


def comparison_rows(breakdowns: Sequence[Breakdown]) -> list[dict[str, Any]]:
    """One row per chip: chips and cores, energy and time per token of either phase; cited rows as they stand."""
    table = []
    for breakdown in breakdowns:
        row: dict[str, Any] = {"chip": breakdown.chip.name, "on": breakdown.where}
        mark = "at least " if breakdown.at_least else ""
        for name in (PREFILL, GENERATE):
            found = [phase for phase in breakdown.phases if phase.name == name]
            cited = [cited for cited in breakdown.cited if cited.phase == name]
            row[name] = f"{mark}{found[0].total}" if found else "; ".join(f"{c.energy} ({c.model})" for c in cited)
            time = found[0].time if found else None
            row[f"{name} time"] = "" if time is None else f"at least {time}"
        if not breakdown.phases and not breakdown.cited:
            row[GENERATE] = "; ".join(part.why for part in breakdown.unpriced)
        table.append(row)
    return table
