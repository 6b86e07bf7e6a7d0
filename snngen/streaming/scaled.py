"""Scaled: a source seen through a sensor of another size."""

from __future__ import annotations

import numpy as np

from snngen.events import EventArray, Sensor
from snngen.sources import EventSource


class Scaled(EventSource):
    """The events of a source with addresses (x * width // its width, y * height // its height): no event is lost.

    source: is closed with this one. sensor: the addresses to come out.
    """

    def __init__(self, source: EventSource, sensor: Sensor) -> None:
        super().__init__(sensor)
        self.source = source

    def read(self, timeout: float) -> EventArray | None:
        """As of the source, see `EventSource.read`."""
        events = self.source.read(timeout)
        if events is None or not len(events):
            return events
        scaled: EventArray = events.copy()
        for name, to, of in (
            ("x", self.sensor.width, self.source.sensor.width), ("y", self.sensor.height, self.source.sensor.height),
        ):  # fmt: skip
            scaled[name] = (events[name].astype(np.uint64) * np.uint64(to) // np.uint64(of)).astype(np.uint16)
        return scaled

    @property
    def rejected(self) -> dict[str, int]:
        """What the source refused, by reason."""
        return self.source.rejected

    @property
    def accepted(self) -> int:
        """Events that the source let in so far."""
        return self.source.accepted

    def close(self) -> None:
        """Close the source."""
        self.source.close()
