"""Calibration: every value has its role, ranges hold what was seen, and the choice is what held-out sequences say."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from graphs import GROUPS, HEADS, HIDDEN, VOCABULARY, WIDTH, random_llama, random_tokens

from snngen.converters.calibrate import BLENDS, DEFAULT, HEADROOMS, WIDE_HEADROOM, Ranges, calibrate
from snngen.converters.coding import role
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Add, Embedding, Floats, Linear, RMSNorm
from snngen.converters.settings import Settings

HIGH = 127
ROLES = {
    "norm": "rmsnorm", "query": "unturned", "key": "unturned", "value": "value", "turned_query": "query",
    "turned_key": "key", "attention": "attention", "attention_out": None, "attended": None, "feed_norm": "rmsnorm",
    "gate": "gate_in", "up": "gate_value", "gated": "gate", "feed_out": None, "fed": None, "embedding": None,
    "logits": None,
}  # fmt: skip
CHOSEN = {"rmsnorm", "query", "key", "value", "attention", "gate"}


def by_name(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.nodes}


def values_of(graph: Graph, tokens: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Every value of the graph on one sequence: (tokens, channels)."""
    values: dict[str, Floats] = {}

    def keep(name: str, value: Floats) -> Floats:
        values[name] = value[0]
        return value

    graph.run(tokens[None], transform=keep)
    return values


def test_every_node_has_its_role() -> None:
    graph = random_llama(layers=2)
    for node in graph.nodes:
        assert role(graph, node) == ROLES[node.name.rsplit(".", 1)[-1]], node.name


def test_roles_follow_from_who_reads() -> None:
    """The same operation is a code where a synapse reads it and a potential where the residual stream does."""
    square = Linear(np.eye(3, dtype=np.float32))
    graph = Graph(3, 4)
    stream = graph.add("embedding", Embedding(np.eye(3, dtype=np.float32)), "tokens")
    normed = graph.add("norm", RMSNorm(np.ones(3, np.float32), 1e-5), stream)
    inner = graph.add("inner", square, normed)
    onto = graph.add("onto", square, inner)
    both = graph.add("both", square, inner)
    graph.add("sum", Add(), stream, onto)
    graph.add("after", Add(), both, both)
    graph.add("last", square, both)
    roles = {name: role(graph, node) for name, node in by_name(graph).items()}
    assert roles == {
        "embedding": None, "norm": "rmsnorm", "inner": "linear", "onto": None, "both": "linear", "sum": None,
        "after": None, "last": None,
    }  # fmt: skip


def test_peaks_are_the_largest_magnitudes() -> None:
    graph, tokens = random_llama(1), random_tokens(3)
    ranges = calibrate(graph, tokens, Settings())
    values = [values_of(graph, sequence) for sequence in tokens]
    for node in graph.nodes:
        seen = np.stack([np.abs(value[node.name]).max(axis=0) for value in values])
        np.testing.assert_array_equal(ranges.peaks[node.name], seen)
        np.testing.assert_array_equal(ranges.peak(node.name), seen.max(axis=0))
        np.testing.assert_array_equal(ranges.peak(node.name, held_out=1), seen[[0, 2]].max(axis=0))


def test_no_choice_clips_more_than_the_least_headroom() -> None:
    """Whatever is chosen, what calibration saw fits, but for the tenth that the narrowest headroom may cut."""
    graph, tokens = random_llama(2), random_tokens(4)
    ranges = calibrate(graph, tokens, Settings())
    for node in graph.nodes:
        kind = role(graph, node)
        if kind is not None:
            assert (ranges.range(node) >= min(HEADROOMS) * ranges.peak(node.name) * 0.999).all(), node.name


