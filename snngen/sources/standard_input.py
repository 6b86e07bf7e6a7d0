"""Events from standard input: faery's 13-byte records, or lines `t,x,y,p` (see `snngen.lines`).

Which of the two is seen from the first bytes: a record's time has a zero byte, a line has none. Lines that are no event
are counted ("damaged"), and so are records whose polarity is neither 0 nor 1, and a part of a record at the end. Events
come out as they come in.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time

import numpy as np

from snngen.events import EVENT, EventArray, Sensor
from snngen.lines import Lines
from snngen.packets import STEPS, unpack
from snngen.sources import EventSource, Options

EXAMPLE = "-"
BLOCK, BLOCKS = 2**16, 4  # bytes that are read at once, and blocks that may wait
LEAP = 3_600_000_000  # microseconds that time may jump ahead by
RECORD = STEPS["faery"]


class StandardInputSource(EventSource):
    """Events from a file descriptor that may wait for ever.

    sensor: the address space. descriptor: the file descriptor, 0 is standard input. form: binary, csv or auto.
    """

    def __init__(self, sensor: Sensor, descriptor: int = 0, form: str = "auto") -> None:
        super().__init__(sensor, LEAP)
        self._form, self._rest, self._lines = form, b"", Lines()
        self._blocks: queue.Queue[bytes] = queue.Queue(BLOCKS)
        self._closed = threading.Event()
        self._ended = False
        self._heard = time.monotonic()
        threading.Thread(target=self._read_on, args=(descriptor,), daemon=True).start()

    def _read_on(self, descriptor: int) -> None:
        """Read blocks until the end, in a thread of its own: a read that waits cannot be called off."""
        block = b"more"
        while block and not self._closed.is_set():
            try:
                block = os.read(descriptor, BLOCK)
            except OSError:  # closed at the other end
                block = b""
            while not self._closed.is_set():
                try:
                    self._blocks.put(block, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def read(self, timeout: float) -> EventArray | None:
        """Events of the next block, see `EventSource.read`."""
        if self._ended or self._closed.is_set():
            return None
        try:
            block = self._blocks.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return np.empty(0, dtype=EVENT)
        self._ended = not block
        data = self._rest + block
        if self._form == "auto" and (len(data) >= RECORD or self._ended):
            self._form = "binary" if b"\0" in data[:RECORD] else "csv"
        if self._form == "auto":
            self._rest = data
            return np.empty(0, dtype=EVENT)
        events = self._records(data) if self._form == "binary" else self._text(data)
        silence, before = time.monotonic() - self._heard, self.accepted
        events = self.gate.admit(events, int(silence * 1e6))
        if self.accepted > before:
            self._heard = time.monotonic()
        return events

    def _records(self, data: bytes) -> EventArray:
        whole = len(data) // RECORD * RECORD
        self._rest = data[whole:]
        self.gate.damaged(int(self._ended and len(self._rest) > 0))
        ends = np.arange(RECORD, whole + 1, RECORD, dtype=np.int64)
        events, damaged = unpack(
            np.frombuffer(data[:whole], dtype=np.uint8), ends, "faery", np.empty(0, dtype=np.uint64), None
        )
        self.gate.damaged(damaged)
        return events

    def _text(self, data: bytes) -> EventArray:
        self._rest, before = b"", self._lines.damaged
        events = self._lines.feed(data, self._ended)
        self.gate.damaged(self._lines.damaged - before)
        return events

    def close(self) -> None:
        """Read no further; the descriptor stays open."""
        self._closed.set()


def recognizes(text: str) -> bool:
    """Whether the text is `-`, with or without options."""
    return text == "-" or text.startswith("-?")


def open(text: str, sensor: Sensor | None, speed: float | None) -> StandardInputSource:
    """Read standard input, `-?format=binary&width=&height=`; live, whatever the speed."""
    options = Options(text, text.partition("?")[2], ("format", "width", "height"))
    form = options.choice("format", "auto", ("auto", "binary", "csv"))
    return StandardInputSource(options.sensor(sensor), sys.stdin.fileno(), form)
