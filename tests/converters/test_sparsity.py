"""Sparsity: the shares are those of the reference's codes and of the weights as they are."""

from __future__ import annotations

import json

import numpy as np
from graphs import CONTEXT, GROUPS, HEADS, random_llama, random_tokens

from snngen import reference
from snngen.converters.pruning import prune_weights
from snngen.converters.quantize import Settings, quantize
from snngen.converters.sparsity import compared, sparsity

TOKENS = random_tokens(1)[0].tolist()


def test_shares_are_those_of_the_reference() -> None:
    network = quantize(random_llama(1), random_tokens(2))
    codes = reference.run(network, TOKENS)
    for row in sparsity(network, TOKENS):
        nonzero = codes[row.population] != 0
        np.testing.assert_allclose(row.neurons, nonzero.mean(axis=0))
        assert row.silent == np.mean(~nonzero.any(axis=0))
        if "probability" not in row.population:
            assert row.active == nonzero.mean()


def test_heads_are_told_apart() -> None:
    network = quantize(random_llama(2), random_tokens(2))
    codes = reference.run(network, TOKENS)
    rows = {row.population: row for row in sparsity(network, TOKENS)}
    mixed = codes["layer0.attention"] != 0
    np.testing.assert_allclose(rows["layer0.attention"].heads, mixed.reshape(len(TOKENS), HEADS, -1).mean(axis=(0, 2)))
    assert len(rows["layer0.turned_key"].heads) == GROUPS
    scores = (codes["layer0.attention_probability"] != 0).reshape(len(TOKENS), HEADS, CONTEXT)
    possible = len(TOKENS) * (len(TOKENS) + 1) / 2
    np.testing.assert_allclose(rows["layer0.attention_probability"].heads, scores.sum(axis=(0, 2)) / possible)
    assert rows["layer0.gated"].heads == ()


def test_pruning_shows_before_and_after() -> None:
    graph = random_llama(3)
    before = sparsity(quantize(graph, random_tokens(2)), TOKENS)
    pruned = quantize(prune_weights(graph, 0.25), random_tokens(2), Settings(sparse_below=0.9))
    table = {row["population"]: row for row in compared(before, sparsity(pruned, TOKENS))}
    for name in ("layer0.gate", "layer1.fed", "logits"):
        was, is_now = table[name]["weights"]
        assert was > 0.95
        assert 0.2 < is_now <= 0.25
        was, is_now = table[name]["operations"]
        assert is_now < 0.5 * was
    assert table["layer0.norm"]["weights"] == (1.0, 1.0)


def test_rows_are_plain_numbers() -> None:
    rows = [row.as_dict(neurons=False) for row in sparsity(quantize(random_llama(4), random_tokens(2)), TOKENS)]
    assert json.loads(json.dumps(rows))[0]["population"] == "token"
    assert "neurons" not in rows[0]
