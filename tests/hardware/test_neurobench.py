"""NeuroBench's harness scores our networks, and what it counts is what the ledger counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import compressed, feed_forward, random_decoder, random_recurrent, random_transformer

from snngen import reference
from snngen.errors import PromptError, UnsupportedError
from snngen.integers import IntArray
from snngen.network import Network
from snngen.synapses.convolution import Convolution
from snngen.synapses.dense import Dense
from snngen.text import Text

torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
pytest.importorskip("neurobench", reason="neurobench is in the extra `neurobench`")

from neurobench.benchmarks import Benchmark  # noqa: E402
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount  # noqa: E402
from neurobench.metrics.workload import (  # noqa: E402
    ActivationSparsity,
    ActivationSparsityByLayer,
    MembraneUpdates,
    NeuronOperations,
    SynapticOperations,
)
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from snngen.hardware.neurobench import NeuroBenchNetwork, without_zeros  # noqa: E402

STATIC = [ParameterCount, Footprint, ConnectionSparsity]
WORKLOAD = [ActivationSparsity, SynapticOperations, ActivationSparsityByLayer]
TOKENS = np.array([[1, 2, 3, 0], [4, 2, 2, 7], [5, 5, 1, 8], [0, 6, 6, 6]])  # four: means of counts are exact floats
NETWORKS = {
    "transformer": random_transformer(3, layers=2),
    "recurrent": random_recurrent(4),
    "decoder": random_decoder(5),
    "compressed": compressed(random_transformer(6), 7),
}
RUNS = [(None, "layered"), ("graded", "layered"), ("unary", "layered"), ("bitwise", "layered"), ("ttfs", "layered"),
        ("delta", "layered"), ("unary", "eager")]  # fmt: skip
BRIEF = RUNS[:3]  # of networks whose tokens take thousands of ticks
CASES = [(name, *run) for name in NETWORKS for run in (BRIEF if name == "decoder" else RUNS)]


def scored(model: NeuroBenchNetwork, inputs: IntArray, batch: int = 4, metrics: list | None = None) -> dict:
    """What the harness says; the ledger holds what was run meanwhile."""
    given = torch.tensor(inputs)
    loader = DataLoader(TensorDataset(given, torch.zeros(len(given))), batch_size=batch)
    model.reset_ledger()
    return Benchmark(model, loader, [], [], [STATIC, metrics or WORKLOAD]).run(quiet=True)


def no_zero_taps(network: Network) -> Network:
    """The network with kernels of convolutions that hold no zero."""
    projections = []
    for projection in network.projections:
        synapse = projection.synapse
        if isinstance(synapse, Convolution):
            kernel = np.where(synapse.kernel == 0, 1, synapse.kernel).astype(np.int8)
            projection = replace(projection, synapse=replace(synapse, kernel=kernel, room=None))
        projections.append(projection)
    return replace(network, projections=tuple(projections))


@pytest.mark.parametrize(("name", "code", "schedule"), CASES, ids=lambda value: str(value))
def test_synaptic_operations_are_the_ledgers(name: str, code: str | None, schedule: str) -> None:
    network = without_zeros(no_zero_taps(NETWORKS[name]))
    model = NeuroBenchNetwork(network, code, schedule)
    counts = scored(model, TOKENS)["SynapticOperations"]
    total = model.ledger.synaptic_operations(code)[:, list(model.layers)].sum()
    assert total > 1000
    assert counts["Effective_MACs"] + counts["Effective_ACs"] == total / len(TOKENS)
    assert counts["Effective_MACs"] > 0 or code == "unary"
    assert counts["Effective_ACs"] > 0  # tokens


@pytest.mark.parametrize("code", [None, "unary"])
def test_accumulations_and_multiplications_are_told_apart_as_defined(code: str | None) -> None:
    network = without_zeros(NETWORKS["transformer"])
    model = NeuroBenchNetwork(network, code)
    counts = scored(model, TOKENS)["SynapticOperations"]
    performed = model.ledger.synaptic_operations(code)
    additions = 0
    for sample, tokens in enumerate(TOKENS):
        codes = reference.run(network, tokens)
        for index in model.layers:
            source = network.projections[index].source
            for at in range(len(tokens)):
                ternary = np.abs(codes[source][at]).max() <= 1
                if ternary or (code == "unary" and not network[source].neuron.wide):
                    additions += int(performed[sample * len(tokens) + at, index])
    assert counts["Effective_ACs"] == additions / len(TOKENS)
    assert counts["Effective_MACs"] == (performed[:, list(model.layers)].sum() - additions) / len(TOKENS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weight_of_zero_is_no_synapse_to_neurobench_and_one_to_a_dense_row(name: str) -> None:
    network = NETWORKS[name]
    model = NeuroBenchNetwork(network)
    counts = scored(model, TOKENS)["SynapticOperations"]
    over_zeros = 0
    for tokens in TOKENS:
        codes = reference.run(network, tokens)
        for index in model.layers:
            projection = network.projections[index]
            events = np.abs(np.sign(codes[projection.source]))
            present, zero = projection.synapse, 0
            if not isinstance(present, Convolution) and present.kind != "sparse":
                zero = int((events @ (present.matrix == 0)).sum())
            elif isinstance(present, Convolution):
                zeros = replace(present, kernel=(present.kernel == 0).astype(np.int8), room=None,
                                gain=np.ones_like(present.gain))  # fmt: skip
                zero = int(zeros.reference(events, None).sum())
            over_zeros += zero
    total = model.ledger.synaptic_operations("graded")[:, list(model.layers)].sum()
    assert over_zeros > 0 or name == "decoder"
    assert counts["Effective_MACs"] + counts["Effective_ACs"] == (total - over_zeros) / len(TOKENS)


@pytest.mark.parametrize(("name", "code", "schedule"), CASES, ids=lambda value: str(value))
def test_activation_sparsity_is_the_share_of_silent_neurons_and_ticks(name: str, code: str, schedule: str) -> None:
    network = NETWORKS[name]
    model = NeuroBenchNetwork(network, code, schedule)
    results = scored(model, TOKENS)
    at = [network.order[population] for population in model.populations]
    sizes = np.array([network[population].size for population in model.populations])
    ticks = model.ledger.ticks(code).sum() if code is not None else len(model.ledger)
    events = model.ledger.events(code)[:, at].sum(axis=0)
    places = sizes * ticks
    assert results["ActivationSparsity"] == (places.sum() - events.sum()) / places.sum()
    expected = {
        population.replace(".", "/"): (all_of - sent) / all_of
        for population, all_of, sent in zip(model.populations, places.tolist(), events.tolist(), strict=True)
    }
    assert results["ActivationSparsityByLayer"] == expected
    assert len(expected) == sum(1 for p in network.populations if p.neuron.operands and not p.neuron.wide)


@pytest.mark.parametrize("name", NETWORKS)
def test_footprint_parameters_and_connection_sparsity(name: str) -> None:
    network = NETWORKS[name]
    model = NeuroBenchNetwork(network)
    results = scored(model, TOKENS)
    layers = [network.projections[index].synapse for index in model.layers]
    weights = [layer.kernel if isinstance(layer, Convolution) else layer.matrix for layer in layers]
    count = sum(array.size for array in weights)
    assert results["ParameterCount"] == count
    assert results["ConnectionSparsity"] == round(np.float32(sum((w == 0).sum() for w in weights) / count).item(), 4)
    held = count + sum(layer.gain.nbytes for layer in layers)
    models = [*(p.neuron for p in network.populations), *(network.projections[i].synapse for i in left_out(model))]
    held += sum(value.nbytes for part in models for value in vars(part).values() if isinstance(value, np.ndarray))
    held += sum(projection.synapse.memory_bytes for projection in network.projections)
    assert results["Footprint"] == held
    assert [network.projections[index].name for index in left_out(model)] == list(model.left_out)


def left_out(model: NeuroBenchNetwork) -> list[int]:
    return [index for index in range(len(model.network.projections)) if index not in model.layers]


def test_the_weights_of_a_dense_network_take_what_the_network_says() -> None:
    network = feed_forward(1)
    model = NeuroBenchNetwork(network)
    bytes_of_weights = sum(projection.synapse.weight_bytes for projection in network.projections)
    assert scored(model, np.ones((1, 2, 5), dtype=np.int64))["ParameterCount"] == bytes_of_weights


@pytest.mark.parametrize(("name", "code", "schedule"), CASES, ids=lambda value: str(value))
def test_predictions_are_the_references(name: str, code: str | None, schedule: str) -> None:
    network = NETWORKS[name]
    given = NeuroBenchNetwork(network, code, schedule)(torch.tensor(TOKENS)).numpy()
    expected = np.stack([reference.run(network, tokens)[network.output] for tokens in TOKENS])
    assert np.array_equal(given, expected * network[network.output].scale)


def test_dense_operations_are_every_synapse_at_every_step() -> None:
    network = NETWORKS["transformer"]
    model = NeuroBenchNetwork(network)
    counts = scored(model, TOKENS)["SynapticOperations"]
    synapses = sum(p.synapse.count for p in network.projections if isinstance(p.synapse, Dense))
    assert counts["Dense"] == synapses * TOKENS.shape[1]


def test_batches_of_any_size_add_up() -> None:
    model = NeuroBenchNetwork(NETWORKS["transformer"], "unary")
    whole, alone = scored(model, TOKENS), scored(model, TOKENS, batch=1)
    assert whole["SynapticOperations"] == alone["SynapticOperations"]
    assert whole["ActivationSparsityByLayer"] == alone["ActivationSparsityByLayer"]


def test_codes_of_a_sensor_as_samples() -> None:
    network = without_zeros(feed_forward(2, (5, 7, 3)))
    inputs = np.random.default_rng(1).integers(-7, 8, (4, 3, 5))
    for given in (inputs, inputs.astype(np.float32)):
        model = NeuroBenchNetwork(network, "unary")
        counts = scored(model, given)["SynapticOperations"]
        assert counts["Effective_ACs"] == model.ledger.synaptic_operations("unary").sum() / 4 > 0
        assert counts["Effective_MACs"] == 0


def test_what_is_defined_for_snntorchs_neurons_only_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = NeuroBenchNetwork(NETWORKS["transformer"])
    results = scored(model, TOKENS, metrics=[MembraneUpdates])
    assert results["MembraneUpdates"] == 0 < model.ledger.neuron_updates().sum()
    loader = DataLoader(TensorDataset(torch.tensor(TOKENS), torch.zeros(4)), batch_size=4)
    results = Benchmark(model, loader, [], [], [[], [NeuronOperations]]).run()
    assert results["NeuronOperations"] == 0.0
    assert "_reset_mechanism" in capsys.readouterr().out


def test_the_shipped_language_model(shakespeare: Network) -> None:
    network = without_zeros(shakespeare)
    text = Text(network)
    tokens = np.array([text.encode(line)[:6] for line in ("ROMEO: what light is this", "First Citizen: before we")])
    model = NeuroBenchNetwork(network)
    results = scored(model, tokens, batch=2)
    counts = results["SynapticOperations"]
    performed = model.ledger.synaptic_operations()[:, list(model.layers)]
    assert counts["Effective_MACs"] + counts["Effective_ACs"] == performed.sum() / 2
    embedding = [index for index in model.layers if network.projections[index].source == "token"]
    assert counts["Effective_ACs"] == model.ledger.synaptic_operations()[:, embedding].sum() / 2
    events = model.ledger.events()[:, [network.order[name] for name in model.populations]].sum()
    places = sum(network[name].size for name in model.populations) * tokens.size
    assert results["ActivationSparsity"] == (places - events) / places
    assert results["Footprint"] >= sum(network.projections[i].synapse.matrix.size for i in model.layers)


def test_bad_batches_are_refused() -> None:
    model = NeuroBenchNetwork(NETWORKS["transformer"])
    for batch in (torch.zeros(3), torch.full((1, 2), 0.5), torch.zeros((1, 2, 11, 1)), torch.full((1, 2), 99)):
        with pytest.raises(PromptError, match="expected"):
            model(batch)
    with pytest.raises(UnsupportedError, match="no_such"):
        NeuroBenchNetwork(NETWORKS["transformer"], "no_such")
