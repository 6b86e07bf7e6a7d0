"""NIR: what is written comes back bit for bit; files of others mean what they mean; what is not carried is named."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from dynamic_networks import random_events, random_network
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.dynamics.neurons.clocked_synaptic import ClockedSynaptic
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.neurons.primed_integrate_and_fire import PrimedIntegrateAndFire
from snngen.dynamics.pooling import pool
from snngen.dynamics.synapses.composite import Composite
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse
from snngen.engines.clocked import ClockedEngine
from snngen.engines.continuous import ContinuousEngine
from snngen.errors import FormatError, SnngenError, UnsupportedError

nir = pytest.importorskip("nir", reason="nir is in the extra `torch`")

from snngen.nir import read_nir, write_nir  # noqa: E402
from snngen.nir.reading import from_nir  # noqa: E402
from snngen.nir.recordings import read_events, read_recording, write_events, write_recording  # noqa: E402
from snngen.nir.writing import to_nir  # noqa: E402


def assert_same(a: DynamicNetwork, b: DynamicNetwork) -> None:
    """Populations, projections, their order and every array, bit for bit."""
    assert [p.name for p in a.populations] == [p.name for p in b.populations]
    assert a.outputs == b.outputs
    for one, other in zip(a.populations, b.populations, strict=True):
        assert_same_model(one.neuron, other.neuron)
    assert len(a.projections) == len(b.projections)
    for one, other in zip(a.projections, b.projections, strict=True):
        assert (one.source, one.target) == (other.source, other.target)
        assert np.array_equal(*np.broadcast_arrays(one.delays_us, other.delays_us))
        assert_same_model(one.synapse, other.synapse)


def assert_same_model(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for part in fields(a):
        one, other = getattr(a, part.name), getattr(b, part.name)
        if part.name == "stages":
            for stage, its in zip(one, other, strict=True):
                assert_same_model(stage, its)
        elif part.name != "biases":  # of a Composite: they are in the neurons
            assert np.array_equal(one, other)
            assert np.asarray(one).dtype == np.asarray(other).dtype


def there_and_back(network: DynamicNetwork, folder: Path, dt: float | None = None) -> DynamicNetwork:
    write_nir(network, folder / "network.nir", dt)
    return read_nir(folder / "network.nir")


def carried(network: DynamicNetwork) -> bool:
    """False where NIR has no place for something that random networks have: a shape, a bias, twice the same synapse."""
    try:
        to_nir(network)
    except UnsupportedError:
        return False
    return True


def test_random_networks_come_back(tmp_path: Path) -> None:
    rng, count = np.random.default_rng(0), 0
    for number in range(60):
        network = random_network(rng, bias=bool(number % 2))
        if carried(network):
            count += 1
            assert_same(network, there_and_back(network, tmp_path))
    assert count > 15


def every_model() -> DynamicNetwork:
    """Pictures, pooling, compositions, sparse and one-to-one synapses, delays, recurrence, every way to reset."""
    rng = np.random.default_rng(1)
    first = Convolution(rng.normal(size=(4, 1, 3, 3)), (2, 8, 8), padding=(1, 1), groups=2)
    sparse = Sparse.from_pairs([0, 0, 3, 5], [1, 4, 0, 2], [0.5, 0.0, -1.0, 2.0], 6, 5)
    picture = Convolution(rng.normal(size=(6, 4, 4, 4)), (4, 4, 4))
    populations = (
        DynamicPopulation("z", Input(128)),
        DynamicPopulation("second", Input(6)),
        DynamicPopulation("conv", ClockedLeaky(rng.random(64) + 0.1, rng.random(64) + 0.5, reset="none")),
        DynamicPopulation("a b", PrimedIntegrateAndFire(rng.random(6) + 1, v_start=rng.random(6), reset="subtract")),
        DynamicPopulation("syn", ClockedSynaptic(rng.random(5), rng.random(5), np.ones(5), bias=rng.random(5) - 0.5)),
        DynamicPopulation("cuba", CurrentLif(rng.random(5), rng.random(5), np.ones(5), v_leak=rng.random(5))),
        DynamicPopulation("out", LeakyIntegrator(rng.random(5))),
    )
    projections = (
        DynamicProjection("z", "conv", Composite((first, pool("average", (4, 8, 8), (2, 2), (2, 2), (0, 0))))),
        DynamicProjection("conv", "a b", picture, delay_us=rng.integers(0, 9, 64)),
        DynamicProjection("second", "a b", OneToOne(np.ones(6))),
        DynamicProjection("second", "a b", OneToOne(rng.random(6)), delay_us=7),
        DynamicProjection("a b", "syn", sparse),
        DynamicProjection("second", "syn", Dense(rng.normal(size=(6, 5)))),
        DynamicProjection("syn", "syn", Dense(rng.normal(size=(5, 5)).astype(np.float32)), delay_us=1000),
        DynamicProjection("syn", "cuba", Composite((OneToOne(rng.random(5)), Dense(rng.normal(size=(5, 5)))))),
        DynamicProjection("cuba", "out", OneToOne(np.ones(5))),
    )
    return DynamicNetwork(populations, projections, outputs=("out", "a b"))


def test_every_model_comes_back(tmp_path: Path) -> None:
    network = every_model()
    assert_same(network, there_and_back(network, tmp_path))
    again = read_nir(tmp_path / "network.nir")
    write_nir(again, tmp_path / "again.nir")
    assert (tmp_path / "again.nir").read_bytes() == (tmp_path / "network.nir").read_bytes()


def simple(dt: float | None = None) -> DynamicNetwork:
    rng = np.random.default_rng(2)
    neuron = LeakyIntegrateAndFire(np.full(4, 0.01), np.full(4, 0.6), r=np.full(4, 0.01), bias=np.full(4, 3.0))
    return DynamicNetwork(
        (DynamicPopulation("in", Input(5)), DynamicPopulation("lif", neuron)),
        (DynamicProjection("in", "lif", Dense(rng.uniform(-0.2, 1, (5, 4)).astype(np.float32))),),
    )


def test_the_package_nir_reads_what_is_written(tmp_path: Path) -> None:
    write_nir(simple(), tmp_path / "simple.nir")
    graph = nir.read(str(tmp_path / "simple.nir"))
    assert graph.nodes["in-lif"].weight.dtype == np.float32  # halves the file, loses nothing
    assert graph.nodes["lif"].tau.tolist() == [0.01] * 4
    assert graph.nodes["in-lif"].bias.tolist() == [3.0] * 4
    with h5py.File(tmp_path / "simple.nir") as file:
        assert file["node/nodes/in-lif/weight"].compression is None
        assert file["node/metadata/snngen/time_unit"].asstr()[()] == "s"
        assert file["node/nodes/lif/metadata/snngen/reset"].asstr()[()] == "value"


def test_written_for_libraries_with_a_clock(tmp_path: Path) -> None:
    network = there_and_back(simple(), tmp_path, dt=1e-3)
    graph = nir.read(str(tmp_path / "network.nir"))
    assert graph.nodes["lif"].r.tolist() == [0.01 / 1e-3] * 4  # a current of 1 for one step
    assert network.metadata["nir"]["spike"] == "current"
    assert network.metadata["nir"]["dt"] == 1e-3
    for name in ("r", "bias"):
        np.testing.assert_allclose(getattr(network["lif"].neuron, name), getattr(simple()["lif"].neuron, name), 1e-15)


def test_spikes_are_the_same_after_a_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    network = random_network(rng)
    while not carried(network):
        network = random_network(rng)
    events = random_events(rng, network, 200, 20_000)
    times, neurons, weights = ([event[place] for event in events] for place in (0, 2, 3))
    runs = [
        ContinuousEngine(each).run(times, neurons, weights) for each in (network, there_and_back(network, tmp_path))
    ]
    assert len(runs[0]) > 0
    assert (runs[0].times_ns == runs[1].times_ns).all()
    assert (runs[0].neurons == runs[1].neurons).all()


# --- files of others


def graph_of(*nodes: Any, edges: list[tuple[int, int]] | None = None) -> Any:
    """Nodes in a row, or with edges by number, named by number."""
    pairs = edges if edges is not None else [(i, i + 1) for i in range(len(nodes) - 1)]
    return nir.NIRGraph(
        {str(i): node for i, node in enumerate(nodes)}, [(str(a), str(b)) for a, b in pairs], {}, type_check=False
    )


def lif(size: int, tau: float = 0.01, r: float = 1.0) -> Any:
    full = np.ones(size)
    return nir.LIF(tau=full * tau, r=full * r, v_leak=full * 0.1, v_threshold=full, v_reset=full * -0.2)


def ends(size: int, out: int | None = None) -> tuple[Any, Any]:
    return nir.Input({"input": np.array([size])}), nir.Output({"output": np.array([size if out is None else out])})


def test_pulses_or_currents() -> None:
    start, end = ends(3)
    graph = graph_of(start, nir.Affine(np.eye(3) * 2, np.full(3, 0.5)), lif(3, r=4.0), end)
    pulses = from_nir(graph)
    assert pulses["2"].neuron.r.tolist() == [4.0] * 3
    assert pulses["2"].neuron.bias.tolist() == [0.5] * 3
    currents = from_nir(graph, dt=1e-3, reset="subtract")
    assert currents["2"].neuron.r.tolist() == [4e-3] * 3
    assert currents["2"].neuron.bias.tolist() == [500.0] * 3
    assert currents["2"].neuron.reset == "subtract"
    assert currents.metadata["nir"]["dt"] == 1e-3


def euler(graph_lif: Any, weight: np.ndarray, recording: np.ndarray, dt: float) -> np.ndarray:
    """(steps, n) spikes of NIR's own equations, step by step: a spike is a current of its weight for a step."""
    v, fired = graph_lif.v_leak.copy(), []
    for step in recording:
        v = v + dt * ((graph_lif.v_leak - v + graph_lif.r * (weight @ step)) / graph_lif.tau)
        fired.append(v > graph_lif.v_threshold)
        v = np.where(fired[-1], graph_lif.v_reset, v)
    return np.array(fired)


