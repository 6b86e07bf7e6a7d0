"""The Phi family: Phi-1 and 2 (LayerNorm, attention beside the feed-forward, partly rotary heads) and Phi-3.

Phi-3 is LLaMA with query, key and value, and gate and up, stored as one matrix each.
"""

from __future__ import annotations

import numpy as np

from snngen.converters import rotary
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
from snngen.converters.families import llama
from snngen.converters.graph import Graph
from snngen.converters.layers import head, layer_norm, linear
from snngen.converters.operations import Add, Attention, Embedding, GroupNorm, Linear, Pointwise, Rotary
from snngen.errors import FormatError

MODEL_TYPES = ("phi", "phi3")

USED = llama.SIZES - {"rms_norm_eps", "sliding_window", "head_dim"} | {"layer_norm_eps", "qk_layernorm", rotary.SHARE}
USED_3 = llama.SIZES | {"original_max_position_embeddings", rotary.SHARE}  # the former is of other rotary positions
POSITIONS = rotary.KEYS | {rotary.SHARE}


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a Phi or Phi-3 checkpoint.

    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    config = checkpoint.config
    wrong = rotary.other_positions(config, POSITIONS)
    if config.get("model_type") == "phi":
        wrong = unknown(config, USED) + other_activation(config, "hidden_act", "gelu_new") + wrong
        refuse(checkpoint, wrong, "a plain Phi")
        return _Phi(checkpoint).build()
    wrong = unknown(config, USED_3) + other_activation(config, "hidden_act", "silu", ("silu", "swish")) + wrong
    refuse(checkpoint, wrong, "a plain Phi-3")
    _split_fused(checkpoint)
    return llama.assemble(checkpoint, llama.Decoder(share=1.0, slides=config.get("sliding_window") is not None))


def _split_fused(checkpoint: Checkpoint) -> None:
    """Give the parts of Phi-3's fused matrices the names that LLaMA has for them."""
    dim, hidden = size(checkpoint, "hidden_size"), size(checkpoint, "intermediate_size")
    heads = size(checkpoint, "num_attention_heads")
    width = size(checkpoint, "head_dim", max(1, dim // heads))
    query, key = heads * width, size(checkpoint, "num_key_value_heads", heads) * width
    for layer in range(size(checkpoint, "num_hidden_layers")):
        at = f"model.layers.{layer}"
        for fused, names, sizes in (
            (f"{at}.self_attn.qkv_proj", ("q_proj", "k_proj", "v_proj"), (query, key, key)),
            (f"{at}.mlp.gate_up_proj", ("gate_proj", "up_proj"), (hidden, hidden)),
        ):
            weight = checkpoint.take(f"{fused}.weight", (sum(sizes), dim))
            parts = np.split(weight, np.cumsum(sizes)[:-1])
            folder = fused.rsplit(".", 1)[0]
            checkpoint.tensors |= {f"{folder}.{name}.weight": part for name, part in zip(names, parts, strict=True)}


class _Phi:
    """Phi-1 and 2, taken from a checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.dim, self.hidden = size(checkpoint, "hidden_size"), size(checkpoint, "intermediate_size")
        self.heads = size(checkpoint, "num_attention_heads")
        self.groups = size(checkpoint, "num_key_value_heads", self.heads)
        self.width = self.dim // self.heads
        if self.dim % self.heads or self.heads % self.groups or self.width % 2:
            got = f"{self.dim} channels, {self.heads} heads, {self.groups} key heads"
            raise FormatError(checkpoint.source, got, "even divisions")
        self.epsilon = positive(checkpoint, "layer_norm_eps", checkpoint.config.get("layer_norm_eps", 1e-5))
        self.function = ACTIVATIONS[checkpoint.config.get("hidden_act", "gelu_new")]
        self.layout = rotary.layout(checkpoint, self.width, 0.5)
        self.head_norms = switch(checkpoint, "qk_layernorm")

    def build(self) -> Graph:
        """The float graph."""
        checkpoint = self.checkpoint
        vocabulary = size(checkpoint, "vocab_size")
        graph = new_graph(checkpoint, vocabulary, size(checkpoint, "max_position_embeddings"))
        embedding = checkpoint.take("model.embed_tokens.weight", (vocabulary, self.dim))
        stream = graph.add("embedding", Embedding(embedding), "tokens")
        for layer in range(size(checkpoint, "num_hidden_layers")):
            at, long = f"layer{layer}", f"model.layers.{layer}"
            norm = layer_norm(checkpoint, f"{long}.input_layernorm", self.dim, self.epsilon)
            normed = graph.add(f"{at}.norm", norm, stream)
            mixed = self._attend(graph, at, f"{long}.self_attn", normed)
            attended = graph.add(f"{at}.attention_out", self._linear(f"{long}.self_attn.dense", self.dim), mixed)
            up = graph.add(f"{at}.up", self._linear(f"{long}.mlp.fc1", self.hidden), normed)
            active = graph.add(f"{at}.active", Pointwise(self.function), up)
            fed = graph.add(f"{at}.feed_out", self._linear(f"{long}.mlp.fc2", self.dim, self.hidden), active)
            stream = graph.add(f"{at}.fed", Add(), stream, attended, fed)
        norm = layer_norm(checkpoint, "model.final_layernorm", self.dim, self.epsilon)
        normed = graph.add("norm", norm, stream)
        tied = switch(checkpoint, "tie_word_embeddings")
        graph.add("logits", head(checkpoint, "lm_head", embedding, tied, bias=True), normed)
        checkpoint.require_spent()
        return graph

    def _linear(self, name: str, outputs: int, inputs: int = 0) -> Linear:
        return linear(self.checkpoint, name, outputs, inputs or self.dim, bias=True)

    def _attend(self, graph: Graph, at: str, name: str, normed: str) -> str:
        """Attention of one layer; returns its node's name."""
        query = self._turned(graph, at, f"{name}.q", self.heads, normed)
        key = self._turned(graph, at, f"{name}.k", self.groups, normed)
        value = graph.add(f"{at}.value", self._linear(f"{name}.v_proj", self.groups * self.width), normed)
        return graph.add(f"{at}.attention", Attention(self.heads, self.groups), query, key, value)

    def _turned(self, graph: Graph, at: str, name: str, heads: int, normed: str) -> str:
        """Queries or keys of so many heads, their channels in the layout's order; returns the node's name."""
        kind = {"q": "query", "k": "key"}[name[-1]]
        source = self._linear(f"{name}_proj", heads * self.width)
        arranged = Linear(self.layout.arrange(source.weight), self.layout.arrange(np.asarray(source.bias)))
        node = graph.add(f"{at}.{kind}", arranged, normed)
        if self.head_norms:
            norm = layer_norm(self.checkpoint, f"{name}_layernorm", self.width, self.epsilon)
            gain, bias = (self.layout.arrange(np.tile(x, heads)) for x in (norm.weight, np.asarray(norm.bias)))
            node = graph.add(f"{at}.normed_{kind}", GroupNorm(gain, bias, self.epsilon, heads), node)
        return graph.add(f"{at}.turned_{kind}", Rotary(heads, self.layout.frequencies), node)
