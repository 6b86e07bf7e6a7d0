"""Compare: one run priced on several chips, as rows, as a picture, and as a page that opens anywhere."""

from __future__ import annotations

import base64
import csv
import html
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from snngen.hardware.price import Breakdown
from snngen.hardware.verdict import Verdict
from snngen.ledger import GENERATE

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo", "--")
WIDE = 44  # characters of a line beside the totals
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
                        "evidence": quantity.evidence, "source": quantity.source, "rests on": breakdown.rests_on,
                    }
                )  # fmt: skip
        for cited in breakdown.cited:
            rows.append(
                {
                    **shared, "phase": cited.phase, "cause": f"cited, all-in: {cited.model}", "at least": False,
                    "value": cited.energy.value, "low": cited.energy.low, "high": cited.energy.high,
                    "unit": cited.energy.unit, "evidence": cited.energy.evidence, "source": cited.energy.source,
                    "rests on": cited.boundary,
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
    """Left: energy per token of each priced chip, stacked by cause, with the interval of the total.

    Right: a generated token on all chips side by side, what others measured for other models included.
    """
    priced = [breakdown for breakdown in breakdowns if breakdown.phases]
    height = max(1.7 * len(priced) + 0.8, 1.4 + 0.5 * sum(_bars(b) for b in breakdowns))
    figure = Figure(figsize=(15, height), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(5, 6))
    if priced:
        _draw_causes(parts[0], priced)
    _draw_totals(parts[1].subplots(), breakdowns)
    return figure


def _bars(breakdown: Breakdown) -> int:
    shown = sum(phase.name == GENERATE for phase in breakdown.phases)
    return shown + sum(cited.phase == GENERATE for cited in breakdown.cited)


def _draw_causes(figure: SubFigure, breakdowns: Sequence[Breakdown]) -> None:
    """One panel per chip, each on its own scale: prefill and generate, stacked by cause."""
    panels = np.atleast_1d(figure.subplots(len(breakdowns), 1))
    known = list(dict.fromkeys(term.cause for b in breakdowns for phase in b.phases for term in phase.terms))
    looks = {cause: (GREYS[i % len(GREYS)], HATCHES[i % len(HATCHES)]) for i, cause in enumerate(known)}
    for axes, breakdown in zip(panels, breakdowns, strict=True):
        for place, phase in enumerate(breakdown.phases):
            reached = 0.0
            for term in phase.terms:
                colour, hatch = looks[term.cause]
                energy = 1e6 * term.energy.value
                axes.barh(place, energy, left=reached, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5)
                reached += energy
            total = phase.total
            spread = [[1e6 * (total.value - total.low)], [1e6 * (total.high - total.value)]]
            axes.errorbar(reached, place, xerr=spread, color="black", capsize=4, linewidth=1.2)
        axes.set_yticks(range(len(breakdown.phases)), [phase.name for phase in breakdown.phases])
        mark = "at least, " if breakdown.at_least else ""
        axes.set_title(f"{breakdown.chip.name}, {breakdown.where}: {mark}uJ per token by cause", fontsize=10)
        axes.invert_yaxis()
    for cause, (colour, hatch) in looks.items():
        panels[0].barh(0, 0, color=colour, hatch=hatch, edgecolor="black", label=cause)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)


def _draw_totals(axes: Axes, breakdowns: Sequence[Breakdown]) -> None:
    """Totals on one logarithmic scale: bars are priced here, diamonds are cited; figures stand right of the axes."""
    names: list[str] = []
    looks: Any = {"xycoords": axes.get_yaxis_transform(), "va": "center", "fontsize": 8, "annotation_clip": False}
    for breakdown in breakdowns:
        for total in (phase.total for phase in breakdown.phases if phase.name == GENERATE):
            place, spread = len(names), [[total.value - total.low], [total.high - total.value]]
            axes.barh(place, total.value, color="#d0d0d0", edgecolor="black", linewidth=0.6)
            axes.errorbar(total.value, place, xerr=spread, color="black", capsize=3, linewidth=1)
            mark = "at least " if breakdown.at_least else ""
            axes.annotate(f"{mark}{total}".removesuffix("/token"), (1.02, place), **looks)
            names.append(breakdown.chip.name if breakdown.placed else f"{breakdown.chip.name}\nnot placed")
        for cited in (cited for cited in breakdown.cited if cited.phase == GENERATE):
            place, energy = len(names), cited.energy
            axes.plot([energy.low, energy.high], [place, place], color="black", linewidth=1)
            axes.plot(energy.value, place, "kD", markersize=5)
            figures = f"{str(energy).removesuffix('/token')}: {cited.model}"
            axes.annotate(textwrap.fill(figures, WIDE), (1.02, place), **looks)
            names.append(f"{breakdown.chip.name}\ncited")
    axes.set_yticks(np.arange(len(names)), names, fontsize=8)
    title = "a generated token (diamonds: cited, another model)"
    axes.set(xscale="log", xlabel="J per generated token", title=title)
    axes.invert_yaxis()


def as_html(
    title: str, figure: Figure, breakdowns: Sequence[Breakdown], verdicts: Sequence[Verdict], measured: str = ""
) -> str:
    """A page that holds everything it shows: the picture, energies, verdicts, what is unpriced, notes and sources.

    measured: what this machine's own counters said, in words.
    """
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
    if measured:
        parts.append(f"<p>Measured on this machine, per token run: {html.escape(measured)}</p>")
    parts += ["<h2>Verdict</h2>", _table([row for verdict in verdicts for row in verdict.rows()])]
    thresholds = [
        {"chip": verdict.breakdown.chip.name, **row} for verdict in verdicts[:1] for row in verdict.threshold_rows()
    ]
    parts += ["<h3>Published thresholds beside this run</h3>", _table(thresholds)]
    for breakdown in breakdowns:
        lines = [f"{breakdown.where}: {breakdown.rests_on}"] if breakdown.rests_on else []
        lines += [f"not priced: {part.cause} ({part.why})" for part in breakdown.unpriced] + list(breakdown.chip.notes)
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
