"""The runner: periods, policies, ends and failures; every event accounted for, nothing hangs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE, until

from snngen.errors import CapacityError, PromptError
from snngen.events import EVENT, EventArray, Sensor
from snngen.sources import EventSource
from snngen.sources.array import ArraySource
from snngen.streaming.application import Output
from snngen.streaming.clock import LAST_US
from snngen.streaming.event_queue import POLICIES
from snngen.streaming.runner import Stream
from snngen.streaming.status import Status
from snngen.streaming.work import Work

SENSOR = Sensor(16, 16)
PATIENT = 1000.0  # settle_s: however late the reader is, no period is answered before what ends it is there


def events(times: Any, x: Any = 0, y: Any = 0) -> EventArray:
    made = np.zeros(len(times), dtype=EVENT)
    made["t"], made["x"], made["y"] = times, x, y
    return made


class Script(EventSource):
    """A source that does what it is told: arrays are handed over, errors are raised, and it is silent for so many
    seconds, or until a function says True."""

    def __init__(self, *steps: Any, sensor: Sensor = SENSOR) -> None:
        super().__init__(sensor)
        self.steps: Iterator[Any] = iter(steps)
        self.closed = 0

    def read(self, timeout: float) -> EventArray | None:
        step = next(self.steps, None)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, float):
            time.sleep(step)
            return np.zeros(0, dtype=EVENT)
        if callable(step):
            until(step)
            return np.zeros(0, dtype=EVENT)
        return step  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1


class Listener:
    """An application that answers with what it heard since its last answer."""

    def __init__(self, sensor: Sensor = SENSOR, wait: Callable[[], float] = lambda: 0.0) -> None:
        self.sensor, self.wait = sensor, wait
        self.heard: list[int] = []
        self.begun: list[int] = []
        self.total = 0
        self.answers: list[tuple[int, list[int]]] = []

    def begin(self, start_us: int) -> None:
        self.begun.append(start_us)

    def take(self, events: EventArray) -> None:
        assert self.sensor.inside(events).all()
        assert len(events)
        times = events["t"].tolist()
        assert times == sorted(times)
        assert not self.answers or times[0] >= self.answers[-1][0]
        self.heard += times
        self.total += len(times)
        time.sleep(self.wait())

    def answer(self, now_us: int) -> Output | None:
        assert not self.heard or now_us > self.heard[-1]
        assert not self.answers or now_us >= self.answers[-1][0]
        self.answers.append((now_us, self.heard))
        work = Work({"input": len(self.heard)}, (2 * len(self.heard),), {"neurons": 1})
        output = Output(now_us, f"{len(self.heard)} heard", spikes=len(self.heard), work=work)
        self.heard = []
        return output


def ran(stream: Stream, timeout: float = PATIENCE) -> tuple[list[Output], Status]:
    """The outputs and the last status of a stream, which must end by itself; a watchdog makes a hang an error."""
    outputs: list[Output] = []

    def run() -> None:
        with stream:
            outputs.extend(stream)

    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    runner.join(timeout)
    assert not runner.is_alive(), "the stream hangs"
    status = stream.status()
    assert status.tally.balanced
    assert status.tally.waiting == 0
    return outputs, status


def test_an_output_for_each_period_with_events() -> None:
    listener = Listener()
    source = Script(events([100, 150, 1099, 1100, 5000]))
    outputs, status = ran(Stream(source, listener, period_us=1000, settle_s=PATIENT))
    # periods end at multiples; silent ones are passed over; an event at a boundary belongs to what follows
    assert listener.answers == [(1000, [100, 150]), (2000, [1099, 1100]), (6000, [5000])]
    assert [output.time_us for output in outputs] == [1000, 2000, 6000]
    assert [round(output.seconds * 1e6) for output in outputs] == [1000, 1000, 4000]
    assert listener.begun == [0]
    assert (status.ended, status.failure, source.closed) == ("source ended", "", 1)
    assert status.tally.as_dict()["processed"] == 5
    assert status.stream_s == pytest.approx(0.0049)


def test_cutting_into_batches_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 200_000, 5000))
    answers = []
    for pieces in (1, 7, 800):
        listener = Listener()
        ran(Stream(Script(*map(events, np.array_split(times, pieces))), listener, period_us=10_000, settle_s=PATIENT))
        answers.append(listener.answers)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 20


def test_without_a_period_every_batch_is_answered() -> None:
    listener = Listener()
    begun = time.monotonic()
    source = Script(events([5, 6]), lambda: listener.answers, events([6, 9]))
    outputs, status = ran(Stream(source, listener, period_us=None))
    assert listener.answers == [(7, [5, 6]), (10, [7, 9])]  # a tie with what was answered is one microsecond later
    assert len(outputs) == 2
    assert status.latency.longest is not None
    assert 0 < status.latency.longest < time.monotonic() - begun


def test_silence_is_answered_without_waiting_for_the_next_event() -> None:
    listener = Listener()
    source = Script(events([0, 10]), lambda: listener.answers, events([20, 30]))
    outputs, status = ran(Stream(source, listener, period_us=1000))
    assert status.failure == ""
    assert outputs[0].time_us == 11
    assert [heard for _, heard in listener.answers] == [[0, 10], [20, 30]]


def test_events_of_a_microsecond_that_was_answered_are_heard_by_the_next_answer() -> None:
    listener = Listener()
    steps: list[Any] = [
        events([0, 999]), lambda: len(listener.answers) == 1, events([999]), lambda: len(listener.answers) == 2,
        events([999, 1000]),
    ]  # fmt: skip
    ran(Stream(Script(*steps), listener, period_us=1000))
    assert listener.answers[:2] == [(1000, [0, 999]), (1001, [1000])]
    assert [heard for _, heard in listener.answers[2:]] == [[1001, 1001]]


def test_a_clock_that_stands_still_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snngen.streaming.runner.AT_ONCE", 10_000)
    listener = Listener()
    outputs, status = ran(Stream(Script(*[events(np.full(1000, 7))] * 50), listener, settle_s=PATIENT))
    assert status.tally.processed == 50_000
    assert max(len(heard) for _, heard in listener.answers) <= 10_000 + 2 * 2**13
    assert len(outputs) >= 3


def test_what_cannot_be_taken_is_counted_by_reason() -> None:
    made = events([10, 20, 15, 30, 2**63, 40], x=[0, 16, 1, 1, 1, 1])
    outputs, status = ran(Stream(Script(made, events([35, 41])), Listener(), period_us=1000))
    assert status.tally.dropped == {"outside": 1, "beyond": 1, "late": 1}
    assert status.tally.processed == 5
    assert sum(output.spikes for output in outputs) == 5


def test_the_latest_times_that_can_be_counted() -> None:
    _, status = ran(Stream(Script(events([LAST_US - 1, LAST_US, LAST_US + 1])), Listener(), period_us=10**6))
    assert (status.tally.processed, status.tally.dropped) == (2, {"beyond": 1})


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(3))
def test_sent_is_processed_and_dropped_and_merged_whatever_the_timing(policy: str, seed: int) -> None:
    draw = random.Random(seed)
    steps: list[Any] = []
    time_us = total = 0
    for _ in range(150):
        count = draw.choice([1, 3, 50, 700])
        steps.append(events(range(time_us, time_us + count), x=np.arange(count) % draw.choice([1, 16])))
        time_us, total = time_us + count, total + count
        if draw.random() < 0.1:
            steps.append(draw.random() * 0.002)
    listener = Listener(wait=lambda: draw.random() * 0.002)
    stream = Stream(
        Script(*steps), listener, policy, draw.choice([40, 300, 1000]), period_us=400, merge_us=100, outputs=2
    )
    outputs, status = ran(stream)
    tally = status.tally
    assert tally.sent == total
    assert tally.processed == listener.total
    assert tally.sent == tally.processed + sum(tally.dropped.values()) + tally.merged
    assert status.outputs == len(outputs) + status.outputs_dropped
    if policy == "block":
        assert (tally.dropped, status.outputs_dropped) == ({}, 0)


def test_a_slow_receiver_loses_outputs_by_the_policy_and_not_the_latency_of_their_events() -> None:
    for policy, first in (("drop-oldest", False), ("drop-newest", True)):
        listener = Listener()
        source = Script(*(events([1000 * n]) for n in range(30)))
        stream = Stream(source, listener, policy, period_us=1000, outputs=3, settle_s=PATIENT)
        with stream:
            until(lambda stream=stream: stream.status().outputs == 30)
            outputs = list(stream)
        status = stream.status()
        assert (len(outputs), status.outputs_dropped) == (3, 27)
        assert (outputs[0].time_us == 1000) == first
        assert stream._histogram.total == (3 if first else 30)


def test_a_source_that_stalls_ends_when_the_time_is_over() -> None:
    class Stalled(Script):
        def read(self, timeout: float) -> EventArray | None:
            time.sleep(timeout)
            return np.zeros(0, dtype=EVENT)

    begun = time.monotonic()
    outputs, status = ran(Stream(Stalled(), Listener(), seconds=0.3))
    assert (outputs, status.ended) == ([], "time over")
    assert time.monotonic() - begun >= 0.3


def test_a_source_that_never_returns_is_left_behind() -> None:
    gate = threading.Event()

    class Stuck(Script):
        def read(self, timeout: float) -> EventArray | None:
            gate.wait(PATIENCE)
            return None

    _, status = ran(Stream(Stuck(), Listener(), seconds=0.2))
    gate.set()
    assert status.ended == "time over"
    assert "does not return" in status.failure


@pytest.mark.parametrize(
    "error", [ValueError("a cable is loose"), OSError("gone"), PromptError("a", "b", "c"), KeyError()]
)
def test_a_source_that_raises_ends_the_stream_with_its_outputs(error: Exception) -> None:
    outputs, status = ran(Stream(Script(events([1, 2, 3]), error), Listener()))
    assert [output.spikes for output in outputs] == [3]
    assert status.ended == "source failed"
    assert status.failure.startswith("source: ")
    assert str(error) in status.failure


def test_rubbish_is_counted_and_passed_over() -> None:
    rubbish: list[Any] = [
        [1, 2], "text", np.zeros(3), np.zeros((2, 2), dtype=EVENT), np.zeros(2, dtype=[("a", "i8")]), 7,
        np.array([(-1, 0, 0, 1)], dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")]),
    ]  # fmt: skip
    good = np.array([(9, 1, 2, 1)], dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])  # another layout
    outputs, status = ran(Stream(Script(*rubbish, good), Listener()))
    assert status.rejected["rubbish"] == len(rubbish)
    assert (status.ended, status.tally.processed, len(outputs)) == ("source ended", 1, 1)


def test_a_source_of_nothing_but_rubbish_is_given_up() -> None:
    class Rubbish(Script):
        def read(self, timeout: float) -> Any:
            return {}

    _, status = ran(Stream(Rubbish(), Listener()))
    assert status.ended == "source failed"
    assert "1000 times" in status.failure


def test_a_source_that_raises_on_closing_and_counting_costs_nothing() -> None:
    class Sore(Script):
        def close(self) -> None:
            raise RuntimeError("no")

        @property
        def rejected(self) -> dict[str, int]:
            raise RuntimeError("neither")

    outputs, status = ran(Stream(Sore(events([1])), Listener()))
    assert len(outputs) == 1
    assert status.tally.processed == 1
    assert status.failure


def test_an_application_that_raises_ends_the_stream_and_its_events_are_counted() -> None:
    class Failing(Listener):
        def take(self, events: EventArray) -> None:
            if self.total >= 4:
                raise ZeroDivisionError("by zero")
            super().take(events)

    steps = [events([n, n]) for n in range(0, 4000, 500)]
    _, status = ran(Stream(Script(*steps), Failing(), period_us=400))
    assert (status.ended, status.failure) == ("application failed", "application: by zero")
    assert status.tally.processed == 4
    assert status.tally.dropped["failed"] >= 2


def test_an_application_that_never_returns_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snngen.streaming.runner.LAST_WORD", 0.3)
    gate = threading.Event()
    listener = Listener(wait=lambda: float(gate.wait(PATIENCE)))
    outputs: list[Output] = []
    with Stream(Script(events([1])), listener) as stream:
        until(lambda: listener.heard)
        stream.stop()
        outputs.extend(stream)
    status = stream.status()
    gate.set()
    assert outputs == []
    assert status.ended == "stopped"
    assert "does not return" in status.failure
    assert status.tally.balanced
    assert status.tally.waiting == 1  # which the application still has


def test_a_recording_that_fails_is_named() -> None:
    def full(events: EventArray) -> None:
        raise OSError("the disk is full")

    _, status = ran(Stream(Script(events([1])), Listener(), record=full))
    assert status.failure == "recording: the disk is full"
    assert status.tally.dropped == {"failed": 1}


def test_what_is_recorded_is_what_was_taken() -> None:
    recorded: list[int] = []
    made = events([5, 3, 7, 8], x=[1, 1, 99, 1])
    _, status = ran(Stream(Script(made), Listener(), record=lambda part: recorded.extend(part["t"].tolist())))
    assert recorded == [5, 8]
    assert status.tally.processed == 2


def test_it_ends_after_so_much_stream_time_to_the_event() -> None:
    source = ArraySource(events(range(0, 10_000_000_000, 1_000_000)), SENSOR, speed=None)
    _, status = ran(Stream(source, Listener(), seconds=2000.0))  # on the wall clock it ends much earlier
    assert status.ended == "time over"
    assert status.tally.processed == 2000


def test_stopping_drops_the_periods_of_a_batch_in_hand() -> None:
    recorded: list[int] = []
    listener = Listener(wait=lambda: 0.01)
    made = events(range(0, 2_000_000, 1000))  # one batch of 2000 periods, 20 s of work
    stream = Stream(Script(made), listener, period_us=1000, record=lambda part: recorded.extend(part["t"].tolist()))
    with stream:
        next(iter(stream))
        stream.stop()
    tally = stream.status().tally
    assert tally.balanced
    assert tally.waiting == 0
    assert tally.dropped["stopped"] == 2000 - tally.processed
    assert len(recorded) == tally.processed == listener.total < 2000


@pytest.mark.parametrize("policy", POLICIES)
def test_stopping_ends_at_once_and_counts_what_waits(policy: str) -> None:
    class Endless(Script):
        time_us = 0

        def read(self, timeout: float) -> EventArray | None:
            self.time_us += 1000
            return events(range(self.time_us, self.time_us + 1000))

    listener = Listener(wait=lambda: 0.01)
    stream = Stream(Endless(), listener, policy, 2500, period_us=1000, outputs=2)
    with stream:
        for number, _ in enumerate(stream):
            if number == 3:
                stream.stop()
                heard = listener.total
    assert listener.total <= heard + 1000  # the period in hand, and none after it
    status = stream.status()
    assert (status.ended, status.failure) == ("stopped", "")
    assert status.tally.balanced
    assert status.tally.waiting == 0


def test_leaving_waits_for_the_application_and_counts_what_it_had_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snngen.streaming.runner.PATIENCE", 0.01)
    listener = Listener(wait=lambda: 0.3)
    with Stream(Script(events([1])), listener) as stream:
        until(lambda: listener.heard)
    tally = stream.status().tally
    assert (tally.processed, tally.waiting) == (1, 0)
    assert listener.answers == [(2, [1])]


def test_leaving_without_receiving_does_not_hang() -> None:
    with Stream(Script(*(events([n * 1000]) for n in range(500))), Listener(), period_us=500, outputs=1) as stream:
        time.sleep(0.1)
    status = stream.status()
    assert status.tally.balanced
    assert status.tally.waiting == 0
    with pytest.raises(PromptError, match="begun before"):
        stream.__enter__()


def test_energy_is_that_of_the_work_and_the_time() -> None:
    def price(work: Work, seconds: float) -> dict[str, float]:
        return {"chip": work.synaptic_operations * 1e-9 + seconds}

    outputs, status = ran(
        Stream(Script(events([0, 1, 1500])), Listener(), period_us=1000, settle_s=PATIENT, price=price)
    )
    assert [output.energy["chip"] for output in outputs] == pytest.approx([4e-9 + 1e-3, 2e-9 + 1e-3])
    assert status.energy["chip"] == pytest.approx(3e-9 + 1e-3)
    assert outputs[0].as_dict()["energy"] == outputs[0].energy


def test_the_status_is_plain_and_rates_are_those_of_the_clock() -> None:
    source = ArraySource(events(range(0, 1_000_000, 1000)), SENSOR, speed=1.0)
    begun = time.monotonic()
    with Stream(source, Listener(), period_us=20_000) as stream:
        rates = [stream.status().events_in for _ in stream]
    wall = stream.status().wall_s
    assert 0.99 < wall < time.monotonic() - begun
    assert np.median(rates[5:]) > 0
    about = stream.status().as_dict()
    assert about["events"]["sent"] == 1000
    assert about["events_per_second_in"] == about["events_per_second_out"] == pytest.approx(1000 / wall)
    assert (
        about["latency"]["p50"] <= about["latency"]["p95"] <= about["latency"]["p99"] <= about["latency"]["max"] * 1.04
    )
    assert about["real_time_factor"] == pytest.approx(0.999 / wall)
    assert about["headroom"] > about["real_time_factor"]


def test_options_that_are_none_are_refused() -> None:
    for options in ({"period_us": 0}, {"outputs": 0}, {"seconds": 0.0}, {"settle_s": -1.0}):
        with pytest.raises(CapacityError):
            Stream(Script(), Listener(), **options)  # type: ignore[arg-type]
