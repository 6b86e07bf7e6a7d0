"""Plots: pictures of runs. Each function returns a matplotlib Figure; nothing global is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snngen.anytime import Anytime
from snngen.aside import written_aside
from snngen.errors import UnsupportedError
from snngen.integers import IntArray
from snngen.ledger import CODES, Ledger
from snngen.trace import NEURON, PAYLOAD, POPULATION, TICK, Trace

DARK, LIGHT, POSITIVE, NEGATIVE = "#222222", "#bbbbbb", "#1f5fa8", "#c8501e"
STYLES = (
    ("-", "#000000"),
    ("--", "#1f5fa8"),
    ("-.", "#c8501e"),
    (":", "#2a7f3f"),
    ((0, (5, 1, 1, 1, 1, 1)), "#7a3f9d"),
)
FORMATS = ("png", "svg", "pdf")
RASTER_LIMIT = 40_000  # events drawn; more would only be ink


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the suffix says how: .png, .svg or .pdf.

    raises: UnsupportedError for another suffix; FormatError where the path cannot be written.
    """
    path = Path(path)
    kind = picture_format(path)
    with written_aside(path) as aside:
        figure.savefig(aside, format=kind, dpi=130)


def picture_format(path: Path) -> str:
    """What `save` writes to this path: png, svg or pdf; raises UnsupportedError for another suffix."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise UnsupportedError(
            str(path), f"a picture as {kind or 'nothing'}", ", ".join(f".{known}" for known in FORMATS)
        )
    return kind


def plot_trace(trace: Trace) -> Figure:
    """Raster and activity of the longest token, rates and sparsity per population, events per token."""
    figure = Figure(figsize=(13, 10), layout="constrained")
    figure.suptitle(f"{trace.code} code, {trace.schedule} schedule, {len(trace.tokens)} tokens")
    raster, activity, rates, tokens = figure.subplots(2, 2).flat
    if len(trace.tokens):
        longest = int(trace.tokens[:, 1].argmax())
        events = trace.events(longest)
        draw_raster(raster, trace, longest, events)
        draw_activity(activity, trace, longest, events)
    draw_rates(rates, trace)
    draw_tokens(tokens, trace)
    return figure


def draw_raster(axes: Axes, trace: Trace, token: int, events: IntArray) -> None:
    """Events of one token: ticks across, populations stacked, sign by colour."""
    shown = events
    if len(events) > RASTER_LIMIT:
        shown = events[np.linspace(0, len(events) - 1, RASTER_LIMIT).astype(np.int64)]
    height = np.where(trace.sizes > 0, trace.sizes, 1)
    place = shown[:, POPULATION] + 0.1 + 0.8 * shown[:, NEURON] / height[shown[:, POPULATION]]
    for sign, colour in ((1, POSITIVE), (-1, NEGATIVE)):
        chosen = np.sign(shown[:, PAYLOAD]) == sign
        label = "positive" if sign > 0 else "negative"
        axes.scatter(shown[chosen, TICK], place[chosen], s=0.4, c=colour, label=label, linewidths=0)
    every = max(1, len(trace.names) // 30)
    axes.set_yticks(np.arange(0, len(trace.names), every) + 0.5, trace.names[::every], fontsize=6)
    axes.invert_yaxis()
    share = "" if len(shown) == len(events) else f", {100 * len(shown) / len(events):.0f} % of them drawn"
    axes.set(xlabel="tick", title=f"raster of token {token}: {len(events):,} events{share}")
    axes.legend(loc="lower left", markerscale=10, fontsize=7, framealpha=0.9)


def draw_activity(axes: Axes, trace: Trace, token: int, events: IntArray) -> None:
    """Events per tick over one token."""
    ticks = int(trace.tokens[token, 1])
    bins = min(max(ticks, 1), 300)
    counts, edges = np.histogram(events[:, TICK], bins=bins, range=(0, max(ticks, 1)))
    width = (edges[1] - edges[0]) or 1.0
    axes.stairs(counts / width, edges, fill=True, color=LIGHT)
    axes.stairs(counts / width, edges, color=DARK, linewidth=0.7)
    axes.set(xlabel="tick", ylabel="events per tick", title=f"activity over the {ticks:,} ticks of token {token}")


def draw_rates(axes: Axes, trace: Trace) -> None:
    """Per population: events per neuron and token, and the share of neurons that stay silent."""
    tokens, places = max(1, len(trace.tokens)), np.arange(len(trace.names))
    rate = trace.counts.sum(axis=0) / tokens / trace.sizes
    silent = 1 - trace.fired.sum(axis=0) / tokens / trace.sizes
    axes.barh(places, rate, color=LIGHT, edgecolor=DARK, linewidth=0.4)
    every = max(1, len(trace.names) // 30)
    axes.set_yticks(places[::every], trace.names[::every], fontsize=6)
    axes.invert_yaxis()
    axes.set(xlabel="events per neuron and token (bars)", title="rate and sparsity")
    other = axes.twiny()
    other.plot(100 * silent, places, "k.", markersize=4)
    other.set(xlabel="silent neurons, % (points)", xlim=(-2, 102))


def draw_tokens(axes: Axes, trace: Trace) -> None:
    """Events of each token: those sent, and those that the same codes take under every code, layer by layer."""
    counts = trace.counts.sum(axis=1)
    places = np.arange(len(counts))
    axes.bar(places, counts, color=LIGHT, edgecolor=DARK, linewidth=0.4, label="as sent")
    for (name, events), (style, colour) in zip(trace.events_by_code().items(), STYLES, strict=True):
        axes.plot(places, events, linestyle=style, color=colour, marker=".", label=f"{name}, layered")
    title = f"events per token: {counts.mean():,.0f} sent on average"
    axes.set(xlabel="token", ylabel="events", yscale="log", title=title)
    axes.legend(fontsize=7, loc="center right", framealpha=0.9)


def plot_codes(ledger: Ledger) -> Figure:
    """Events per token under every code, from the settled codes of a run."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for code, (style, colour) in zip(CODES, STYLES, strict=True):
        axes.plot(ledger.events(code).sum(axis=1), linestyle=style, color=colour, label=code)
    axes.set(yscale="log", xlabel="token", ylabel="events", title="events per token by code")
    axes.legend()
    return figure


