"""Standard input: records or lines through a pipe, from another process; what is cut or damaged is counted."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE
from sources.recordings import SENSOR, everything, some_events

from snngen.errors import UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.lines import LONGEST, Lines
from snngen.sources.standard_input import StandardInputSource

EVENTS = some_events(30_000)


def as_lines(events: EventArray) -> bytes:
    return "".join(f"{t},{x},{y},{int(p)}\n" for t, x, y, p in events.tolist()).encode()


@contextmanager
def piped(*parts: bytes, form: str = "auto", sensor: Sensor = SENSOR) -> Iterator[StandardInputSource]:
    """A source at the end of a pipe in which the parts lie; together they must fit into the pipe."""
    end, begin = os.pipe()
    for part in parts:
        os.write(begin, part)
    os.close(begin)
    with StandardInputSource(sensor, end, form) as source:
        yield source
    os.close(end)


@pytest.mark.parametrize("form", ["binary", "csv"])
def test_the_command_line_reads_what_another_process_writes(form: str) -> None:
    code = f"""
import sys; sys.path[:] = {sys.path!r}
from sources.recordings import everything
from snngen.sources import open_source
source = open_source("-?width=120&height=90")
events = everything(source)
sys.stdout.buffer.write(events.tobytes())
assert set(source.rejected.values()) == {{0}}, source.rejected
"""
    data = EVENTS.tobytes() if form == "binary" else as_lines(EVENTS)
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.frombuffer(done.stdout, dtype=EVENT), EVENTS)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 2000), max_size=6), binary=st.booleans())
def test_however_the_bytes_are_cut_the_events_are_the_same(cuts: list[int], binary: bool) -> None:
    events = EVENTS[:100]
    data = events.tobytes() if binary else as_lines(events)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    end, begin = os.pipe()
    with StandardInputSource(SENSOR, end) as source:
        parts = []
        for first, last in itertools.pairwise(places):
            os.write(begin, data[first:last])
            part = source.read(0.02 if last > first else 0.0)
            assert part is not None
            parts.append(part)
        os.close(begin)
        parts.append(everything(source))
    os.close(end)
    assert np.array_equal(np.concatenate(parts), events)
    assert set(source.rejected.values()) == {0}


def test_a_pipe_that_stalls_gives_nothing_within_the_timeout() -> None:
    end, begin = os.pipe()
    with StandardInputSource(SENSOR, end) as source:
        started = time.monotonic()
        assert len(source.read(0.1)) == 0  # type: ignore[arg-type]
        assert time.monotonic() - started > 0.09
        os.write(begin, EVENTS[:1].tobytes())
        assert source.read(PATIENCE) == EVENTS[:1]
        os.close(begin)
        assert everything(source).size == 0
        assert source.read(1.0) is None
    os.close(end)


def test_damaged_records_are_counted() -> None:
    data = bytearray(EVENTS[:100].tobytes())
    data[12 + 13 * 7] = 9
    with piped(bytes(data[:-5])) as source:
        found = everything(source)
    assert np.array_equal(found, np.delete(EVENTS[:99], 7))
    assert source.rejected["damaged"] == 2  # the record, and the part of one at the end


def test_lines_that_are_no_event_are_counted() -> None:
    text = b"t,x,y,p\n1,2,3,1\n\nrubbish\n2;2;3;-1\r\n3 2 3\n4\t2\t3\ttrue\n-5,2,3,1\n5,70000,3,1\n1,1,1,1\n6,2,3,0"
    with piped(text) as source:
        found = everything(source)
    assert found["t"].tolist() == [1, 2, 4, 6]
    assert found["p"].tolist() == [True, False, True, False]
    assert source.rejected == {"backwards": 1, "outside": 0, "damaged": 4, "leap": 0}


def test_a_header_names_the_columns_in_any_order() -> None:
    with piped(b"polarity x, extra, timestamp\n1 5 9 100\n0 6 9 101\n") as source:
        assert everything(source).tolist() == [(100, 5, 0, True), (101, 6, 0, False)]
    with piped(b"a,b\n1,2,3,1\n") as source:
        assert len(everything(source)) == 1
        assert source.rejected["damaged"] == 1


def test_a_line_without_an_end_fills_no_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert len(lines.feed(b"1" * 10_000, False)) == 0
        assert len(lines._rest) <= LONGEST
    assert lines.damaged == 100


@settings(deadline=None)
@given(st.binary(max_size=400) | st.text("0123456789,-\n. tx", max_size=400).map(str.encode), st.integers(0, 400))
def test_any_text_is_read_the_same_at_once_and_line_by_line(data: bytes, cut: int) -> None:
    one, other = Lines(), Lines()
    whole = one.feed(data, True)
    parts = np.concatenate([other.feed(data[:cut], False), other.feed(data[cut:], True)])
    if max(map(len, data.split(b"\n"))) <= LONGEST:
        assert np.array_equal(whole, parts)
        assert one.damaged == other.damaged
        assert np.array_equal(whole, slowly(data))


def slowly(data: bytes) -> EventArray:
    lines = Lines()
    parts = [lines.feed(line + b"\n", False) for line in data.split(b"\n")]
    return np.concatenate(parts)


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=500), form=st.sampled_from(["auto", "binary", "csv"]))
def test_any_bytes_are_harmless(data: bytes, form: str) -> None:
    with piped(data, form=form) as source:
        events = everything(source)
    assert np.all(np.diff(events["t"].astype(np.int64)) >= 0)


def test_options_are_checked() -> None:
    from snngen.sources import open_source

    with pytest.raises(UnsupportedError, match="format=xml; expected one of auto, binary, csv"):
        open_source("-?format=xml")
