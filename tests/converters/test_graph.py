"""The float graph: each operation against its formula in plain loops, and a sequence in pieces against it at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.converters.graph import Cache, Graph
from snngen.converters.operations import Add, Attention, Embedding, Floats, Gate, Linear, RMSNorm, Rotary, silu
from snngen.errors import CapacityError, UnsupportedError

VOCABULARY, CONTEXT, DIM, HIDDEN, HEADS, GROUPS, WIDTH = 13, 12, 12, 20, 6, 2, 4


def random_graph(seed: int = 0) -> Graph:
    """One LLaMA layer with random weights and biases."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> Floats:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    frequencies = 10.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    graph = Graph(VOCABULARY, CONTEXT)
    stream = graph.add("embedding", Embedding(normal(VOCABULARY, DIM)), "tokens")
    normed = graph.add("norm", RMSNorm(1 + normal(DIM), 1e-5), stream)
    query = graph.add("query", Linear(normal(HEADS * WIDTH, DIM), normal(HEADS * WIDTH)), normed)
    key = graph.add("key", Linear(normal(GROUPS * WIDTH, DIM)), normed)
    value = graph.add("value", Linear(normal(GROUPS * WIDTH, DIM)), normed)
    query = graph.add("turned_query", Rotary(HEADS, frequencies), query)
    key = graph.add("turned_key", Rotary(GROUPS, frequencies), key)
    mixed = graph.add("attention", Attention(HEADS, GROUPS), query, key, value)
    out = graph.add("attention_out", Linear(normal(DIM, HEADS * WIDTH)), mixed)
    stream = graph.add("attended", Add(), stream, out)
    gate = graph.add("gate", Linear(normal(HIDDEN, DIM)), stream)
    up = graph.add("up", Linear(normal(HIDDEN, DIM)), stream)
    gated = graph.add("gated", Gate("silu"), gate, up)
    graph.add("logits", Linear(normal(VOCABULARY, HIDDEN)), gated)
    return graph


def random_tokens(batch: int, tokens: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(VOCABULARY, size=(batch, tokens))


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, CONTEXT - 1)), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_pieces_with_a_cache_equal_the_whole_sequence(cuts: set[int], batch: int, seed: int) -> None:
    graph, tokens = random_graph(seed), random_tokens(batch, CONTEXT, seed)
    edges = [0, *sorted(cuts), CONTEXT]
    cache: Cache = {}
    pieces = [graph.run(tokens[:, first:last], first, cache) for first, last in pairwise(edges)]
    whole = graph.run(tokens)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=0, atol=1e-5 * float(np.abs(whole).max()))


def test_a_later_token_changes_nothing_before_it() -> None:
    graph, tokens = random_graph(), random_tokens(1, CONTEXT)
    changed = tokens.copy()
    changed[:, 7:] = (changed[:, 7:] + 1) % VOCABULARY
    before, after = graph.run(tokens), graph.run(changed)
    np.testing.assert_allclose(after[:, :7], before[:, :7], rtol=0, atol=1e-6)
    assert np.abs(after[:, 7:] - before[:, 7:]).max() > 0.1


def test_rows_of_a_batch_do_not_mix() -> None:
    graph, tokens = random_graph(), random_tokens(3, CONTEXT)
    rows = np.concatenate([graph.run(row[None]) for row in tokens])
    np.testing.assert_allclose(graph.run(tokens), rows, rtol=0, atol=1e-5)


def test_attention_is_softmax_over_the_past_of_its_own_group() -> None:
    generator = np.random.default_rng(1)
    query = generator.normal(size=(2, 5, HEADS * WIDTH)).astype(np.float32)
    key, value = generator.normal(size=(2, 2, 5, GROUPS * WIDTH)).astype(np.float32)
    mixed = Attention(HEADS, GROUPS).run([query, key, value], 0, {})
    for batch, token, head in np.ndindex(2, 5, HEADS):
        own = slice(head * WIDTH, (head + 1) * WIDTH)
        group = head // (HEADS // GROUPS)
        shared = slice(group * WIDTH, (group + 1) * WIDTH)
        scores = [float(query[batch, token, own] @ key[batch, past, shared]) / WIDTH**0.5 for past in range(token + 1)]
        powers = np.exp(scores)
        expected = powers / powers.sum() @ value[batch, : token + 1, shared]
        np.testing.assert_allclose(mixed[batch, token, own], expected, rtol=0, atol=1e-5)


