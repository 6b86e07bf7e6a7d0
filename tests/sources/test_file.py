"""Recordings as faery, h5py and others write them: what was written is what is read; what is damaged is an error."""

from __future__ import annotations

import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import PATIENCE
from sources.recordings import SENSOR, everything, some_events

from snngen.errors import FormatError, UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.recording import PORTION, Recorder
from snngen.sources import ANY_SENSOR, open_source
from snngen.sources import file as file_source
from snngen.sources.file import WAITING, FileSource

FAERY = {"aedat4": None, "dat": None, "es": None, "raw": None, "evt2": "evt2"}
FORMS = (*FAERY, "csv", "h5")
EVENTS = some_events(5000)


def write(folder: Path, form: str, events: EventArray = EVENTS) -> Path:
    """A recording in one of FORMS."""
    path = folder / f"recording.{'raw' if form == 'evt2' else form}"
    if form == "h5":
        with Recorder(path, SENSOR) as recorder:
            recorder.write(events)
    elif form == "csv":
        lines = ["t,x,y,on", *(f"{t},{x},{y},{int(p)}" for t, x, y, p in events.tolist())]
        path.write_text("\n".join(lines) + "\n")
    else:
        faery = pytest.importorskip("faery", reason="the package faery is not installed")
        rows = np.empty(len(events), dtype=faery.EVENTS_DTYPE)
        for mine, theirs in zip("txyp", ("t", "x", "y", "on"), strict=True):
            rows[theirs] = events[mine]
        version: dict[str, Any] = {"version": FAERY[form]} if FAERY[form] else {}
        faery.events_stream_from_array(rows, (SENSOR.width, SENSOR.height)).to_file(path, **version)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_what_was_written_is_what_is_read(form: str, tmp_path: Path) -> None:
    with open_source(str(write(tmp_path, form)), speed=None) as source:
        assert source.sensor == (ANY_SENSOR if form == "csv" else SENSOR)
        found = everything(source)
        assert source.read(0.0) is None
    expected = EVENTS.copy()
    if form == "es":
        expected["t"] -= EVENTS["t"][0]
    assert np.array_equal(found, expected)
    assert source.accepted == len(EVENTS)
    assert set(source.rejected.values()) == {0}


def test_faerys_own_csv_is_read(tmp_path: Path) -> None:
    faery = pytest.importorskip("faery", reason="the package faery is not installed")
    rows = EVENTS.astype(faery.EVENTS_DTYPE)
    faery.events_stream_from_array(rows, (120, 90)).to_file(tmp_path / "a.csv")
    with FileSource(tmp_path / "a.csv", Sensor(2, 2), None) as source:
        assert source.sensor == Sensor(120, 90)  # as its header says, as the other formats say it
        assert np.array_equal(everything(source), EVENTS)
        assert source.rejected["damaged"] == 0


