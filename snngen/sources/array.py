"""Structured arrays, in memory or in a .npy file: tonic's, faery's, event_stream's, dv-processing's, expelliarmus's.

Fields are found by name (t or timestamp or ts; x; y; p or on or polarity), in any order and integer type; times are in
microseconds. A missing y is row 0, a missing polarity True. What a dataset of tonic gives goes in as it is:

    events, label = dataset[0]
    with Stream(ArraySource(events, dataset.sensor_size), application) as stream: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.errors import FormatError, PromptError
from snngen.events import EventArray, Sensor, as_events, as_sensor
from snngen.pacing import CHUNK, PacedSource, fetching
from snngen.sources import damaged_file

EXAMPLE = "recording.npy"


class ArraySource(PacedSource):
    """Events of a structured array, converted chunk by chunk.

    array: (n,) structured, see above; it may lie in a file (`numpy.memmap`).
    sensor: its address space, also as tonic's (width, height, polarities); None takes the smallest that holds all.
    speed: seconds of events per second; None for as fast as possible.
    raises: PromptError for fields that are missing or values that an event cannot hold.
    """

    def __init__(
        self, array: npt.NDArray[Any], sensor: Sensor | Sequence[int] | None = None, speed: float | None = 1.0
    ) -> None:
        if array.dtype.names is None or array.ndim != 1:
            raise PromptError("events", f"{array.dtype} with {array.ndim} axes", "a structured array with one axis")
        super().__init__(smallest(array) if sensor is None else as_sensor(sensor), fetching(chunks(array)), speed)


def chunks(array: npt.NDArray[Any]) -> Iterator[EventArray]:
    """The events of a structured array, CHUNK at a time."""
    for begin in range(0, len(array), CHUNK):
        yield as_events(np.asarray(array[begin : begin + CHUNK]))


def smallest(array: npt.NDArray[Any]) -> Sensor:
    """The smallest sensor that holds all events of a structured array."""
    width = height = 0
    for events in chunks(array):
        width, height = max(width, int(events["x"].max())), max(height, int(events["y"].max()))
    return Sensor(width + 1, height + 1)


def recognizes(text: str) -> bool:
    """Whether the text is the name of a .npy file."""
    return Path(text).suffix.lower() == ".npy"


def open(text: str, sensor: Sensor | None, speed: float | None) -> ArraySource:
    """Open a .npy file of events; it is read as it is needed, and never unpickled.

    raises: FormatError for a file that is absent, damaged or holds something else.
    """
    if not Path(text).is_file():
        raise FormatError(text, "no such file", "a recording")
    try:
        array = np.load(text, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            return _FileOfEvents(text, array, sensor, speed)
    except Exception as error:  # whatever NumPy, and Python whose syntax the header has, say of damaged bytes
        raise damaged_file(text, error) from error
    raise damaged_file(text, "an archive instead of one array")


class _FileOfEvents(ArraySource):
    def __init__(self, path: str, array: npt.NDArray[Any], sensor: Sensor | None, speed: float | None) -> None:
        self._path = path
        super().__init__(array, sensor, speed)

    def read(self, timeout: float) -> EventArray | None:
        try:
            return super().read(timeout)
        except PromptError as error:
            raise damaged_file(
                self._path, f"after event {self.accepted + sum(self.rejected.values())}: {error}"
            ) from error