def test_a_clocked_run_is_nirs_own() -> None:
    rng = np.random.default_rng(4)
    (start, end), weight, node = ends(6, 4), rng.uniform(-1, 4, (4, 6)), lif(4, 0.013, 3.0)
    recording = (rng.random((300, 6)) < 0.3).astype(float)
    engine = ClockedEngine(from_nir(graph_of(start, nir.Linear(weight), node, end), dt=1e-3), 1e-3, "euler")
    got = np.array([engine.step({"0": step})["2"] for step in recording])
    assert (got == euler(node, weight, recording, 1e-3)).all()
    assert 0 < got.mean() < 1


def test_every_map() -> None:
    """The current of a chain of maps is what NIR's definitions make of it."""
    rng = np.random.default_rng(5)
    shape = {"input": np.array([2, 6, 8])}
    conv = nir.Conv2d((6, 8), rng.normal(size=(4, 1, 3, 2)), (1, 2), (1, 0), (1, 1), 2, rng.normal(size=4))
    graph = graph_of(
        nir.Input(shape), conv, nir.SumPool2d(np.array([2, 2]), np.array([2, 1]), np.array([0, 1])),
        nir.Scale(np.full((4, 3, 5), 0.5)), nir.Flatten({"input": np.array([4, 3, 5])}, 0, -1),
        nir.Affine(rng.normal(size=(7, 60)), rng.normal(size=7)), nir.IF(np.ones(7), np.ones(7)),
        nir.Output({"output": [7]}),
    )  # fmt: skip
    network = from_nir(graph)
    torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
    functional = torch.nn.functional
    x = torch.tensor(rng.normal(size=(1, 2, 6, 8)))

    def chain(x: Any) -> Any:
        y = functional.conv2d(x, torch.tensor(conv.weight), torch.tensor(conv.bias), (1, 2), (1, 0), (1, 1), 2)
        y = functional.avg_pool2d(y, 2, (2, 1), (0, 1)) * 4 * 0.5
        last = graph.nodes["5"]
        return functional.linear(y.reshape(1, -1), torch.tensor(last.weight), torch.tensor(last.bias))

    current = network.projections[0].synapse.apply(x.reshape(1, -1).numpy()) + network["6"].neuron.bias
    np.testing.assert_allclose(current, chain(x).numpy(), rtol=1e-12, atol=1e-12)