def test_events_come_at_their_time(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", some_events(2000, seconds=0.5))
    with open_source(str(path), speed=1.0) as source:
        begin = time.monotonic()
        last, found = 0, 0
        while (events := source.read(0.05)) is not None:
            found += len(events)
            if len(events):
                last = int(events["t"][-1])
                elapsed = time.monotonic() - begin
                assert last - 1000 <= elapsed * 1e6 + 2000  # never early
        assert found == 2000
        assert time.monotonic() - begin > 0.45


def test_time_that_runs_backwards_and_addresses_outside_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n10,1,1,1\n5,1,1,1\n10,2,2,0\n11,500,1,1\n12,1,90,1\n20,119,89,1\nrubbish\n21,0,0,0\n")
    with FileSource(path, SENSOR, None) as source:
        found = everything(source)
    assert found["t"].tolist() == [10, 10, 20, 21]
    assert source.rejected == {"backwards": 1, "outside": 2, "damaged": 1, "leap": 0}


@pytest.mark.parametrize("names", [("ts", "x", "y", "polarity"), ("t", "x", "y", "p")])
def test_hdf5_of_others(names: tuple[str, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "group.h5", "w") as file:
        for name, mine in zip(names, "txyp", strict=True):
            file[f"events/{name}"] = EVENTS[mine].astype("i8")
        file["t_offset"] = np.int64(7_000_000)
    with FileSource(tmp_path / "group.h5", speed=None) as source:
        assert source.sensor == Sensor(int(EVENTS["x"].max()) + 1, int(EVENTS["y"].max()) + 1)
        found = everything(source)
    assert np.array_equal(found["t"], EVENTS["t"] + np.uint64(7_000_000))
    assert all(np.array_equal(found[name], EVENTS[name]) for name in "xyp")


def test_hdf5_of_metavision(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        rows = np.empty(len(EVENTS), dtype=[("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
        for name in "txyp":
            rows[name] = EVENTS[name]
        file["CD/events"] = rows
        file.attrs["geometry"] = "640x480"
    with FileSource(tmp_path / "a.hdf5", speed=None) as source:
        assert source.sensor == Sensor(640, 480)
        assert np.array_equal(everything(source), EVENTS)


def test_hdf5_without_events_says_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pictures"] = np.zeros(4)
    with pytest.raises(FormatError, match=r"\['pictures'\] without events; expected events/t"):
        FileSource(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["events/t"], file["events/x"] = np.zeros(4, "f8"), np.zeros(4, "u2")
    with pytest.raises(FormatError, match=r"events\.t: float64"), FileSource(tmp_path / "b.h5", SENSOR, None) as source:
        everything(source)


def test_a_reader_holds_a_few_chunks_and_no_more(tmp_path: Path) -> None:
    count = 40 * PORTION
    path = tmp_path / "long.h5"
    with h5py.File(path, "w") as file:
        file["events/t"] = np.arange(count, dtype="u8")
        for name in "xyp":
            file[f"events/{name}"] = np.zeros(count, dtype="u2")
    tracemalloc.start()
    try:
        with FileSource(path, SENSOR, None) as source:
            total = 0
            while (events := source.read(5.0)) is not None:
                total += len(events)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == count
    assert peak < (WAITING + 6) * PORTION * EVENT.itemsize < count * EVENT.itemsize / 3


def test_a_long_text_is_read_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        for begin in range(0, 400_000, 10_000):
            file.write("".join(f"{t},1,2,1\n" for t in range(begin, begin + 10_000)))
    tracemalloc.start()
    try:
        with FileSource(path, SENSOR, None) as source:
            total = 0
            while (events := source.read(5.0)) is not None:
                total += len(events)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 400_000
    assert peak < 16e6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.aedat4", b"", "damaged or foreign recording"),
        ("a.aedat4", b"#!AER-DAT4.0\r\n" + b"\xff" * 200, "damaged or foreign recording"),
        ("a.es", b"Event Stream", "damaged or foreign recording"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 500, "damaged or foreign recording"),
        ("a.h5", b"", "damaged or foreign recording"),
        ("a.csv", b"nothing\nof the kind\n", "none of the first 2 lines is an event"),
        ("a.csv", b"\x00" * 5000, "none of the first 1 lines is an event"),
    ],
)
def test_what_is_no_recording_is_an_error_that_names_it(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    if name.endswith(("aedat4", "es")):
        pytest.importorskip("faery", reason="the package faery is not installed")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message) as raised, FileSource(tmp_path / name, SENSOR, None) as source:
        everything(source)
    assert raised.value.where == str(tmp_path / name)


def test_a_recording_that_breaks_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "aedat4", some_events(20_000))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with FileSource(path, SENSOR, None) as source, pytest.raises(FormatError, match=r"after event \d+: ") as raised:
        everything(source)
    assert 1000 < source.accepted < 20_000
    assert f"after event {source.accepted}:" in str(raised.value)


def test_a_decoder_that_dies_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "h5")
    monkeypatch.setattr(file_source, "COMMAND", "import os; os.abort()")
    with pytest.raises(FormatError, match=r"crashed with code -?\d+"):
        FileSource(path)
    monkeypatch.setattr(file_source, "COMMAND", "import time; time.sleep(1000)")
    monkeypatch.setattr(file_source, "PATIENCE", 0.3)
    with pytest.raises(FormatError, match="found no end after event 0"):
        FileSource(path)
    nonsense = "import sys, time; sys.stdout.buffer.write(b'S' + b'\\xff' * 4); sys.stdout.flush(); time.sleep(1000)"
    monkeypatch.setattr(file_source, "COMMAND", nonsense)
    monkeypatch.setattr(file_source, "PATIENCE", PATIENCE)
    with pytest.raises(FormatError, match="crashed"):
        FileSource(path)


def test_a_decoder_that_is_slow_gives_nothing_within_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    slow = f"""
import os, time; from snngen import decoding; send = decoding._send
def slow(out, kind, body):
    while kind == b'E' and not os.path.exists({str(go)!r}):
        time.sleep(0.01)
    send(out, kind, body)
decoding._send = slow
main(*"""
    path = write(tmp_path, "h5")
    monkeypatch.setattr(file_source, "COMMAND", file_source.COMMAND.replace("main(*", slow))
    with FileSource(path, SENSOR, None) as source:
        events = source.read(0.1)
        assert events is not None
        assert len(events) == 0
        go.touch()
        assert np.array_equal(everything(source), EVENTS)


def test_closing_ends_the_decoder_and_a_read_under_way(tmp_path: Path) -> None:
    source = FileSource(write(tmp_path, "h5"), speed=1e-6)
    assert source.read(1.0) is not None
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(source.read(2 * PATIENCE)))
    waiting.start()
    source.close()
    source.close()
    waiting.join(PATIENCE)
    assert answers == [None]
    assert source.read(1.0) is None


def test_what_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="no such file"):
        open_source(str(tmp_path / "absent.aedat4"))
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(FormatError, match="a folder"):
        open_source(str(tmp_path / "folder.h5"))
    (tmp_path / "a.txt").touch()
    with pytest.raises(UnsupportedError, match=r"'\.txt'; expected one of \.aedat4"):
        FileSource(tmp_path / "a.txt")
    monkeypatch.setitem(sys.modules, "faery", None)
    monkeypatch.setattr(file_source, "find_spec", lambda name: None)
    (tmp_path / "a.dat").touch()
    with pytest.raises(UnsupportedError, match="pip install faery"):
        FileSource(tmp_path / "a.dat")


@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_hostile_files_end(form: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Damaged bytes: some events in order and an end, or a FormatError; never a crash, never a hang."""
    path = write(tmp_path_factory.getbasetemp(), form)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(content), 600) - 1) | st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    content = content[: data.draw(st.just(len(content)) | st.integers(1, len(content)))] or bytearray(b"\0")
    path.write_bytes(content)
    found = np.empty(0, dtype=EVENT)
    try:
        with FileSource(path, SENSOR, None) as source:
            found = everything(source)
    except FormatError as error:
        assert error.where == str(path)  # noqa: PT017
    assert np.all(np.diff(found["t"].astype(np.int64)) >= 0)
    os.unlink(path)
