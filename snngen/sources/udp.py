"""Events in UDP datagrams: AEStream's SPIF and faery's two formats (see `snngen.packets`).

The socket is bound to this machine's loopback unless another address is given. Datagrams wait in the system's buffer,
which is asked to be large; what overflows it is counted where the system says so (Linux: "overflow"). A datagram of
another length, or whose polarities are neither 0 nor 1, is "damaged"; one of no bytes is nothing.

SPIF events without a time stamp get the time at which their datagram was read from the socket (the system's monotonic
clock, microseconds): do not mix them with stamped ones. A sender that starts again at an earlier 64-bit time is refused
("backwards") until its time has caught up: open the source anew.
"""

from __future__ import annotations

import socket
import sys
import time
from urllib.parse import urlsplit

import numpy as np

from snngen.errors import FormatError, UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.packets import STEPS, pack, unpack
from snngen.sources import EventSource, Options

EXAMPLE = "udp://127.0.0.1:3333?format=spif&width=128&height=128 (or faery, faery32)"
PREFIX = "udp://"
PORT = 3333  # AEStream's
WAITING = 2**25  # bytes that may wait in the system's buffer; a system may give less
AT_ONCE, LONGEST = 2**20, 2**16  # bytes read at once, and of one datagram
PACKETS = 2**13  # datagrams read at once
LEAP = 10_000_000  # microseconds that a clock may jump ahead by, beyond the silence that was seen
OVERFLOW = 40  # SO_RXQ_OVFL
SHORTEST = 5e-4  # seconds that a sender sleeps at least: a sleep itself takes time
NAMES = {"t64_x16_y16_on8": "faery", "t32_x16_y15_on1": "faery32"}


class UdpSource(EventSource):
    """Events that arrive at a UDP port.

    host, port: where to listen; port 0 takes a free one, see `address`. form: spif, faery or faery32.
    sensor: the address space.
    raises: UnsupportedError for another form; FormatError for an address that cannot be listened at.
    """

    def __init__(self, host: str, port: int, form: str, sensor: Sensor) -> None:
        super().__init__(sensor, LEAP)
        if form not in STEPS:
            raise UnsupportedError("udp", f"format {form!r}", "one of " + ", ".join(STEPS))
        self.form = form
        self._buffer = bytearray(AT_ONCE)
        self._lost = 0
        self._heard = time.monotonic()
        self._socket: socket.socket | None = _listening(host or "127.0.0.1", port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    @property
    def rejected(self) -> dict[str, int]:
        """As of `EventSource`, and datagrams that the system had no room for ("overflow", on Linux)."""
        return {**super().rejected, "overflow": self._lost}

    def read(self, timeout: float) -> EventArray | None:
        """What has arrived, up to a megabyte; waits only for the first datagram."""
        if self._socket is None:
            return None
        ends: list[int] = []
        arrivals: list[int] = []
        room, end, wait = memoryview(self._buffer), 0, max(timeout, 0.0)
        while end + LONGEST <= AT_ONCE and len(ends) < PACKETS:
            length = self._receive(room[end:], wait)
            if length is None:
                break
            wait = 0.0
            if length % STEPS[self.form]:
                self.gate.damaged()
            elif length:
                end += length
                ends.append(end)
                arrivals.append(time.monotonic_ns() // 1000)
        if not ends:
            return np.empty(0, dtype=EVENT)
        data = np.frombuffer(bytes(room[:end]), dtype=np.uint8)
        events, damaged = unpack(
            data, np.array(ends, dtype=np.int64), self.form, np.array(arrivals, dtype=np.uint64), self.gate.last
        )
        self.gate.damaged(damaged)
        silence, before = time.monotonic() - self._heard, self.accepted
        events = self.gate.admit(events, int(silence * 1e6))
        if self.accepted > before:
            self._heard = time.monotonic()
        return events

    def _receive(self, room: memoryview, wait: float) -> int | None:
        """Bytes of the next datagram, put into `room`; None where there is none within `wait` seconds."""
        listening = self._socket
        if listening is None:
            return None
        try:
            listening.settimeout(wait)
            if sys.platform != "linux":
                return listening.recv_into(room)
            length, notes, _, _ = listening.recvmsg_into([room], 64)
        except (BlockingIOError, TimeoutError, ConnectionError):
            return None
        except OSError:
            if self._socket is None:  # closed meanwhile by another thread
                return None
            raise
        for level, kind, data in notes:
            if level == socket.SOL_SOCKET and kind == OVERFLOW:
                self._lost = int.from_bytes(data[:4], sys.byteorder)
        return length

    def close(self) -> None:
        """Stop listening."""
        listening, self._socket = self._socket, None
        if listening is not None:
            listening.close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to an address, with a large buffer."""
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        if sys.platform == "linux":
            made.setsockopt(socket.SOL_SOCKET, OVERFLOW, 1)
        made.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        if made is not None:
            made.close()
        raise FormatError(f"udp://{host}:{port}", str(error), "a free address of this machine") from error
    return made


def send_udp(
    events: EventArray, host: str, port: int, form: str = "faery", rate: float | None = None, stamped: bool = True
) -> int:
    """Send events as datagrams.

    events: (n,) of EVENT. host, port: where to. form: spif, faery or faery32. rate: events per second; None for as fast
    as possible. stamped: whether SPIF events carry their time.
    returns: datagrams sent.
    raises: UnsupportedError for another form or addresses that do not fit into it.
    """
    packets = pack(events, form, stamped)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    begin, per_packet = time.monotonic(), len(events) / max(len(packets), 1)
    with socket.socket(family, kind, protocol) as sending:
        for number, packet in enumerate(packets):
            early = 0.0 if rate is None else begin + number * per_packet / rate - time.monotonic()
            if early > SHORTEST:
                time.sleep(early)
            sending.sendto(packet, address)
    return len(packets)


def recognizes(text: str) -> bool:
    """Whether the text begins with `udp://`."""
    return text.startswith(PREFIX)


def open(text: str, sensor: Sensor | None, speed: float | None) -> UdpSource:
    """Listen at `udp://host:port?format=&width=&height=`; live, whatever the speed.

    raises: UnsupportedError for an address or options that are none.
    """
    parts = urlsplit(text)
    options = Options(text, parts.query, ("format", "width", "height"))
    form = options.choice("format", "faery", (*STEPS, *NAMES))
    try:
        port = PORT if parts.port is None else parts.port
    except ValueError as error:
        raise UnsupportedError(text, str(error), EXAMPLE) from error
    if parts.path not in ("", "/") or parts.fragment or parts.username is not None:
        raise UnsupportedError(text, "more than a host, a port and options", EXAMPLE)
    return UdpSource(parts.hostname or "", port, NAMES.get(form, form), options.sensor(sensor))
