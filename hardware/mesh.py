"""Mesh: where the cores of a chip stand, how far events go, and an order of cores that shortens the way."""

from __future__ import annotations

import math

import numpy as np

from snngen.hardware.limits import Limits
from snngen.integers import FloatArray, IntArray

TOGETHER, SWAPPED = 512, 2048  # cores up to which all are swapped with all, and within each chip


def seats(limits: Limits, cores: int) -> IntArray:
    """(cores, 5) of a walk over the mesh: chip column, chip row, router column, router row, place on the router.

    Chips are walked line after line over a nearly square grid, routers column after column within a chip, both there
    and back, so that neighbours in the walk are neighbours on the mesh.
    """
    columns, rows, per_router = limits.columns.value, limits.rows.value, limits.per_router.value
    number = np.arange(cores)
    chip, core = np.divmod(number, limits.cores)
    router, place = np.divmod(core, per_router)
    wide = math.isqrt(max(1, -(-cores // limits.cores)) - 1) + 1
    chip_row, chip_column = np.divmod(chip, wide)
    back = chip_row % 2 == 1
    column, row = np.divmod(router, rows)
    row = np.where(column % 2 == 1, rows - 1 - row, row)
    column = np.where(back, columns - 1 - column, column)
    return np.stack([np.where(back, wide - 1 - chip_column, chip_column), chip_row, column, row, place], axis=1)


def distances(limits: Limits, places: IntArray, sender: IntArray, receiver: IntArray) -> tuple[IntArray, IntArray]:
    """Links between routers, and between chips, from each sender to its receiver; numbers index `places`."""
    chips = np.abs(places[sender, :2] - places[receiver, :2]).sum(axis=1)
    routers = places[:, :2] * (limits.columns.value, limits.rows.value) + places[:, 2:4]
    return np.abs(routers[sender] - routers[receiver]).sum(axis=1), chips


def swapped(events: FloatArray, ways: FloatArray, together: int) -> IntArray:
    """(cores,) seat of each core, after exchanging two as long as that shortens the way of all events.

    events: (cores, cores) events from core to core. ways: (cores, cores) links from seat to seat, symmetric.
    together: consecutive cores among which exchanges are tried, those of one chip or all.
    """
    order = np.arange(len(events))
    both = events + events.T
    np.fill_diagonal(both, 0)
    for begin in range(0, len(order), together):
        _exchange(both, ways, order, np.arange(begin, min(begin + together, len(order))))
    return order


def _exchange(both: FloatArray, ways: FloatArray, order: IntArray, group: IntArray) -> None:
    """Exchange seats of a group, in `order`: the best two each time, until none gain, or as often as it has cores."""
    seats_of_group = order[group]
    inner, near = both[np.ix_(group, group)], ways[np.ix_(seats_of_group, seats_of_group)]
    cost = both[group] @ ways[np.ix_(order, seats_of_group)]  # of core i in seat p
    place = np.arange(len(group))
    for _ in group:
        now = cost[:, place]
        held = np.diag(now)
        gain = held[:, None] + held[None, :] - now - now.T - 2 * inner * near[np.ix_(place, place)]
        first, second = divmod(int(gain.argmax()), len(group))
        if gain[first, second] <= 1e-9 * max(1.0, float(held.sum())):
            break
        here, there = place[first], place[second]
        cost += np.outer(inner[:, first] - inner[:, second], near[there] - near[here])
        place[first], place[second] = there, here
    order[group] = seats_of_group[place]
