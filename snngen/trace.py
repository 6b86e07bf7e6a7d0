"""Trace: every event of a run in HDF5, written in bounded memory, and in NIR's event format.

Layout, version 1:
    /             format, version, network (digest), code, schedule
    /populations  name, size, stage, wide, when_changed of each population, in order
    /events       (events, 5) int32: token, tick, population, neuron, payload, in the order in which they were fired
    /tokens       (tokens, 4) int64: token number, ticks that it took, number of its first event, 1 after a reset
    /counts       (tokens, populations) int64: events
    /fired        (tokens, populations) int64: neurons that fired at least once
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from snngen.aside import written_aside
from snngen.errors import FormatError, SnngenError
from snngen.integers import IntArray, ones
from snngen.network import Network
from snngen.nir.recordings import NodeEvents, write_events

FORMAT, VERSION = "snngen trace", 1
CHUNK = 2**14
PORTION = 2**22  # events that are checked at a time
TOKEN, TICK, POPULATION, NEURON, PAYLOAD = range(5)


class TraceWriter:
    """Writes events to a file as they come; the file takes its name only when it is closed without an error.

    Use it as a context manager, give `record` to the ticked engine, and call `token` after each token.
    path: the file. network: what runs. code, schedule: how.
    raises: FormatError where the path cannot be written.
    """

    def __init__(self, path: str | Path, network: Network, code: str, schedule: str) -> None:
        self._path, self._network, self._about = Path(path), network, {"code": code, "schedule": schedule}
        self._now = 0

    def __enter__(self) -> TraceWriter:
        self._aside = written_aside(self._path)
        self._file = h5py.File(self._aside.__enter__(), "w", libver="latest")
        network = self._network
        self._file.attrs.update(format=FORMAT, version=VERSION, network=network.digest, **self._about)
        group = self._file.create_group("populations")
        group["name"] = [population.name for population in network.populations]
        group["size"] = np.array([population.size for population in network.populations], dtype=np.int64)
        group["wide"] = np.array([population.neuron.wide for population in network.populations])
        group["stage"] = np.array(network.stages, dtype=np.int64)
        group["when_changed"] = np.array([network.sent_when_changed(p.name) for p in network.populations])
        count = len(network.populations)
        self._events = self._table("events", 5, "i4", CHUNK)
        self._tokens = self._table("tokens", 4, "i8", 1024)
        self._counts, self._fired = (self._table(name, count, "i8", 64) for name in ("counts", "fired"))
        self._first = np.cumsum([0, *(population.size for population in network.populations)])
        self._seen = np.zeros(int(self._first[-1]), dtype=bool)
        self._begin, self._fresh, self._count = 0, True, np.zeros(count, dtype=np.int64)
        return self

    def _table(self, name: str, width: int, dtype: str, rows: int) -> Any:
        return self._file.create_dataset(
            name, (0, width), dtype, maxshape=(None, width), chunks=(rows, width),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._file.close()
        self._aside.__exit__(kind, error, traceback)

    def record(self, events: IntArray) -> None:
        """Append (events, 4) rows of tick, population, neuron, payload of the token under way."""
        rows = np.empty((len(events), 5), dtype=np.int32)
        rows[:, TOKEN], rows[:, TICK:] = self._now, events
        self._count += np.bincount(rows[:, POPULATION], minlength=len(self._count))
        self._seen[self._first[rows[:, POPULATION]] + rows[:, NEURON]] = True
        _append(self._events, rows)

    def token(self, number: int, ticks: int) -> None:
        """Close a token: what is recorded from now on belongs to the next."""
        _append(self._tokens, np.array([[number, ticks, self._begin, self._fresh]]))
        _append(self._counts, self._count[None])
        _append(self._fired, np.add.reduceat(self._seen.astype(np.int64), self._first[:-1])[None])
        self._now, self._begin = self._now + 1, self._begin + int(self._count.sum())
        self._seen[:], self._count[:], self._fresh = False, 0, False

    def reset(self) -> None:
        """All tokens are forgotten: the next one starts afresh."""
        self._fresh = True


def _append(dataset: Any, rows: IntArray) -> None:
    before = len(dataset)
    dataset.resize(before + len(rows), axis=0)
    dataset[before:] = rows


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded run; its events stay in the file until they are asked for.

    path: the file. network: digest. code, schedule: how it was run. names, sizes, stages, wide: of the populations, and
    when_changed: True where `delta` sends changes only.
    tokens: (tokens, 4) int64 of number, ticks, first event, reset. counts, fired: (tokens, populations) int64 of events
    and neurons that fired.
    """

    path: Path
    network: str
    code: str
    schedule: str
    names: tuple[str, ...]
    sizes: IntArray
    stages: IntArray
    wide: npt.NDArray[np.bool_]
    when_changed: npt.NDArray[np.bool_]
    tokens: IntArray
    counts: IntArray
    fired: IntArray

    def events(self, token: int | None = None) -> IntArray:
        """(events, 5) int32 of token, tick, population, neuron, payload: of one token, or all at once."""
        span = slice(None)
        if token is not None:
            begin = int(self.tokens[token, 2])
            span = slice(begin, begin + int(self.counts[token].sum()))
        with h5py.File(self.path, "r") as file:
            events: IntArray = file["events"][span]
        return events

    def codes(self) -> Iterator[IntArray]:
        """(neurons,) codes and potentials after each token, one population after the other: sums of payloads."""
        first = np.concatenate(([0], np.cumsum(self.sizes)))
        kept = self.when_changed.repeat(self.sizes) & (self.code == "delta")
        sums = np.zeros(int(first[-1]), dtype=np.int64)
        for token in range(len(self.tokens)):
            sums[slice(None) if self.tokens[token, 3] else ~kept] = 0
            events = self.events(token)
            np.add.at(sums, first[events[:, POPULATION]] + events[:, NEURON], events[:, PAYLOAD])
            yield sums.copy()

    def events_by_code(self) -> dict[str, IntArray]:
        """(tokens,) events that the same codes take under every exact code, sent layer by layer."""
        wide, when_changed = self.wide.repeat(self.sizes), self.when_changed.repeat(self.sizes)
        counts: dict[str, list[int]] = {name: [] for name in ("graded", "delta", "bitwise", "ttfs", "unary")}
        before: IntArray = np.zeros(wide.size, dtype=np.int64)
        for token, codes in enumerate(self.codes()):
            before = before if not self.tokens[token, 3] else np.zeros_like(before)
            active = codes != 0
            counts["graded"].append(int(np.count_nonzero(active)))
            counts["ttfs"].append(int(np.count_nonzero(active)))
            counts["delta"].append(int(np.count_nonzero(np.where(when_changed, codes != before, active))))
            counts["bitwise"].append(int(np.where(wide, active, ones(codes)).sum()))
            counts["unary"].append(int(np.where(wide, active, np.abs(codes)).sum()))
            before = codes
        return {name: np.array(values, dtype=np.int64) for name, values in counts.items()}


