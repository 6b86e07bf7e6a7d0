"""Structured arrays by field name, in memory and in .npy files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources.recordings import SENSOR, everything, some_events

from snngen.errors import FormatError, PromptError
from snngen.events import EVENT, Sensor
from snngen.pacing import CHUNK
from snngen.sources import open_source
from snngen.sources.array import ArraySource

EVENTS = some_events(3000)
DTYPES: dict[str, list[Any]] = {
    "tonic's NMNIST": [("x", "<i8"), ("y", "<i8"), ("t", "<i8"), ("p", "<i8")],
    "tonic's DVSGesture": [("x", "<i2"), ("y", "<i2"), ("p", "?"), ("t", "<i8")],
    "faery": [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")],
    "event_stream": [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")],
    "dv-processing": [("timestamp", "<i8"), ("x", "<i2"), ("y", "<i2"), ("polarity", "i1")],
    "expelliarmus": [("t", "<i8"), ("y", "<i2"), ("x", "<i2"), ("p", "u1")],
}


@pytest.mark.parametrize("library", DTYPES)
def test_the_arrays_of_other_libraries(library: str, tmp_path: Path) -> None:
    array = np.zeros(len(EVENTS), dtype=DTYPES[library])
    for name in array.dtype.names or ():
        array[name] = EVENTS[{"timestamp": "t", "on": "p", "polarity": "p"}.get(name, name)]
    with ArraySource(array, SENSOR, None) as source:
        assert np.array_equal(everything(source), EVENTS)
    np.save(tmp_path / "a.npy", array)
    with open_source(str(tmp_path / "a.npy"), speed=None) as source:
        assert source.sensor == Sensor(int(EVENTS["x"].max()) + 1, int(EVENTS["y"].max()) + 1)
        assert np.array_equal(everything(source), EVENTS)


def test_a_cochlea_has_no_rows() -> None:
    array = np.zeros(3, dtype=[("t", "<i8"), ("x", "<i8"), ("p", "<i8")])
    array["t"], array["x"], array["p"] = [1, 2, 3], [699, 0, 5], [1, -1, 0]
    with ArraySource(array, speed=None) as source:
        assert source.sensor == Sensor(700, 1)
        assert everything(source).tolist() == [(1, 699, 0, True), (2, 0, 0, False), (3, 5, 0, False)]


def test_an_array_is_converted_chunk_by_chunk() -> None:
    array = np.zeros(2 * CHUNK + 5, dtype=EVENT)
    with ArraySource(array, speed=None) as source:
        parts = []
        while (part := source.read(1.0)) is not None:
            parts.append(len(part))
    assert parts == [CHUNK, CHUNK, 5]


def test_no_event_is_no_error() -> None:
    with ArraySource(np.zeros(0, dtype=EVENT), speed=None) as source:
        assert len(everything(source)) == 0


def test_what_is_no_array_of_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="a structured array with one axis"):
        ArraySource(np.zeros((3, 4)))
    with pytest.raises(PromptError, match="for 't'"):
        ArraySource(np.zeros(3, dtype=[("x", "i4"), ("y", "i4")]))
    np.save(tmp_path / "plain.npy", np.zeros((3, 4)))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    late = np.zeros(CHUNK + 10, dtype=[("t", "i8"), ("x", "i8")])
    late["t"][-1] = -1
    np.save(tmp_path / "late.npy", late)
    for name, message in (("plain", "structured"), ("object", "Python objects"), ("absent", "no such file")):
        with pytest.raises(FormatError, match=message):
            open_source(str(tmp_path / f"{name}.npy"))
    with pytest.raises(FormatError, match=rf"after event {CHUNK}"):  # noqa: SIM117
        with open_source(str(tmp_path / "late.npy"), Sensor(4, 4), None) as source:
            everything(source)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 300), data=st.binary(max_size=8), length=st.integers(1, 5000))
def test_hostile_files_end(place: int, data: bytes, length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, EVENTS[:300])
    content = bytearray(path.read_bytes())
    content[place : place + len(data)] = data
    path.write_bytes(content[:length])
    try:
        with open_source(str(path), speed=None) as source:
            events = everything(source)
    except FormatError as error:
        assert error.where == str(path)  # noqa: PT017
    else:
        assert np.all(np.diff(events["t"].astype(np.int64)) >= 0)
