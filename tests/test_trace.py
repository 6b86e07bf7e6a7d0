"""Traces hold every event, in bounded memory, and open in NIR tools."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from networks import feed_forward, random_transformer

from snngen import codes, reference
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError
from snngen.ledger import Ledger
from snngen.network import Network
from snngen.nir.recordings import read_events
from snngen.trace import TraceWriter, read_trace, write_nir

TOKENS = [1, 5, 2]


def record(network: Network, path: Path, name: str = "unary", schedule: str = "layered") -> int:
    sent = 0
    with TraceWriter(path, network, name, schedule) as writer:
        engine = TickedEngine(network, codes.by_name(name), schedule, recorder=writer)
        for token in TOKENS:
            engine.step(token)
            sent += int(engine.counted()[0][:, 1].sum())
    return sent


@pytest.mark.parametrize("name", ["graded", "unary", "bitwise", "ttfs", "delta"])
@pytest.mark.parametrize("schedule", ["layered", "eager"])
def test_a_trace_holds_every_event(name: str, schedule: str, tmp_path: Path) -> None:
    network = random_transformer(1)
    sent = record(network, tmp_path / "run.h5", name, schedule)
    trace = read_trace(tmp_path / "run.h5")
    events = trace.events()
    assert len(events) == sent == trace.counts.sum()
    assert np.concatenate([trace.events(token) for token in range(3)]).tolist() == events.tolist()
    neurons = np.unique(events[:, [0, 2, 3]], axis=0)
    assert np.bincount(neurons[:, 1], minlength=len(trace.names)).tolist() == trace.fired.sum(axis=0).tolist()
    assert (trace.code, trace.schedule, trace.network) == (name, schedule, network.digest)
    assert trace.tokens[:, 0].tolist() == TOKENS
    expected = reference.run(network, TOKENS)
    whole = np.concatenate([expected[population.name] for population in network.populations], axis=1)
    assert np.stack(list(trace.codes())).tolist() == whole.tolist()


def test_a_stream_is_recorded_as_one_token(tmp_path: Path) -> None:
    network = feed_forward(1, (4, 3), 0, 7)
    with TraceWriter(tmp_path / "run.h5", network, "unary", "eager") as writer:
        engine = TickedEngine(network, codes.by_name("unary"), "eager", recorder=writer)
        engine.stream(np.array([[0, 0, 1, 1], [2, 0, 3, 1]]), 9)
    trace = read_trace(tmp_path / "run.h5")
    assert trace.tokens[:, 0].tolist() == [-1]
    assert trace.counts[0, 0] == 2


def test_a_reset_is_remembered(tmp_path: Path) -> None:
    network = random_transformer(1)
    with TraceWriter(tmp_path / "run.h5", network, "delta", "layered") as writer:
        engine = TickedEngine(network, codes.by_name("delta"), recorder=writer)
        for token in (1, 5):
            engine.step(token)
        engine.reset()
        engine.step(1)
    first, _, again = read_trace(tmp_path / "run.h5").codes()
    assert again.tolist() == first.tolist()


@pytest.mark.parametrize("name", ["delta", "unary"])
def test_events_under_every_code_are_those_of_the_ledger(name: str, tmp_path: Path) -> None:
    network = random_transformer(1)
    record(network, tmp_path / "run.h5", name, "eager")
    ledger, engine = Ledger(network), SettledEngine(network)
    for token in TOKENS:
        engine.step(token)
        ledger.record("generate", *engine.counted())
    for code, events in read_trace(tmp_path / "run.h5").events_by_code().items():
        assert events.tolist() == ledger.events(code).sum(axis=1).tolist()


class Portions(TraceWriter):
    """Notes how many events come at a time."""

    def record(self, events: np.ndarray) -> None:
        self.portions = [*getattr(self, "portions", []), len(events)]
        super().record(events)


def test_the_buffer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snngen.engines.ticked.TRACE_ROWS", 10)
    network = random_transformer(1)
    with Portions(tmp_path / "run.h5", network, "unary", "eager") as writer:
        engine = TickedEngine(network, codes.by_name("unary"), "eager", recorder=writer)
        engine.step(1)
    assert len(writer.portions) > 10
    assert max(writer.portions) <= len(engine.tables.trace)
    assert len(read_trace(tmp_path / "run.h5").events()) == sum(writer.portions)


def test_nothing_is_left_when_a_run_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), TraceWriter(tmp_path / "run.h5", random_transformer(1), "a", "b"):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nir_event_data_there_and_back(tmp_path: Path) -> None:
    nir = pytest.importorskip("nir", reason="nir is in the extra `torch`")
    record(random_transformer(1), tmp_path / "run.h5")
    trace = read_trace(tmp_path / "run.h5")
    write_nir(trace, tmp_path / "run.nir")
    nodes = read_events(tmp_path / "run.nir")
    assert sum(len(events.times) for events in nodes.values()) == trace.counts.sum()
    for index, name in enumerate(trace.names):
        mine = trace.events()[trace.events()[:, 2] == index][:, [0, 1, 3, 4]]
        theirs = nodes[name]
        rows = zip(theirs.samples, theirs.times, theirs.neurons, theirs.values, strict=True)
        assert sorted(rows) == sorted(map(tuple, mine.tolist()))
    data = nir.read_data(str(tmp_path / "run.nir")).nodes["layer0.gate"].observables["spikes"]
    assert data.n_neurons == 7
    assert data.shape[0] == len(TOKENS)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.update(format="other"),
        lambda file: file.attrs.update(version=2),
        lambda file: file.__delitem__("events"),
        lambda file: file["events"].__setitem__((0, 2), 999),
        lambda file: file["events"].__setitem__((0, 3), 10**6),
        lambda file: file["events"].__setitem__((0, 0), 77),
        lambda file: file["populations"].__delitem__("size"),
        lambda file: file["counts"].__setitem__((0, 0), 5),
        lambda file: file["events"].resize(3, axis=0),
    ],
)
def test_damaged_traces_are_refused(change, tmp_path: Path) -> None:
    record(random_transformer(1), tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        change(file)
    with pytest.raises(FormatError):
        read_trace(tmp_path / "run.h5")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no")
    for name in ("a.h5", "absent.h5"):
        with pytest.raises(FormatError):
            read_trace(tmp_path / name)
