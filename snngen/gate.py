"""The gate that every source's events pass: time runs forwards, and addresses lie on the sensor."""

from __future__ import annotations

import numpy as np

from snngen.events import EventArray, Sensor
from snngen.kernels import gate

REASONS = ("backwards", "outside", "damaged", "leap")


class Gate:
    """Lets in what keeps the order of time and lies on the sensor; counts the rest.

    An event earlier than the last one let in is refused ("backwards"), one off the sensor too ("outside"); a time of
    2**63 or more is no time ("damaged"). Where `leap_us` is given, an event that is further ahead than that is refused
    ("leap") until 8 in a row agree: else one damaged time stamp would make every later event run backwards. The sum of
    what is let in and of what is counted is what came; what a source could not read at all it adds to "damaged" itself.

    sensor: the address space. leap_us: most microseconds that time may jump ahead by; None for any.
    """

    def __init__(self, sensor: Sensor, leap_us: int | None = None) -> None:
        self.sensor, self.leap_us = sensor, leap_us
        self.accepted = 0
        self._size = np.array([sensor.width, sensor.height], dtype=np.int64)
        self._state = np.array([-1, -1, 0], dtype=np.int64)
        self._counts = np.zeros(len(REASONS), dtype=np.int64)

    @property
    def last(self) -> int | None:
        """Time of the last event let in, in microseconds; None before the first."""
        return None if self._state[gate.LAST] < 0 else int(self._state[gate.LAST])

    @property
    def rejected(self) -> dict[str, int]:
        """Refused by reason."""
        return {reason: int(count) for reason, count in zip(REASONS, self._counts, strict=True)}

    def damaged(self, count: int = 1) -> None:
        """Count packets, lines or records that could not be read."""
        self._counts[gate.DAMAGED] += count

    def admit(self, events: EventArray, silence_us: int = 0) -> EventArray:
        """The events that are let in, in order.

        events: (n,) of EVENT. silence_us: how long the source was seen to be silent, which a leap may be longer by.
        """
        kept = np.empty(len(events), dtype=np.bool_)
        leap = -1 if self.leap_us is None else self.leap_us + silence_us
        admitted = gate.admit(
            events["t"].astype(np.int64), events["x"], events["y"], self._size, leap, self._state, self._counts, kept
        )
        self.accepted += int(admitted)
        return events if admitted == len(events) else events[kept]
