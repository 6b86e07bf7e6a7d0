"""Recordings are decoded in a process of their own: a damaged file can take a decoder down, or never come to an end.

That process writes frames to its standard output: one byte of kind, four of length, the content. `S`: the sensor as
JSON, first; `E`: at most MOST events; `X`: an error as text; `.`: the end. A process that ends without `.` or `X` has
crashed. `snngen.sources.file` is at the other end. Little is imported here: it is what a recording takes to open.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from snngen.errors import SnngenError
from snngen.events import EVENT, EventArray, Sensor, as_events

FAERY = {".aedat4": "aedat", ".dat": "dat", ".es": "es", ".raw": "evt"}  # suffix: faery's name of the format
HDF5 = (".h5", ".hdf5")
MEMORY = 2**32  # bytes of addresses of the process, where the system can limit them
HEADER = struct.Struct("<cI")
MOST = 2**16  # events of a frame
LONGEST = MOST * EVENT.itemsize
COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from snngen.decoding import main; main(*sys.argv[2:])"
)


def decode(path: Path, given: Sensor | None) -> tuple[Sensor, Iterator[EventArray]]:
    """The sensor of a recording and its events, in this process.

    path: a file of one of FAERY or HDF5. given: the sensor, for a file that does not say.
    raises: FormatError, or whatever a decoder says of a damaged file.
    """
    if path.suffix.lower() in HDF5:
        from snngen.recording import read

        return read(path, given)
    import faery

    size = {"dimensions_fallback": (given.width, given.height)} if given else {}
    stream: Any = faery.events_stream_from_file(path, file_type=FAERY[path.suffix.lower()], **size)
    width, height = stream.dimensions()
    return Sensor(int(width), int(height)), (as_events(packet) for packet in stream)


def main(path: str, width: str, height: str) -> None:
    """What the process does; a width of 0 is no sensor."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints is no frame
    _limit_memory()
    try:
        sensor, packets = decode(Path(path), Sensor(int(width), int(height)) if int(width) else None)
        said = {"width": sensor.width, "height": sensor.height, "polarities": sensor.polarities}
        _send(out, b"S", json.dumps(said).encode())
        for events in packets:
            for begin in range(0, len(events), MOST):
                _send(out, b"E", events[begin : begin + MOST].tobytes())
        _send(out, b".", b"")
    except BaseException as error:  # a decoder's panics are no Exception, and everything is to be told
        told = (
            f"{error.where}: {error.got}; expected {error.expected}" if isinstance(error, SnngenError) else str(error)
        )
        _send(out, b"X", (told or type(error).__name__).encode(errors="replace")[:1000])
    os._exit(0)  # past the farewells of a decoder that may be in pieces


def _send(out: BinaryIO, kind: bytes, body: bytes) -> None:
    try:
        out.write(HEADER.pack(kind, len(body)) + body)
        out.flush()
    except BrokenPipeError:  # nobody reads any more
        os._exit(0)


def _limit_memory() -> None:
    """A file that declares terabytes ends in an error, where the system knows limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))
