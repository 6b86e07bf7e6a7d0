"""Roofline plot: synaptic operations per second against operations per byte of weights, under the roof of each memory.

Memories differ by line and marker, not by colour alone, so that it can be read in black and white.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from snngen.plots import DARK, STYLES
from snngen.roofline import NetworkPoint, Point

MARKERS = ("o", "s", "^", "D")
LEFT, RIGHT = 0.62, 7.5  # operations per byte drawn


def plot_roofline(points: Sequence[Point], networks: Sequence[NetworkPoint], title: str) -> Figure:
    """Roofs as lines; deliveries as markers, hollow where payloads are spikes of +-1; networks as crosses with names.

    A roof is the best bandwidth measured of that memory. The dotted flat line is the best rate of any delivery.
    """
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    axes = figure.subplots()
    levels = list(dict.fromkeys(point.level for point in points))
    limits = {level: max(point.limit for point in points if point.level == level) for level in levels}
    for level, marker, (style, colour) in zip(levels, MARKERS, STYLES, strict=False):
        ends = np.array([LEFT, RIGHT])
        axes.plot(ends, limits[level] * ends, linestyle=style, color=colour, linewidth=1.6)
        for point in (point for point in points if point.level == level):
            fill = "white" if point.largest == 1 else colour
            axes.plot(8 / point.bits, point.rate, marker, markersize=8, color=colour, markerfacecolor=fill, zorder=3)
    if points:
        top = max(point.rate for point in points)
        axes.axhline(top, color=DARK, linestyle=(0, (1, 2)), linewidth=1)
        text = f"fastest delivery, {top / 1e9:,.0f} G/s"
        axes.annotate(text, (RIGHT, top), (-4, 4), textcoords="offset points", fontsize=8, ha="right")
    _label(axes, title)
    _draw_networks(axes, networks)
    _name_roofs(axes, limits)
    axes.legend(handles=_key(levels, bool(networks)), loc="upper left", fontsize=8, framealpha=0.95)
    return figure


def _name_roofs(axes: Axes, limits: dict[str, float]) -> None:
    """Each roof's memory and bandwidth at its right end."""
    texts = {f"{level}, {limit / 1e9:,.0f} GB/s": limit * RIGHT for level, limit in limits.items()}
    for text, height in _apart(axes, texts).items():
        axes.text(1.05 * RIGHT, height, text, fontsize=8, va="center")


def _draw_networks(axes: Axes, networks: Sequence[NetworkPoint]) -> None:
    texts = {}
    for network in networks:
        place = network.operations / network.rows_read
        axes.plot(place, network.rate, "x", markersize=9, markeredgewidth=2, color=DARK, zorder=4)
        rate = f"{1 / network.token.best:,.0f} tokens/s"
        texts[f"{network.name}: {rate}, {100 * network.share:.0f} % of its limit"] = network.rate
    for text, height in _apart(axes, texts).items():
        axes.text(1.05, height, text, fontsize=8, va="center", zorder=5)


def _apart(axes: Axes, heights: dict[str, float]) -> dict[str, float]:
    """Where texts go that are wanted at these heights: a line or more apart, the highest in its place."""
    low, high = np.log(axes.get_ylim())
    line, above, found = 0.035 * (high - low), np.inf, {}
    for text, height in sorted(heights.items(), key=lambda item: -item[1]):
        above = min(float(np.log(height)), above - line)
        found[text] = float(np.exp(above))
    return found


def _label(axes: Axes, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlim=(LEFT, RIGHT), title=title)
    axes.set_xticks([1, 2, 4], ["1\n8-bit weights", "2\n4-bit weights", "4\n2-bit weights"])
    axes.minorticks_off()
    axes.set(xlabel="synaptic operations per byte of weights read", ylabel="synaptic operations per second")
    axes.grid(alpha=0.3)


def _key(levels: Sequence[str], networks: bool) -> list[Line2D]:
    """What lines and markers mean."""
    key = [
        Line2D([], [], linestyle=style, color=colour, marker=marker, label=f"weights in {level}")  # type: ignore[arg-type]
        for level, marker, (style, colour) in zip(levels, MARKERS, STYLES, strict=False)
    ]
    hollow = {"linestyle": "", "marker": "o", "color": DARK}
    key.append(Line2D([], [], label="filled: payloads of 8 bits", **hollow))  # type: ignore[arg-type]
    key.append(Line2D([], [], label="hollow: spikes of ±1", markerfacecolor="white", **hollow))  # type: ignore[arg-type]
    if networks:
        key.append(Line2D([], [], linestyle="", marker="x", markeredgewidth=2, color=DARK, label="a whole network"))
    return key
