"""Recorded or computed events, let out as time goes by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from snngen.events import EVENT, EventArray, Sensor
from snngen.sources import EventSource

CHUNK = 2**16  # events that are held at most
Chunks = Callable[[float], EventArray | None]


class PacedSource(EventSource):
    """A source whose events are all there already, and come out at their time.

    An event of time t is due (t - first) / speed seconds after the first one came out. What was read late comes out at
    once: nothing is left out here.

    sensor: the address space. fetch: given a timeout in seconds, at most CHUNK more events, none within the timeout, or
    None at the end. speed: seconds of events per second; None for as fast as they are read.
    """

    def __init__(self, sensor: Sensor, fetch: Chunks, speed: float | None) -> None:
        super().__init__(sensor)
        self._fetch, self._speed = fetch, speed
        self._pending = np.empty(0, dtype=EVENT)
        self._begin: tuple[float, int] | None = None
        self._closed = threading.Event()
        self._ended = False

    def read(self, timeout: float) -> EventArray | None:
        """The events that are due, see `EventSource.read`."""
        deadline = time.monotonic() + timeout
        while not self._closed.is_set():
            if not len(self._pending):
                if self._ended:
                    return None
                events = self._fetch(max(0.0, deadline - time.monotonic()))
                self._ended = events is None
                if events is None:
                    return None
                self._pending = self.gate.admit(events)
            count, wait = self._due()
            left = deadline - time.monotonic()
            if count or left <= 0:
                out, self._pending = self._pending[:count], self._pending[count:]
                return out
            self._closed.wait(min(wait, left))
        return None

    def _due(self) -> tuple[int, float]:
        """How many of the pending events are due, and the seconds until the next one is."""
        if not len(self._pending) or self._speed is None:
            return len(self._pending), 0.0
        now, first = time.monotonic(), int(self._pending["t"][0])
        if self._begin is None:
            self._begin = now, first
        begin, origin = self._begin
        reached = origin + int((now - begin) * self._speed * 1e6)
        count = int(np.searchsorted(self._pending["t"], np.uint64(reached), side="right"))
        return count, max(0.0, (first - reached) / self._speed * 1e-6)

    def close(self) -> None:
        """End the source; a `read` under way in another thread ends too."""
        self._closed.set()


def fetching(chunks: Iterator[EventArray]) -> Chunks:
    """The `fetch` of an iterator that never waits."""

    def fetch(timeout: float) -> EventArray | None:
        return next(chunks, None)

    return fetch
