"""The limits of this machine, measured: bytes read per second, and how near to them weight rows are added.

A synaptic operation reads one weight: 1, 1/2 or 1/4 of a byte. So no event-driven program exceeds

    operations/s <= operations per byte * bytes/s read from where the weights lie

which is the roof of S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", CACM 52(4), 2009. Both sides are measured here, in turns, over the same memory.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from snngen import machine
from snngen.certificate import certify
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError, PromptError
from snngen.integers import IntArray, aligned_bytes, lines
from snngen.kernels import bandwidth, rows, settled
from snngen.network import Network

LEVELS = ("L1", "L2", "L3", "DRAM")
UNKNOWN_CACHES = (32 << 10, 1 << 20, 16 << 20)  # bytes, where the system does not tell
LARGEST_L3 = 16 << 20  # bytes of the buffer that stands for L3: a virtual machine may own less than it sees
SHORTEST = 2e-3  # seconds of one timing: passes are repeated until it takes as long
CHUNK = 4096  # rows that the NumPy reference turns into float64 at a time


@dataclass(frozen=True)
class Times:
    """Seconds of the same work, repeated; all passes of a timing divided by their number."""

    seconds: Sequence[float]

    @property
    def best(self) -> float:
        """The shortest, in seconds."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle one, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Point:
    """Deliveries through weights in one level of memory, and reading of the same memory, in turns.

    level: "L1" to "DRAM". size: bytes of the weights. bits: of a weight. largest: magnitude of the payloads, 1 for
    spikes of +-1. density: share of the rows that events read. threads: that share the events, and the reading.
    operations: synaptic operations of a delivery. rows_read: bytes of weights that it reads.
    delivery, reading: Times of a delivery, and of reading all `size` bytes.
    alone: Times of the same delivery by one thread, where there are more.
    """

    level: str
    size: int
    bits: int
    largest: int
    density: float
    threads: int
    operations: int
    rows_read: int
    delivery: Times
    reading: Times
    alone: Times

    @property
    def rate(self) -> float:
        """Synaptic operations per second, best."""
        return self.operations / self.delivery.best

    @property
    def limit(self) -> float:
        """Bytes read per second, best."""
        return self.size / self.reading.best

    @property
    def share(self) -> float:
        """Bytes of weights per second, of the limit: best against best."""
        return self.rows_read / self.delivery.best / self.limit

    @property
    def speedup(self) -> float:
        """How many times as fast as one thread: best against best; 1 where there is one."""
        return self.alone.best / self.delivery.best

    def as_dict(self) -> dict[str, Any]:
        """Plain values. Rates in synaptic operations/s, bandwidths in bytes/s."""
        median_limit = self.size / self.reading.median
        return {
            "level": self.level,
            "bytes": self.size,
            "bits": self.bits,
            "largest payload": self.largest,
            "density": self.density,
            "threads": self.threads,
            "operations": self.operations,
            "operations/s best": self.rate,
            "operations/s median": self.operations / self.delivery.median,
            "bandwidth best": self.limit,
            "bandwidth median": median_limit,
            "share best": self.share,
            "share median": self.rows_read / self.delivery.median / median_limit,
            "speedup best": self.speedup,
            "speedup median": self.alone.median / self.delivery.median,
            "repeats": len(self.delivery.seconds),
            "equal to NumPy": True,  # `measure` raises otherwise
        }


@dataclass(frozen=True)
class NetworkPoint:
    """Tokens of a network, and reading of its weights, in turns.

    name: of the network. size: bytes of its weights. operations, rows_read: synaptic operations and bytes of weights of
    a token, on average. threads: of the engine, and of the reading. compared: tokens that the certificate found equal.
    token, reading: Times of a token, on average, and of reading all `size` bytes.
    """

    name: str
    size: int
    operations: float
    rows_read: float
    threads: int
    compared: int
    token: Times
    reading: Times

    @property
    def rate(self) -> float:
        """Synaptic operations per second, best."""
        return self.operations / self.token.best

    @property
    def limit(self) -> float:
        """Bytes read per second, best."""
        return self.size / self.reading.best

    @property
    def share(self) -> float:
        """Bytes of weights per second, of the limit: best against best."""
        return self.rows_read / self.token.best / self.limit

    def as_dict(self) -> dict[str, Any]:
        """Plain values. Rates in tokens/s and synaptic operations/s, bandwidths in bytes/s."""
        median_limit = self.size / self.reading.median
        return {
            "network": self.name,
            "bytes": self.size,
            "threads": self.threads,
            "operations/token": self.operations,
            "bytes/token": self.rows_read,
            "tokens/s best": 1 / self.token.best,
            "tokens/s median": 1 / self.token.median,
            "operations/s best": self.rate,
            "operations/s median": self.operations / self.token.median,
            "bandwidth best": self.limit,
            "bandwidth median": median_limit,
            "share best": self.share,
            "share median": self.rows_read / self.token.median / median_limit,
            "repeats": len(self.token.seconds),
            "tokens compared": self.compared,
        }


