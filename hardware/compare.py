"""Compare: one run priced on several chips, as rows, as a picture, and as a page that opens anywhere."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snngen.hardware.price import Breakdown
from snngen.hardware.verdict import Verdict
from snngen.ledger import GENERATE

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo", "--")
GREYS = ("#ffffff", "#d0d0d0", "#a8a8a8", "#808080", "#606060", "#404040", "#282828", "#101010")


def energy_rows(breakdowns: Sequence[Breakdown]) -> list[dict[str, Any]]:
    """One row per chip, phase and cause, and per cited figure: J/token and s/token with range and source."""
    rows = []
    for breakdown in breakdowns:
        shared = {"chip": breakdown.chip.name, "chips": breakdown.chips, "code": breakdown.code}
        for phase in breakdown.phases:
            parts = [(term.cause, term.energy, term.at_least) for term in phase.terms]
            parts.append(("total", phase.total, breakdown.at_least))
            if phase.time is not None:
                parts.append(("time", phase.time, True))
            for cause, quantity, at_least in parts:
                rows.append(
                    {
                        **shared, "phase": phase.name, "cause": cause, "at least": at_least, "value": quantity.value,
                        "low": quantity.low, "high": quantity.high, "unit": quantity.unit,
                        "evidence": quantity.evidence, "source": quantity.source,
                    }
                )  # fmt: skip
        for cited in breakdown.cited:
            rows.append(
                {
                    **shared, "phase": cited.phase, "cause": f"cited, all-in: {cited.model}", "at least": False,
                    "value": cited.energy.value, "low": cited.energy.low, "high": cited.energy.high,
                    "unit": cited.energy.unit, "evidence": cited.energy.evidence, "source": cited.energy.source,
                }
            )  # fmt: skip
    return rows


def as_csv(breakdowns: Sequence[Breakdown]) -> str:
    """The rows as CSV text."""
    rows = energy_rows(breakdowns)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def plot_energy(breakdowns: Sequence[Breakdown]) -> Figure:
    """Left: energy per generated token on each chip, with its interval. Right: what it is made of, by cause."""
    figure = Figure(figsize=(13, 1.6 + 0.55 * max(3, sum(_bars(b) for b in breakdowns))), layout="constrained")
    totals, causes = figure.subplots(1, 2, width_ratios=(3, 2))
    names, place = [], 0
    for breakdown in breakdowns:
        for phase in (phase for phase in breakdown.phases if phase.name == GENERATE):
            total = phase.total
            error = [[total.value - total.low], [total.high - total.value]]
            totals.barh(place, total.value, color="#d0d0d0", edgecolor="black", linewidth=0.6)
            totals.errorbar(total.value, place, xerr=error, color="black", capsize=3, linewidth=1)
            mark = "at least " if breakdown.at_least else ""
            totals.annotate(f"  {mark}{total}", (total.high, place), va="center", fontsize=8)
            names.append(f"{breakdown.chip.name}\n{breakdown.chips} chip{'s' if (breakdown.chips or 0) > 1 else ''}")
            place += 1
        for cited in (cited for cited in breakdown.cited if cited.phase == GENERATE):
            energy = cited.energy
            totals.plot([energy.low, energy.high], [place, place], color="black", linewidth=1)
            totals.plot(energy.value, place, "kD", markersize=5)
            totals.annotate(f"  {energy}, {cited.model}"[:52], (energy.high, place), va="center", fontsize=7)
            names.append(f"{breakdown.chip.name}\ncited")
            place += 1
    totals.set_yticks(np.arange(place), names, fontsize=8)
    title = "energy (bars: priced here; diamonds: cited, another model)"
    totals.set(xscale="log", xlabel="J per generated token", title=title)
    low, high = totals.get_xlim()
    totals.set_xlim(low, high * 1e4)  # room for the labels
    totals.invert_yaxis()
    _draw_causes(figure, causes, breakdowns)
    return figure


def _bars(breakdown: Breakdown) -> int:
    priced = sum(phase.name == GENERATE for phase in breakdown.phases)
    return priced + sum(cited.phase == GENERATE for cited in breakdown.cited)


def _draw_causes(figure: Figure, axes: Any, breakdowns: Sequence[Breakdown]) -> None:
    """Shares of the priced energy by cause, stacked to 100 %, prefill and generate."""
    bars = [(breakdown, phase) for breakdown in breakdowns for phase in breakdown.phases]
    known = list(dict.fromkeys(term.cause for _, phase in bars for term in phase.terms))
    looks = {cause: (GREYS[i % len(GREYS)], HATCHES[i % len(HATCHES)]) for i, cause in enumerate(known)}
    for place, (_, phase) in enumerate(bars):
        left, total = 0.0, phase.total.value or 1.0
        for term in phase.terms:
            share = 100 * term.energy.value / total
            colour, hatch = looks[term.cause]
            axes.barh(place, share, left=left, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5)
            left += share
    for cause, (colour, hatch) in looks.items():
        axes.barh(0, 0, color=colour, hatch=hatch, edgecolor="black", label=cause)
    axes.set_yticks(np.arange(len(bars)), [f"{b.chip.name}\n{phase.name}" for b, phase in bars], fontsize=8)
    axes.set(xlabel="% of what is priced", title="causes")
    axes.invert_yaxis()
    if known:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=4, fontsize=8)


def as_html(title: str, figure: Figure, breakdowns: Sequence[Breakdown], verdicts: Sequence[Verdict]) -> str:
    """A page that holds everything it shows: the picture, energies, verdicts, what is unpriced, notes and sources."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    image = base64.b64encode(picture.getvalue()).decode()
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{html.escape(title)}</title><style>", STYLE, "</style></head><body>",
        f"<h1>{html.escape(title)}</h1><img alt='energy per token on each chip' src='data:image/png;base64,{image}'>",
    ]  # fmt: skip
    energies = [
        {
            "chip": row["chip"], "phase": row["phase"], "cause": row["cause"],
            "value": f"{'at least ' if row['at least'] else ''}{row['value']:.3g}",
            "low..high": f"{row['low']:.3g}..{row['high']:.3g}", "unit": row["unit"], "evidence": row["evidence"],
            "source": row["source"],
        }
        for row in energy_rows(breakdowns)
    ]  # fmt: skip
    parts += ["<h2>Energy and time per token</h2>", _table(energies)]
    parts += ["<h2>Verdict</h2>", _table([row for verdict in verdicts for row in verdict.rows()])]
    thresholds = [
        {"chip": verdict.breakdown.chip.name, **row} for verdict in verdicts[:1] for row in verdict.threshold_rows()
    ]
    parts += ["<h3>Published thresholds beside this run</h3>", _table(thresholds)]
    for breakdown in breakdowns:
        lines = [f"not priced: {part.cause} ({part.why})" for part in breakdown.unpriced] + list(breakdown.chip.notes)
        if lines:
            items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
            parts.append(f"<h3>{html.escape(breakdown.chip.title)}</h3><ul>{items}</ul>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 1rem auto; padding: 0 1rem; color: #111; }
img { max-width: 100%; } div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
"""


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "<p>Nothing to show.</p>"
    head = "".join(f"<th>{html.escape(str(key))}</th>" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows
    )
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def as_dict(breakdowns: Sequence[Breakdown], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything in plain values, for JSON."""
    return {
        "chips": [breakdown.as_dict() for breakdown in breakdowns],
        "verdicts": [verdict.as_dict() for verdict in verdicts],
    }
