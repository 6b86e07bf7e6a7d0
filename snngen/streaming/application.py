"""Application: what takes events and answers, live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from snngen.events import EventArray, Sensor
from snngen.streaming.work import Work


@dataclass(frozen=True, eq=False)
class Output:
    """An answer.

    time_us: stream time up to which events were heard (those before it), microseconds.
    label: a class, where there is one. text: one line for people. picture: (rows, columns) float32 in 0..1, or None.
    spikes: events that left the network's outputs since the last answer. work: what was done since then, or None.
    values: whatever else is said of it, as JSON can hold it.
    The stream adds: seconds, stream time since the output before; latency_s, seconds from the arrival of its first
    event to now, None where it heard none; energy, joules by chip, as the stream's `price` says.
    """

    time_us: int
    text: str = ""
    label: str | None = None
    picture: npt.NDArray[np.float32] | None = None
    spikes: int = 0
    work: Work | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    latency_s: float | None = None
    energy: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for JSON; the picture as lists of rows, rounded to 3 places."""
        about: dict[str, Any] = {"time_us": self.time_us, "label": self.label, "text": self.text, "spikes": self.spikes}
        about |= {"seconds": self.seconds, "latency_s": self.latency_s}
        if self.energy:
            about["energy"] = dict(self.energy)
        if self.work is not None:
            about["work"] = {
                "events": sum(self.work.events.values()),
                "synaptic_operations": self.work.synaptic_operations,
                "neuron_updates": self.work.neuron_updates,
            }
        if self.picture is not None:
            about["picture"] = np.round(self.picture.astype(np.float64), 3).tolist()
        return about | dict(self.values)


class Application(Protocol):
    """What a `Stream` runs. All calls come from one thread, in order of time; it may raise, which ends the stream.

    `Stream` asks for an answer at the end of every period (or after every batch of events), and, where the source
    falls silent within a period, once right after the last event; the period then goes on.
    """

    @property
    def sensor(self) -> Sensor:
        """The addresses that it takes."""

    def begin(self, start_us: int) -> None:
        """The stream begins: no event will be before this time, microseconds. Forget what was before."""

    def take(self, events: EventArray) -> None:
        """Some events, (n,) of EVENT, on the sensor, ordered by time, none before the last answer's time."""

    def answer(self, now_us: int) -> Output | None:
        """What is to be said at a time, when all events before it were taken; None where there is nothing to say.

        now_us: microseconds, after the last event taken and not before the last answer.
        """
