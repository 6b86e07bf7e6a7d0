"""Networks of LLaMA's shape with random weights: their structure, the share of their codes, and that they are exact."""

from __future__ import annotations

import numpy as np
import pytest

from snngen import reference
from snngen.certificate import certify
from snngen.engines.settled import SettledEngine
from snngen.errors import NetworkError
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network
from snngen.synapses.dense import Dense
from snngen.synthetic import SHAPES, Shape, llama, weighed_share

SMALL = Shape(dim=64, hidden=172, layers=5, heads=8, kv_heads=4, vocabulary=512)  # stories260K's
TINY = Shape(dim=32, hidden=80, layers=2, heads=4, kv_heads=1, vocabulary=50)


def matrices(network: Network) -> list[Dense]:
    return [p.synapse for p in network.projections if isinstance(p.synapse, Dense)]


def run(network: Network, tokens: int) -> Ledger:
    engine, ledger = SettledEngine(network), Ledger(network)
    for token in np.random.default_rng(7).integers(network.vocabulary, size=tokens):
        engine.step(int(token))
        ledger.record(GENERATE, *engine.counted())
    return ledger


def test_the_structure_is_that_of_a_converted_llama(stories: Network) -> None:
    network = llama(SMALL, context=512)
    assert [(p.name, p.neuron.kind, p.size, p.neuron.range) for p in network.populations] == [
        (p.name, p.neuron.kind, p.size, p.neuron.range) for p in stories.populations
    ]

    def described(network: Network) -> set[tuple[str, str, str | None, int, int, int]]:
        return {
            (p.name, p.synapse.kind, p.writer, p.synapse.source_size, p.synapse.target_size, p.synapse.weight_bytes)
            for p in network.projections
        }

    assert described(network) == described(stories)
    assert len(network.projections) == len(stories.projections)
    assert (network.output, network.context) == (stories.output, stories.context)


@pytest.mark.parametrize("share", [0.98, 0.4])
def test_the_share_of_non_zero_codes_is_the_one_asked_for(share: float) -> None:
    shape = Shape(dim=96, hidden=256, layers=3, heads=3, kv_heads=3, vocabulary=1000)
    assert weighed_share(run(llama(shape, share, context=128), 64)) == pytest.approx(share, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.98, 0.4])
def test_at_15m_the_share_is_within_a_percentage_point(share: float) -> None:
    assert weighed_share(run(llama(SHAPES["15M"], share), 64)) == pytest.approx(share, abs=0.01)


def test_the_share_counts_codes_that_meet_weights_and_no_tokens() -> None:
    network = llama(TINY, 0.5, context=16)
    tokens = np.arange(10)
    ledger = Ledger(network)
    assert certify(network, tokens, ledger=ledger).clean
    codes = reference.run(network, tokens)
    names = [f"layer{layer}.{part}" for layer in (0, 1) for part in ("norm", "attention", "feed_norm", "gated")]
    met = np.concatenate([codes[name].ravel() for name in [*names, "norm"]])
    assert weighed_share(ledger) == np.count_nonzero(met) / met.size


@pytest.mark.parametrize("share", [0.98, 0.4, 0.02])
@pytest.mark.parametrize("shape", [SMALL, TINY], ids=["small", "tiny"])
def test_the_engine_computes_what_the_reference_says(shape: Shape, share: float) -> None:
    network = llama(shape, share, seed=3, context=40)
    certificate = certify(network, np.random.default_rng(1).integers(shape.vocabulary, size=40))
    certificate.require()
    assert certificate.tokens == 40


def test_nothing_is_held_to_a_limit_that_would_hide_it() -> None:
    """The residual stream stays inside what a norm reads, and few codes are clipped."""
    network = llama(SMALL, 0.98, context=64)
    codes = reference.run(network, np.random.default_rng(2).integers(SMALL.vocabulary, size=64))
    for name, values in codes.items():
        if name.endswith(("attended", "fed", "embedding")):
            assert np.abs(values).max() < 2**23
        if name.endswith(("norm", "query", "key", "value", "attention", "gate", "up")):
            assert (np.abs(values) == network.bound(name)).mean() < 0.01


def test_weights_lie_in_one_aligned_buffer_and_nobody_changes_them() -> None:
    network = llama(TINY)
    found = matrices(network)
    assert len(found) == 2 + 7 * TINY.layers
    assert sum(synapse.weight_bytes for synapse in found) == TINY.weights
    assert len({id(synapse.matrix.base) for synapse in found}) == 1
    for synapse in found:
        assert synapse.matrix.ctypes.data % 64 == 0
        assert not synapse.matrix.flags.writeable
    assert np.shares_memory(SettledEngine(network).tables.weights, found[0].matrix)  # so the engine copies nothing


def test_weights_are_uniform() -> None:
    weights = np.concatenate([synapse.matrix.ravel() for synapse in matrices(llama(SMALL))])
    counts = np.bincount(weights.astype(np.int64) + 128, minlength=256)
    expected = weights.size / 255
    assert counts[0] == 0
    assert (np.abs(counts[1:] - expected) < 6 * np.sqrt(expected)).all()


def test_a_seed_decides_all() -> None:
    assert llama(TINY, seed=4).digest == llama(TINY, seed=4).digest != llama(TINY, seed=5).digest


@pytest.mark.parametrize(("name", "millions"), [("15M", 24.4), ("110M", 134.1), ("1.1B", 1100.0)])
def test_shapes_have_the_sizes_of_their_names(name: str, millions: float) -> None:
    """24.4M and 134.1M: the embedding is a matrix of its own here, in those models it is the head too."""
    assert SHAPES[name].weights / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(("share", "context"), [(0.0, 8), (1.0, 8), (-0.1, 8), (float("nan"), 8), (0.5, 0)])
def test_a_share_that_codes_cannot_have_is_refused(share: float, context: int) -> None:
    with pytest.raises(NetworkError, match=r"share .*expected share 0\.01\.\.0\.99, context >= 1"):
        llama(TINY, share, context=context)


@pytest.mark.parametrize(
    "sizes", [(30, 80, 2, 4, 1, 50), (32, 80, 2, 4, 3, 50), (32, 0, 2, 4, 1, 50), (4, 8, 1, 4, 1, 9)]
)
def test_sizes_that_do_not_divide_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(NetworkError, match="Shape"):
        Shape(*sizes)


def test_drives_beyond_32_bits_are_refused() -> None:
    deep = Shape(dim=2, hidden=2048, layers=130, heads=1, kv_heads=1, vocabulary=2)
    with pytest.raises(NetworkError, match=r"a drive of up to \d+; expected at most 2147483647"):
        llama(deep, context=4)
