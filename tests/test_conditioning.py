"""Conditioning: features as positions before a prompt, counted in the same ledger and certified."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from networks import random_transformer

import snngen
from snngen import reference
from snngen.certificate import certify
from snngen.conditioning import FEATURES, Conditioned, condition, embeddings, fit, targets
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import CapacityError, NetworkError, PromptError, UnsupportedError
from snngen.generation import positions
from snngen.ledger import GENERATE, PREFILL
from snngen.network import Network

HIGH = 15


def conditioned(network: Network, places: int = 2, features: int = 3, seed: int = 0) -> Conditioned:
    """A network with a prefix of random weights."""
    rng = np.random.default_rng(seed)
    size = network[network.projections[0].target].size
    spread = np.abs(embeddings(network, np.arange(network.vocabulary))).mean() / HIGH
    return condition(network, rng.normal(0, spread, (places, features + 1, size)), HIGH)


def rows(model: Conditioned, features: np.ndarray, tokens: list[int]) -> dict[str, np.ndarray]:
    """What every source gets, position by position."""
    network = model.network
    each = [positions(network, None, codes) for codes in model.prefix(features)]
    each += [positions(network, token) for token in tokens]
    return {name: np.stack([row[name] for row in each]) for name in each[0]}


def test_embeddings_are_what_tokens_put_into_the_stream() -> None:
    network = random_transformer(3)
    name = network.projections[0].target
    run = reference.run(network, [0, 4, 2])
    bias = np.asarray(network[name].neuron.bias)  # type: ignore[attr-defined]
    assert np.array_equal(embeddings(network, [0, 4, 2]), (run[name] - bias) * network[name].scale)


def test_a_projection_that_can_be_learned_is_learned() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(0, HIGH + 1, (60, 4))
    weights = rng.normal(size=(3, 5, 6))
    wanted = np.einsum("nf,pfc->npc", np.concatenate([features, np.full((60, 1), HIGH)], axis=1), weights)
    assert np.allclose(fit(features, wanted, HIGH, 0.0), weights)
    shrunk = fit(features, wanted, HIGH, 1e4)
    assert np.abs(shrunk).sum() < np.abs(weights).sum()


def test_the_prefix_drives_the_embedding_as_it_was_fitted_to() -> None:
    network = random_transformer(3)
    rng = np.random.default_rng(1)
    features = rng.integers(0, HIGH + 1, (40, 3))
    texts = [[0, 1], [2, 3]]
    wanted = targets(network, texts)
    weights = fit(features, wanted[features[:, 0] // 8], HIGH, 1.0)
    model = condition(network, weights, HIGH)
    name = network.projections[0].target
    bias = np.asarray(network[name].neuron.bias)  # type: ignore[attr-defined]
    got = reference.run(model.network, rows(model, features[0], [1]))[name][:2] - bias
    exact = np.einsum("f,pfc->pc", np.append(features[0], HIGH), weights) / network[name].scale
    step = np.asarray(model.network.projections[-1].synapse.gain)  # type: ignore[attr-defined]
    assert (np.abs(got - exact) <= 4 * HIGH * step / 2 + 1).all()  # each weight is rounded to its unit
    assert np.abs(exact).max() > 20 * step.max()


def test_a_prefix_changes_what_is_said_and_no_features_the_least() -> None:
    network = random_transformer(3, context=16)
    model = conditioned(network)
    said = [
        snngen.generate(model.network, [1], 8, prefix=model.prefix(np.full(3, high))).generated for high in (0, 7, HIGH)
    ]
    assert said[0] != said[2]
    alone = snngen.generate(network, [1], 8).generated
    assert snngen.generate(model.network, [1], 8).generated == alone  # without a prefix it is the network that it was


def test_generation_is_the_reference_position_by_position() -> None:
    model = conditioned(random_transformer(3, context=16))
    features = np.array([3, 0, 9])
    for prompt in ([], [1, 2]):
        run = snngen.generate(model.network, prompt if prompt else "", 5, prefix=model.prefix(features))
        tokens = list(prompt)
        for token in run.generated:
            outputs = reference.run(model.network, rows(model, features, tokens))[model.network.output]
            assert token == int(np.argmax(outputs[-1]))
            tokens.append(token)
        assert run.tokens == tokens
        assert run.ledger.tokens(PREFILL) == model.positions + len(prompt)
        assert run.ledger.tokens(GENERATE) == 4


def test_the_ledger_counts_the_events_of_the_prefix() -> None:
    model = conditioned(random_transformer(3, context=16))
    features = np.array([3, 0, 9])
    run = snngen.generate(model.network, [1], 2, prefix=model.prefix(features)).finish()
    at = model.network.order[FEATURES]
    assert run.ledger.events("graded", PREFILL)[:, at].tolist() == [3, 3, 0]  # two features and the bias
    assert run.ledger.events("unary", PREFILL)[:, at].tolist() == [3 + 9 + HIGH] * 2 + [0]
    index = next(i for i, p in enumerate(model.network.projections) if p.source == FEATURES)
    width = model.network.projections[index].synapse.target_size
    assert run.ledger.synaptic_operations("unary", PREFILL)[:, index].tolist() == [(12 + HIGH) * width] * 2 + [0]
    assert run.ledger.events("graded", PREFILL)[:, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("engine", [SettledEngine, TickedEngine])
def test_prefix_and_tokens_are_certified(engine: type[SettledEngine]) -> None:
    model = conditioned(random_transformer(3, context=16))
    given = rows(model, np.array([3, 0, 9]), [1, 2, 0])
    certificate = certify(model.network, given, engine(model.network))
    assert certificate.clean
    assert certificate.tokens == 5
    assert certificate.codes == 5 * sum(population.size for population in model.network.populations)
    with pytest.raises(PromptError, match="sources"):
        certify(model.network, {FEATURES: given[FEATURES]})
    with pytest.raises(PromptError, match="lengths"):
        certify(model.network, {**given, FEATURES: given[FEATURES][:2]})


def test_a_sliding_context_keeps_the_prefix() -> None:
    model = conditioned(random_transformer(3, context=8))
    features = np.array([5, 1, 2])
    run = snngen.generate(model.network, [1, 2], 12, when_full="slide", prefix=model.prefix(features)).finish()
    assert run.slides >= 2
    tokens, seen = [1, 2], 2
    for _ in range(12):
        outputs = reference.run(model.network, rows(model, features, tokens[-seen:]))[model.network.output]
        tokens.append(int(np.argmax(outputs[-1])))
        seen = seen + 1 if model.positions + seen < 8 else 8 // 2 - model.positions
    assert run.tokens == tokens


def test_a_conditioned_network_is_stored(tmp_path: Path) -> None:
    model = conditioned(random_transformer(3))
    snngen.save(model.network, tmp_path / "conditioned.h5")
    assert snngen.load(tmp_path / "conditioned.h5").digest == model.network.digest


def test_what_does_not_fit_is_refused() -> None:
    network = random_transformer(3, context=8)
    model = conditioned(network)
    with pytest.raises(UnsupportedError, match="conditioning"):
        condition(model.network, np.zeros((1, 2, 3)), HIGH)
    with pytest.raises(NetworkError, match=r"condition\.weights"):
        condition(network, np.zeros((1, 2, 3)), HIGH)
    for wrong in (np.zeros(2, dtype=int), np.full(3, HIGH + 1), np.zeros(3), np.array([-1, 0, 0])):
        with pytest.raises(PromptError, match="features"):
            model.prefix(wrong)
    with pytest.raises(PromptError, match="two"):
        snngen.generate(network, [1], prefix=np.zeros((1, 4), dtype=int))
    for prefix in (np.zeros((1, 3), dtype=int), np.full((1, 8), HIGH + 1), np.zeros((0, 8), dtype=int), np.zeros(8)):
        with pytest.raises(PromptError):
            snngen.generate(model.network, [1], prefix=prefix)
    with pytest.raises(CapacityError, match="context"):
        snngen.generate(model.network, [1] * 7, prefix=model.prefix(np.zeros(3, dtype=int)))
    with pytest.raises(PromptError, match="lengths"):
        targets(network, [[1], [1, 2]])
    with pytest.raises(PromptError, match="fit"):
        fit(np.zeros((2, 3)), np.zeros((3, 1, 4)), HIGH)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's (pip install snngen[digits])")
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    try:
        import condition_language_model
    finally:
        sys.path.pop(0)
    return condition_language_model


@pytest.mark.slow
def test_a_digit_before_the_camera_decides_who_speaks(example: ModuleType, shakespeare: Network) -> None:
    model = example.conditioned(shakespeare, example.seen(held_out=False, kind="label"))
    trial = example.seen(True, "label", 50)
    pairs = list(zip(trial.features, trial.labels.tolist(), strict=True))
    right = sum(example.named(model, *pair) for pair in pairs)
    assert right >= 45
    moved = list(zip(np.roll(trial.features, 1, axis=0), trial.labels.tolist(), strict=True))
    assert sum(example.named(model, *pair) for pair in moved) <= 15
    assert example.proof(model, trial.features[0], [10, 65, 66]).clean
