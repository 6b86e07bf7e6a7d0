"""The torch backend equals the reference, bit for bit, for every sequence of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from networks import compressed, feed_forward, random_transformer

import snngen
from snngen import reference
from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.rms_norm import RMSNorm
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.sampling import Sampling
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'snngen[torch]'")
torch.set_num_threads(1)  # on small matrices threads mostly wait for each other
backend = pytest.importorskip("snngen.hardware.backends.torch")

PROMPTS = ["Once upon a time", "Lily", "One day, a big red"]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


def assert_equal(network: Network, sequences: Sequence[Sequence[int]], device: str) -> int:
    """Every code of every population of every sequence; returns how many integers were compared."""
    engine = backend.TorchEngine(network, device, len(sequences))
    expected = [reference.run(network, tokens) for tokens in sequences]
    compared = 0
    for index in range(len(sequences[0])):
        engine.step([tokens[index] for tokens in sequences])
        for population in network.populations:
            right = np.stack([run[population.name][index] for run in expected])
            assert np.array_equal(engine.codes(population.name), right), (index, population.name)
            compared += right.size
    assert engine.position == len(sequences[0])
    assert np.array_equal(engine.output, engine.codes(network.output))
    return compared


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(12))
def test_random_transformers(seed: int, device: str) -> None:
    """Every population kind and synapse kind, with grouped heads, until the context is full."""
    heads, groups = [(1, 1), (2, 1), (4, 2)][seed % 3]
    network = random_transformer(seed, 1 + seed % 2, heads=heads, groups=groups)
    sequences = np.random.default_rng(seed).integers(0, network.vocabulary, (4, 9)).tolist()
    assert_equal(network, sequences, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_packed_and_pruned_weights(seed: int, device: str) -> None:
    network = compressed(random_transformer(seed), seed)
    tokens = np.random.default_rng(seed).integers(0, network.vocabulary, (3, 6)).tolist()
    assert_equal(network, tokens, device)


@pytest.mark.parametrize("device", DEVICES)
def test_codes_from_outside(device: str) -> None:
    network = feed_forward(3, (9, 14, 6, 5))
    inputs = np.random.default_rng(3).integers(-7, 8, (5, 9))
    engine = backend.TorchEngine(network, device, 5)
    engine.step(codes={"input": inputs})
    for name, codes in reference.run(network, {"input": inputs}).items():
        assert np.array_equal(engine.codes(name), codes), name


@pytest.mark.parametrize("device", DEVICES)
def test_a_real_model(stories: Network, device: str) -> None:
    runs = snngen.generate, {"temperature": 1.0}
    sequences = [runs[0](stories, prompt, 40, seed=7, **runs[1]).tokens[:32] for prompt in PROMPTS]
    assert [len(tokens) for tokens in sequences] == [32] * 3
    assert_equal(stories, sequences, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, top_k=20, top_p=0.95, seed=3)])
def test_a_batch_of_unequal_prompts_says_what_each_says_alone(
    stories: Network, sampling: Sampling, device: str
) -> None:
    batch = backend.generate_batch(stories, PROMPTS, 32, sampling, device)
    options = vars(sampling)
    alone = [snngen.generate(stories, prompt, 32, **options).finish() for prompt in PROMPTS]
    assert batch.tokens == [run.tokens for run in alone]
    assert batch.stopped == [run.stopped for run in alone]
    assert batch.texts == [run.text for run in alone]
    assert batch.device.startswith(device)
    assert batch.rate > 0


def test_sequences_end_one_by_one() -> None:
    """By an end token, by the limit and by the context, each as alone."""
    from dataclasses import replace

    reasons = set()
    for seed in range(6):
        network = replace(random_transformer(seed, 2), end=(4,))
        prompts = [[1], [2, 3], [5, 6, 7, 8, 9, 1, 2, 3, 3], [1, 5, 5, 7, 1, 1]]
        sampling = Sampling(temperature=30.0, seed=seed)
        batch = backend.generate_batch(network, prompts, 5, sampling, "cpu")
        alone = [snngen.generate(network, prompt, 5, **vars(sampling)).finish() for prompt in prompts]
        assert batch.generated == [run.generated for run in alone]
        assert batch.stopped == [run.stopped for run in alone]
        reasons |= set(batch.stopped)
    assert reasons == {"end", "length", "context"}


def test_the_square_root_is_exact_where_float64_is_not() -> None:
    roots = np.array([0, 1, 2, 3, 2**15, 2**26 + 1, 94906267, 2**30 + 12345, 2**31 - 2], dtype=np.int64)
    values = np.concatenate([roots * roots - (roots > 0), roots * roots, roots * roots + 2 * roots])
    expected = np.concatenate([roots - (roots > 0), roots, roots])
    assert backend._square_root(torch.tensor(values)).tolist() == expected.tolist()


def test_probabilities_of_extreme_scores() -> None:
    """Shares down to nothing, with enough bits to see each of them."""
    rng = np.random.default_rng(6)
    softmax = Softmax(rng.integers(0, 2**31, 5), 60, 2**15)
    drives = rng.integers(-(2**11), 2**11, (60, 300)) << rng.integers(0, 12, (60, 300))
    settle = backend._settling(softmax, torch.device("cpu"))
    for token, right in enumerate(softmax.reference(drives)):
        assert settle([torch.tensor(drives[token : token + 1])], token)[0].tolist() == right.tolist()


def test_norms_of_extreme_potentials() -> None:
    """Inputs far beyond the 24 bits that a norm reads, where squares need 46 bits and their sum more."""
    rng = np.random.default_rng(5)
    source = Source(40, -(2**28), 2**28)
    norm = RMSNorm(rng.integers(-(2**28), 2**28, 40), 17, -127, 127)
    link = Projection("input", "norm", OneToOne(40))
    network = Network((Population("input", source), Population("norm", norm)), (link,))
    inputs = rng.integers(-(2**28), 2**28, (6, 40)) >> rng.integers(0, 28, (6, 1))
    engine = backend.TorchEngine(network, "cpu", 6)
    engine.step(codes={"input": inputs})
    assert np.array_equal(engine.output, reference.run(network, {"input": inputs})["norm"])


def test_reset_keep_and_what_is_left_out() -> None:
    network = random_transformer(2, 2)
    engine = backend.TorchEngine(network, "cpu", 3)
    for token in (1, 2):
        engine.step([token, 3, 4], read=False)
    with pytest.raises(PromptError, match="left out"):
        _ = engine.output
    engine.keep([2, 0])
    engine.step([5, 6])
    for row, tokens in enumerate(([4, 4, 5], [1, 2, 6])):
        assert engine.output[row].tolist() == reference.run(network, tokens)["logits"][2].tolist()
    engine.reset(1)
    engine.step([7])
    assert engine.output[0].tolist() == reference.run(network, [7])["logits"][0].tolist()


def test_the_device_that_was_chosen_is_said() -> None:
    engine = backend.TorchEngine(random_transformer(1))
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert engine.device.type == expected
    assert engine.log.startswith(f"device auto: {expected} (")
    for device in ("cuda:99", "mps", "abacus"):
        with pytest.raises(UnsupportedError, match="device"):
            backend.TorchEngine(random_transformer(1), device)


def test_what_cannot_be_run_is_refused_by_name() -> None:
    network = random_transformer(1)
    with pytest.raises(PromptError, match="batch"):
        backend.TorchEngine(network, "cpu", 0)
    engine = backend.TorchEngine(network, "cpu", 2)
    for tokens in ([1], [1, 11], [1, -1], [[1, 2]], [0.5, 1.0]):
        with pytest.raises(PromptError, match="tokens"):
            engine.step(tokens)
    for codes in ({}, {"token": np.ones((2, 3), int)}, {"token": np.full((2, 11), 2)}):
        with pytest.raises(PromptError):
            engine.step(codes=codes)
    for rows in ([], [2]):
        with pytest.raises(PromptError, match="rows"):
            engine.keep(rows)
    for prompts, new in (([], 1), ([[1]], 0), ([[]], 1), ([[11]], 1)):
        with pytest.raises(PromptError):
            backend.generate_batch(network, prompts, new)
    with pytest.raises(CapacityError, match=r"prompts\[1\]"):
        backend.generate_batch(network, [[1], [1] * 10], 1)
    links = [Projection("input", name, Dense(np.ones((3, 2), np.int8), np.ones(2, np.int32))) for name in ("a", "b")]
    spiking = [Population(name, IntegrateAndFire(np.full(2, 5))) for name in ("a", "b")]
    with pytest.raises(UnsupportedError, match=r"a \(integrate_and_fire\), population b"):
        backend.TorchEngine(Network((Population("input", Source(3)), *spiking), tuple(links)), "cpu")


def test_a_token_that_meets_no_matrix_is_one_event() -> None:
    populations = (Population("a", Source(4)), Population("b", Accumulator(np.zeros(4, dtype=np.int32))))
    network = Network(populations, (Projection("a", "b", OneToOne(4)),))
    engine = backend.TorchEngine(network, "cpu", 2)
    engine.step([2, 3])
    assert engine.codes("b").tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert engine.codes("a").tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
