"""Events for the tests of sources, and what reads a source to its end."""

from __future__ import annotations

import time

import numpy as np
from patience import PATIENCE

from snngen.events import EVENT, EventArray, Sensor
from snngen.sources import EventSource

SENSOR = Sensor(120, 90)


def some_events(
    count: int, seed: int = 0, sensor: Sensor = SENSOR, first: int = 1000, seconds: float = 1.0
) -> EventArray:
    """Random events in order of time."""
    generator = np.random.default_rng(seed)
    events = np.empty(count, dtype=EVENT)
    events["t"] = np.sort(generator.integers(first, first + int(seconds * 1e6), count))
    events["x"], events["y"] = generator.integers(0, sensor.width, count), generator.integers(0, sensor.height, count)
    events["p"] = generator.integers(0, 2, count)
    return events


def everything(source: EventSource, seconds: float = PATIENCE) -> EventArray:
    """All events until the source ends; a test fails that waits for longer."""
    parts, deadline = [np.empty(0, dtype=EVENT)], time.monotonic() + seconds
    while (part := source.read(0.2)) is not None:
        assert part.dtype == EVENT
        assert time.monotonic() < deadline, "the source does not end"
        parts.append(part)
    return np.concatenate(parts)


def arrived(source: EventSource, count: int, seconds: float = PATIENCE) -> EventArray:
    """At least `count` events of a source without an end."""
    parts, deadline = [np.empty(0, dtype=EVENT)], time.monotonic() + seconds
    while sum(map(len, parts)) < count and time.monotonic() < deadline:
        part = source.read(0.1)
        assert part is not None
        parts.append(part)
    return np.concatenate(parts)
