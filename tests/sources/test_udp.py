"""UDP on loopback, from another process: what is sent arrives, rubbish is counted, silence is no error."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from patience import PATIENCE, until
from sources.recordings import SENSOR, arrived, some_events

from snngen.errors import FormatError, UnsupportedError
from snngen.events import EVENT, Sensor
from snngen.packets import STEPS, pack
from snngen.sources import open_source
from snngen.sources import udp as udp_source
from snngen.sources.udp import UdpSource, send_udp

COUNT = 10_000  # events whose datagrams the system's buffer holds, however late they are read
SENDER = """
import sys
from sources.recordings import some_events
from snngen.sources.udp import send_udp
form, port, count, rate = sys.argv[1], *map(int, sys.argv[2:])
print(send_udp(some_events(count), "127.0.0.1", port, form, rate, stamped=form != "bare"))
"""


def listening(form: str, sensor: Sensor = SENSOR) -> UdpSource:
    source = open_source(f"udp://127.0.0.1:0?format={form}", sensor)
    assert isinstance(source, UdpSource)
    return source


def sender(form: str, source: UdpSource, count: int, rate: int = 100_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SENDER, form, str(source.address[1]), str(count), str(rate)]
    path = "import sys; sys.path[:] = " + repr(sys.path) + "\n"
    command[2] = path + SENDER
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def put(source: UdpSource, *packets: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for packet in packets:
            sending.sendto(packet, source.address)


@pytest.mark.parametrize("form", STEPS)
def test_what_another_process_sends_arrives(form: str) -> None:
    with listening(form) as source:
        process = sender(form, source, COUNT)
        found = arrived(source, COUNT)
        told, _ = process.communicate(timeout=PATIENCE)
    assert np.array_equal(found, some_events(COUNT))
    assert int(told) == -(-COUNT // {"faery": 100, "faery32": 100, "spif": 64}[form])
    assert set(source.rejected.values()) == {0}


def test_faerys_own_sender_is_understood() -> None:
    pytest.importorskip("faery", reason="the package faery is not installed")
    code = f"""
