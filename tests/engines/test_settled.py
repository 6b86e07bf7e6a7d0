"""The settled engine equals the reference, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import feed_forward, random_decoder, random_recurrent, random_transformer

import snngen
from snngen import reference
from snngen.engines.settled import SettledEngine
from snngen.errors import CapacityError, PromptError
from snngen.network import Network


def assert_equal(network: Network, tokens: list[int]) -> None:
    certificate = snngen.certify(network, tokens)
    assert certificate.clean, str(certificate)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    layers=st.integers(1, 3),
    groups=st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2)]),
    width=st.sampled_from([2, 4, 6]),
    dim=st.integers(1, 9),
    hidden=st.integers(1, 13),
)
def test_random_networks_of_every_population_kind(seed, layers, groups, width, dim, hidden) -> None:
    heads, keys = groups
    network = random_transformer(seed, layers, dim=dim, heads=heads, groups=keys, width=width, hidden=hidden)
    tokens = np.random.default_rng(seed).integers(0, network.vocabulary, 9).tolist()
    assert_equal(network, tokens)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(6, 2), (4, 1), (8, 4)]))
def test_random_recurrent_networks(seed: int, shape: tuple[int, int]) -> None:
    network = random_recurrent(seed, dim=shape[0], heads=shape[1])
    assert_equal(network, np.random.default_rng(seed).integers(0, network.vocabulary, 9).tolist())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_decoders(seed: int) -> None:
    network = random_decoder(seed)
    assert_equal(network, np.random.default_rng(seed).integers(0, network.vocabulary, 6).tolist())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_random_feed_forward_networks(seed: int, sizes: list[int]) -> None:
    network = feed_forward(seed, tuple(sizes))
    inputs = np.random.default_rng(seed).integers(-7, 8, (4, sizes[0]))
    expected = reference.run(network, {"input": inputs})
    engine = SettledEngine(network)
    for index, row in enumerate(inputs):
        engine.step(codes={"input": row})
        for population in network.populations:
            assert engine.codes(population.name).tolist() == expected[population.name][index].tolist()


@pytest.mark.parametrize("build", [random_transformer, random_recurrent, random_decoder])
def test_leaving_out_what_is_not_read_changes_nothing_later(build) -> None:
    network = build(5)
    tokens = [3, 1, 4, 1, 5, 8]
    whole, sparing = SettledEngine(network), SettledEngine(network)
    for token in tokens:
        whole.step(token)
    for token in tokens[:-1]:
        sparing.step(token, read=False)
    if build is random_transformer:
        assert sparing.counts[sparing._settlings[-1]].sum() == 0  # the logits were not computed
    sparing.step(tokens[-1])
    for population in network.populations:
        assert whole.codes(population.name).tolist() == sparing.codes(population.name).tolist()


def test_tokens_after_codes_leave_nothing_behind() -> None:
    network = random_transformer(6)
    engine, plain = SettledEngine(network), SettledEngine(network)
    hot = np.zeros(network.vocabulary, dtype=np.int64)
    hot[[1, 4]] = 1
    engine.step(codes={"token": hot})
    for token in (3, 5):
        engine.step(token)
        assert np.flatnonzero(engine.codes("token")).tolist() == [token]
    engine.reset()
    for token in (3, 5):
        engine.step(token)
        plain.step(token)
        assert engine.counts.tolist() == plain.counts.tolist()


@pytest.mark.parametrize("build", [random_transformer, random_recurrent, random_decoder])
def test_reset_forgets_everything(build) -> None:
    network = build(6)
    engine = SettledEngine(network)
    outputs = []
    for _ in range(2):
        for token in (1, 2, 3):
            engine.step(token)
        outputs.append(engine.output.tolist())
        engine.reset()
    assert outputs[0] == outputs[1]


def test_full_context_and_foreign_tokens_are_refused() -> None:
    network = random_transformer(7, context=3)
    engine = SettledEngine(network)
    for token in (0, 1, 2):
        engine.step(token)
    with pytest.raises(CapacityError, match="at most 3"):
        engine.step(0)
    engine.reset()
    for wrong in (-1, network.vocabulary):
        with pytest.raises(PromptError, match=str(wrong)):
            engine.step(wrong)


def test_bad_codes_are_refused() -> None:
    engine = SettledEngine(feed_forward(1))
    for codes in ({}, {"input": np.zeros(4, int)}, {"input": np.full(5, 9)}, {"input": np.zeros(5)}):
        with pytest.raises(PromptError):
            engine.step(codes=codes)


@pytest.mark.parametrize("fixture", ["stories", "shakespeare"])
def test_real_models_over_the_whole_context(fixture: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(fixture)
    run = snngen.generate(network, "Once", max_new_tokens=600, temperature=1.0, seed=3, when_full="slide")
    tokens = run.tokens[:256]
    assert len(tokens) == 256
    assert_equal(network, tokens)