def read_trace(path: str | Path) -> Trace:
    """Open a recorded run; its events are checked, a portion at a time.

    raises: FormatError for a file that is absent, foreign, damaged or inconsistent.
    """
    path = Path(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        raise FormatError(str(path), "no HDF5 file", "a trace written by `snngen generate --trace`")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or int(file.attrs["version"]) != VERSION:
                got = f"{file.attrs.get('format')!r} version {file.attrs.get('version')}"
                raise FormatError(str(path), got, f"{FORMAT!r} version {VERSION}")
            group = file["populations"]
            names = tuple(name.decode() for name in group["name"][()])
            trace = Trace(
                path, str(file.attrs["network"]), str(file.attrs["code"]), str(file.attrs["schedule"]), names,
                group["size"][()], group["stage"][()], group["wide"][()], group["when_changed"][()],
                file["tokens"][()], file["counts"][()], file["fired"][()],
            )  # fmt: skip
            _check(trace, file["events"], str(path))
    except SnngenError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(str(path), f"a damaged file ({error})", "a whole trace") from error
    return trace


def _check(trace: Trace, events: Any, where: str) -> None:
    count, tokens = len(trace.names), len(trace.tokens)
    tables = (trace.counts, trace.fired)
    if any(len(part) != count for part in (trace.sizes, trace.stages, trace.wide, trace.when_changed)) or any(
        table.shape != (tokens, count) for table in tables
    ):
        raise FormatError(where, "tables of different lengths", f"{count} populations, {tokens} tokens")
    begins = np.cumsum([0, *trace.counts.sum(axis=1)])
    if events.shape != (begins[-1], 5) or not np.array_equal(trace.tokens[:, 2], begins[:-1]):
        raise FormatError(where, f"events of shape {events.shape}", f"({begins[-1]}, 5), as counted")
    for start in range(0, len(events), PORTION):
        part = events[start : start + PORTION]
        if (
            not 0 <= part[:, POPULATION].min() <= part[:, POPULATION].max() < count
            or not 0 <= part[:, TOKEN].min() <= part[:, TOKEN].max() < tokens
            or (part[:, NEURON] < 0).any()
            or (part[:, NEURON] >= trace.sizes[part[:, POPULATION]]).any()
        ):
            raise FormatError(where, "events outside their populations or tokens", "events of this run")


def write_nir(trace: Trace, path: str | Path) -> None:
    """Write a trace as NIR event data: a node per population, a sample per token, time in ticks, payload as value.

    `snngen.nir.recordings.read_events` reads it. NIR keeps recordings in memory as a whole, so this takes as much as
    all events.
    raises: UnsupportedError where the package `nir` is not installed.
    """
    every = trace.events().astype(np.int64)
    nodes = {}
    for p, (name, size) in enumerate(zip(trace.names, trace.sizes.tolist(), strict=True)):
        events = every[every[:, POPULATION] == p]
        times, values = (events[:, column].astype(np.float64) for column in (TICK, PAYLOAD))
        nodes[name] = NodeEvents(size, events[:, TOKEN], times, events[:, NEURON], values)
    write_events(nodes, path, len(trace.tokens), float(trace.tokens[:, 1].max(initial=0)))


def describe(trace: Trace) -> str:
    """One line: what was recorded."""
    about = {"code": trace.code, "schedule": trace.schedule, "network": trace.network[:12]}
    return f"{trace.counts.sum():,} events of {len(trace.tokens)} tokens, {json.dumps(about)}"
