"""OutputQueue: outputs between the simulator and whoever shows them, bounded."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from snngen.streaming.application import Output
from snngen.streaming.event_queue import BLOCK, DROP_NEWEST
from snngen.streaming.heard import Heard


@dataclass(frozen=True, eq=False)
class Answer:
    """An output on its way. heard: its events. seconds: stream time since the answer before."""

    output: Output
    heard: Heard
    seconds: float


class OutputQueue:
    """Outputs in order, at most `capacity` of them.

    policy: as of the events: `block` lets the simulator wait, `drop-newest` drops what comes last, any other drops the
    oldest. The events of a dropped output count as heard by the one after it, so that their latency is not forgotten.
    """

    def __init__(self, capacity: int, policy: str) -> None:
        self.capacity, self.policy = capacity, policy
        self._answers: deque[Answer] = deque()
        self._orphans = Heard()
        self._closed = False
        self._changed = threading.Condition()
        self.made = self.dropped = 0

    @property
    def depth(self) -> int:
        """Outputs that wait."""
        return len(self._answers)

    def put(self, answer: Answer) -> None:
        """Hand over an output; with `block`, wait for room. After `close` it is dropped."""
        with self._changed:
            self.made += 1
            answer.heard.extend(self._orphans)
            self._orphans = Heard()
            while self.policy == BLOCK and len(self._answers) >= self.capacity and not self._closed:
                self._changed.wait()
            if self._closed or (self.policy == DROP_NEWEST and len(self._answers) >= self.capacity):
                self.dropped += 1
                self._orphans.extend(answer.heard)
                return
            self._answers.append(answer)
            if len(self._answers) > self.capacity:
                self.dropped += 1
                oldest = self._answers.popleft()
                self._answers[0].heard.extend(oldest.heard)
            self._changed.notify_all()

    def take(self, timeout: float) -> Answer | None:
        """The oldest output; None where there is none within some seconds, or the queue is closed and empty."""
        with self._changed:
            if not self._answers and not self._closed:
                self._changed.wait(timeout)
            if not self._answers:
                return None
            answer = self._answers.popleft()
            self._changed.notify_all()
            return answer

    @property
    def ended(self) -> bool:
        """True where nothing is left and nothing more comes."""
        return self._closed and not self._answers

    def close(self) -> None:
        """Nothing more comes; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
