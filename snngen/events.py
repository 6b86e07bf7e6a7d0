"""Events of a sensor: where something changed, when, and which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.errors import PromptError
from snngen.integers import IntArray

EventArray: TypeAlias = npt.NDArray[np.void]

# Time in microseconds, column, row, True where it became brighter. The layout of faery and event_stream.
EVENT = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])

NAMES = {"t": ("t", "timestamp", "ts"), "x": ("x",), "y": ("y",), "p": ("p", "on", "polarity")}


@dataclass(frozen=True)
class Sensor:
    """The address space of a sensor.

    width, height: columns and rows; a cochlea or a spike recorder has height 1. polarities: 1 or 2.
    """

    width: int
    height: int
    polarities: int = 2

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 2**16 and 1 <= self.height <= 2**16 and self.polarities in (1, 2)):
            raise PromptError(
                "Sensor", f"{self.width} x {self.height}, {self.polarities} polarities", "1..65536 each, 1 or 2"
            )

    @property
    def size(self) -> int:
        """Number of addresses."""
        return self.width * self.height * self.polarities

    def inside(self, events: EventArray) -> npt.NDArray[np.bool_]:
        """(events,) True where an event lies on the sensor."""
        return np.asarray((events["x"] < self.width) & (events["y"] < self.height))

    def neurons(self, events: EventArray) -> IntArray:
        """(events,) int64 number of each event's neuron: (polarity * height + y) * width + x.

        With one polarity both kinds of event belong to one neuron.
        """
        polarity = events["p"].astype(np.int64) if self.polarities == 2 else np.int64(0)
        return (polarity * self.height + events["y"].astype(np.int64)) * self.width + events["x"].astype(np.int64)


def as_sensor(size: Sensor | Sequence[int]) -> Sensor:
    """A sensor, or what tonic's datasets call `sensor_size`: (width, height, polarities).

    raises: PromptError for anything else.
    """
    if isinstance(size, Sensor):
        return size
    given = np.asarray(size)
    if given.shape != (3,) or given.dtype.kind not in "iu":
        raise PromptError("sensor", repr(size), "a Sensor, or (width, height, polarities)")
    return Sensor(*given.tolist())


def as_events(array: npt.NDArray[Any]) -> EventArray:
    """Events from any structured array, by the names of its fields: t or timestamp, x, y, p or on or polarity.

    A missing y is row 0, a missing polarity True; polarities of -1 are False.
    returns: (events,) of EVENT, a view where it is one already.
    raises: PromptError for a field that is missing or values that the layout cannot hold.
    """
    if array.dtype == EVENT:
        return array
    names = array.dtype.names or ()
    events = np.zeros(array.shape, dtype=EVENT)
    for field, spellings in NAMES.items():
        found = [name for name in names if name in spellings]
        if not found and field == "p":
            events["p"] = True
        elif not found and field != "y":
            raise PromptError("events", f"fields {list(names)}", f"one of {spellings} for {field!r}")
        elif found:
            values = array[found[0]]
            if values.dtype.kind not in "iub" or (field != "p" and values.size and values.min() < 0):
                raise PromptError(f"events.{field}", f"{values.dtype} or negative values", "integers of 0 or more")
            limit = 2**16 - 1 if field in "xy" else 2**63 - 1
            if field != "p" and values.size and int(values.max()) > limit:
                raise PromptError(f"events.{field}", str(values.max()), f"at most {limit}")
            events[field] = values > 0 if field == "p" else values
    return events