def test_one_axis_padding_and_delays() -> None:
    rng = np.random.default_rng(6)
    conv = nir.Conv1d(9, rng.normal(size=(2, 3, 3)), 1, "same", 2, 1, np.zeros(2))
    delay = nir.Delay(np.tile(np.arange(9) * 1e-6, (3, 1)))
    neurons = nir.IF(np.ones((2, 9)), np.ones((2, 9)))
    network = from_nir(graph_of(nir.Input({"input": [3, 9]}), delay, conv, nir.Delay(np.full((2, 9), 2e-6)), neurons))
    assert network.projections[0].delays_us.tolist() == list(range(2, 11)) * 3
    plain = network.projections[0].synapse.apply(np.ones((1, 27)))
    assert plain[0, 4] == pytest.approx(conv.weight[0].sum())
    conv.bias = np.array([0.5, -1.0])
    network = from_nir(graph_of(nir.Input({"input": [3, 9]}), conv, neurons))
    assert network["2"].neuron.bias.tolist() == [0.5] * 9 + [-1.0] * 9


def test_nested_graphs_and_recurrence() -> None:
    inner = nir.NIRGraph(
        {"input": ends(3)[0], "lif": lif(3), "w_rec": nir.Linear(np.eye(3)), "output": ends(3)[1]},
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")], {}, type_check=False,
    )  # fmt: skip
    graph = graph_of(ends(3)[0], nir.Linear(np.ones((3, 3))), inner, nir.Linear(np.ones((2, 3))), lif(2), ends(2)[1])
    with pytest.raises(UnsupportedError, match="leads back without a Delay"):
        from_nir(graph)
    network = from_nir(graph, dt=1e-4)
    assert [population.name for population in network.populations] == ["0", "2.lif", "4"]
    found = {projection.name: projection.delay_us for projection in network.projections}
    assert found == {"0 -> 2.lif": 0, "2.lif -> 2.lif": 100, "2.lif -> 4": 0}