import sys; sys.path[:] = {sys.path!r}
import faery
from sources.recordings import some_events
stream = faery.events_stream_from_array(some_events(5000).astype(faery.EVENTS_DTYPE), (120, 90))
stream.to_udp(("127.0.0.1", int(sys.argv[1])), format=sys.argv[2])
"""
    for form in udp_source.NAMES:
        with listening(form) as source:
            process = subprocess.Popen([sys.executable, "-c", code, str(source.address[1]), form])
            assert np.array_equal(arrived(source, 5000), some_events(5000))
            assert process.wait(PATIENCE) == 0


def test_spif_without_times_gets_those_of_arrival() -> None:
    events = some_events(1000)
    with listening("spif") as source:
        before = time.monotonic_ns() // 1000
        send_udp(events, *source.address, "spif", stamped=False)
        found = arrived(source, 1000)
        after = time.monotonic_ns() // 1000
    assert all(np.array_equal(found[name], events[name]) for name in "xyp")
    assert before <= found["t"][0] <= found["t"][-1] <= after


def test_silence_gives_nothing_within_the_timeout() -> None:
    with listening("spif") as source:
        begin = time.monotonic()
        events = source.read(0.1)
        assert time.monotonic() - begin > 0.09
        assert events is not None
        assert events.dtype == EVENT
        assert len(events) == 0
        assert len(source.read(0.0)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("form", STEPS)
def test_rubbish_is_counted_and_harmless(form: str) -> None:
    events, generator = some_events(1000), np.random.default_rng(1)
    packets = pack(events, form)
    with listening(form) as source:
        for packet in packets:
            put(source, packet, generator.bytes(101), b"", b"\xff" * 13 + b"\xff" * 91)  # 101 and 104 bytes
        found = arrived(source, 1000)
        until(lambda: source.read(0.05) is None or source.rejected["damaged"] >= len(packets))
        rejected = source.rejected
    assert np.array_equal(found[: len(events)], events)
    assert rejected["backwards"] == rejected["overflow"] == 0


@settings(max_examples=50, deadline=None)
@example(form="spif", packets=[b"\xff\xff\xff\x7f" * 2])
@given(form=st.sampled_from(sorted(STEPS)), packets=st.lists(st.binary(max_size=200), max_size=4))
def test_any_datagram_is_harmless(form: str, packets: list[bytes]) -> None:
    with UdpSource("127.0.0.1", 0, form, Sensor(2**16, 2**16)) as source:
        put(source, *packets)
        deadline, last = time.monotonic() + 0.02, 0
        while time.monotonic() < deadline:
            events = source.read(0.005)
            assert events is not None
            if len(events):
                assert last <= int(events["t"][0])
                assert np.all(np.diff(events["t"].astype(np.int64)) >= 0)
                last = int(events["t"][-1])


def test_one_damaged_time_does_not_end_the_stream() -> None:
    events = some_events(200, seconds=0.01)
    wild = events[:1].copy()
    wild["t"] = 2**60
    with listening("faery") as source:
        put(source, *pack(events[:100], "faery"), *pack(wild, "faery"), *pack(events[100:], "faery"))
        assert np.array_equal(arrived(source, 200), events)
        assert source.rejected["leap"] == 1


def test_a_clock_of_32_bits_that_starts_again_goes_on() -> None:
    events = some_events(400, first=2**32 - 5000, seconds=0.01)
    for form in ("spif", "faery32"):
        with listening(form) as source:
            send_udp(events, *source.address, form)
            assert np.array_equal(arrived(source, 400), events)


def test_time_that_runs_backwards_is_counted() -> None:
    events = some_events(300)
    with listening("faery") as source:
        put(source, *pack(events, "faery"), *pack(events[:50], "faery"))
        assert np.array_equal(arrived(source, 300), events)
        until(lambda: source.read(0.05) is None or source.rejected["backwards"] == 50)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many datagrams it had no room for")
def test_what_the_system_had_no_room_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_source, "WAITING", 2**16)
    events = some_events(100_000)
    with listening("faery") as source:
        sent = send_udp(events, *source.address, "faery")
        found = 0
        while (part := source.read(0.1)) is not None and len(part):
            found += len(part)
        put(source, *pack(events[-1:], "faery"))  # the count comes with the next datagram
        source.read(PATIENCE)
        assert found < 100_000
        assert found // 100 + source.rejected["overflow"] == sent


def test_closing_ends_the_source() -> None:
    source = listening("faery")
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(source.read(0.3)))
    waiting.start()
    time.sleep(0.05)
    source.close()
    source.close()
    waiting.join(PATIENCE)
    assert len(answers) == 1
    assert answers[0] is None or len(answers[0]) == 0
    assert source.read(0.1) is None


def test_the_address() -> None:
    with open_source("udp://:0?format=faery&width=4&height=3") as source:
        assert isinstance(source, UdpSource)
        assert source.address[0] == "127.0.0.1"  # never the world, unless it is asked for
        assert source.sensor == Sensor(4, 3)
        with pytest.raises(FormatError, match="expected a free address of this machine"):
            open_source(f"udp://127.0.0.1:{source.address[1]}")
    with pytest.raises(FormatError, match="a free address of this machine"):
        open_source("udp://no.such.host.invalid:3333")
    for text in ("udp://a:b", "udp://a:1/path", "udp://a:1?format=nir", "udp://a:1?depth=1", "udp://a:1?width=0"):
        with pytest.raises(UnsupportedError):
            open_source(text)
    with pytest.raises(UnsupportedError, match="format 'nir'"):
        UdpSource("", 0, "nir", SENSOR)


def test_sending_is_paced() -> None:
    with listening("faery") as source:
        begin = time.monotonic()
        send_udp(some_events(2000), *source.address, "faery", rate=10_000)
        assert time.monotonic() - begin > 0.18
        assert len(arrived(source, 2000)) == 2000
