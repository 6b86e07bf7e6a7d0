"""Digits, live: the application and the source of `snngen stream digits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from snngen.digits import CAMERA, INPUT, PERIOD_US, DigitModel, DigitReader, Reading, digits, presentations
from snngen.errors import PromptError
from snngen.events import EventArray, Sensor
from snngen.integers import IntArray
from snngen.ledger import Ledger
from snngen.pacing import PacedSource, fetching
from snngen.streaming.application import Output
from snngen.streaming.work import Work

DECODER = "decoder/"  # before the names of its populations
CODE = "unary"


class DigitsSource(PacedSource):
    """Held-out digits, one after the other, as a camera sees them; every digit once in a drawn order, then anew.

    seed: of the order. count: digits until it ends; None for no end. speed: seconds of the recording per second; None
    for as fast as possible.
    raises: UnsupportedError without scikit-learn; PromptError for numbers below 0.
    """

    def __init__(self, seed: int = 0, count: int | None = None, speed: float | None = 1.0) -> None:
        if seed < 0 or (count is not None and count < 0):
            raise PromptError("digits", f"seed {seed}, count {count}", "0 or more")
        self._pictures, self._labels = digits(held_out=True)
        self._count = count
        self._round = np.random.default_rng(seed).permutation(len(self._labels))
        super().__init__(CAMERA.sensor, fetching(self._chunks()), speed)

    def _chunks(self) -> Iterator[EventArray]:
        turn = 0
        while self._count is None or turn < self._count:
            left = len(self._round) if self._count is None else min(len(self._round), self._count - turn)
            yield from presentations(self._pictures, self._round[:left], turn * PERIOD_US)
            turn += left

    def truth(self, now_us: int) -> int:
        """The digit that is shown just before a time."""
        turn = max(0, now_us - 1) // PERIOD_US
        return int(self._labels[self._round[turn % len(self._round)]])


class DigitsApplication:
    """Names and draws the digit in front of an event camera; see `snngen.streaming.application`.

    A reading is of all spikes of a period so far; periods end at whole multiples of `period_us`, as those of a stream.

    model: the shipped one if not given. period_us: of a reading; give the stream the same. code: by which the decoder's
    events and synaptic operations are counted (`snngen.ledger.CODES`); the encoder's spikes are unary. truth: the
    digit that is shown just before a time, where that is known.
    """

    def __init__(
        self,
        model: DigitModel | None = None,
        period_us: int = PERIOD_US,
        code: str = CODE,
        truth: Callable[[int], int] | None = None,
    ) -> None:
        if period_us < 1:
            raise PromptError("period_us", str(period_us), "1 or more microseconds")
        self.reader = DigitReader(model)
        self.period_us, self.code, self.truth = period_us, Ledger(self.reader.model.decoder).known(code), truth
        self.begin(0)
        self.reader.engine.push([0], [0])  # compile the kernels, or load them, before events wait
        self.reader.advance(1)
        self.reader.reading()
        self.begin(0)

    @property
    def sensor(self) -> Sensor:
        """The addresses that it takes."""
        return self.reader.model.sensor

    def begin(self, start_us: int) -> None:
        """The stream begins."""
        self.reader.begin(start_us)
        self._end_us = (start_us // self.period_us + 1) * self.period_us

    def take(self, events: EventArray) -> None:
        """Run the encoder up to the last of the events."""
        if len(events):
            self._turn(int(events["t"][0]))
            self.reader.take(events)

    def answer(self, now_us: int) -> Output:
        """The reading of the period so far."""
        self.reader.advance(now_us)
        reading = self.reader.reading()
        output = self._output(reading, now_us)
        self._turn(now_us)
        return output

    def _turn(self, now_us: int) -> None:
        """Begin another period where the last one has ended."""
        if now_us >= self._end_us:
            self.reader.forget()
            self._end_us = (now_us // self.period_us + 1) * self.period_us

    def _output(self, reading: Reading, now_us: int) -> Output:
        work = self._work(reading)
        values: dict[str, Any] = {"confidence": reading.confidence, "scores": np.round(reading.scores, 3).tolist()}
        label = None if reading.label is None else str(reading.label)
        drawn = sum(work.operations[len(reading.work.operations) :])
        said = "nothing" if label is None else f"{label}, {reading.confidence:.0%} sure"
        if self.truth is not None:
            shown = self.truth(now_us)
            values["shown"] = shown
            said += f" (shown: {shown})"
        text = (
            f"{said}; {reading.work.events[INPUT]:,} events, "
            f"{reading.work.synaptic_operations:,} synaptic operations to see, {drawn:,} to draw"
        )
        picture = None if reading.picture is None else reading.picture.astype(np.float32)
        return Output(now_us, text, label, picture, int(reading.spikes.sum()), work, values)

    def _work(self, reading: Reading) -> Work:
        """Of encoder and decoder together, the populations of the latter under `DECODER`."""
        decoder = self.reader.model.decoder
        names = [population.name for population in decoder.populations]
        ledger = reading.ledger
        events = dict(zip(names, _total(ledger.events(self.code)), strict=True))
        updates = dict(zip(names, _total(ledger.neuron_updates()), strict=True))
        return Work(
            {**reading.work.events, **{DECODER + name: count for name, count in events.items()}},
            (*reading.work.operations, *_total(ledger.synaptic_operations(self.code))),
            {**reading.work.updates, **{DECODER + name: count for name, count in updates.items()}},
        )


def _total(counts: IntArray) -> list[int]:
    totals: list[int] = counts.sum(axis=0).tolist()
    return totals
