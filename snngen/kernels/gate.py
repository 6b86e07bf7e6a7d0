"""Which events of a stream are let in, one after another."""

from __future__ import annotations

from typing import Any

from numba import njit

BACKWARDS, OUTSIDE, DAMAGED, LEAP = range(4)
LAST, SUSPECT, RUN = range(3)
AGREEING = 8  # events that must agree before a leap in time is believed


@njit(cache=True)
def admit(times: Any, columns: Any, rows: Any, size: Any, leap: int, state: Any, counts: Any, kept: Any) -> int:
    """Mark the events that are let in; count the others by reason.

    times: (n,) int64 microseconds, negative where the clock was beyond 2**63. columns, rows: (n,) uint16.
    size: (2,) int64 width and height. leap: most microseconds that time may jump ahead by, negative for any.
    state: (3,) int64 time of the last event let in, time of the last leap, events in a row that agree on it (-1, -1, 0
    at first), changed. counts: (4,) int64 refused by reason, added to. kept: (n,) bool, filled.
    returns: how many are let in.
    """
    admitted = 0
    for event in range(times.size):
        time = times[event]
        kept[event] = False
        if time < 0:
            counts[DAMAGED] += 1
        elif columns[event] >= size[0] or rows[event] >= size[1]:
            counts[OUTSIDE] += 1
        elif time < state[LAST]:
            counts[BACKWARDS] += 1
        elif leap >= 0 and state[LAST] >= 0 and time - state[LAST] > leap:
            agrees = state[RUN] > 0 and 0 <= time - state[SUSPECT] <= leap
            state[RUN] = state[RUN] + 1 if agrees else 1
            state[SUSPECT] = time
            kept[event] = state[RUN] >= AGREEING
            if not kept[event]:
                counts[LEAP] += 1
        else:
            kept[event] = True
        if kept[event]:
            state[LAST], state[RUN] = time, 0
            admitted += 1
    return admitted
