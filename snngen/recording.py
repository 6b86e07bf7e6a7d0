"""Recordings in HDF5: written as events come, whole whatever happens, and read chunk by chunk.

Layout, version 1, which is also that of many data sets (so that they are read, and read this):
    /             format, version, width, height, polarities
    /events/t     (events,) uint64 microseconds          /events/x, /events/y  (events,) uint16
    /events/p     (events,) uint8, 1 where it became brighter

A recording under way is NAME.part.h5, in HDF5's mode for one writer and many readers, and is flushed every second: it
can be read by others, and after a crash or a power cut too. On leaving, by an error or Ctrl-C too, it takes its name.

Read are also: a compound data set `events` or `CD/events` (Metavision), other spellings of the names (see
`snngen.events`), a time offset `t_offset` (DSEC), the attribute `geometry` "640x480" (Metavision), and files that say
nothing of their sensor: then it is the smallest that holds all events, unless one is given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from snngen.errors import FormatError
from snngen.events import EVENT, NAMES, EventArray, Sensor, as_events

FORMAT, VERSION = "snngen recording", 1
CHUNK = 2**14  # events that are written at once
PORTION = 2**16  # events that are read at once
FLUSH = 1.0  # seconds
LARGEST_CHUNK = 2**28  # bytes of one chunk of a file, which HDF5 unpacks whole
UNDER_WAY = ("open for write", "lock file", "Resource temporarily unavailable")  # or its writer crashed
FIELDS = {"t": "u8", "x": "u2", "y": "u2", "p": "u1"}


class Recorder:
    """Writes events to a file as they come; use it as a context manager.

    path: the file, .h5; an existing one is replaced when this one is whole. sensor: the address space.
    raises: FormatError where the path cannot be written.
    """

    def __init__(self, path: str | Path, sensor: Sensor) -> None:
        self.path, self.sensor, self.events = Path(path), sensor, 0
        self.part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix or '.h5'}")

    def __enter__(self) -> Recorder:
        import h5py

        if self.path.is_dir():
            raise FormatError(str(self.path), "a folder", "a file name")
        try:
            self._file = h5py.File(self.part, "w", libver="latest")
        except OSError as error:
            raise FormatError(str(self.path), str(error), "a path that can be written") from error
        sensor = self.sensor
        self._file.attrs.update(
            format=FORMAT, version=VERSION, width=sensor.width, height=sensor.height, polarities=sensor.polarities
        )
        group = self._file.create_group("events")
        self._columns = {
            name: group.create_dataset(
                name,
                (0,),
                kind,
                maxshape=(None,),
                chunks=(CHUNK,),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
            for name, kind in FIELDS.items()
        }
        self._file.swmr_mode = True
        self._waiting: list[EventArray] = []
        self._count, self._flushed = 0, time.monotonic()
        return self

    def write(self, events: EventArray) -> None:
        """Append (n,) events of EVENT. They are in the file within a second of the next call, or at the end."""
        if len(events):
            self._waiting.append(events.copy())
            self._count += len(events)
            self.events += len(events)
        if self._count >= CHUNK or (self._count and time.monotonic() - self._flushed > FLUSH):
            self._flush()

    def _flush(self) -> None:
        events = np.concatenate(self._waiting) if self._waiting else np.empty(0, dtype=EVENT)
        for name, column in self._columns.items():
            column.resize((column.shape[0] + len(events),))
            if len(events):
                column[-len(events) :] = events[name]
            column.flush()
        self._waiting, self._count, self._flushed = [], 0, time.monotonic()

    def __exit__(self, *error: object) -> None:
        try:
            self._flush()
        finally:
            self._file.close()
            os.replace(self.part, self.path)


def read(path: Path, given: Sensor | None = None) -> tuple[Sensor, Iterator[EventArray]]:
    """The sensor of a recording and its events, at most PORTION at a time.

    path: an HDF5 file, see above. given: the sensor, where the file does not say.
    raises: FormatError for another layout; whatever h5py says of a damaged file (see `snngen.decoding`).
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if not any(word in str(error) for word in UNDER_WAY):
            raise  # the other mode would try a damaged file again and again
        file = h5py.File(path, "r", swmr=True)
    columns = _columns(file, str(path))
    offset = int(file["t_offset"][()]) if "t_offset" in file else 0
    sensor = _sensor(file) or given or _smallest(columns)
    return sensor, _portions(columns, offset, str(path))


def _columns(file: Any, where: str) -> dict[str, Any]:
    """What holds each field: data sets, or one compound data set for all (under the name "")."""
    import h5py

    found = next((file[name] for name in ("events", "CD/events") if name in file), None)
    columns: dict[str, Any] = {}
    if isinstance(found, h5py.Dataset) and found.dtype.names:
        columns[""] = found
    elif isinstance(found, h5py.Group):
        columns = {name: found[name] for names in NAMES.values() for name in names if name in found}
    if not columns:
        raise FormatError(where, f"{sorted(file)} without events", "events/t, x, y, p, or a compound data set `events`")
    sizes = {column.shape for column in columns.values() if isinstance(column, h5py.Dataset)}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        raise FormatError(where, f"events with shapes {sizes}", "data sets of one axis and equal length")
    for name, column in columns.items():
        chunk = np.prod(column.chunks or (1,), dtype=object) * column.dtype.itemsize
        if not isinstance(column, h5py.Dataset) or column.is_virtual or column.external or chunk > LARGEST_CHUNK:
            raise FormatError(f"{where}:{column.name or name}", "data elsewhere or in huge chunks", "data in this file")
    return columns


def _sensor(file: Any) -> Sensor | None:
    """What the file says of its sensor."""
    attributes = file.attrs
    if "width" in attributes and "height" in attributes:
        return Sensor(int(attributes["width"]), int(attributes["height"]), int(attributes.get("polarities", 2)))
    if "geometry" in attributes:
        geometry = attributes["geometry"]
        width, _, height = (geometry.decode() if isinstance(geometry, bytes) else str(geometry)).partition("x")
        return Sensor(int(width), int(height))
    return None


def _portions(columns: dict[str, Any], offset: int, where: str) -> Iterator[EventArray]:
    total = next(iter(columns.values())).shape[0]
    for begin in range(0, total, PORTION):
        end = min(begin + PORTION, total)
        if "" in columns:
            rows = columns[""][begin:end]
        else:
            parts = {name: column[begin:end] for name, column in columns.items()}
            rows = np.empty(end - begin, dtype=[(name, part.dtype) for name, part in parts.items()])
            for name, part in parts.items():
                rows[name] = part
        events = as_events(rows)
        if offset:
            events["t"] += np.uint64(offset)
        yield events


def _smallest(columns: dict[str, Any]) -> Sensor:
    """The smallest sensor that holds all events, found by reading them once."""
    width = height = 0
    for events in _portions(columns, 0, ""):
        width, height = max(width, int(events["x"].max())), max(height, int(events["y"].max()))
    return Sensor(width + 1, height + 1)