def test_what_codes_share_is_shared() -> None:
    """A table serves all gates, a rotation a pair, a score all channels of a head."""
    graph, tokens = random_llama(3), random_tokens(3)
    ranges, nodes = calibrate(graph, tokens, Settings()), by_name(graph)
    gate = ranges.range(nodes["layer0.gate"])
    np.testing.assert_array_equal(gate, np.full(HIDDEN, ranges.peak("layer0.gate").max() * WIDE_HEADROOM))
    for name, count in (("query", HEADS), ("key", GROUPS)):
        pairs = ranges.range(nodes[f"layer1.{name}"]).reshape(count, 2, -1)
        np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    query = ranges.range(nodes["layer1.turned_query"]).reshape(HEADS, WIDTH)
    key = ranges.range(nodes["layer1.turned_key"]).reshape(GROUPS, WIDTH).repeat(HEADS // GROUPS, axis=0)
    worth = query * key
    np.testing.assert_allclose(worth, np.broadcast_to(worth[:, :1], worth.shape), rtol=1e-12)
    assert np.unique(key[0]).size > 1  # the ranges of keys do differ by channel, so the law above says something


def test_the_choice_is_the_best_on_held_out_sequences() -> None:
    """For each role: recomputed here for every option, with ranges from the other sequences alone."""
    graph, tokens = random_llama(4, layers=1), random_tokens(3, tokens=10)
    ranges = calibrate(graph, tokens, Settings())
    assert set(ranges.choices) == set(ranges.divergences) == CHOSEN
    for kind in sorted(CHOSEN):
        nodes = [node for node in graph.nodes if role(graph, node) == kind]
        blends = (0.0,) if kind == "query" else BLENDS
        costs = {}
        for option in product(blends, HEADROOMS):
            parts = []
            for index, sequence in enumerate(tokens):
                units = {node.name: ranges.range(node, option, held_out=index) / HIGH for node in nodes}
                parts.append(divergence(graph, sequence, units))
            costs[option] = float(np.mean(parts))
        assert ranges.divergences[kind] == pytest.approx(min(costs.values()), rel=1e-5)
        assert costs[ranges.choices[kind]] == pytest.approx(min(costs.values()), rel=1e-5)
        assert max(costs.values()) > 1.05 * min(costs.values()), kind  # there was something to choose


def divergence(graph: Graph, sequence: npt.NDArray[np.int64], units: dict[str, npt.NDArray[np.float64]]) -> float:
    """Kullback-Leibler divergence per token of the predictions with some values coded, in plain loops."""

    def code(name: str, value: Floats) -> Floats:
        if name not in units:
            return value
        unit = units[name].astype(np.float32)
        return np.clip(np.round(value / unit), -HIGH, HIGH).astype(np.float32) * unit

    right, coded = (graph.run(sequence[None], transform=how)[0].astype(np.float64) for how in (None, code))
    total = 0.0
    for x, y in zip(right, coded, strict=True):
        p, q = np.exp(x - x.max()), np.exp(y - y.max())
        p, q = p / p.sum(), q / q.sum()
        total += float((p * np.log(p / q)).sum())
    return total / len(right)


def outlier(strength: float) -> tuple[Graph, npt.NDArray[np.int64]]:
    """A model whose last token, and none else, drives the gated values in a direction of its own; sequence 2 has it."""
    graph = random_llama(5, layers=1, biased=False)
    tokens = random_tokens(4) % (VOCABULARY - 1)
    tokens[2, 5] = VOCABULARY - 1
    for index, node in enumerate(graph.nodes):
        operation = node.operation
        if node.name not in ("embedding", "layer0.attention_out", "layer0.up"):
            continue
        assert isinstance(operation, Embedding | Linear)
        weight = operation.weight.copy()
        if node.name == "embedding":
            weight[:, 0] = 0  # channel 0 of the stream is that token's
            weight[-1] = 0
            weight[-1, 0] = 4
        elif node.name == "layer0.attention_out":
            weight[0] = 0
        else:
            weight[:, 0] *= strength
        graph.nodes[index] = Node(node.name, type(operation)(weight), node.inputs)
    return graph, tokens


def test_an_outlier_of_one_sequence_is_not_clipped_away() -> None:
    graph, tokens = outlier(60.0)
    node = by_name(graph)["layer0.gated"]
    ranges, without = (calibrate(graph, some, Settings()) for some in (tokens, np.delete(tokens, 2, axis=0)))
    seen = np.abs(values_of(graph, tokens[2])["layer0.gated"]).max(axis=0)
    far = seen > 2 * without.range(node)
    assert far.any()  # ranges from the other sequences would cut it in half
    assert (ranges.range(node) >= 0.9 * seen).all()
    # Held out, it is clipped, and that has its price; the choice then leaves more room than it would without it.
    assert ranges.divergences["gate"] > 3 * without.divergences["gate"]
    assert (ranges.range(node, held_out=2)[far] > ranges.range(node, without.choices["gate"], held_out=2)[far]).all()


def test_a_single_sequence_takes_the_default() -> None:
    graph = random_llama(6)
    ranges, node = calibrate(graph, random_tokens(1), Settings()), by_name(graph)["layer0.gated"]
    assert ranges.choices == {}
    assert ranges.divergences == {}
    np.testing.assert_allclose(ranges.range(node), ranges.peak(node.name) * DEFAULT[1])


def test_a_dead_channel_has_a_range_all_the_same() -> None:
    graph = random_llama(7, layers=1, biased=False)
    for index, node in enumerate(graph.nodes):
        if node.name == "layer0.up" and isinstance(node.operation, Linear):
            weight = node.operation.weight.copy()
            weight[3] = 0
            graph.nodes[index] = Node(node.name, Linear(weight), node.inputs)
    ranges, nodes = calibrate(graph, random_tokens(2), Settings()), by_name(graph)
    for name in ("layer0.up", "layer0.gated"):
        assert ranges.peaks[name][:, 3].max() == 0
        assert 0 < ranges.range(nodes[name])[3] < ranges.range(nodes[name]).max()


def test_progress_counts_every_trial() -> None:
    told: list[tuple[int, int]] = []
    calibrate(random_llama(0, layers=1), random_tokens(2, tokens=4), Settings(), lambda *done: told.append(done))
    total = len(BLENDS) * len(HEADROOMS) * (len(CHOSEN) - 1) + len(HEADROOMS)
    assert told == [(count, total) for count in range(1, total + 1)]


def test_a_choice_widens_as_it_says() -> None:
    graph, tokens = random_llama(8), random_tokens(2)
    ranges = calibrate(graph, tokens, Settings())
    assert isinstance(ranges, Ranges)
    for name in ("layer0.norm", "layer0.value", "layer0.gated", "layer1.turned_key"):
        node = by_name(graph)[name]
        narrow, wide = ranges.range(node, (0.0, 1.0)), ranges.range(node, (0.0, 2.0))
        np.testing.assert_allclose(wide, 2 * narrow)
        blended = ranges.range(node, (0.5, 1.0))
        assert (blended >= narrow * (1 - 1e-12)).all()
        assert blended.max() / blended.min() < narrow.max() / narrow.min()
