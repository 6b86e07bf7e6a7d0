"""Datagrams: what is packed is what is unpacked; the bytes are those of faery and AEStream."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources.recordings import some_events

from snngen.errors import UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.packets import BEHIND, STEPS, pack, unpack, unwrapped


def back(packets: list[bytes], form: str, last: int | None = None, arrival: int = 0) -> tuple[EventArray, int]:
    data = np.frombuffer(b"".join(packets), dtype=np.uint8)
    ends = np.cumsum([len(packet) for packet in packets], dtype=np.int64)
    return unpack(data, ends, form, np.arange(arrival, arrival + len(packets), dtype=np.uint64), last)


@pytest.mark.parametrize("form", STEPS)
def test_what_is_packed_is_what_is_unpacked(form: str) -> None:
    events = some_events(1234, sensor=Sensor(2**15, 2**15))
    packets = pack(events, form)
    assert max(map(len, packets)) == {"faery": 1300, "faery32": 800, "spif": 512}[form]
    found, damaged = back(packets, form)
    assert np.array_equal(found, events)
    assert damaged == 0


def test_the_bytes_of_aestream() -> None:
    event = np.array([(0x01020304, 5, 7, True)], dtype=EVENT)
    assert pack(event, "spif") == [struct.pack("<II", 5 << 16 | 1 << 15 | 7, 0x01020304)]
    assert pack(event, "spif", stamped=False) == [struct.pack("<I", 1 << 31 | 5 << 16 | 1 << 15 | 7)]


def test_the_bytes_of_faery() -> None:
    event = np.array([(0x0102030405060708, 5, 7, True)], dtype=EVENT)
    assert pack(event, "faery") == [struct.pack("<QHHB", 0x0102030405060708, 5, 7, 1)]
    assert pack(event, "faery32") == [struct.pack("<IHH", 0x05060708, 5, 15)]


def test_spif_events_without_a_time_get_that_of_their_packets() -> None:
    events = some_events(300)
    packets = pack(events, "spif", stamped=False)
    assert [len(packet) for packet in packets] == [512, 512, 176]
    found, damaged = back(packets, "spif", arrival=1000)
    assert found["t"].tolist() == [1000] * 128 + [1001] * 128 + [1002] * 44
    assert all(np.array_equal(found[name], events[name]) for name in "xyp")
    assert damaged == 0


@given(st.lists(st.binary(max_size=80).map(lambda data: data[: len(data) // 4 * 4]), max_size=5), st.booleans())
def test_spif_as_read_word_by_word(packets: list[bytes], settled: bool) -> None:
    last = 10**9 if settled else None
    expected: list[tuple[int, int, int, bool]] = []
    stamps: list[int] = []
    stamped: list[int] = []
    broken = 0
    for number, packet in enumerate(packets):
        words = list(struct.unpack(f"<{len(packet) // 4}I", packet))
        while words:
            word = words.pop(0)
            if not word >> 31 and not words:
                broken += 1
                break
            if not word >> 31:
                stamps.append(words.pop(0))
                stamped.append(len(expected))
            expected.append((number, word >> 16 & 0x7FFF, word & 0x7FFF, bool(word >> 15 & 1)))
    for place, time in zip(stamped, unwrapped(np.array(stamps, dtype="<u4"), last).tolist(), strict=True):
        expected[place] = (time, *expected[place][1:])
    found, damaged = back(packets, "spif", last)
    assert found.tolist() == expected
    assert damaged == broken


def test_a_packet_that_is_no_faery_packet_is_left_out_whole() -> None:
    good = pack(some_events(250), "faery")
    bad = bytearray(good[1])
    bad[12] = 7
    found, damaged = back([good[0], bytes(bad), good[2]], "faery")
    assert np.array_equal(found, np.concatenate([some_events(250)[:100], some_events(250)[200:]]))
    assert damaged == 1


def test_times_of_32_bits_go_on_past_their_end() -> None:
    last = 2**32 - 10
    stamps = np.array([2**32 - 10, 2**32 - 20, 2**32 - 1, 0, 5], dtype=np.uint32)
    assert unwrapped(stamps, last).tolist() == [2**32 - 10, 2**32 - 20, 2**32 - 1, 2**32, 2**32 + 5]
    assert unwrapped(stamps, None).tolist() == unwrapped(stamps, last).tolist()
    assert unwrapped(stamps[:0], None).tolist() == []
    assert unwrapped(np.array([0], dtype=np.uint32), 5 * 2**32 - 1).tolist() == [5 * 2**32]
    assert unwrapped(np.array([2**32 - 1], dtype=np.uint32), 0).tolist() == [2**32 - 1]  # no time before 0


@given(last=st.integers(0, 2**50), step=st.integers(-BEHIND, 2**32 - BEHIND - 1))
def test_unwrapping_finds_any_time_that_is_near(last: int, step: int) -> None:
    time = last + step
    if time >= 0:
        assert unwrapped(np.array([time % 2**32], dtype=np.uint32), last).tolist() == [time]


def test_what_does_not_fit_is_refused() -> None:
    wide = np.array([(1, 2**15, 0, True)], dtype=EVENT)
    assert len(pack(wide, "faery")) == 1
    for form in ("spif", "faery32"):
        with pytest.raises(UnsupportedError, match="x and y below 32768"):
            pack(wide, form)
    with pytest.raises(UnsupportedError, match="form 'nir'; expected one of faery, faery32, spif"):
        pack(wide, "nir")
    assert pack(wide[:0], "spif") == []