def test_rotary_turns_each_pair_by_its_position() -> None:
    x = np.random.default_rng(2).normal(size=(1, 5, 2 * WIDTH)).astype(np.float32)
    frequencies = np.array([1.0, 0.1])
    turned = Rotary(2, frequencies).run([x], 3, {})
    for token, head, pair in np.ndindex(5, 2, WIDTH // 2):
        first, second = head * WIDTH + pair, head * WIDTH + pair + WIDTH // 2
        expected = complex(x[0, token, first], x[0, token, second]) * np.exp(1j * (token + 3) * frequencies[pair])
        got = complex(turned[0, token, first], turned[0, token, second])
        assert abs(got - expected) < 1e-5


def test_scores_of_turned_queries_and_keys_depend_on_their_distance_only() -> None:
    query, key = np.random.default_rng(3).normal(size=(2, 1, 1, WIDTH)).astype(np.float32)
    rotary = Rotary(1, np.array([1.0, 0.1]))

    def score(at_query: int, at_key: int) -> float:
        turned = rotary.run([query], at_query, {})[0, 0], rotary.run([key], at_key, {})[0, 0]
        return float(turned[0] @ turned[1])

    assert score(7, 4) == pytest.approx(score(103, 100), abs=1e-5)
    assert score(7, 4) != pytest.approx(score(7, 5), abs=1e-3)


def test_rms_norm_is_its_formula() -> None:
    x = np.random.default_rng(4).normal(size=(2, 3, DIM)).astype(np.float32)
    weight = np.linspace(0.5, 2, DIM).astype(np.float32)
    for row, normed in zip(x.reshape(-1, DIM), RMSNorm(weight, 0.1).run([x], 0, {}).reshape(-1, DIM), strict=True):
        mean = sum(float(value) ** 2 for value in row) / DIM
        np.testing.assert_allclose(normed, weight * row / (mean + 0.1) ** 0.5, rtol=1e-6)


def test_silu_is_finite_and_right_where_exp_would_overflow() -> None:
    x = np.array([-1e20, -100, -1, 0, 1, 100, 1e20], np.float32)
    expected = [0, 0, -1 / (1 + np.e), 0, 1 / (1 + 1 / np.e), 100, 1e20]
    np.testing.assert_allclose(silu(x), expected, rtol=1e-6, atol=1e-12)


def test_transform_sees_every_value_and_its_answer_goes_on() -> None:
    graph, tokens = random_graph(), random_tokens(1, 4)
    seen: dict[str, tuple[int, ...]] = {}

    def double_norm(name: str, value: Floats) -> Floats:
        seen[name] = value.shape
        return 2 * value if name == "norm" else value

    changed = graph.run(tokens, transform=double_norm)
    assert list(seen) == [node.name for node in graph.nodes]
    assert seen["gated"] == (1, 4, HIDDEN)
    assert np.abs(changed - graph.run(tokens)).max() > 0.01


def test_consumers_are_the_nodes_that_read_a_value() -> None:
    graph = random_graph()
    assert [node.name for node in graph.consumers("norm")] == ["query", "key", "value"]
    assert graph.consumers("logits") == []


@pytest.mark.parametrize(("start", "tokens"), [(0, CONTEXT + 1), (CONTEXT, 1)])
def test_a_sequence_beyond_the_context_is_refused(start: int, tokens: int) -> None:
    with pytest.raises(CapacityError, match=f"at most {CONTEXT}"):
        random_graph().run(random_tokens(1, tokens), start)


@pytest.mark.parametrize(("name", "inputs"), [("norm", ("tokens",)), ("new", ("unknown",)), ("tokens", ())])
def test_a_node_needs_a_new_name_and_known_inputs(name: str, inputs: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedError, match=name):
        random_graph().add(name, Add(), *inputs)


@pytest.mark.parametrize("first", [None, 5])
def test_samples_repeat_with_their_seed_and_follow_the_model(first: int | None) -> None:
    graph = random_graph()
    tokens = graph.sample(4, CONTEXT, seed=7, first=first)
    assert tokens.shape == (4, CONTEXT)
    assert tokens.min() >= 0
    assert tokens.max() < VOCABULARY
    assert first is None or (tokens[:, 0] == first).all()
    np.testing.assert_array_equal(tokens, graph.sample(4, CONTEXT, seed=7, first=first))
    assert (tokens != graph.sample(4, CONTEXT, seed=8, first=first)).any()


def test_samples_have_the_frequencies_of_the_softmax() -> None:
    graph = random_graph()
    draws: dict[str, Any] = {"count": 4000, "length": 2, "seed": 1}
    second = graph.sample(**draws, first=3)[:, 1]
    logits = graph.run(np.array([[3]]))[0, 0].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum()
    frequencies = np.bincount(second, minlength=VOCABULARY) / len(second)
    np.testing.assert_allclose(frequencies, expected, rtol=0, atol=0.035)  # over four standard deviations
