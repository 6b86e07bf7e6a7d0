"""The recorder: what it was given is in the file, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from patience import PATIENCE
from sources.recordings import SENSOR, everything, some_events

from snngen import recording
from snngen.errors import FormatError
from snngen.events import EVENT, EventArray, Sensor
from snngen.recording import CHUNK, Recorder, read
from snngen.sources.file import FileSource

EVENTS = some_events(50_000)
WRITER = """
import sys; sys.path[:] = {path!r}
import time
from sources.recordings import SENSOR, some_events
from snngen import recording
from snngen.recording import Recorder
recording.FLUSH = 0.1
events = some_events(50_000)
with Recorder(sys.argv[1], SENSOR) as recorder:
    for begin in range(0, len(events), 1000):
        recorder.write(events[begin : begin + 1000])
    time.sleep(2 * recording.FLUSH)
    recorder.write(events[:0])  # and now nothing is left unwritten
    print("written", flush=True)
    while True:
        time.sleep(1)
"""


def read_back(path: Path) -> EventArray:
    with FileSource(path, speed=None) as source:
        assert source.sensor == SENSOR
        return everything(source)


def writer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(path=sys.path), str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "written\n"
    return process


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.h5", SENSOR) as recorder:
        for begin in range(0, len(EVENTS), 777):
            recorder.write(EVENTS[begin : begin + 777])
        recorder.write(EVENTS[:0])
        assert recorder.events == len(EVENTS)
    assert np.array_equal(read_back(tmp_path / "a.h5"), EVENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {
            "format": "snngen recording", "version": 1, "width": 120, "height": 90, "polarities": 2,
        }  # fmt: skip
        assert np.array_equal(file["events/t"], EVENTS["t"])


def test_an_empty_recording_is_whole(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.h5", Sensor(4, 3, 1)):
        pass
    sensor, portions = read(tmp_path / "a.h5")
    assert sensor == Sensor(4, 3, 1)
    assert list(portions) == []


def test_an_error_keeps_what_was_recorded(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Recorder(tmp_path / "a.h5", SENSOR) as recorder:
            recorder.write(EVENTS[:100])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert np.array_equal(read_back(tmp_path / "a.h5"), EVENTS[:100])


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_leaves_a_whole_recording(tmp_path: Path) -> None:
    process = writer(tmp_path / "a.h5")
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)
    assert np.array_equal(read_back(tmp_path / "a.h5"), EVENTS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_recording_is_read_while_it_is_written_and_after_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("an old one")
    process = writer(tmp_path / "a.h5")
    try:
        assert np.array_equal(read_back(tmp_path / "a.part.h5"), EVENTS)
    finally:
        process.kill()
        process.wait(PATIENCE)
    assert np.array_equal(read_back(tmp_path / "a.part.h5"), EVENTS)
    assert (tmp_path / "a.h5").read_text() == "an old one"


def test_events_reach_the_file_within_the_time_that_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FLUSH", 0.0)
    with Recorder(tmp_path / "a.h5", SENSOR) as recorder:
        recorder.write(EVENTS[:10])
        assert np.array_equal(np.concatenate(list(read(recorder.part)[1])), EVENTS[:10])


def test_a_long_recording_takes_no_memory(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.h5", SENSOR) as recorder:
        recorder.write(EVENTS)
        tracemalloc.start()
        for _ in range(100):
            recorder.write(EVENTS[:CHUNK])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * CHUNK * EVENT.itemsize


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "a.h5"):
        with pytest.raises(FormatError), Recorder(path, SENSOR):
            pass