def test_shared_parameters_take_the_shape_of_what_arrives() -> None:
    one = np.array(1.0)
    node = nir.LIF(tau=one * 0.01, r=one, v_leak=one * 0, v_threshold=one, v_reset=one * 0)
    network = from_nir(graph_of(ends(3)[0], nir.Linear(np.ones((4, 3))), node, nir.Linear(np.ones((2, 4))), lif(2)))
    assert network["2"].size == 4


def test_two_ways_between_two_populations_add_up() -> None:
    start, end = ends(2)
    affine = nir.Affine(np.eye(2) * 3, np.ones(2))
    edges = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5)]
    network = from_nir(
        graph_of(start, affine, nir.Scale(np.full(2, 2.0)), nir.Scale(np.full(2, 10.0)), lif(2), end, edges=edges)
    )
    total = sum(projection.synapse.apply(np.eye(2)) for projection in network.projections)
    assert total.tolist() == [[50, 0], [0, 50]]
    assert network["4"].neuron.bias.tolist() == [10, 10]  # once, not once per way


def test_everything_that_is_not_carried_is_named_at_once() -> None:
    start, end = ends(2)
    readout = nir.LI(np.ones(2), np.ones(2), np.zeros(2))
    nodes = (start, nir.Threshold(np.ones(2)), lif(2), readout, lif(2), nir.Linear(np.eye(2)), end)
    with pytest.raises(UnsupportedError) as caught:
        from_nir(graph_of(*nodes))
    for what in ("1 (Threshold", "3 (LI: a continuous signal", "6 (Output of 5"):
        assert what in caught.value.got


@pytest.mark.parametrize(
    "nodes",
    [
        lambda: (ends(3)[0], nir.Linear(np.ones((2, 4))), lif(2)),
        lambda: (ends(3)[0], lif(4)),
        lambda: (
            nir.Input({"input": [1, 5, 5]}),
            nir.Conv2d((4, 4), np.ones((1, 1, 2, 2)), 1, 0, 1, 1, np.zeros(1)),
            lif(16),
        ),
        lambda: (ends(2)[0], nir.Delay(np.full(2, 1.5e-7)), lif(2)),
        lambda: (ends(2)[0], nir.Delay(np.full(2, -1.0)), lif(2)),
        lambda: (ends(2)[0], nir.Affine(np.eye(2), np.ones(2)), nir.Delay(np.full(2, 1e-6)), lif(2)),
        lambda: (ends(2)[0], lif(2, tau=-1.0)),
        lambda: (ends(2)[0], lif(2, tau=np.nan)),
        lambda: (ends(2)[0], nir.Linear(np.ones((2, 2, 2))), lif(2)),
        lambda: (
            nir.Input({"input": [1, 2, 2]}),
            nir.AvgPool2d(np.array([0, 2]), np.array([1, 1]), np.array([0, 0])),
            lif(2),
        ),
    ],
)  # fmt: skip
def test_graphs_that_contradict_themselves_are_refused(nodes: Any) -> None:
    with pytest.raises(FormatError):
        from_nir(graph_of(*nodes()), exporter="nir")


