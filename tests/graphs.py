"""Random small float graphs for the tests of the converters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snngen.converters.graph import Graph
from snngen.converters.operations import (
    Add,
    Attention,
    Embedding,
    Floats,
    Gate,
    GroupNorm,
    Linear,
    Pointwise,
    Position,
    Products,
    RMSNorm,
    Rotary,
    Scale,
)  # fmt: skip

VOCABULARY, CONTEXT = 23, 24
DIM, HIDDEN, HEADS, GROUPS, WIDTH = 16, 40, 4, 2, 8


def random_llama(seed: int = 0, layers: int = 2, biased: bool = True) -> Graph:
    """A LLaMA with random weights and, if `biased`, a random bias on every linear map, head and projections included.

    Biases are as large as what the weights make of a normed input, so that one in the wrong place is no small error.
    """
    generator = np.random.default_rng(seed)

    def linear(outputs: int, inputs: int) -> Linear:
        weight = generator.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        bias = generator.normal(0, 1, outputs).astype(np.float32)
        return Linear(weight, bias if biased else None)

    def norm() -> RMSNorm:
        return RMSNorm(generator.uniform(0.3, 2, DIM).astype(np.float32), 1e-5)

    frequencies = 100.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    graph = Graph(VOCABULARY, CONTEXT)
    embedding: Floats = generator.normal(0, 1, (VOCABULARY, DIM)).astype(np.float32)
    stream = graph.add("embedding", Embedding(embedding), "tokens")
    for layer in range(layers):
        at = f"layer{layer}"
        normed = graph.add(f"{at}.norm", norm(), stream)
        query = graph.add(f"{at}.query", linear(HEADS * WIDTH, DIM), normed)
        key = graph.add(f"{at}.key", linear(GROUPS * WIDTH, DIM), normed)
        value = graph.add(f"{at}.value", linear(GROUPS * WIDTH, DIM), normed)
        query = graph.add(f"{at}.turned_query", Rotary(HEADS, frequencies), query)
        key = graph.add(f"{at}.turned_key", Rotary(GROUPS, frequencies), key)
        mixed = graph.add(f"{at}.attention", Attention(HEADS, GROUPS), query, key, value)
        out = graph.add(f"{at}.attention_out", linear(DIM, HEADS * WIDTH), mixed)
        stream = graph.add(f"{at}.attended", Add(), stream, out)
        normed = graph.add(f"{at}.feed_norm", norm(), stream)
        gate = graph.add(f"{at}.gate", linear(HIDDEN, DIM), normed)
        up = graph.add(f"{at}.up", linear(HIDDEN, DIM), normed)
        gated = graph.add(f"{at}.gated", Gate("silu"), gate, up)
        out = graph.add(f"{at}.feed_out", linear(DIM, HIDDEN), gated)
        stream = graph.add(f"{at}.fed", Add(), stream, out)
    normed = graph.add("norm", norm(), stream)
    graph.add("logits", linear(VOCABULARY, DIM), normed)
    return graph


def float_graph(kind: str) -> Graph:
    """A small model of random weights: a norm of a kind, a feed-forward and attention of a kind, logits."""
    dim, hidden, vocabulary, context, heads = 16, 24, 12, 16, 2
    generator = np.random.default_rng(5)

    def values(*shape: int) -> Floats:
        return generator.normal(size=shape).astype(np.float32)

    def linear(outputs: int, inputs: int) -> Linear:
        return Linear(values(outputs, inputs) / np.float32(np.sqrt(inputs)), values(outputs) / 4)

    graph = Graph(vocabulary, context)
    stream = graph.add("embedding", Embedding(values(vocabulary, dim)), "tokens")
    if kind != "plain":
        place = graph.add("position", Position(values(context, dim) / 2), "tokens")
        stream = graph.add("placed", Add(), stream, place)
    normed = graph.add("norm", GroupNorm(values(dim), values(dim), 1e-5, 2 if kind == "blocks" else 1), stream)
    query, key, value = (graph.add(name, linear(dim, dim), normed) for name in ("query", "key", "value"))
    ones = np.ones(dim, np.float32)
    if kind == "blocks":  # norms per head
        query = graph.add("query_code", GroupNorm(values(dim), None, 1e-5, heads, centred=False), query)
        key = graph.add("key_code", GroupNorm(values(dim), None, 1e-5, heads, centred=False), key)
        query, key = (
            graph.add(f"turned_{name}", Rotary(heads, 100.0 ** -np.arange(0, 1, 0.25)), name) for name in (query, key)
        )
    else:
        query, key = (graph.add(f"{name}_code", Scale((ones,)), name) for name in (query, key))
    mixed = graph.add("attention", Attention(heads, heads, 0.5), query, key, value)
    out = graph.add("out", linear(dim, dim), mixed)
    stream = graph.add("attended", Add(), stream, out)
    normed = graph.add("feed_norm", GroupNorm(values(dim), values(dim), 1e-5), stream)
    up = graph.add("up", linear(hidden, dim), normed)
    active = graph.add("active", Pointwise("relu" if kind == "plain" else "gelu_tanh"), up)
    if kind == "products":
        other = graph.add("other", linear(hidden, dim), normed)
        active = graph.add("product", Products((values(hidden), None)), active, other, other, up)
    down = graph.add("down", linear(dim, hidden), active)
    stream = graph.add("fed", Add(), stream, down)
    last = graph.add("last", GroupNorm(values(dim), None, 1e-5), stream)
    graph.add("logits", Linear(values(vocabulary, dim)), last)
    return graph


def random_tokens(sequences: int, tokens: int = CONTEXT, seed: int = 0) -> npt.NDArray[np.int64]:
    """(sequences, tokens) token numbers."""
    return np.random.default_rng(seed).integers(VOCABULARY, size=(sequences, tokens))
