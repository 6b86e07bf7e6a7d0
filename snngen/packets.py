"""Events as bytes: the records and datagrams of faery and AEStream.

    faery   t64_x16_y16_on8: t u64, x u16, y u16, polarity u8 (0 or 1): 13 bytes, faery's default
    faery32 t32_x16_y15_on1: t u32, x u16, y << 1 | polarity u16: 8 bytes
    spif    AEStream: u32 words; bit 31: no time stamp follows, bits 16 to 30: x, bit 15: polarity, bits 0 to 14: y;
            where bit 31 is 0, a second word is the time stamp

All little-endian, times in microseconds. A 32-bit time starts again every 71.6 minutes: it is read as the time that is
nearest ahead of the last event (at first: of the first), or at most BEHIND before it.
Sources: faery 0.7.1, udp_encoder.py; AEStream, src/cpp/output/dvs_to_udp.cpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.errors import UnsupportedError
from snngen.events import EVENT, EventArray
from snngen.kernels import spif

STEPS = {"faery": 13, "faery32": 8, "spif": 4}  # bytes that a packet's length must be a multiple of
LIMITS = {"faery": 2**16, "faery32": 2**15, "spif": 2**15}  # addresses per axis that fit
PER_PACKET = {"faery": 100, "faery32": 100, "spif": 64}  # as faery and AEStream (512 bytes) send
SHORT = np.dtype([("t", "<u4"), ("x", "<u2"), ("yp", "<u2")])
RAW = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
BEHIND = 10_000_000  # microseconds


def unpack(
    data: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    form: str,
    arrivals: npt.NDArray[np.uint64],
    last: int | None,
) -> tuple[EventArray, int]:
    """Events of some packets.

    data: (bytes,) the packets one after another. ends: (packets,) where each ends; every length is a multiple of
    STEPS[form]. form: faery, faery32 or spif. arrivals: (packets,) microseconds, for SPIF events without a time stamp.
    last: time of the last event before, which 32-bit times are near to.
    returns: the events, and the number of packets that hold something else: those are left out whole, except that of a
    SPIF packet which breaks off before a time stamp only its last event is.
    """
    if form == "faery":
        return _unpack_records(data, ends)
    if form == "faery32":
        short = data.view(SHORT)
        events = np.empty(len(short), dtype=EVENT)
        events["t"], events["x"] = unwrapped(short["t"], last), short["x"]
        events["y"], events["p"] = short["yp"] >> 1, short["yp"] & 1
        return events, 0
    words = data.view("<u4")
    places, packets = np.empty((2, len(words)), dtype=np.int64)
    count, broken = spif.locate(words, ends // 4, places, packets)
    places, packets = places[:count], packets[:count]
    found = words[places]
    bare = (found & np.uint32(spif.UNSTAMPED)) != 0
    events = np.empty(count, dtype=EVENT)
    events["t"][bare] = arrivals[packets[bare]]
    events["t"][~bare] = unwrapped(words[places[~bare] + 1], last)
    events["x"], events["y"] = (found >> np.uint32(16)) & np.uint32(0x7FFF), found & np.uint32(0x7FFF)
    events["p"] = (found >> np.uint32(15)) & np.uint32(1)
    return events, int(broken)


def _unpack_records(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> tuple[EventArray, int]:
    """Records of 13 bytes; a packet in which a polarity is neither 0 nor 1 is something else."""
    raw = data.view(RAW)
    wrong = raw["p"] > 1
    damaged = 0
    if wrong.any():
        owners = np.searchsorted(ends, np.arange(len(raw)) * RAW.itemsize, side="right")
        bad = np.unique(owners[wrong])
        raw, damaged = raw[~np.isin(owners, bad)], len(bad)
    return raw.view(EVENT), damaged


def unwrapped(stamps: npt.NDArray[np.uint32], last: int | None) -> npt.NDArray[np.uint64]:
    """64-bit times from 32-bit ones, see above.

    stamps: (n,) microseconds modulo 2**32. last: the time that they are near to; None for the first stamp.
    """
    if not len(stamps):
        return np.empty(0, dtype=np.uint64)
    near = int(stamps[0]) if last is None else last
    ahead = (stamps - np.uint32(near & 0xFFFFFFFF)).astype(np.int64)  # modulo 2**32
    ahead -= np.where((ahead >= 2**32 - BEHIND) & (ahead - 2**32 + near >= 0), 2**32, 0)
    times: npt.NDArray[np.uint64] = (ahead + near).astype(np.uint64)
    return times


def pack(events: EventArray, form: str, stamped: bool = True) -> list[bytes]:
    """Packets of events, as many to a packet as faery or AEStream put there.

    events: (n,) of EVENT. form: faery, faery32 or spif. stamped: whether SPIF events carry their time.
    raises: UnsupportedError for another form, or an address that does not fit into it.
    """
    if form not in STEPS:
        raise UnsupportedError("packets", f"form {form!r}", "one of " + ", ".join(STEPS))
    limit = LIMITS[form]
    if len(events) and max(int(events["x"].max()), int(events["y"].max())) >= limit:
        raise UnsupportedError("packets", "addresses that do not fit", f"x and y below {limit} in {form}")
    per_packet = PER_PACKET[form]
    rows: npt.NDArray[Any] = events
    if form == "faery32":
        rows = np.empty(len(events), dtype=SHORT)
        rows["t"], rows["x"] = events["t"] & np.uint64(0xFFFFFFFF), events["x"]
        rows["yp"] = events["y"] << 1 | events["p"]
    elif form == "spif":
        rows = np.empty((len(events), 2 if stamped else 1), dtype="<u4")
        x, y, p = (events[name].astype(np.uint32) for name in "xyp")
        rows[:, 0] = (0 if stamped else spif.UNSTAMPED) | x << np.uint32(16) | p << np.uint32(15) | y
        if stamped:
            rows[:, 1] = events["t"] & np.uint64(0xFFFFFFFF)
        else:
            per_packet *= 2
    return [rows[begin : begin + per_packet].tobytes() for begin in range(0, len(rows), per_packet)]