def test_maps_that_lead_nowhere_back_are_refused_by_name() -> None:
    nodes = {"in": nir.Input({"input": np.array([2])}), "a": nir.Scale(np.ones(2)), "b": nir.Scale(np.ones(2))}
    nodes |= {"if": nir.IF(np.ones(2), np.ones(2), np.zeros(2)), "out": nir.Output({"output": np.array([2])})}
    whole = [("in", "if"), ("a", "if"), ("if", "out")]
    for edges, got in (([("a", "b"), ("b", "a")], "a loop of maps"), ([], "a map that nothing leads to")):
        with pytest.raises(FormatError, match=got):
            from_nir(nir.NIRGraph(nodes, [*whole, *edges], type_check=False))


def test_an_edge_named_twice_is_one() -> None:
    nodes = {"in": nir.Input({"input": np.array([2])}), "if": nir.IF(np.ones(2), np.ones(2), np.zeros(2))}
    nodes["out"] = nir.Output({"output": np.array([2])})
    edges = [("in", "if"), ("in", "if"), ("if", "out")]
    assert len(from_nir(nir.NIRGraph(nodes, edges, type_check=False)).projections) == 1


def test_a_map_that_does_not_fit_is_named() -> None:
    nodes = {"in": nir.Input({"input": np.array([2])}), "late": nir.Delay(np.array(1.5e-6))}
    nodes |= {"if": nir.IF(np.ones(2), np.ones(2), np.zeros(2)), "out": nir.Output({"output": np.array([2])})}
    edges = [("in", "late"), ("late", "if"), ("if", "out")]
    with pytest.raises(FormatError, match=r"NIR graph:late: got a delay of 1\.5 us"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False))


def test_a_time_constant_of_0_is_refused_without_a_warning() -> None:
    neuron = nir.LIF(tau=np.array([0.0, 1.0]), r=np.ones(2), v_leak=np.zeros(2), v_threshold=np.ones(2))
    nodes = {"in": nir.Input({"input": np.array([2])}), "lif": neuron, "out": nir.Output({"output": np.array([2])})}
    with pytest.raises(FormatError, match="tau_mem"):
        from_nir(nir.NIRGraph(nodes, [("in", "lif"), ("lif", "out")], type_check=False))


def test_options_are_checked() -> None:
    graph = graph_of(ends(2)[0], lif(2))
    for options in ({"dt": 0.0}, {"reset": "none"}, {"exporter": "brian"}):
        with pytest.raises(UnsupportedError):
            from_nir(graph, **options)
    with pytest.raises(UnsupportedError, match="dt"):
        to_nir(simple(), dt=-1.0)


def test_what_nir_cannot_express_is_named_at_once() -> None:
    populations = (
        DynamicPopulation("in", Input(4)),
        DynamicPopulation("biased", IntegrateAndFire(np.ones(4), bias=np.ones(4))),
        DynamicPopulation("picture", IntegrateAndFire(np.ones(4))),
        DynamicPopulation("last", IntegrateAndFire(np.ones(4))),
    )
    twice = Sparse.from_pairs([0, 0], [1, 1], [1.0, 2.0], 4, 4)
    conv = Convolution(np.ones((4, 1, 2, 2)), (1, 2, 2))
    projections = (
        DynamicProjection("in", "biased", OneToOne(np.full(4, 2.0))),
        DynamicProjection("biased", "picture", Dense(np.ones((4, 4)))),
        DynamicProjection("picture", "last", conv),
        DynamicProjection("in", "last", twice),
    )
    with pytest.raises(UnsupportedError) as caught:
        to_nir(DynamicNetwork(populations, projections))
    for what in ("biased (a bias", "biased -> picture (a picture", "in -> last (two sparse synapses"):
        assert what in caught.value.got


# --- exporters


