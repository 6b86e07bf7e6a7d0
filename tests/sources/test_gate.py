"""The gate against a plain reading of its rules."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snngen.events import EVENT, EventArray, Sensor
from snngen.gate import Gate
from snngen.kernels.gate import AGREEING

TIMES = st.integers(0, 40) | st.integers(0, 2**64 - 1) | st.integers(2**40, 2**40 + 60)
EVENTS = st.lists(st.tuples(TIMES, st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=60)


def array(rows: list[tuple[int, int, int, bool]]) -> EventArray:
    made: EventArray = np.array(rows, dtype=EVENT)
    return made


def plainly(rows: list[tuple[int, int, int, bool]], leap: int | None) -> tuple[list[int], dict[str, int]]:
    """The rules, one event after another: places of those let in, and counts of the others."""
    last, run, places = -1, [], []
    counts = {"backwards": 0, "outside": 0, "damaged": 0, "leap": 0}
    for place, (t, x, y, _) in enumerate(rows):
        if t >= 2**63:
            counts["damaged"] += 1
        elif x >= 4 or y >= 3:
            counts["outside"] += 1
        elif t < last:
            counts["backwards"] += 1
        else:
            if leap is not None and last >= 0 and t - last > leap:
                run = [*run, t] if run and 0 <= t - run[-1] <= leap else [t]
                if len(run) < AGREEING:
                    counts["leap"] += 1
                    continue
            last, run = t, []
            places.append(place)
    return places, counts


@given(rows=EVENTS, leap=st.none() | st.integers(0, 50), cut=st.integers(0, 60))
def test_the_gate_keeps_its_rules_however_the_events_are_cut(
    rows: list[tuple[int, int, int, bool]], leap: int | None, cut: int
) -> None:
    gate, events = Gate(Sensor(4, 3), leap), array(rows)
    found = np.concatenate([gate.admit(events[:cut]), gate.admit(events[cut:])])
    places, counts = plainly(rows, leap)
    assert np.array_equal(found, events[places])
    assert gate.rejected == counts
    assert gate.accepted == len(places)
    assert gate.accepted + sum(gate.rejected.values()) == len(rows)
    assert gate.last == (int(found["t"][-1]) if len(found) else None)


def test_equal_times_pass_and_what_is_refused_holds_nothing_up() -> None:
    gate = Gate(Sensor(4, 3))
    events = array([(5, 0, 0, True), (5, 1, 0, False), (4, 0, 0, True), (9, 9, 0, True), (6, 0, 0, True)])
    assert gate.admit(events)["t"].tolist() == [5, 5, 6]  # the event outside at 9 did not set the clock
    assert gate.rejected == {"backwards": 1, "outside": 1, "damaged": 0, "leap": 0}


def test_one_damaged_time_does_not_stop_the_clock() -> None:
    gate = Gate(Sensor(4, 3), leap_us=100)
    gate.admit(array([(5, 0, 0, True)]))
    assert len(gate.admit(array([(10**15, 0, 0, True), (7, 0, 0, True)]))) == 1
    assert gate.last == 7
    later = array([(10**6 + k, 0, 0, True) for k in range(20)])
    assert len(gate.admit(later)) == 20 - AGREEING + 1  # a real leap is believed once enough events agree
    assert gate.rejected["leap"] == AGREEING
    assert len(gate.admit(array([(10**7, 0, 0, True)]), silence_us=10**7)) == 1  # after a silence that long


def test_a_gate_with_everything_in_order_copies_nothing() -> None:
    events = array([(k, 1, 1, True) for k in range(10)])
    assert Gate(Sensor(4, 3)).admit(events) is events


def test_damage_is_counted() -> None:
    gate = Gate(Sensor(1, 1))
    gate.damaged()
    gate.damaged(2)
    assert gate.rejected["damaged"] == 3
