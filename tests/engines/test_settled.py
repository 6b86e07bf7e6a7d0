"""The settled engine equals the reference, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import feed_forward, random_decoder, random_recurrent, random_transformer

import snngen
from snngen import reference
from snngen.engines import settled
from snngen.engines.settled import SettledEngine
from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed


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
        assert sparing.counted()[0][-1].sum() == 0  # the logits were not computed
    sparing.step(tokens[-1])
    for population in network.populations:
        assert whole.codes(population.name).tolist() == sparing.codes(population.name).tolist()


@pytest.mark.parametrize("build", [random_transformer, random_recurrent, random_decoder])
@pytest.mark.parametrize("length", [1, 4, 16, 33])
def test_a_prompt_by_blocks_is_a_prompt_by_tokens(build, length: int) -> None:
    """Codes, counts and all that comes later; what the output alone depends on is left out in both."""
    network = build(8, **({"context": 70} if build is random_transformer else {}))
    length = length if build is random_transformer else min(length, 8)  # what their contexts hold
    tokens = np.random.default_rng(length).integers(0, network.vocabulary, length).tolist()
    single, blocks = SettledEngine(network), SettledEngine(network)
    assert (blocks.block > 1) == (build is random_transformer)
    counts = []
    turns = 2 if build is random_transformer else 1
    for _ in range(turns):  # the second time, blocks find what the first has left
        for token in tokens:
            single.step(token, read=False)
            counts.append(single.counted())
        for expected, got in zip(counts, blocks.prefill(tokens), strict=True):
            assert [part.tolist() for part in got] == [part.tolist() for part in expected]
        counts.clear()
        for engine in (single, blocks):
            engine.step(7)
            engine.step(7)
        assert [part.tolist() for part in blocks.counted()] == [part.tolist() for part in single.counted()]
        for population in network.populations:
            assert blocks.codes(population.name).tolist() == single.codes(population.name).tolist()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled, "SHARED_BYTES", 1)  # small matrices are shared, too
    network = random_transformer(9, layers=2, dim=70, hidden=200, context=24)
    tokens = np.random.default_rng(0).integers(0, network.vocabulary, 20).tolist()
    engines = [SettledEngine(network), SettledEngine(network, threads=threads)]
    assert engines[1].tables.program[:, settled.kernel.SHARED].sum() > 5
    for engine in engines:
        assert len(list(engine.prefill(tokens[:10]))) == 10
    for token in tokens[10:]:
        for engine in engines:
            engine.step(token)
        for population in network.populations:
            assert engines[0].codes(population.name).tolist() == engines[1].codes(population.name).tolist()
        assert all(np.array_equal(a, b) for a, b in zip(*(engine.counted() for engine in engines), strict=True))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("width", [100, 2048, 4096, 4200])
def test_threads_share_rows_of_any_length(width: int, bits: int) -> None:
    """Events of rows that are read whole, columns of longer ones; codes that are few, none, or larger than a byte."""
    rng, half, sources, targets = np.random.default_rng(width), 2 ** (bits - 1), 1400, width * 8 // bits
    matrix, gain = rng.integers(-half, half, (sources, targets)), rng.integers(1, 9, targets)
    synapse = Dense(np.maximum(matrix, -127).astype(np.int8), gain) if bits == 8 else Packed.of(matrix, gain, bits)
    network = Network(
        (
            Population("input", Source(sources, -300, 300)),
            Population("output", Accumulator(rng.integers(-9, 9, targets).astype(np.int32))),
        ),
        (Projection("input", "output", synapse),),
    )
    engine = SettledEngine(network, threads=3)
    assert engine.tables.program[:, settled.kernel.SHARED].sum() == 1
    for largest, share in ((127, 0.98), (127, 0.4), (1, 0.002), (127, 0.0), (300, 0.5)):
        codes = rng.integers(-largest, largest + 1, sources) * (rng.random(sources) < share)
        expected = reference.run(network, {"input": codes[None]})["output"][0]
        engine.step(codes={"input": codes})
        assert np.array_equal(engine.output, expected)


def test_no_threads_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="1 or more"):
        SettledEngine(feed_forward(1), threads=0)


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
        assert [part.tolist() for part in engine.counted()] == [part.tolist() for part in plain.counted()]


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
