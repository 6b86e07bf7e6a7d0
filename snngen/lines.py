"""Events as lines of text: `t,x,y,p` or a header's columns, between commas, semicolons, tabs or blanks."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from snngen.events import EVENT, NAMES, EventArray

SEPARATORS = bytes.maketrans(b",;\t\r", b"    ")
PLAIN = b"0123456789- \n"
LONGEST = 256  # bytes of a line
NUMBER = re.compile(rb"-?\d{1,19}")
SIDED = re.compile(r"([xy])@([0-9]{1,5})")
LIMITS = (2**63, 2**16, 2**16)
WORDS = {b"true": 1, b"false": 0}


class Lines:
    """Reads lines as they come; counts those that are no event.

    t, x and y are whole numbers from 0; a polarity above 0 or `true` is True. A first line that begins with a letter is
    a header: it names the columns as `snngen.events.as_events` does, in any order, and others are passed over; faery
    writes the sensor's sides there too, `t,x@640,y@480,on`, which are then in `size`. Blank lines are nothing.
    """

    def __init__(self) -> None:
        self.damaged = self.number = 0  # lines that are no event, and all lines
        self.size: tuple[int, int] | None = None  # columns and rows, where a header says so
        self._rest, self._first = b"", True
        self._columns: tuple[int | None, ...] = (0, 1, 2, 3)

    def feed(self, data: bytes, ended: bool) -> EventArray:
        """The events of the lines that `data` completes.

        data: the next bytes. ended: whether they are the last: then the rest of them is a line too.
        """
        text = (self._rest + data).translate(SEPARATORS)
        cut = len(text) if ended else text.rfind(b"\n") + 1
        if len(text) - cut > LONGEST:  # it is cut here, so that no line fills the memory
            cut = len(text)
        self._rest = text[cut:]
        text = text[:cut]
        lines = [line for line in text.split(b"\n") if line.strip()]
        self.number += len(lines)
        if self._first and lines:
            self._first = False
            if lines[0].lstrip()[:1].isalpha():
                self._header(lines.pop(0))
        events = None if text.translate(None, PLAIN) else self._at_once(lines)
        return self._one_by_one(lines) if events is None else events

    def _header(self, line: bytes) -> None:
        words = [word.decode("latin-1").lower() for word in line.split()]
        sides = {name: int(side) for name, side in (found.groups() for found in map(SIDED.fullmatch, words) if found)}
        if len(sides) == 2 and all(1 <= side <= 2**16 for side in sides.values()):
            self.size = sides["x"], sides["y"]
        words = [SIDED.sub(r"\1", word) for word in words]
        places = [next((words.index(name) for name in names if name in words), None) for names in NAMES.values()]
        if places[0] is None or places[1] is None:
            self.damaged += 1
        else:
            self._columns = tuple(places)

    def _at_once(self, lines: list[bytes]) -> EventArray | None:
        """The events of lines that are all in order; None where one is not."""
        if not lines or max(map(len, lines)) > LONGEST:
            return None
        try:
            table = np.loadtxt(lines, dtype=np.int64, ndmin=2, comments=None)
        except ValueError:
            return None
        events = np.zeros(len(table), dtype=EVENT)
        events["p"] = True
        for field, column in zip("txyp", self._columns, strict=True):
            if column is None:
                continue
            if column >= table.shape[1]:
                return None
            values: npt.NDArray[np.int64] = table[:, column]
            if field != "p" and (values.min() < 0 or (field != "t" and values.max() >= 2**16)):
                return None
            events[field] = values > 0 if field == "p" else values
        return events

    def _one_by_one(self, lines: list[bytes]) -> EventArray:
        rows = [row for row in map(self._event, lines) if row is not None]
        self.damaged += len(lines) - len(rows)
        made: EventArray = np.array(rows, dtype=EVENT)
        return made

    def _event(self, line: bytes) -> tuple[int, int, int, bool] | None:
        words = line.split() if len(line) <= LONGEST else []
        values = [0, 0, 0, 1]
        for place, column in enumerate(self._columns):
            if column is None:
                continue
            word = words[column].lower() if column < len(words) else b""
            if place == 3 and word in WORDS:
                values[3] = WORDS[word]
            elif NUMBER.fullmatch(word):
                values[place] = int(word)
            else:
                return None
        if not all(0 <= value < limit for value, limit in zip(values, LIMITS, strict=False)):
            return None
        return values[0], values[1], values[2], values[3] > 0
