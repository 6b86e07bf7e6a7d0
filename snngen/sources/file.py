"""Recordings: aedat4, dat, raw (EVT2, EVT3) and es through faery, HDF5 through h5py, csv line by line.

All but csv are decoded in another process (`snngen.decoding`), a few chunks ahead; no more of a file is held than that.
What to know of the formats:
    .es     keeps no absolute time: it begins at 0
    .raw    without a header is EVT3 of 1280 x 720, unless a sensor is given
    .dat    and .raw that break off in the middle end there; .aedat4 says that it is damaged
    .csv    `t,x,y,p` or the columns, and faery's sensor, that a header names (`snngen.lines`). Not through faery
            0.7.1, whose reader takes a first event for a header and moves events that run backwards instead of
            counting them
    .h5     events/t, x, y, p (`snngen.recording`, and others' files of that layout)
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from snngen import lines
from snngen.decoding import COMMAND, FAERY, HDF5, HEADER, LONGEST
from snngen.errors import FormatError, UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.pacing import PacedSource
from snngen.sources import ANY_SENSOR, damaged_file

EXAMPLE = "recording.aedat4 (or .dat, .raw, .es, .csv, .h5)"
CSV = ".csv"
SUFFIXES = (*FAERY, *HDF5, CSV)
BLOCK = 2**18  # bytes of text at a time
PATIENCE = 60.0  # seconds that a decoder may be silent
WAITING = 4  # frames that may wait


class FileSource(PacedSource):
    """The events of a recording.

    path: the file. sensor: for a file that does not say; one that does is held to its own. speed: seconds of the
    recording per second; None for as fast as possible.
    raises: FormatError for a file that is absent or damaged; UnsupportedError for another suffix, or without faery.
    """

    def __init__(self, path: str | Path, sensor: Sensor | None = None, speed: float | None = 1.0) -> None:
        path = Path(path)
        if not path.is_file():
            raise FormatError(str(path), "a folder" if path.is_dir() else "no such file", "a recording")
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise UnsupportedError(str(path), f"a file that ends in {suffix!r}", "one of " + ", ".join(SUFFIXES))
        if suffix in FAERY and find_spec("faery") is None:
            raise UnsupportedError(str(path), "no package faery", "faery, which reads this format", "pip install faery")
        self._content = Text(path, sensor) if suffix == CSV else Decoder(path, sensor)
        super().__init__(self._content.sensor, self._content.fetch, speed)

    def read(self, timeout: float) -> EventArray | None:
        """The events that are due, see `EventSource.read`; lines that are none are "damaged"."""
        events = super().read(timeout)
        self.gate.damaged(self._content.take_damaged())
        return events

    def close(self) -> None:
        """Close the file, and end the process that decodes it."""
        super().close()
        self._content.close()


class Text:
    """The events of a file of lines.

    path: the file. sensor: its address space, where its header names none; None for ANY_SENSOR.
    raises: FormatError for a file that cannot be read.
    """

    def __init__(self, path: Path, sensor: Sensor | None) -> None:
        self._path, self._lines, self._ended = path, lines.Lines(), False
        self._seen = self._told = 0
        try:
            self._file = path.open("rb")
            header = lines.Lines()
            header.feed(self._file.readline(lines.LONGEST), True)
            self._file.seek(0)
        except OSError as error:
            raise FormatError(str(path), error.strerror or str(error), "a file that can be read") from error
        self.sensor = Sensor(*header.size) if header.size else sensor or ANY_SENSOR

    def fetch(self, timeout: float) -> EventArray | None:
        """The next events, None at the end.

        raises: FormatError where lines begin that are no events at all.
        """
        if self._ended:
            return None
        try:
            data = self._file.read(BLOCK)
        except ValueError:  # closed meanwhile by another thread
            return None
        self._ended = not data
        events = self._lines.feed(data, self._ended)
        self._seen += len(events)
        if self._lines.damaged and not self._seen:
            raise damaged_file(str(self._path), f"none of the first {self._lines.number} lines is an event t,x,y,p")
        return events

    def take_damaged(self) -> int:
        """Lines that were no event since the last call."""
        before, self._told = self._told, self._lines.damaged
        return self._told - before

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Decoder:
    """The events of a recording, decoded by another process, a few chunks ahead.

    path: a file of one of FAERY or HDF5. given: the sensor, for a file that does not say.
    raises: FormatError for a file that cannot be read.
    """

    def __init__(self, path: Path, given: Sensor | None) -> None:
        self.path, self.count = path, 0
        size = (given.width, given.height) if given else (0, 0)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", COMMAND, json.dumps(sys.path), str(path.absolute()), *map(str, size)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"},
        )  # fmt: skip
        self._frames: queue.Queue[tuple[bytes, bytes]] = queue.Queue(WAITING)
        self._closed = threading.Event()
        self._waiting_since: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        try:
            self.sensor = self._find_sensor()
        except BaseException:
            self.close()
            raise

    def _find_sensor(self) -> Sensor:
        frame = self._next(PATIENCE)
        if frame is None or frame[0] != b"S":
            raise damaged_file(str(self.path), "its decoder did not find its sensor")
        said = json.loads(frame[1])
        return Sensor(said["width"], said["height"], said["polarities"])

    def _receive(self) -> None:
        """Put frames into the queue until the process ends."""
        pipe = self._process.stdout
        while pipe is not None and not self._closed.is_set():
            head = pipe.read(HEADER.size)
            kind, length = HEADER.unpack(head) if len(head) == HEADER.size else (b"!", 0)
            body = pipe.read(length) if length <= LONGEST else b""
            if len(body) < length:
                kind = b"!"
            while not self._closed.is_set():
                try:
                    self._frames.put((kind, body), timeout=0.1)
                    break
                except queue.Full:
                    continue
            if kind not in b"SE":
                return

    def _next(self, timeout: float) -> tuple[bytes, bytes] | None:
        """The next frame; None within the timeout. What the process says of an error is raised."""
        begin = time.monotonic()
        try:
            kind, body = self._frames.get(timeout=timeout) if timeout > 0 else self._frames.get_nowait()
        except queue.Empty:
            self._waiting_since = self._waiting_since or begin
            if time.monotonic() - self._waiting_since < PATIENCE or self._closed.is_set():
                return None
            self._process.kill()
            raise damaged_file(str(self.path), f"its decoder found no end after event {self.count}") from None
        self._waiting_since = None
        if kind == b"X":
            raise damaged_file(str(self.path), f"after event {self.count}: {body.decode(errors='replace')}")
        if kind == b"!":
            self._process.kill()  # it sent nonsense, if it has not ended
            code = self._process.wait()
            raise damaged_file(str(self.path), f"after event {self.count} its decoder crashed with code {code}")
        return kind, body

    def fetch(self, timeout: float) -> EventArray | None:
        """The next events, none within `timeout` seconds, None at the end."""
        if self._ended:
            return None
        frame = self._next(timeout)
        if frame is None:
            return np.empty(0, dtype=EVENT)
        self._ended = frame[0] == b"."
        if self._ended:
            return None
        events = np.frombuffer(frame[1], dtype=EVENT)
        self.count += len(events)
        return events

    def take_damaged(self) -> int:
        """None: what a decoder cannot read ends the recording."""
        return 0

    def close(self) -> None:
        """End the process."""
        self._closed.set()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def recognizes(text: str) -> bool:
    """Whether the text is the name of a recording."""
    return Path(text).suffix.lower() in SUFFIXES


def open(text: str, sensor: Sensor | None, speed: float | None) -> FileSource:
    """Open a recording."""
    return FileSource(text, sensor, speed)
