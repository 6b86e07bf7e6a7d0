"""Status: how a stream is doing, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snngen.streaming.tally import Tally


@dataclass(frozen=True)
class Latency:
    """Seconds from the arrival of an event to the first output that heard it, over all events; None before any.

    Percentiles are at most 3.1 % above the truth, never below it (see `snngen.streaming.histogram`).
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for JSON, in seconds."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.longest}


@dataclass(frozen=True)
class Status:
    """A stream at one moment.

    tally: where all events are. rejected: what the source refused, by reason. events_in, events_out: per second of the
    wall clock, sent and processed: over the last second while running, over all of it at the end.
    stream_s: stream time from the first event to the last one taken. answered_s: to the last answer, from the
    beginning of the first period. wall_s: since the first event arrived.
    busy: share of the wall clock in which the simulator worked. queue, queue_most, queue_events: events that wait, most
    that ever did, and for how many there is room. outputs, outputs_dropped: made, and dropped for want of a receiver.
    energy: per output, as the stream's `price` says it. ended: why it ended, "" while it runs. failure: what failed.
    """

    tally: Tally
    rejected: Mapping[str, int]
    events_in: float
    events_out: float
    stream_s: float
    answered_s: float
    wall_s: float
    busy: float
    queue: int
    queue_most: int
    queue_events: int
    outputs: int
    outputs_dropped: int
    latency: Latency
    energy: Mapping[str, float] = field(default_factory=dict)
    ended: str = ""
    failure: str = ""

    @property
    def real_time_factor(self) -> float:
        """Seconds of the stream per second of the wall clock."""
        return self.stream_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def headroom(self) -> float:
        """The real-time factor that would be reached if events never had to be waited for."""
        return self.real_time_factor / self.busy if self.busy > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for JSON; times in seconds, energy in joules per output."""
        return {
            "events": self.tally.as_dict(),
            "rejected_by_source": dict(self.rejected),
            "events_per_second_in": self.events_in,
            "events_per_second_out": self.events_out,
            "stream_seconds": self.stream_s,
            "answered_seconds": self.answered_s,
            "wall_seconds": self.wall_s,
            "real_time_factor": self.real_time_factor,
            "headroom": self.headroom,
            "busy": self.busy,
            "queue": {"events": self.queue, "most": self.queue_most, "room": self.queue_events},
            "outputs": self.outputs,
            "outputs_dropped": self.outputs_dropped,
            "latency": self.latency.as_dict(),
            "energy_per_output": dict(self.energy),
            "ended": self.ended,
            "failure": self.failure,
        }