def test_files_of_snntorch_are_recognised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
    snn = pytest.importorskip("snntorch", reason="snnTorch is in the extra `torch`")
    export = importlib.import_module("snntorch.export_nir")
    from clocked import as_library

    torch.manual_seed(0)
    how = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
    layers = [
        torch.nn.Linear(6, 8), snn.Leaky(torch.full((8,), 0.9), torch.full((8,), 0.3), **how),
        torch.nn.Linear(8, 4), snn.Leaky(torch.full((4,), 0.8), torch.full((4,), 0.1), **how),
    ]  # fmt: skip
    with pytest.warns(DeprecationWarning, match="extract_nir_graph"):
        graph = export.export_to_nir(torch.nn.Sequential(*layers), torch.zeros(6))
    nir.write(str(tmp_path / "theirs.nir"), graph)
    network = read_nir(tmp_path / "theirs.nir")
    assert network.metadata["nir"]["exporter"] == "snntorch"
    firing = [population.name for population in network.populations if population.neuron.fires]
    np.testing.assert_allclose(network[firing[0]].neuron.jump, 1.0, rtol=1e-6)  # an event raises v by its weight
    recording = (np.random.default_rng(0).random((300, 6)) < 0.3).astype(float)
    for layer in layers[1::2]:
        layer.reset_mem()
    expected = as_library(layers, (6,), recording, lambda layer: isinstance(layer, snn.SpikingNeuron))
    engine = ClockedEngine(network, 1e-4, "euler")
    got = [engine.step({network.inputs[0]: step}) for step in recording]
    for name, theirs in zip(firing, expected, strict=True):
        assert (np.array([step[name] for step in got]) == theirs).all()
        assert 0 < theirs.mean() < 1


def test_the_time_constants_of_norse_1_1_0_are_not_taken_silently() -> None:
    graph = graph_of(ends(3)[0], nir.Linear(np.ones((2, 3))), lif(2, tau=1e-5))
    with pytest.raises(UnsupportedError, match=r"norse-1\.1\.0"):
        from_nir(graph)
    mended = from_nir(graph, exporter="norse-1.1.0")
    np.testing.assert_allclose(mended["2"].neuron.tau_mem, 0.01)
    assert mended["2"].neuron.r.tolist() == [1e-3] * 2
    assert from_nir(graph, exporter="nir")["2"].neuron.tau_mem.tolist() == [1e-5] * 2


def test_norse_raises_currents_by_the_weight() -> None:
    full = np.ones(2)
    cuba = nir.CubaLIF(tau_syn=full * 0.005, tau_mem=full * 0.01, r=full, v_leak=full * 0, v_threshold=full)
    network = from_nir(graph_of(ends(2)[0], cuba), exporter="norse")
    assert network["1"].neuron.jump.tolist() == [1.0, 1.0]
    network = from_nir(graph_of(ends(2)[0], nir.IF(full, full)), exporter="norse")
    assert network["1"].neuron.jump.tolist() == [1.0, 1.0]


# --- recordings


def test_recordings_there_and_back(tmp_path: Path) -> None:
    network = simple()
    engine = ContinuousEngine(network, record=("in", "lif"))
    spikes = engine.run(np.arange(200) * 130, np.arange(200) % 5)
    write_recording(spikes, network, tmp_path / "run.nir")
    again = read_recording(tmp_path / "run.nir")
    assert set(again.names) == {"in", "lif"}
    assert len(spikes.of("lif")) > 0
    for name in spikes.names:
        assert (again.of(name).times_ns == spikes.of(name).times_ns).all()
        assert (again.of(name).neurons == spikes.of(name).neurons).all()
    (tmp_path / "rubbish.nir").write_bytes(b"rubbish")
    with pytest.raises(FormatError):
        read_events(tmp_path / "rubbish.nir")


# --- hostile files


def sealed(folder: Path) -> bytes:
    write_nir(simple(), folder / "sealed.nir")
    return (folder / "sealed.nir").read_bytes()


def test_a_recording_of_no_nodes_is_refused(tmp_path: Path) -> None:
    write_events({}, tmp_path / "empty.nir", 1, 1.0)
    with pytest.raises(FormatError, match="no nodes"):
        read_recording(tmp_path / "empty.nir")