def plot_anytime(curves: Sequence[Anytime]) -> Figure:
    """Share of tokens and codes already right, and perplexity, against the tick at which the answer is read.

    The style of a line tells the spike code, its shade and width the schedule.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    tokens, codes, perplexity = figure.subplots(1, 3)
    names = list(dict.fromkeys(curve.code for curve in curves))
    schedules = list(dict.fromkeys(curve.schedule for curve in curves))
    for curve in curves:
        style, _ = STYLES[names.index(curve.code) % len(STYLES)]
        width, colour = ((1.5, DARK), (3.0, LIGHT))[schedules.index(curve.schedule)]
        look = {"linestyle": style, "linewidth": width, "color": colour, "label": f"{curve.code}, {curve.schedule}"}
        look["zorder"] = 3 - schedules.index(curve.schedule)
        tokens.plot(curve.ticks, 100 * curve.tokens_right, **look)
        codes.plot(curve.ticks, 100 * curve.codes_right, **look)
        perplexity.plot(curve.ticks, np.exp(curve.nats), **look)
    tokens.set(ylabel="%", title="tokens whose answer is already final", ylim=(-2, 102))
    codes.set(ylabel="%", title="codes that are already final", ylim=(-2, 102))
    perplexity.set(title="perplexity of the next token", yscale="log")
    for axes in (tokens, codes, perplexity):
        axes.set(xscale="log", xlabel="tick at which the answer is read")
        axes.grid(alpha=0.3)
    figure.legend(handles=tokens.get_lines(), loc="outside lower center", ncols=min(len(curves), 4), handlelength=4)
    return figure
