"""NIR out: the file fires as the network does, spike for spike and tick for tick; what NIR cannot express is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import convolution, random_recurrent, random_transformer

from snngen import codes
from snngen.converters import exports
from snngen.engines.clocked import ClockedEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.sparse import Sparse
from snngen.trace import TraceWriter, read_trace

nir = pytest.importorskip("nir", reason="nir is in the extra `torch`")

from snngen.nir import read_nir  # noqa: E402

TICKS = 60


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-60, 128, shape).astype(np.int8)


def firing_network(seed: int) -> Network:
    """A picture, a convolution, dense, sparse and one-to-one synapses, and sums that are read."""
    rng = np.random.default_rng(seed)
    conv = convolution(rng, (1, 5, 5), 3)
    hidden = int(np.prod(conv.target_shape))
    sparse = np.where(rng.random((12, 12)) < 0.4, weights(rng, 12, 12), 0).astype(np.int8)

    def thetas(size: int) -> IntegrateAndFire:
        return IntegrateAndFire(rng.integers(100, 300, size).astype(np.int32))

    populations = (
        Population("picture", Source(25)), Population("conv", thetas(hidden)), Population("dense", thetas(12)),
        Population("sparse", thetas(12)), Population("same", thetas(12)),
        Population("sums", Accumulator(np.zeros(12, dtype=np.int32))),
    )  # fmt: skip
    gain = rng.integers(1, 3, 12).astype(np.int32)
    projections = (
        Projection("picture", "conv", conv),
        Projection("conv", "dense", Dense(weights(rng, hidden, 12), gain)),
        Projection("dense", "sparse", Sparse.of(sparse, gain)),
        Projection("dense", "same", Dense(weights(rng, 12, 12), np.ones(12, dtype=np.int32))),
        Projection("sparse", "sums", OneToOne(12)),
        Projection("same", "sums", Dense(weights(rng, 12, 12), gain)),
    )
    return Network(populations, projections, output="sums")


@pytest.mark.parametrize("seed", range(3))
def test_the_file_fires_as_the_network_does(seed: int, tmp_path: Path) -> None:
    network = firing_network(seed)
    given = np.random.default_rng(seed).random((TICKS, 25)) < 0.4
    tick, neuron = np.nonzero(given)
    events = np.stack([tick, np.zeros_like(tick), neuron, np.ones_like(tick)], axis=1)
    with TraceWriter(tmp_path / "run.h5", network, "unary", "eager") as writer:
        ticked = TickedEngine(network, codes.by_name("unary"), "eager", recorder=writer)
        ticked.stream(events, TICKS)
    fired = read_trace(tmp_path / "run.h5").events()

    notes = exports.write(network, tmp_path / "network.nir", "nir", tick_us=500)
    assert "reset by subtraction" in notes[0]
    engine = ClockedEngine(read_nir(tmp_path / "network.nir"), 5e-4, "snntorch")
    steps = [engine.step({"picture": step.astype(float)}) for step in given]
    for index, population in enumerate(network.populations[1:-1], start=1):
        theirs = np.zeros((TICKS, population.size), dtype=np.int64)
        own = fired[fired[:, 2] == index]
        np.add.at(theirs, (own[:, 1], own[:, 3]), own[:, 4])
        assert (np.array([step[population.name] for step in steps]) == theirs).all()
        assert theirs.any()
    engine.step()  # what is under way arrives; the ticked engine has added it already
    assert engine.potential("sums").tolist() == ticked.output.tolist()


def test_the_package_nir_reads_it(tmp_path: Path) -> None:
    exports.write(firing_network(0), tmp_path / "network.nir", "nir")
    graph = nir.read(str(tmp_path / "network.nir"))
    assert type(graph.nodes["dense"]).__name__ == "IF"
    assert graph.nodes["dense"].metadata["snngen"]["reset"] == "subtract"
    assert graph.nodes["dense"].metadata["snngen"]["v_start"].tolist() == [0.5] * 12
    assert graph.nodes["dense-same-delay"].delay.tolist() == [1e-3] * 12


@pytest.mark.parametrize("make", [random_transformer, random_recurrent])
def test_everything_that_nir_cannot_express_is_named_at_once(make: object, tmp_path: Path) -> None:
    network: Network = make(1)  # type: ignore[operator]
    with pytest.raises(UnsupportedError) as caught:
        exports.write(network, tmp_path / "network.nir", "nir")
    wrong = [part.split(" (")[0] for part in caught.value.got.split("; ")]
    for population in network.populations:
        if population.neuron.kind not in ("source", "accumulator"):
            assert f"population {population.name}" in wrong
    for projection in network.projections:
        if projection.delayed or projection.synapse.kind not in ("dense", "one_to_one", "sparse"):
            assert f"projection {projection.name}" in wrong
    assert not (tmp_path / "network.nir").exists()


def test_a_bias_and_a_sum_that_is_sent_are_refused(tmp_path: Path) -> None:
    sums = Accumulator(np.array([1, 2], dtype=np.int32))
    sent = Accumulator(np.zeros(2, dtype=np.int32))
    network = Network(
        (Population("in", Source(2)), Population("biased", sums), Population("sent", sent), Population("last", sent)),
        tuple(Projection(*ends, OneToOne(2)) for ends in (("in", "biased"), ("in", "sent"), ("sent", "last"))),
    )
    with pytest.raises(UnsupportedError, match=r"biased \(accumulator with a bias.*sent \(accumulator: sends"):
        exports.write(network, tmp_path / "network.nir", "nir")
