"""Clock: stream time cut into periods, and what events may not be given to an application."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snngen.engines.continuous import LATEST_US
from snngen.events import EventArray, Sensor

LAST_US = LATEST_US - 2**42  # no period of 50 days or less ends beyond what an engine can count

LAST = np.uint64(LAST_US)


class Clock:
    """Where a stream is in time.

    sensor: whose addresses are let in. period_us: microseconds, or None where every batch is answered.
    start_us: beginning of the first event's period, whose ends are multiples of `period_us`; None before it. first_us:
    time of the first event. end_us: end of the period.
    now_us: what was answered last. last_us: time of the last event, as the application was told it; floor_us: as the
    source told it. open: True where events were not answered yet.
    """

    def __init__(self, sensor: Sensor, period_us: int | None) -> None:
        self.sensor, self.period_us = sensor, period_us
        self.start_us: int | None = None
        self.first_us = self.end_us = self.now_us = self.last_us = self.floor_us = 0
        self.open = False

    @property
    def elapsed_s(self) -> float:
        """Seconds of the stream from its first to its last event."""
        return 0.0 if self.start_us is None else (self.last_us - self.first_us) * 1e-6

    @property
    def answered_s(self) -> float:
        """Seconds of the stream that were answered, from the beginning of the first period."""
        return 0.0 if self.start_us is None else (self.now_us - self.start_us) * 1e-6

    def sorted_out(self, events: EventArray) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
        """(n,) True where an event may be taken, and how many may not, by reason."""
        times = events["t"]
        floor = np.uint64(self.floor_us)
        inside = self.sensor.inside(events)
        if len(events) and inside.all() and (times[1:] >= times[:-1]).all() and floor <= times[0] <= times[-1] <= LAST:
            return inside, {}
        outside = ~inside
        beyond = (times > LAST) & ~outside
        highest = np.maximum.accumulate(np.where(beyond | outside, floor, times))
        late = (times < np.maximum(highest, floor)) & ~(beyond | outside)
        allowed = ~(beyond | late | outside)
        reasons = {"outside": outside, "beyond": beyond, "late": late}
        return allowed, {reason: int(flags.sum()) for reason, flags in reasons.items() if flags.any()}

    def begin(self, first_us: int) -> None:
        """The first event comes."""
        self.first_us = self.last_us = first_us
        self.start_us = self.now_us = first_us // (self.period_us or 1) * (self.period_us or 1)
        self.turn(first_us)

    def turn(self, time_us: int) -> None:
        """Go on to the period that holds a time; silent ones are passed over."""
        self.end_us = LAST_US + 1 if self.period_us is None else (time_us // self.period_us + 1) * self.period_us

    def heard(self, last_us: int) -> None:
        """Events up to a time were taken."""
        self.last_us, self.open = last_us, True

    def answered(self, now_us: int) -> float:
        """An answer was given. returns: seconds of the stream since the one before."""
        seconds = (now_us - self.now_us) * 1e-6
        self.now_us, self.open = now_us, False
        return seconds
