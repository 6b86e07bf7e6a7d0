"""Event sources. One file per source, found by its name; each has `recognizes(text)` and `open(text, sensor, speed)`.

A source yields arrays of `snngen.events.EVENT`, in order of time. Whatever breaks that order, lies off the sensor or
cannot be read is counted in `rejected` by reason and left out: it neither stops the source nor reaches the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

from snngen import folder
from snngen.errors import FormatError, UnsupportedError
from snngen.events import EventArray, Sensor
from snngen.gate import Gate

ANY_SENSOR = Sensor(1280, 720)  # where neither the source nor the user says: the largest in common use


class EventSource(ABC):
    """Something that events come from.

    sensor: its address space. leap_us: most microseconds that time may jump ahead by, see `Gate`; None for any.
    Use it as a context manager, or call `close`.
    """

    def __init__(self, sensor: Sensor, leap_us: int | None = None) -> None:
        self.sensor = sensor
        self.gate = Gate(sensor, leap_us)

    @abstractmethod
    def read(self, timeout: float) -> EventArray | None:
        """The next events.

        timeout: seconds to wait at most where there are none yet.
        returns: (n,) of EVENT, maybe none within the timeout; None when the source has ended or is closed.
        raises: FormatError for a source that is damaged beyond what can be left out.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the source holds; a second time does nothing."""

    @property
    def rejected(self) -> dict[str, int]:
        """What was refused, by reason: events that ran "backwards", lay "outside" or were too far ahead ("leap");
        packets, lines or records that were "damaged"."""
        return self.gate.rejected

    @property
    def accepted(self) -> int:
        """Events let in so far."""
        return self.gate.accepted

    def __enter__(self) -> EventSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def sources() -> dict[str, ModuleType]:
    """The kinds of source, by name."""
    return folder.modules(__name__, __path__)


def open_source(text: str, sensor: Sensor | None = None, speed: float | None = 1.0) -> EventSource:
    """Open a source from the text of a command line.

    text: a file (.aedat4, .dat, .raw, .es, .csv, .h5, .npy); `udp://host:port?format=spif`, or faery, on loopback where
        no host is given; `-`, standard input; `synthetic:bar?rate=100000`, or dot or noise.
    sensor: its address space, where the source does not say; a source that does is held to its own.
    speed: recordings and synthetic sensors: seconds of the recording per second; None for as fast as possible.
    raises: UnsupportedError for a text that no source knows; FormatError for a file that cannot be read.
    """
    if speed is not None and not 0 < speed < 1e9:
        raise UnsupportedError("speed", str(speed), "a factor above 0, or None for as fast as possible")
    known = sources()
    for module in known.values():
        if module.recognizes(text):
            source: EventSource = module.open(text, sensor, speed)
            return source
    wanted = "; ".join(f"{name}: {module.EXAMPLE}" for name, module in known.items())
    raise UnsupportedError(f"source {text!r}", "nothing that a source knows", wanted)


class Options:
    """The part of a source's text after the question mark.

    where: the whole text, for errors. query: `name=value&name=value`. known: the names that there are.
    raises: UnsupportedError for other names or a name given twice.
    """

    def __init__(self, where: str, query: str, known: tuple[str, ...]) -> None:
        self.where = where
        pairs = parse_qsl(query, keep_blank_values=True)
        self.values = dict(pairs)
        if len(self.values) < len(pairs) or not set(self.values) <= set(known):
            raise UnsupportedError(where, f"options {[name for name, _ in pairs]}", f"each at most once of {known}")

    def choice(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """One of several words."""
        value = self.values.get(name, default)
        if value not in known:
            raise UnsupportedError(self.where, f"{name}={value}", "one of " + ", ".join(known))
        return value

    def number(self, name: str, default: Any, low: float, high: float, kind: Any = float) -> Any:
        """A number from `low` to `high`; the default as it is where it is not given."""
        if name not in self.values:
            return default
        try:
            value = kind(self.values[name])
        except ValueError as error:
            raise UnsupportedError(self.where, f"{name}={self.values[name]}", f"a {kind.__name__}") from error
        if not low <= value <= high:
            raise UnsupportedError(self.where, f"{name}={value}", f"from {low} to {high}")
        return value

    def sensor(self, given: Sensor | None) -> Sensor:
        """The sensor that `width` and `height` say, else the one that is given, else ANY_SENSOR."""
        base = given or ANY_SENSOR
        width, height = (
            self.number(name, default, 1, 2**16, int)
            for name, default in (("width", base.width), ("height", base.height))
        )
        return Sensor(width, height, base.polarities)


def damaged_file(path: str, what: object) -> FormatError:
    """The error of a recording that cannot be read on."""
    return FormatError(
        path, f"a damaged or foreign recording ({what})", "a whole one", "Record, convert or copy it again"
    )
