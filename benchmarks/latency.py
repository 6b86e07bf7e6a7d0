"""How long an event waits for the output that heard it, and what is dropped, below and above saturation.

    python benchmarks/latency.py [--rates EVENTS/S ...] [--beside N ...] [--seconds S] [--period MS] [--queue N]
                                 [--json FILE]

Random events on the digits application's camera (16 x 16, two polarities) come in real time through the live runner: a
reading thread, a queue with policy drop-oldest, a simulating thread, and this one that receives. An output is asked for
at the end of every period (1 ms if not given). Per rate, after a run to warm up:

- latency: from the arrival of an event to the receipt of the first output that heard it, over all events, the wait for
  the end of the period included; percentiles are at most 3.1 % too large.
- real time: seconds of stream per second; if it never waited: the same for the simulator alone.
- sent = processed + dropped is checked, to the event.

Other programs on the machine lengthen the tail: two cores are needed, and idle ones to compare figures. `--beside 0 4`
measures every rate twice: alone, and beside four programs that do nothing but keep a core busy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import record
from rich.console import Console
from rich.table import Table

from snngen.digits_live import DigitsApplication
from snngen.events import EVENT, EventArray, Sensor
from snngen.sources.array import ArraySource
from snngen.streaming.event_queue import DROP_OLDEST
from snngen.streaming.runner import Stream


def random_events(sensor: Sensor, rate: float, seconds: float) -> EventArray:
    """Events at random times and addresses, ordered by time."""
    generator, count = np.random.default_rng(1), int(rate * seconds)
    events = np.zeros(count, dtype=EVENT)
    events["t"] = np.sort(generator.integers(0, int(seconds * 1e6), count))
    events["x"], events["y"] = generator.integers(0, sensor.width, count), generator.integers(0, sensor.height, count)
    events["p"] = generator.random(count) < 0.5
    return events


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many other programs at work."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(application: DigitsApplication, rate: float, seconds: float, period_us: int, queue: int) -> dict[str, Any]:
    """One run; raises SystemExit where an event is missing."""
    events = random_events(application.sensor, rate, seconds)
    source = ArraySource(events, application.sensor, 1.0)
    with Stream(source, application, DROP_OLDEST, queue, period_us) as stream:
        outputs = sum(1 for _ in stream)
    status = stream.status()
    tally, latency = status.tally, status.latency
    missing = tally.sent - tally.processed - tally.lost
    if missing or tally.sent != len(events) or tally.waiting or status.failure:
        raise SystemExit(f"rate {rate}: {tally}, {status.failure or 'events are missing'}")
    return {
        "rate, events/s": rate, "sent": tally.sent, "processed": tally.processed, "dropped": tally.lost,
        "outputs": outputs, "p50, ms": 1e3 * (latency.p50 or 0), "p95, ms": 1e3 * (latency.p95 or 0),
        "p99, ms": 1e3 * (latency.p99 or 0), "longest, ms": 1e3 * (latency.longest or 0),
        "real time, s/s": status.real_time_factor, "if it never waited": status.headroom,
    }  # fmt: skip


def main() -> None:
    """Measure, print a table, and write the figures where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e4, 1e5, 2e5, 5e5, 1e6])
    parser.add_argument("--beside", type=int, nargs="+", default=[0], help="busy programs at the same time")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--period", type=float, default=1.0, help="milliseconds")
    parser.add_argument("--queue", type=int, default=2**14, help="events")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    application, period_us = DigitsApplication(), round(given.period * 1000)
    measured(application, 1e5, 0.5, period_us, given.queue)
    rows = []
    for others in given.beside:
        with busy(others):
            for rate in given.rates:
                figures = measured(application, rate, given.seconds, period_us, given.queue)
                rows.append({"busy beside": others, **figures})
    table = Table(title=f"digits, an output every {given.period:g} ms, a queue of {given.queue:,} events, drop-oldest")
    for heading in rows[0]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" for value in row.values()))
    Console(width=150).print(table)
    if given.json is not None:
        record.write(given.json, "latency", [{"period, ms": given.period, "queue": given.queue, **row} for row in rows])


if __name__ == "__main__":
    main()