@dataclass(frozen=True)
class Buffer:
    """Random bytes of a size that lies in one level of memory: weights, and what is read to measure the limit.

    level: "L1" to "DRAM". data: (size,) int8, whole lines of the cache (64 bytes), in which it begins.
    """

    level: str
    data: IntArray

    @classmethod
    def of(cls, level: str, size: int) -> Buffer:
        """Random bytes. raises: PromptError where they are too few for 32 rows."""
        if size < 32 * rows.BLOCK:
            raise PromptError(f"buffer for {level}", f"{size} bytes", f"{32 * rows.BLOCK} or more")
        data = aligned_bytes(size // 64 * 64)
        data[:] = np.random.default_rng(0).integers(-128, 128, data.size, dtype=np.int8)
        return cls(level, data)

    @property
    def row(self) -> int:
        """Bytes of a weight row: a power of two, 4096 at most, that leaves 32 rows or more."""
        return min(4096, 1 << ((self.data.size // 32).bit_length() - 1))


def sizes(dram: int | None = None) -> dict[str, int]:
    """Bytes of a buffer that surely lies in each level of memory: half of a cache; four times the last cache.

    dram: bytes that stand for DRAM, if others.
    """
    caches = [machine.cache(level) for level in (1, 2, 3)]
    first, second, third = caches if caches[0] else UNKNOWN_CACHES
    found = {"L1": (first or UNKNOWN_CACHES[0]) // 2}
    if second:
        found["L2"] = second // 2
    if third:
        found["L3"] = min(third // 2, LARGEST_L3)
    last = third or second or UNKNOWN_CACHES[2]
    found["DRAM"] = dram or max(4 * last, 128 << 20)
    return found


def measure(
    buffer: Buffer, bits: int = 8, largest: int = 127, density: float = 0.98, threads: int = 1, repeats: int = 9
) -> Point:
    """Deliver events through the buffer as weights, and read it, in turns.

    bits: of a weight, 8, 4 or 2. largest: payloads are random in -largest..largest without 0. density: share of the
    rows, random and in ascending order, that events read. threads: Python's threads; each delivers its part of the
    events into a drive of its own. repeats: of each timing.
    raises: MismatchError where the drive is not what NumPy adds up; PromptError for a setting out of range.
    """
    _check(bits, largest, density, threads, repeats)
    sources, targets = buffer.data.size // buffer.row, buffer.row * 8 // bits
    rng = np.random.default_rng(1)
    count = max(threads, round(density * sources))
    event = np.sort(rng.choice(sources, count, replace=False)).astype(np.int32)
    payload = (rng.integers(1, largest + 1, count) * rng.choice((-1, 1), count)).astype(np.int32)
    kinds: list[Sequence[Callable[[int], Any]]] = []
    crews = sorted({1, threads})
    for number in crews:
        drives = np.zeros((number, targets), np.int32)
        parts = zip(np.array_split(event, number), np.array_split(payload, number), drives, strict=True)
        kinds.append([_delivery(buffer, bits, *part) for part in parts])
        run(kinds[-1], 1)
        _require_equal(buffer, bits, event, payload, drives)
    readings = [partial(bandwidth.read, words) for words in np.array_split(buffer.data.view(np.int64), threads)]
    *deliveries, reading = in_turns([*kinds, readings], repeats)
    return Point(
        level=buffer.level,
        size=buffer.data.size,
        bits=bits,
        largest=largest,
        density=density,
        threads=threads,
        operations=count * targets,
        rows_read=count * buffer.row,
        delivery=deliveries[-1],
        reading=reading,
        alone=deliveries[0],
    )


def points(
    levels: dict[str, int], kinds: Sequence[tuple[int, int]], repeats: int, density: float = 0.98, threads: int = 1
) -> Iterator[Point]:
    """Measure every kind of weights and payloads in every level; points come as they are ready.

    levels: bytes of each, see `sizes`. kinds: (bits, largest payload).
    """
    for level, size in levels.items():
        buffer = Buffer.of(level, size)
        for bits, largest in kinds:
            yield measure(buffer, bits, largest, density, threads, repeats)


def under_one_roof(points: Sequence[Point]) -> list[Point]:
    """The points, each against the fastest reading of the same bytes by as many threads that any of them measured.

    A roof is a property of the machine: a reading that something disturbed must not flatter the delivery beside it.
    """

    def place(point: Point) -> tuple[str, int, int]:
        return point.level, point.size, point.threads

    best: dict[tuple[str, int, int], Times] = {}
    for point in points:
        known = best.get(place(point), point.reading)
        best[place(point)] = min(known, point.reading, key=lambda times: times.best)
    return [replace(point, reading=best[place(point)]) for point in points]


def measure_network(
    name: str, network: Network, tokens: int = 16, threads: int = 1, repeats: int = 5, compared: int = 2
) -> NetworkPoint:  # fmt: skip
    """Run tokens through the settled engine, and read its weights, in turns.

    tokens: of a timing, no more than the context holds, which begins anew with each. compared: tokens that the
        certificate compares first.
    raises: MismatchError where engine and reference differ.
    """
    engine = SettledEngine(network, threads=threads)
    tokens = tokens if network.context is None else min(tokens, network.context)
    prompt = np.random.default_rng(2).integers(0, network.vocabulary, tokens).tolist()
    certify(network, prompt[:compared], engine).require()
    read = []

    def generate(passes: int) -> None:
        for _ in range(passes):
            engine.reset()
            for token in prompt:
                engine.step(token)
                read.append(engine.counted()[1][:, [settled.BYTES, settled.GRADED]].sum(axis=0))

    weights = engine.tables.weights
    words = weights[: weights.size // 8 * 8].view(np.int64)
    readings = [partial(bandwidth.read, part) for part in np.array_split(words, threads)]
    run, reading = in_turns([[generate], readings], repeats)
    rows_read, operations = np.mean(read, axis=0).tolist()
    token = Times([seconds / tokens for seconds in run.seconds])
    return NetworkPoint(name, words.nbytes, operations, rows_read, threads, compared, token, reading)


def _delivery(buffer: Buffer, bits: int, event: IntArray, payload: IntArray, drive: IntArray) -> Callable[[int], Any]:
    """A function of the number of passes that delivers these events into the drive."""
    scratch = lines(1, rows.scratch_size(event.size, drive.size, 1))[0]
    gain = np.ones(drive.size, np.int64)
    return partial(bandwidth.dense, event, payload, buffer.data, buffer.row, bits, gain, scratch, drive)


def run(works: Sequence[Callable[[int], Any]], passes: int) -> float:
    """Seconds per pass of works that run side by side, each in a thread of its own."""
    if len(works) == 1:
        started = time.perf_counter()
        works[0](passes)
        return (time.perf_counter() - started) / passes
    with ThreadPoolExecutor(len(works)) as pool:
        for begun in [pool.submit(time.sleep, 1e-4) for _ in works]:  # starts every thread of the pool
            begun.result()
        started = time.perf_counter()
        for done in [pool.submit(work, passes) for work in works]:
            done.result()
        return (time.perf_counter() - started) / passes


def in_turns(kinds: Sequence[Sequence[Callable[[int], Any]]], repeats: int) -> list[Times]:
    """Times of each kind of work, taken in turns so that what slows the machine slows them alike.

    A timing follows an untimed pass of the same work, so that the caches hold what its own passes leave in them.
    kinds: each a list of works that run side by side; a work takes a number of passes.
    """
    passes = []
    for works in kinds:
        run(works, 1)  # compiled, and the memory warm
        number, least = 1, SHORTEST * (1 if len(works) == 1 else 5)  # a thread takes a while to wake
        while run(works, number) * number < least:
            number *= 2
        passes.append(number)
    seconds: list[list[float]] = [[] for _ in kinds]
    for _ in range(repeats):
        for works, number, taken in zip(kinds, passes, seconds, strict=True):
            run(works, 1)
            taken.append(run(works, number))
    return [Times(taken) for taken in seconds]


def _require_equal(buffer: Buffer, bits: int, event: IntArray, payload: IntArray, drives: IntArray) -> None:
    """Compare one delivery with the sum of payload * weight in NumPy, whose float64 holds it exactly."""
    matrix, targets = (
        buffer.data[: buffer.data.size // buffer.row * buffer.row].reshape(-1, buffer.row),
        drives.shape[1],
    )
    expected = np.zeros(targets)
    for at in range(0, event.size, CHUNK):
        expected += payload[at : at + CHUNK].astype(np.float64) @ _weights(matrix[event[at : at + CHUNK]], bits)
    got = drives.sum(axis=0, dtype=np.int64)
    wrong = np.flatnonzero(got != expected.astype(np.int64))
    if wrong.size:
        where = f"{bits}-bit weights in {buffer.level}, target {wrong[0]}"
        raise MismatchError(where, str(got[wrong[0]]), str(int(expected[wrong[0]])))


def _weights(packed: IntArray, bits: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(rows, targets) weights as float64; a stretch of targets per field of a byte, the lowest first."""
    if bits == 8:
        return packed.astype(np.float64)
    half = 1 << (bits - 1)
    fields = [(packed.view(np.uint8) >> at) & (2 * half - 1) for at in range(0, 8, bits)]
    unsigned = np.concatenate(fields, axis=1).astype(np.float64)
    return np.where(unsigned >= half, unsigned - 2 * half, unsigned)


def _check(bits: int, largest: int, density: float, threads: int, repeats: int) -> None:
    if bits not in (8, 4, 2):
        raise PromptError("bits", str(bits), "8, 4 or 2")
    if not 1 <= largest <= 127:
        raise PromptError("largest payload", str(largest), "1..127")
    if not 0 < density <= 1:
        raise PromptError("density", str(density), "more than 0, at most 1")
    if min(threads, repeats) < 1:
        raise PromptError("threads and repeats", f"{threads}, {repeats}", "1 or more")
