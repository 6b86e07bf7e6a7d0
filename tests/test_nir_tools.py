"""Recorded runs in NIR's own tools: read, laid on a grid of time, matched with a graph, written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import dense, feed_forward, random_transformer

from snngen import codes
from snngen.dynamics.network import DynamicNetwork
from snngen.engines.continuous import ContinuousEngine
from snngen.engines.ticked import TickedEngine
from snngen.integers import IntArray
from snngen.network import Network, Population, Projection
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.trace import Trace, TraceWriter, read_trace, write_nir

nir = pytest.importorskip("nir", reason="nir is in the extra `torch`")

from snngen.nir import read_nir  # noqa: E402
from snngen.nir.recordings import read_events, read_recording, write_recording  # noqa: E402

RUNS = [(name, "layered") for name in ("graded", "unary", "bitwise", "ttfs", "delta")] + [("unary", "eager")]


def recorded(network: Network, folder: Path, name: str, schedule: str, tokens: tuple[int, ...] = (1, 5, 2)) -> Trace:
    with TraceWriter(folder / "run.h5", network, name, schedule) as writer:
        engine = TickedEngine(network, codes.by_name(name), schedule, recorder=writer)
        for token in tokens:
            engine.step(token)
    return read_trace(folder / "run.h5")


def ordered(rows: IntArray) -> IntArray:
    """Rows by their columns, the first column first."""
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize(("name", "schedule"), RUNS)
def test_a_trace_read_by_nir_has_every_event_and_no_other(name: str, schedule: str, tmp_path: Path) -> None:
    trace = recorded(random_transformer(1), tmp_path, name, schedule)
    write_nir(trace, tmp_path / "run.nir")
    data = nir.read_data(str(tmp_path / "run.nir"))
    assert isinstance(data, nir.NIRGraphData)
    assert sorted(data.nodes) == sorted(trace.names)
    rows = []
    for population, node in enumerate(trace.names):
        events = data.nodes[node].observables["spikes"]
        assert isinstance(events, nir.ValuedEventData)
        assert (events.n_neurons, events.n_samples) == (trace.sizes[population], len(trace.tokens))
        token, place = np.nonzero(events.idx >= 0)
        columns = (token, events.time[token, place], np.full(len(token), population), events.idx[token, place],
                   events.value[token, place])  # fmt: skip
        rows.append(np.stack(columns, axis=1))
    theirs = np.concatenate(rows)
    assert np.array_equal(theirs, theirs.astype(np.int64))
    assert np.array_equal(ordered(theirs.astype(np.int64)), ordered(trace.events().astype(np.int64)))
    assert len(theirs) == trace.counts.sum() > 100


@pytest.mark.parametrize(("name", "schedule"), RUNS)
def test_on_nirs_grid_of_ticks_stand_the_payloads(name: str, schedule: str, tmp_path: Path) -> None:
    trace = recorded(random_transformer(1), tmp_path, name, schedule)
    write_nir(trace, tmp_path / "run.nir")
    data = nir.read_data(str(tmp_path / "run.nir"))
    every = trace.events()
    for population, (node, size) in enumerate(zip(trace.names, trace.sizes, strict=True)):
        grid = data.nodes[node].observables["spikes"].to_time_gridded(dt=1.0)
        expected = np.zeros((len(trace.tokens), int(trace.tokens[:, 1].max()), size))
        token, tick, _, neuron, payload = every[every[:, 2] == population].T
        expected[token, tick, neuron] = payload
        assert np.array_equal(grid.data, expected)


def test_what_nir_writes_again_is_the_same(tmp_path: Path) -> None:
    trace = recorded(random_transformer(1), tmp_path, "unary", "eager")
    write_nir(trace, tmp_path / "run.nir")
    nir.write_data(str(tmp_path / "again.nir"), nir.read_data(str(tmp_path / "run.nir")))
    ours, again = read_events(tmp_path / "run.nir"), read_events(tmp_path / "again.nir")
    assert list(ours) == list(again)
    for name, events in ours.items():
        for field in ("samples", "times", "neurons", "values"):
            assert np.array_equal(getattr(events, field), getattr(again[name], field))
        assert events.size == again[name].size


def spiking(seed: int) -> Network:
    """Integrate-and-fire neurons, which NIR can express."""
    rng = np.random.default_rng(seed)
    populations = (Population("input", Source(6)), Population("first", IntegrateAndFire(rng.integers(50, 200, 8))),
                   Population("second", IntegrateAndFire(rng.integers(50, 200, 3))))  # fmt: skip
    return Network(
        populations, (Projection("input", "first", dense(rng, 6, 8)), Projection("first", "second", dense(rng, 8, 3)))
    )


def test_a_recorded_run_belongs_to_the_exported_graph(tmp_path: Path) -> None:
    from snngen.converters import exports

    network = spiking(3)
    with TraceWriter(tmp_path / "run.h5", network, "unary", "eager") as writer:
        engine = TickedEngine(network, codes.by_name("unary"), "eager", recorder=writer)
        tick, neuron = np.nonzero(np.random.default_rng(2).random((30, 6)) < 0.3)
        engine.stream(np.stack([tick, 0 * tick, neuron, 0 * tick + 1], axis=1), 30)
    trace = read_trace(tmp_path / "run.h5")
    assert (trace.counts > 0).all()
    write_nir(trace, tmp_path / "run.nir")
    exports.write(network, tmp_path / "network.nir", "nir")
    graph, data = nir.read(str(tmp_path / "network.nir")), nir.read_data(str(tmp_path / "run.nir"))
    data.check_nodes(graph)  # names and sizes
    other = tmp_path / "other"
    other.mkdir()
    write_nir(recorded(feed_forward(1, (6, 3)), tmp_path, "unary", "eager", ()), other / "run.nir")
    with pytest.raises(KeyError, match="layer0"):
        nir.read_data(str(other / "run.nir")).check_nodes(graph)


@pytest.mark.parametrize("dt", [1e-3, 5e-4, 1e-4])
def test_a_run_of_continuous_time_fits_nirs_grid(dt: float, tmp_path: Path) -> None:
    from snngen.converters import exports

    exports.write(spiking(3), tmp_path / "network.nir", "nir")
    network: DynamicNetwork = read_nir(tmp_path / "network.nir")
    rng = np.random.default_rng(4)
    times = np.sort(rng.choice(np.arange(40_000), 300, replace=False))
    engine = ContinuousEngine(network, record=("first", "second"))
    spikes = engine.run(times, rng.integers(0, 6, 300))
    write_recording(spikes, network, tmp_path / "run.nir")
    data = nir.read_data(str(tmp_path / "run.nir"))
    data.check_nodes(nir.read(str(tmp_path / "network.nir")))
    again = read_recording(tmp_path / "run.nir")
    for name in ("first", "second"):
        own, read = spikes.of(name), again.of(name)
        assert np.array_equal(read.times_ns, own.times_ns)
        assert np.array_equal(read.neurons, own.neurons)
        grid = data.nodes[name].observables["spikes"].to_time_gridded(dt)
        assert grid.n_time_steps * dt > own.times_ns.max() / 1e9
        cells = np.unique(np.stack([np.floor(own.times_ns / 1e9 / dt).astype(int), own.neurons]), axis=1)
        assert np.array_equal(np.stack(np.nonzero(grid.data[0])), ordered(cells.T).T)
        assert len(own) > 5
