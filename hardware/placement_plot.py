"""Placement plot: each chip as its grid of cores, shaded by the memory in use, populations parted by lines."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from snngen.hardware.limits import MEMORY
from snngen.hardware.mesh import seats
from snngen.hardware.placement import Placement
from snngen.integers import FloatArray, IntArray
from snngen.plots import DARK

DRAWN = 16  # chips; more would be too small to read
SHADES = colormaps["Greys"]
DARKEST = 0.5  # of the shades, so that text and borders stand out on a full core
NAMED = 120  # populations in the key
KEY = 2.8  # inches of a column of the key


def plot_placement(placement: Placement) -> Figure:
    """Draw the chips as they stand, or the first 16 in a row-by-row list, and a key of the populations."""
    chips = min(placement.chips, DRAWN)
    grid = seats(placement.limits, chips * placement.limits.cores)[:: placement.limits.cores, :2]
    across, down = grid.max(axis=0) + 1
    names = [population.name for population in placement.network.populations]
    columns = -(-min(len(names), NAMED) // max(30, 26 * down))
    figure = Figure(figsize=(max(9.0, 6.4 * across) + KEY * columns, 1.2 + 3.7 * down), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(max(9.0, 6.4 * across), KEY * columns))
    boards, key = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    shown = "" if chips == placement.chips else f", the first {chips} drawn"
    figure.suptitle(
        f"{len(names)} populations on {placement.cores:,} cores of {placement.chips:,} {placement.limits.name} "
        f"chip{'s' if placement.chips > 1 else ''}{shown}: {placement.utilisation(MEMORY):.0%} of their memory in use"
    )
    panels = boards.subplots(down, across, squeeze=False)
    corners, load = _corners(placement), placement.load(MEMORY) / placement.limits[MEMORY]
    for axes in panels.flat:
        axes.set_axis_off()
    for number in range(chips):
        column, row = grid[number] if chips == placement.chips else (number % across, number // across)
        _draw_chip(panels[row, column], placement, number, corners, load)
    shade = ScalarMappable(Normalize(0, 1 / DARKEST), SHADES)
    bar = boards.colorbar(
        shade, ax=panels, shrink=0.6, boundaries=np.linspace(0, 1, 101), ticks=[0, 0.25, 0.5, 0.75, 1]
    )
    bar.ax.set_yticklabels(["0 %", "25 %", "50 %", "75 %", "100 %"])
    bar.set_label(f"synaptic memory in use, of {placement.limits[MEMORY]:,} bytes per core")
    _draw_key(key.subplots(), placement, columns)
    return figure


def _corners(placement: Placement) -> IntArray:
    """(cores, 2) column and row of each core in the grid of its chip."""
    per_router = placement.limits.per_router.value
    wide = int(np.ceil(np.sqrt(per_router)))
    places = placement.places
    return np.stack(
        [places[:, 2] * wide + places[:, 4] % wide, places[:, 3] * -(-per_router // wide) + places[:, 4] // wide],
        axis=1,
    )


def _draw_chip(axes: Axes, placement: Placement, chip: int, corners: IntArray, load: FloatArray) -> None:
    limits = placement.limits
    wide = int(np.ceil(np.sqrt(limits.per_router.value)))
    high = -(-limits.per_router.value // wide)
    width, height = limits.columns.value * wide, limits.rows.value * high
    first, last = _held(placement)
    for column in range(limits.columns.value):
        for row in range(limits.rows.value):
            axes.add_patch(
                Rectangle((column * wide, row * high), wide, high, facecolor="none", edgecolor="#888888", linewidth=0.8)
            )
    grid = np.full((height, width), -1, np.int64)
    for core in np.flatnonzero(placement.chip_of == chip):
        column, row = corners[core]
        grid[row, column] = core
        shade = SHADES(DARKEST * float(load[core]))
        axes.add_patch(Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, facecolor=shade, linewidth=0))
        text = f"{first[core]}" if first[core] == last[core] else f"{first[core]}-{last[core]}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5)
    _draw_borders(axes, grid, np.where(grid >= 0, first[grid], -1), np.where(grid >= 0, last[grid], -1))
    axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1), aspect="equal")
    axes.set_title(f"chip {chip}: {int((grid >= 0).sum())} of {limits.cores} cores", fontsize=10)


def _draw_borders(axes: Axes, grid: IntArray, first: IntArray, last: IntArray) -> None:
    """A heavy line wherever two neighbouring cores share no population."""
    framed = [np.pad(values, 1, constant_values=-1) for values in (grid, first, last)]
    for step, axis in (((1, 0), 0), ((0, 1), 1)):
        here = [values[: values.shape[0] - step[0], : values.shape[1] - step[1]] for values in framed]
        there = [values[step[0] :, step[1] :] for values in framed]
        apart = (here[1] > there[2]) | (there[1] > here[2])
        apart |= (here[0] < 0) != (there[0] < 0)
        apart &= (here[0] >= 0) | (there[0] >= 0)
        for row, column in np.argwhere(apart):
            ends = ((column - 1, column), (row, row)) if axis == 0 else ((column, column), (row - 1, row))
            axes.plot(*ends, color=DARK, linewidth=1.8, solid_capstyle="round")


def _held(placement: Placement) -> tuple[IntArray, IntArray]:
    """(cores,) number of the first and of the last population on each core."""
    first = np.full(placement.cores, len(placement.homes), np.int64)
    last = np.full(placement.cores, -1, np.int64)
    for number, home in enumerate(placement.homes):
        cores = np.unique(home)
        first[cores] = np.minimum(first[cores], number)
        last[cores] = number
    return first, last


def _draw_key(axes: Axes, placement: Placement, columns: int) -> None:
    axes.set_axis_off()
    rows = placement.rows()
    named = rows[:NAMED]
    deep = -(-len(named) // columns)
    for number, row in enumerate(named):
        column, line = divmod(number, deep)
        text = f"{number}  {row['name']}" + (f"  ({row['cores']} cores)" if row["cores"] > 1 else "")
        axes.text(column / columns, 1 - line / (deep + 1), text, fontsize=7, va="top", transform=axes.transAxes)
    if len(rows) > len(named):
        axes.text(0, 0, f"and {len(rows) - len(named)} more", fontsize=7, va="bottom", transform=axes.transAxes)
