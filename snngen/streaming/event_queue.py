"""EventQueue: events between a reader and a simulator, bounded, with a policy for when it is full."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from snngen.errors import CapacityError, UnsupportedError
from snngen.events import EVENT, EventArray
from snngen.integers import IntArray
from snngen.streaming.tally import Tally

BLOCK, DROP_OLDEST, DROP_NEWEST, MERGE = "block", "drop-oldest", "drop-newest", "merge"
POLICIES = (BLOCK, DROP_OLDEST, DROP_NEWEST, MERGE)
LARGEST = 2**26  # events: 1.4 GB
FULL = "queue full"


@dataclass(frozen=True, eq=False)
class Batch:
    """Events and when each arrived. events: (n,) of EVENT. arrivals_ns: (n,) int64, monotonic clock."""

    events: EventArray
    arrivals_ns: IntArray


class EventQueue:
    """A ring of events that one thread fills and another empties; it never grows, and forgets no event.

    capacity: events. policy: what happens to events for which there is no room:
        block        the reader waits; a source that cannot wait overflows itself
        drop-oldest  the events that wait longest make room: the newest picture, with gaps
        drop-newest  what came last is dropped: what was begun is heard to its end
        merge        waiting events of one address within `merge_us` of each other become the first of them; if that
                     makes too little room, the oldest are dropped
    merge_us: microseconds.
    raises: UnsupportedError for another policy; CapacityError for a size that is none.
    """

    def __init__(self, capacity: int, policy: str = BLOCK, merge_us: int = 1000) -> None:
        if policy not in POLICIES:
            raise UnsupportedError("policy", repr(policy), "one of " + ", ".join(POLICIES))
        if not 1 <= capacity <= LARGEST:
            raise CapacityError("queue", f"{capacity} events", f"1 to {LARGEST}")
        if not 0 <= merge_us < 2**62:
            raise CapacityError("merge_us", str(merge_us), "0 microseconds or more")
        self.capacity, self.policy, self.merge_us = capacity, policy, merge_us
        self._events = np.zeros(capacity, dtype=EVENT)
        self._arrivals = np.zeros(capacity, dtype=np.int64)
        self._head = self._depth = self._in_hand = self._sent = self._processed = self._merged = 0
        self._dropped: dict[str, int] = {}
        self._closed = False
        self._changed = threading.Condition()
        self.most = 0
        if policy == MERGE:  # compile the kernel, or load it, before events wait
            self._append(np.zeros(1, dtype=EVENT), np.zeros(1, dtype=np.int64))
            self._merge()
            self._head = self._depth = self.most = 0

    @property
    def depth(self) -> int:
        """Events in the queue now. `most` is the largest number that there was."""
        return self._depth

    @property
    def tally(self) -> Tally:
        """Where all events are, at one moment."""
        with self._changed:
            waiting = self._depth + self._in_hand
            return Tally(self._sent, self._processed, self._merged, dict(self._dropped), waiting)

    def put(self, events: EventArray, arrival_ns: int) -> None:
        """Hand over events, (n,) of EVENT, that arrived at one time; with `block`, wait until there is room.

        What comes after `close` or `abandon` is counted as dropped, "stopped".
        """
        with self._changed:
            self._sent += len(events)
            self._in_hand += len(events)
            while len(events):
                if self._closed:
                    self._settle(len(events), "stopped")
                    return
                part = self._make_room(events)
                if len(part) == 0:  # to be waited for, or dropped and settled
                    if self.policy == BLOCK:
                        self._changed.wait()
                        continue
                    return
                self._append(part, np.full(len(part), arrival_ns, dtype=np.int64))
                self._in_hand -= len(part)
                self._changed.notify_all()
                events = events[len(part) :]

    def take(self, most: int, timeout: float) -> Batch | None:
        """The oldest events, at most so many; they are in hand until `settle`.

        timeout: seconds to wait at most where there are none.
        returns: none within the timeout; None where the queue is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._depth > 0 or self._closed, timeout)
            if self._depth == 0 and self._closed:
                return None
            batch = self._oldest(min(most, self._depth))
            self._in_hand += len(batch.events)
            if len(batch.events):
                self._changed.notify_all()
            return batch

    def settle(self, events: int, reason: str | None = None) -> None:
        """Say of events in hand that they were processed, or dropped for a reason."""
        with self._changed:
            self._settle(events, reason)

    def close(self) -> None:
        """Nothing more comes; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self, reason: str = "stopped") -> None:
        """Close, and drop what waits."""
        with self._changed:
            self._closed = True
            self._drop(self._depth, reason)
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True after `close` or `abandon`."""
        return self._closed

    def _settle(self, events: int, reason: str | None) -> None:
        self._in_hand -= events
        if reason is None:
            self._processed += events
        elif events:
            self._dropped[reason] = self._dropped.get(reason, 0) + events

    def _drop(self, count: int, reason: str) -> None:
        """Drop the oldest events of the ring."""
        if count:
            self._head = (self._head + count) % self.capacity
            self._depth -= count
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def _make_room(self, events: EventArray) -> EventArray:
        """The first of the events, as many as there is now room for by the policy; what is dropped is settled."""
        room = self.capacity - self._depth
        part = events[: self.capacity]
        if len(part) <= room:
            return part
        if self.policy == BLOCK:
            return events[:room]
        if self.policy == DROP_NEWEST:
            if room == 0:
                self._settle(len(events), FULL)
            return events[:room]
        if self.policy == MERGE and self._depth:
            self._merge()
            room = self.capacity - self._depth
        self._drop(max(0, len(part) - room), FULL)
        return part

    def _merge(self) -> None:
        """Let the waiting events of one address within the window become one."""
        from snngen.kernels.merging import first_of_each

        batch = self._oldest(self._depth)
        events = batch.events
        size = 1 << (2 * len(events) - 1).bit_length()
        keys, since = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.uint64)
        kept = np.zeros(len(events), dtype=np.bool_)
        addresses = (events["p"].astype(np.int64) << 32) | (events["y"].astype(np.int64) << 16) | events["x"]
        times = np.ascontiguousarray(events["t"])
        self._merged += len(events) - first_of_each(times, addresses, self.merge_us, keys, since, kept)
        self._append(events[kept], batch.arrivals_ns[kept])

    def _append(self, events: EventArray, arrivals_ns: IntArray) -> None:
        start = (self._head + self._depth) % self.capacity
        first = min(len(events), self.capacity - start)
        for ring, values in ((self._events, events), (self._arrivals, arrivals_ns)):
            ring[start : start + first] = values[:first]
            ring[: len(values) - first] = values[first:]
        self._depth += len(events)
        self.most = max(self.most, self._depth)

    def _oldest(self, count: int) -> Batch:
        """Take the oldest events out of the ring."""
        first = min(count, self.capacity - self._head)
        rest = count - first
        events = np.concatenate((self._events[self._head : self._head + first], self._events[:rest]))
        arrivals = np.concatenate((self._arrivals[self._head : self._head + first], self._arrivals[:rest]))
        self._head = (self._head + count) % self.capacity
        self._depth -= count
        return Batch(events, arrivals)
