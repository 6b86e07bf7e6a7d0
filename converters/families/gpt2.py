"""The GPT-2 family: LayerNorm with biases, learned positions, one head of keys per head of queries, GELU."""

from __future__ import annotations

import math
import re

import numpy as np

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.configuration import (
    ACTIVATIONS,
    other_activation,
    positive,
    refuse,
    size,
    switch,
    unknown,
)
from snngen.converters.configuration import graph as new_graph
from snngen.converters.graph import Graph
from snngen.converters.layers import head, layer_norm
from snngen.converters.operations import Add, Attention, Embedding, Linear, Pointwise, Position, Scale
from snngen.errors import FormatError

MODEL_TYPES = ("gpt2",)

USED = {
    "vocab_size", "n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings",
    "reorder_and_upcast_attn",  # the same sums, in another order
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
}  # fmt: skip
BUFFER = re.compile(r"(^|\.)h\.\d+\.attn\.(bias|masked_bias)\Z")  # the causal mask and its filling
BARE = re.compile(r"(wte|wpe|ln_f|h\.\d+)\.")  # names in checkpoints of the model without its head


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a GPT-2 checkpoint.

    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    config = checkpoint.config
    wrong = unknown(config, USED) + other_activation(config, "activation_function", "gelu_new")
    refuse(checkpoint, wrong, "a plain GPT-2")
    dim, layers, heads = (size(checkpoint, key) for key in ("n_embd", "n_layer", "n_head"))
    hidden = size(checkpoint, "n_inner", 4 * dim)
    vocabulary, context = size(checkpoint, "vocab_size"), size(checkpoint, "n_positions")
    if dim % heads:
        raise FormatError(checkpoint.source, f"{heads} heads of {dim} channels", "an even division")
    epsilon = positive(checkpoint, "layer_norm_epsilon", config.get("layer_norm_epsilon", 1e-5))
    function = ACTIVATIONS[config.get("activation_function", "gelu_new")]
    graph = new_graph(checkpoint, vocabulary, context, _rename(checkpoint))
    embedding = checkpoint.take("transformer.wte.weight", (vocabulary, dim))
    stream = graph.add("embedding", Embedding(embedding), "tokens")
    position = graph.add("position", Position(checkpoint.take("transformer.wpe.weight", (context, dim))), "tokens")
    stream = graph.add("placed", Add(), stream, position)
    for layer in range(layers):
        at, long = f"layer{layer}", f"transformer.h.{layer}"
        normed = graph.add(f"{at}.norm", layer_norm(checkpoint, f"{long}.ln_1", dim, epsilon), stream)
        mixed = _attend(checkpoint, graph, layer, heads, normed)
        out = graph.add(f"{at}.attention_out", _convolved(checkpoint, f"{long}.attn.c_proj", dim, dim), mixed)
        stream = graph.add(f"{at}.attended", Add(), stream, out)
        normed = graph.add(f"{at}.feed_norm", layer_norm(checkpoint, f"{long}.ln_2", dim, epsilon), stream)
        up = graph.add(f"{at}.up", _convolved(checkpoint, f"{long}.mlp.c_fc", hidden, dim), normed)
        active = graph.add(f"{at}.active", Pointwise(function), up)
        out = graph.add(f"{at}.feed_out", _convolved(checkpoint, f"{long}.mlp.c_proj", dim, hidden), active)
        stream = graph.add(f"{at}.fed", Add(), stream, out)
    normed = graph.add("norm", layer_norm(checkpoint, "transformer.ln_f", dim, epsilon), stream)
    tied = switch(checkpoint, "tie_word_embeddings", True)
    graph.add("logits", head(checkpoint, "lm_head", embedding, tied), normed)
    checkpoint.require_spent()
    return graph


def _attend(checkpoint: Checkpoint, graph: Graph, layer: int, heads: int, normed: str) -> str:
    """Attention of one layer; returns its node's name."""
    at = f"layer{layer}"
    dim = size(checkpoint, "n_embd")
    fused = _convolved(checkpoint, f"transformer.h.{layer}.attn.c_attn", 3 * dim, dim)
    weights, biases = np.split(fused.weight, 3), np.split(np.asarray(fused.bias), 3)
    names = [
        graph.add(f"{at}.{kind}", Linear(np.ascontiguousarray(weight), bias), normed)
        for kind, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True)
    ]
    ones = np.ones(dim, dtype=np.float32)
    coded = [graph.add(f"{name}_code", Scale((ones,)), name) for name in names[:2]]
    scale = 1 / math.sqrt(dim // heads) if switch(checkpoint, "scale_attn_weights", True) else 1.0
    if switch(checkpoint, "scale_attn_by_inverse_layer_idx"):
        scale /= layer + 1
    return graph.add(f"{at}.attention", Attention(heads, heads, scale), *coded, names[2])


def _convolved(checkpoint: Checkpoint, name: str, outputs: int, inputs: int) -> Linear:
    """What transformers calls Conv1D: a linear map with a bias whose weight is stored inputs first."""
    weight = checkpoint.take(f"{name}.weight", (inputs, outputs))
    return Linear(np.ascontiguousarray(weight.T), checkpoint.take(f"{name}.bias", (outputs,)))


def _rename(checkpoint: Checkpoint) -> list[str]:
    """Drop the buffers of the causal mask and give bare names their prefix; returns notes."""
    tensors = checkpoint.tensors
    buffers = [name for name in tensors if BUFFER.search(name)]
    for name in buffers:
        del tensors[name]
    for name in [name for name in tensors if BARE.match(name)]:
        if (full := f"transformer.{name}") in tensors:
            raise FormatError(checkpoint.source, f"{name} and {full}", "one of them")
        tensors[full] = tensors.pop(name)
    if not buffers:
        return []
    return [f"{len(buffers)} attn.bias and attn.masked_bias buffers were dropped: attention is causal by itself"]
