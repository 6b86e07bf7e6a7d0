"""The queue of events: what each policy keeps, and that no event is ever lost to the account."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
from patience import PATIENCE

from snngen.errors import CapacityError, UnsupportedError
from snngen.events import EVENT, EventArray
from snngen.streaming.event_queue import POLICIES, EventQueue


def events(times: list[int] | range, x: list[int] | int = 0) -> EventArray:
    made = np.zeros(len(times), dtype=EVENT)
    made["t"], made["x"] = list(times), x
    return made


def taken(queue: EventQueue, most: int = 1000) -> list[int]:
    batch = queue.take(most, 0.0)
    assert batch is not None
    queue.settle(len(batch.events))
    return batch.events["t"].tolist()


def test_order_and_arrivals_are_kept_around_the_ring() -> None:
    queue = EventQueue(5)
    for begin in range(0, 60, 3):
        queue.put(events(range(begin, begin + 3)), begin)
        batch = queue.take(10, 0.0)
        assert batch is not None
        queue.settle(len(batch.events))
        assert batch.events["t"].tolist() == [begin, begin + 1, begin + 2]
        assert batch.arrivals_ns.tolist() == [begin] * 3
    assert queue.most == 3
    assert queue.tally.processed == queue.tally.sent == 60


def test_oldest_are_dropped() -> None:
    queue = EventQueue(4, "drop-oldest")
    queue.put(events(range(3)), 0)
    queue.put(events(range(3, 6)), 0)
    assert taken(queue) == [2, 3, 4, 5]
    queue.put(events(range(11)), 0)  # more than it holds
    assert taken(queue) == [7, 8, 9, 10]
    assert queue.tally.dropped == {"queue full": 9}


def test_newest_are_dropped() -> None:
    queue = EventQueue(4, "drop-newest")
    queue.put(events(range(3)), 0)
    queue.put(events(range(3, 6)), 0)
    queue.put(events([6]), 0)
    assert taken(queue) == [0, 1, 2, 3]
    queue.put(events(range(11)), 0)
    assert taken(queue) == [0, 1, 2, 3]
    assert queue.tally.dropped == {"queue full": 10}


def test_equal_addresses_within_the_window_are_merged_when_it_is_full() -> None:
    queue = EventQueue(6, "merge", merge_us=10)
    # address 1 at 0, 5 (merged), 10 (a window later: stays), 12 (merged); address 2 at 6, 11 (merged)
    queue.put(events([0, 5, 6, 10, 11, 12], [1, 1, 2, 1, 2, 1]), 0)
    assert queue.tally.merged == 0
    queue.put(events([13, 14], [3, 3]), 0)
    assert queue.tally.merged == 3
    assert taken(queue) == [0, 6, 10, 13, 14]
    assert queue.tally.dropped == {}


def test_polarity_and_row_tell_addresses_apart() -> None:
    queue = EventQueue(4, "merge", merge_us=100)
    made = events([0, 1, 2, 3])
    made["p"], made["y"] = [False, True, False, True], [0, 0, 1, 0]
    queue.put(made, 0)
    queue.put(events([4], [9]), 0)
    assert taken(queue) == [0, 1, 2, 4]


def test_what_cannot_be_merged_is_dropped_oldest_first() -> None:
    queue = EventQueue(4, "merge", merge_us=10)
    queue.put(events(range(4), [1, 2, 3, 4]), 0)
    queue.put(events(range(4, 7), [5, 6, 7]), 0)
    assert taken(queue) == [3, 4, 5, 6]
    tally = queue.tally
    assert (tally.merged, tally.dropped) == (0, {"queue full": 3})


def test_merging_is_what_a_plain_search_finds() -> None:
    rng = np.random.default_rng(8)
    for _ in range(50):
        count, window = int(rng.integers(1, 200)), int(rng.integers(0, 30))
        times, places = np.sort(rng.integers(0, 300, count)).tolist(), rng.integers(0, 12, count).tolist()
        kept: list[int] = []
        last: dict[int, int] = {}
        for t, x in zip(times, places, strict=True):
            if x not in last or t - last[x] >= window:
                last[x] = t
                kept.append(t)
        queue = EventQueue(count, "merge", merge_us=window)
        queue.put(events(times, places), 0)
        queue.put(events([1000], [99]), 0)  # one more than there is room for
        dropped = int(len(kept) == count)
        assert taken(queue) == [*kept, 1000][dropped:]
        assert queue.tally.merged == count - len(kept)


def test_block_waits_for_room_and_closing_wakes_it() -> None:
    queue = EventQueue(2)
    writer = threading.Thread(target=queue.put, args=(events(range(7)), 0))
    writer.start()
    got: list[int] = []
    while len(got) < 4:
        batch = queue.take(10, 1.0)
        assert batch is not None
        queue.settle(len(batch.events))
        got += batch.events["t"].tolist()
    assert got == list(range(len(got)))
    queue.abandon()
    writer.join(PATIENCE)
    assert not writer.is_alive()
    tally = queue.tally
    assert tally.sent == 7
    assert tally.processed == len(got)
    assert tally.dropped == {"stopped": 7 - len(got)}
    assert tally.waiting == 0
    assert queue.take(1, 0.0) is None


def test_a_closed_queue_can_be_emptied() -> None:
    queue = EventQueue(8)
    queue.put(events(range(5)), 0)
    queue.close()
    queue.put(events(range(3)), 0)
    assert taken(queue) == [0, 1, 2, 3, 4]
    assert queue.take(1, 0.0) is None
    assert queue.tally.dropped == {"stopped": 3}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(3))
def test_every_event_is_accounted_for_at_every_moment_under_stress(policy: str, seed: int) -> None:
    """A writer, a reader and an observer with random timings; the account is balanced whenever it is looked at."""
    draw = random.Random(seed)
    queue = EventQueue(draw.choice([1, 7, 64, 500]), policy, merge_us=50)
    sent, seen, unbalanced = [0], [0], [0]
    done = threading.Event()

    def write() -> None:
        mine, time_us = random.Random(seed + 100), 0
        for _ in range(min(200, 20 * queue.capacity)):  # a queue of one event changes threads for each
            count = mine.choice([0, 1, 1, 5, 40, 900])
            queue.put(events(range(time_us, time_us + count), [mine.randrange(20) for _ in range(count)]), 0)
            sent[0] += count
            time_us += count
            if mine.random() < 0.1:
                time.sleep(mine.random() * 0.001)
        queue.close()

    def observe() -> None:
        while not done.is_set():
            unbalanced[0] += not queue.tally.balanced
            time.sleep(0.0002)

    threads = [threading.Thread(target=write), threading.Thread(target=observe)]
    for thread in threads:
        thread.start()
    last = -1
    while (batch := queue.take(draw.choice([1, 30, 400]), 0.01)) is not None:
        times = batch.events["t"].astype(np.int64)
        assert (np.diff(times, prepend=last) > 0).all()
        last = int(times[-1]) if times.size else last
        half = len(times) // 2 if draw.random() < 0.1 else 0
        queue.settle(half, "late")
        queue.settle(len(times) - half)
        seen[0] += len(times) - half
        if draw.random() < 0.1:
            time.sleep(draw.random() * 0.001)
    threads[0].join(PATIENCE)
    done.set()
    threads[1].join(PATIENCE)
    tally = queue.tally
    assert unbalanced[0] == 0
    assert (tally.sent, tally.processed, tally.waiting) == (sent[0], seen[0], 0)
    assert tally.sent == tally.processed + sum(tally.dropped.values()) + tally.merged
    assert (tally.merged > 0) <= (policy == "merge")
    if policy == "block":
        assert "queue full" not in tally.dropped


def test_settings_that_are_none_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="drop-oldest"):
        EventQueue(5, "drop")
    with pytest.raises(CapacityError):
        EventQueue(0)
    with pytest.raises(CapacityError):
        EventQueue(2**40)
    with pytest.raises(CapacityError):
        EventQueue(5, "merge", merge_us=-1)
