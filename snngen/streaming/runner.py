"""Runner: a source, an application and two threads."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.events import EventArray, as_events
from snngen.sources import EventSource
from snngen.streaming.application import Application, Output
from snngen.streaming.clock import LAST, LAST_US, Clock
from snngen.streaming.event_queue import BLOCK, Batch, EventQueue
from snngen.streaming.heard import Heard
from snngen.streaming.histogram import Histogram
from snngen.streaming.output_queue import Answer, OutputQueue
from snngen.streaming.status import Latency, Status
from snngen.streaming.work import Work

Price: TypeAlias = Callable[[Work, float], Mapping[str, float]]

WAIT = 0.1  # seconds that a thread waits before it looks whether it is to end
NAP = 0.0005  # seconds between reads that bring little: threads that wake for every event take each other's time
LITTLE = 256  # events
MOST = 2**13  # events taken at once
AT_ONCE = 2**18  # events of one microsecond before time is made to go on, since all of them wait for its end
PATIENCE = 1.0  # seconds that a source has to return when the stream ends
LAST_WORD = 60.0  # seconds that an application has to answer then
FAULTS = 1000  # answers in a row that are no events: the source is given up
SWITCH = 0.00005  # seconds after which Python lets the other thread run, 5 ms otherwise
LONGEST_PERIOD = 2**42  # microseconds
ENDED, STOPPED, TIME_OVER = "source ended", "stopped", "time over"


class Stream:
    """Runs an application on a source; iterate over it for the outputs. Use it as a context manager.

    A thread reads, a thread simulates, and whoever iterates receives; bounded queues lie between. The kernels and the
    waiting for sources run without Python's lock, so that reading goes on while the network is computed.

    source: read by this stream alone, and closed by it. application: see `snngen.streaming.application`.
    policy, queue_events, merge_us: of the queue of events, see `snngen.streaming.event_queue`; the queue of `outputs`
        outputs follows the same policy.
    period_us: an output for each period of stream time in which there were events, they end at its multiples; None for
        one after every batch.
    settle_s: seconds of silence after the rest of a period, before it is answered without waiting for more.
    seconds: ends after so much stream time, from the first event, or, `on_the_wall`, so much time on the wall clock,
        whichever comes first. Events of a later time are no part of the stream, and counted nowhere.
    record: is given the events that the application takes, as they are taken.
    price: joules by chip for some work in some seconds; it must be linear in both.
    raises: UnsupportedError, CapacityError for options that are none.
    """

    def __init__(
        self,
        source: EventSource,
        application: Application,
        policy: str = BLOCK,
        queue_events: int = 2**16,
        period_us: int | None = 10_000,
        *,
        merge_us: int = 1000,
        outputs: int = 16,
        settle_s: float = 0.02,
        seconds: float | None = None,
        on_the_wall: bool = True,
        record: Callable[[EventArray], None] | None = None,
        price: Price | None = None,
    ) -> None:
        if period_us is not None and not 1 <= period_us <= LONGEST_PERIOD:
            raise CapacityError("period_us", str(period_us), f"1 to {LONGEST_PERIOD} microseconds")
        if outputs < 1 or not settle_s >= 0 or (seconds is not None and not seconds > 0):
            raise CapacityError("Stream", f"outputs={outputs}, settle_s={settle_s}, seconds={seconds}", "above 0")
        self.source, self.application = source, application
        self._queue = EventQueue(queue_events, policy, merge_us)
        self._outputs = OutputQueue(outputs, policy)
        self._clock = Clock(application.sensor, period_us)
        self._settle_s, self._seconds, self._record, self._price = settle_s, seconds, record, price
        self._histogram, self._heard = Histogram(), Heard()
        self._work, self._since, self._busy, self._garbage, self._in_hand = Work(), 0.0, 0.0, 0, 0
        self._at_once = self._read_us = 0
        self._limit_us: int | None = None
        self._on_the_wall = on_the_wall
        self._first_s = self._end_s = None  # type: float | None
        self._deadline = self._stopped = float("inf")
        self._ended, self._failure, self._doing, self._over = "", "", "application", False
        self._stopping = threading.Event()
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=256)
        self._reader = threading.Thread(target=self._read, name="snngen reader", daemon=True)
        self._simulator = threading.Thread(target=self._simulate, name="snngen simulator", daemon=True)
        self._switch = sys.getswitchinterval()
        self._begun = False

    def __enter__(self) -> Stream:
        if self._begun:
            raise PromptError("Stream", "a stream that was begun before", "a new one, with a source opened anew")
        self._begun = True
        sys.setswitchinterval(min(self._switch, SWITCH))
        if self._seconds is not None and self._on_the_wall:
            self._deadline = time.monotonic() + self._seconds
        self._reader.start()
        self._simulator.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Output]:
        """The outputs as they come, until the stream has ended; begin it with `with`."""
        return (output for output in self.outputs() if output is not None)

    def outputs(self) -> Iterator[Output | None]:
        """The outputs as they come, and None whenever a tenth of a second brought none."""
        while not self._outputs.ended:
            answer = self._outputs.take(WAIT)
            if answer is None and time.monotonic() > self._deadline:
                self.stop(TIME_OVER)
            if answer is None and time.monotonic() > self._stopped + LAST_WORD:
                self._fail("application", TimeoutError("it does not return"))
                self._outputs.close()
            yield None if answer is None else self._delivered(answer)

    def stop(self, why: str = STOPPED) -> None:
        """End: events that wait are dropped ("stopped"), outputs that wait can still be received."""
        self._end(why)
        self._stopped = min(self._stopped, time.monotonic())
        self._stopping.set()
        self._queue.abandon()

    def close(self) -> None:
        """`stop` where it has not ended, wait for the threads, close the source; one that does not return is left."""
        if self._begun and not self._outputs.ended:
            self.stop()
        self._outputs.close()
        if self._begun:
            left = self._stopped + LAST_WORD - time.monotonic()
            self._simulator.join(min(max(left, PATIENCE), LAST_WORD))
            self._reader.join(PATIENCE)
            sys.setswitchinterval(self._switch)
        try:
            self.source.close()
        except Exception as error:  # a source of the user's: whatever it raises must not cost the summary
            self._fail("source", error)
        if self._begun:
            self._reader.join(PATIENCE)
            if self._reader.is_alive():
                self._failure = self._failure or "source: it does not return from read"

    @property
    def work(self) -> Work:
        """What was done for all outputs."""
        return self._work

    def status(self) -> Status:
        """How it is doing now, or, when it has ended, how it did."""
        now = time.monotonic()
        tally, ended = self._queue.tally, self._end_s is not None
        wall = 0.0 if self._first_s is None else (self._end_s or now) - self._first_s
        self._samples.append((now, tally.sent, tally.processed))
        while len(self._samples) > 2 and now - self._samples[0][0] > 1.0:
            self._samples.popleft()
        then, sent, processed = (now - wall, 0, 0) if ended else self._samples[0]
        seconds = wall if ended else now - then
        rates = [0.0, 0.0] if seconds <= 0 else [(tally.sent - sent) / seconds, (tally.processed - processed) / seconds]
        read = self._histogram.percentile
        longest = self._histogram.longest_ns * 1e-9 if self._histogram.total else None
        return Status(
            tally, self._rejected(), rates[0], rates[1], self._clock.elapsed_s, self._clock.answered_s, wall,
            min(1.0, self._busy / wall) if wall > 0 else 0.0, self._queue.depth, self._queue.most, self._queue.capacity,
            self._outputs.made, self._outputs.dropped, Latency(read(0.5), read(0.95), read(0.99), longest),
            self._mean_energy(), self._ended, self._failure,
        )  # fmt: skip

    def _rejected(self) -> dict[str, int]:
        try:
            rejected = {reason: count for reason, count in self.source.rejected.items() if count}
        except Exception as error:  # a source of the user's
            self._fail("source", error)
            rejected = {}
        return rejected | ({"rubbish": self._garbage} if self._garbage else {})

    def _mean_energy(self) -> dict[str, float]:
        outputs = self._outputs.made
        if self._price is None or outputs == 0:
            return {}
        return {chip: joules / outputs for chip, joules in self._price(self._work, self._clock.answered_s).items()}

    def _end(self, why: str) -> None:
        self._ended = self._ended or why

    def _fail(self, what: str, error: Exception) -> None:
        self._failure = self._failure or f"{what}: {error or type(error).__name__}"
        self._end(f"{what} failed")

    def _delivered(self, answer: Answer) -> Output:
        output, heard, now = answer.output, answer.heard, time.monotonic_ns()
        waits = now - heard.times_ns
        self._histogram.add(waits, heard.often)
        energy = {} if self._price is None or output.work is None else self._price(output.work, answer.seconds)
        latency = int(waits.max()) * 1e-9 if waits.size else None
        return replace(output, seconds=answer.seconds, latency_s=latency, energy=energy)

    def _read(self) -> None:
        """The reader's thread."""
        try:
            faults = 0
            before = time.monotonic_ns()
            while not self._stopping.is_set():
                began = time.monotonic_ns()
                events = self.source.read(WAIT)
                now = time.monotonic_ns()
                if events is None:
                    break
                faults = self._hand_over(events, before if now - began < NAP * 1e9 else now, faults)
                before = time.monotonic_ns()
                if self._over:
                    break
                if faults or self._comes_in_drops(events):
                    time.sleep(NAP)
        except Exception as error:  # whatever a source of the user's raises ends the stream, and is said
            self._fail("source", error)
        finally:
            self._queue.close()

    def _comes_in_drops(self, events: EventArray) -> bool:
        """True where reads bring few events that are closer in time than a nap."""
        if not 0 < len(events) < LITTLE:
            return False
        last, self._read_us = self._read_us, int(events["t"][-1])
        return self._read_us - last < NAP * 1e6

    def _hand_over(self, events: Any, arrival_ns: int, faults: int) -> int:
        """Queue what was read, as of an arrival. returns: reads in a row that brought something else than events."""
        try:
            if not isinstance(events, np.ndarray) or events.ndim != 1:
                raise PromptError("read", type(events).__name__, "an array of events, or None")
            checked = as_events(events)
        except PromptError as error:
            self._garbage += 1
            if faults + 1 >= FAULTS:
                raise PromptError("read", f"{FAULTS} times in a row no events", "events", str(error)) from error
            return faults + 1
        if self._seconds is not None:
            checked = self._in_time(checked, self._seconds)
        if len(checked):
            if self._first_s is None:
                self._first_s = time.monotonic()
            self._queue.put(checked, arrival_ns)
        return 0

    def _in_time(self, events: EventArray, seconds: float) -> EventArray:
        """The events before the first that is so many seconds after the stream's first; with it the time is over."""
        heard = self.application.sensor.inside(events) & (events["t"] <= LAST)
        if self._limit_us is None:
            if not heard.any():
                return events
            self._limit_us = int(events["t"][heard.argmax()]) + int(seconds * 1e6)
        beyond = heard & (events["t"] >= np.uint64(min(self._limit_us, LAST_US + 1)))
        self._over = bool(beyond.any())
        return events[: beyond.argmax()] if self._over else events

    def _simulate(self) -> None:
        """The simulator's thread."""
        try:
            while (batch := self._queue.take(MOST, self._patience())) is not None:
                began = time.monotonic()
                if len(batch.events):
                    self._in_hand = len(batch.events)
                    self._take(batch)
                elif self._clock.open:
                    self._answer(self._clock.last_us + 1)
                self._busy += time.monotonic() - began
                if time.monotonic() > self._deadline:
                    self.stop(TIME_OVER)
            if self._over:
                self._end(TIME_OVER)
            if self._clock.open:
                whole = not self._ended and self._clock.period_us is not None
                self._answer(self._clock.end_us if whole else self._clock.last_us + 1)
            self._end(ENDED)
        except Exception as error:  # whatever an application of the user's raises ends the stream, and is said
            self._fail(self._doing, error)
            self._settled(self._in_hand, "failed")
        finally:
            self._stopping.set()
            self._queue.abandon()
            self._end_s = time.monotonic()
            self._outputs.close()

    def _patience(self) -> float:
        """Seconds to wait for events before the period is answered as it is."""
        clock = self._clock
        if not clock.open or clock.period_us is None:
            return WAIT
        return (clock.end_us - clock.last_us) * 1e-6 + self._settle_s

    def _take(self, batch: Batch) -> None:
        clock = self._clock
        events, arrivals = batch.events, batch.arrivals_ns
        allowed, reasons = clock.sorted_out(events)
        if reasons:
            for reason, count in reasons.items():
                self._settled(count, reason)
            events, arrivals = events[allowed], arrivals[allowed]
        if not len(events):
            return
        times = np.ascontiguousarray(events["t"])
        clock.floor_us = int(times[-1])
        if clock.start_us is None:
            clock.begin(int(times[0]))
            self.application.begin(clock.start_us or 0)
        self._hear(events, times, arrivals)
        if clock.period_us is None and clock.open:
            self._answer(clock.last_us + 1)

    def _hear(self, events: EventArray, times: Any, arrivals: Any) -> None:
        """Give events to the application, and let it answer wherever a period ends; stopped, drop the periods left."""
        clock, begin = self._clock, 0
        while begin < len(events):
            if self._stopping.is_set():
                self._settled(len(events) - begin, STOPPED)
                return
            if int(times[begin]) < clock.now_us:  # of the same microsecond as the last one, which was answered already
                times, events = np.maximum(times, np.uint64(clock.now_us)), events.copy()
                events["t"] = times
            first = int(times[begin])
            if first >= clock.end_us:
                if clock.open:
                    self._answer(clock.end_us)
                clock.turn(first)
            end = int(np.searchsorted(times, np.uint64(clock.end_us)))
            if self._record is not None:
                self._doing = "recording"
                self._record(events[begin:end])
                self._doing = "application"
            self.application.take(events[begin:end])
            self._settled(end - begin)
            self._heard.add(arrivals[begin:end])
            last = int(times[end - 1])
            self._at_once = self._at_once + end - begin if last == clock.last_us else 0
            clock.heard(last)
            if self._at_once > AT_ONCE:
                self._answer(last + 1)
            begin = end

    def _settled(self, events: int, reason: str | None = None) -> None:
        self._in_hand -= events
        self._queue.settle(events, reason)

    def _answer(self, now_us: int) -> None:
        output = self.application.answer(now_us)
        self._since += self._clock.answered(now_us)
        if output is None:
            return
        answer = Answer(output, self._heard, self._since)
        self._heard, self._since = Heard(), 0.0
        if output.work is not None:
            self._work = self._work + output.work
        before = time.monotonic()
        self._outputs.put(answer)
        self._busy -= time.monotonic() - before