def test_absent_foreign_and_cut_files_are_refused(tmp_path: Path) -> None:
    whole = sealed(tmp_path)
    for name, contents in {"text": b"no", "empty": b"", "cut": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(FormatError):
            read_nir(tmp_path / name)
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FormatError):
            read_nir(path)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_changed_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    contents = bytearray(sealed(folder))
    place = data.draw(st.integers(0, len(contents) - 1))
    contents[place] ^= data.draw(st.integers(1, 255))
    (folder / "changed.nir").write_bytes(contents)
    if place < 10:  # the name of the seal: without it the file is one of somebody else, and whole
        with pytest.raises(FormatError):
            read_nir(folder / "changed.nir")
        return
    with pytest.raises(FormatError, match="checksum"):
        read_nir(folder / "changed.nir")


@given(st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_changed_trees_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whole HDF5 files whose contents are not NIR's: a refusal or a network, nothing else."""
    path = tmp_path_factory.mktemp("hostile") / "foreign.nir"
    nir.write(str(path), to_nir(simple()))
    values = st.sampled_from([
        0, -1, 2**40, float("nan"), "text", b"\xff", np.zeros(0), np.ones(3), np.ones((2, 2)),
        np.array(["a", "b"], "S"),
    ])  # fmt: skip
    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(places))
            if place in file:
                del file[place]
            if data.draw(st.booleans()) and isinstance(file.get(place.rpartition("/")[0] or "/"), h5py.Group):
                file[place] = data.draw(values)
    with contextlib.suppress(SnngenError):
        assert isinstance(read_nir(path), DynamicNetwork)


def test_claims_links_and_loops_are_refused(tmp_path: Path) -> None:
    def bomb(file: h5py.File) -> None:
        file.create_dataset("node/nodes/lif/large", shape=(2**40,), dtype="f8", chunks=(1024,), fillvalue=1.0)

    def text(file: h5py.File) -> None:
        file.create_dataset("node/large", shape=(2**36,), dtype=h5py.string_dtype(), chunks=(1024,))

    def loop(file: h5py.File) -> None:
        file["node/nodes/lif/loop"] = file["node"]

    def soft(file: h5py.File) -> None:
        file["node/nodes/lif/soft"] = h5py.SoftLink("/node")

    def external(file: h5py.File) -> None:
        file["node/nodes/lif/r2"] = h5py.ExternalLink("/etc/passwd", "/")

    def outside(file: h5py.File) -> None:
        file.create_dataset("node/outside", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])

    def deep(file: h5py.File) -> None:
        file.create_group("node/" + "/".join(["nodes"] * 40))

    for change in (bomb, text, loop, soft, external, outside, deep):
        path = tmp_path / f"{change.__name__}.nir"
        nir.write(str(path), to_nir(simple()))
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(FormatError):
            read_nir(path)


def test_graphs_with_too_many_ways_are_refused() -> None:
    start, count = ends(1)[0], 20
    nodes, edges = [start], []
    for level in range(count):
        nodes += [nir.Scale(np.ones(1)), nir.Scale(np.ones(1)), nir.Scale(np.ones(1))]
        first, left = (0 if level == 0 else 3 * level), 3 * level + 1
        edges += [(first, left), (first, left + 1), (left, left + 2), (left + 1, left + 2)]
    nodes.append(lif(1))
    edges.append((3 * count, 3 * count + 1))
    with pytest.raises(UnsupportedError, match="more than"):
        from_nir(graph_of(*nodes, edges=edges))
    with pytest.raises(UnsupportedError, match="loop of maps"):
        from_nir(graph_of(start, nir.Scale(np.ones(1)), nir.Scale(np.ones(1)), edges=[(0, 1), (1, 2), (2, 1)]))


def test_changed_bytes_in_files_of_others_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own, whose memory is limited: what HDF5 makes of nonsense is not in our hands."""
    nir.write(str(tmp_path / "theirs.nir"), to_nir(simple()))
    code = f"""
import resource
import numpy as np
from snngen.dynamics.network import DynamicNetwork
from snngen.errors import SnngenError
from snngen.nir import read_nir

whole, path = open({str(tmp_path / "theirs.nir")!r}, "rb").read(), {str(tmp_path / "changed.nir")!r}
read_nir({str(tmp_path / "theirs.nir")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for seed in (*range(300), 1488):
    rng, contents = np.random.default_rng(seed), bytearray(whole)
    for _ in range(int(rng.integers(1, 6))):
        contents[int(rng.integers(len(contents)))] = int(rng.integers(256))
    open(path, "wb").write(contents)
    try:
        assert isinstance(read_nir(path), DynamicNetwork)
    except SnngenError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # KiB
