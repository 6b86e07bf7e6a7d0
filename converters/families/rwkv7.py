"""RWKV-7: linear attention by a state that decays, is corrected and written at every token; no positions, no context.

Tensors carry RWKV-LM's names and shapes. Per layer, with x' the value at the token before:

    m_c = x + (x' - x) * mu_c                          for c in r, w, k, v, a, g
    w = exp(-exp(-1/2) * sigmoid(w0 + tanh(m_w W1) W2)), a = sigmoid(a0 + m_a A1 A2), g = sigmoid(m_g G1) G2
    n = -l2norm(k * k_k) per head, k <- k * (1 + (a - 1) * k_a), v <- v + (v_first - v) * sigmoid(v0 + m_v V1 V2)
    S = S' * w + (S' n) (-n * a)^T + v k^T, y = groupnorm(S r) + sum(r * k * r_k) v, x + Wo (y * g)
    and a channel mix x + Wv relu(Wk m_k)^2.

Source: Peng et al. 2025 (RWKV-7 "Goose"), section 4 and appendix; the epsilons are RWKV-LM's.
"""

from __future__ import annotations

import math

import numpy as np

from snngen.converters import configuration
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import BEFORE, Graph
from snngen.converters.layers import layer_norm
from snngen.converters.operations import (
    Add,
    Embedding,
    Floats,
    GroupNorm,
    Linear,
    Pointwise,
    Products,
    Scale,
    StateRead,
    StateUpdate,
)
from snngen.errors import FormatError

MODEL_TYPES = ("rwkv7",)
KEYS = {"vocab_size", "hidden_size", "num_hidden_layers"}

EPSILON = 1e-5  # of the layer norms
HEAD_EPSILON = 64e-5  # of the group norm over heads
LENGTH_EPSILON = 1e-12  # least length of a removal key before it is normed


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of an RWKV-7 checkpoint.

    raises: UnsupportedError for configuration keys that are not known, FormatError for tensors that are missing, left
    over, of a wrong shape or not finite.
    """
    configuration.refuse(checkpoint, configuration.unknown(checkpoint.config, KEYS), "a plain RWKV-7")
    vocabulary, dim, layers = (
        configuration.size(checkpoint, key) for key in ("vocab_size", "hidden_size", "num_hidden_layers")
    )
    graph = configuration.graph(checkpoint, vocabulary, None)
    model = _Model(graph, checkpoint, dim, _heads(checkpoint, dim))
    first = layer_norm(checkpoint, "blocks.0.ln0", dim, EPSILON)  # one vector per token: part of the embedding
    embedding = checkpoint.take("emb.weight", (vocabulary, dim))
    stream = graph.add("embedding", Embedding(first.run([embedding[None]], 0, {})[0]), graph.entry)
    for layer in range(layers):
        stream = model.time_mix(layer, stream)
        stream = model.channel_mix(layer, stream)
    normed = graph.add("norm", layer_norm(checkpoint, "ln_out", dim, EPSILON), stream)
    graph.add("logits", Linear(checkpoint.take("head.weight", (vocabulary, dim))), normed)
    checkpoint.require_spent()
    return graph


def _heads(checkpoint: Checkpoint, dim: int) -> int:
    """Number of heads, from the shape of the bonus (heads, width)."""
    shape = _shape(checkpoint, "blocks.0.att.r_k", 2)
    if shape[0] * shape[1] != dim:
        raise FormatError(f"{checkpoint.source}: blocks.0.att.r_k", f"shape {shape}", f"heads * width = {dim}")
    return shape[0]


def _shape(checkpoint: Checkpoint, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor whose sizes the configuration does not tell."""
    tensor = checkpoint.tensors.get(name)
    if tensor is None or tensor.ndim != rank or 0 in tensor.shape:
        got = "no such tensor" if tensor is None else f"shape {tensor.shape}"
        raise FormatError(f"{checkpoint.source}: {name}", got, f"{rank} dimensions")
    return tensor.shape


class _Model:
    """Adds the layers of one checkpoint to a graph."""

    def __init__(self, graph: Graph, checkpoint: Checkpoint, dim: int, heads: int) -> None:
        self.graph, self.checkpoint, self.dim, self.heads = graph, checkpoint, dim, heads
        self.first_value = ""  # of layer 0, which later layers mix in

    def time_mix(self, layer: int, stream: str) -> str:
        """The stream after the attention of a layer."""
        graph, at, block = self.graph, f"layer{layer}", f"blocks.{layer}.att"
        normed = graph.add(f"{at}.norm", self._norm(f"blocks.{layer}.ln1"), stream)
        shifted = {c: self._shift(f"{at}.shifted_{c}", f"{block}.x_{c}", normed) for c in "rwkvag"}
        receptance = graph.add(f"{at}.receptance", self._square(f"{block}.receptance"), shifted["r"])
        key = graph.add(f"{at}.key", self._square(f"{block}.key"), shifted["k"])
        value = self._value(layer, shifted["v"])
        rate = self._low_rank(f"{at}.rate", f"{block}.a", shifted["a"])
        rate = graph.add(f"{at}.learning_rate", Pointwise("sigmoid"), rate)
        decay = self._low_rank(f"{at}.decay", f"{block}.w", shifted["w"], "tanh")
        decay = graph.add(f"{at}.decayed", Pointwise("decay"), decay)
        gate = self._low_rank(f"{at}.gate", f"{block}.g", shifted["g"], "sigmoid")
        removal = self._removal(layer, key)
        replaced = Products((np.full(self.dim, -1, np.float32),))
        replacement = graph.add(f"{at}.replacement", replaced, removal, rate)
        key = self._key(layer, key, rate)
        state = f"{at}.state"
        removed = graph.add(f"{at}.removed", StateRead(self.heads), BEFORE + state, removal)
        update = StateUpdate(self.heads)
        graph.add(state, update, BEFORE + state, decay, removed, replacement, value, key)
        read = graph.add(f"{at}.read", StateRead(self.heads), state, receptance)
        norm = GroupNorm(
            self._vector(f"{block}.ln_x.weight", rank=1),
            self._vector(f"{block}.ln_x.bias", rank=1),
            HEAD_EPSILON,
            self.heads,
        )
        read = graph.add(f"{at}.read_norm", norm, read)
        bonus = self._bonus(layer, receptance, key, value)
        mixed = graph.add(f"{at}.mixed", Products((None, None)), read, gate, bonus, gate)
        out = graph.add(f"{at}.attention_out", self._square(f"{block}.output"), mixed)
        return graph.add(f"{at}.attended", Add(), stream, out)

    def channel_mix(self, layer: int, stream: str) -> str:
        """The stream after the feed-forward part of a layer."""
        graph, at, block = self.graph, f"layer{layer}", f"blocks.{layer}.ffn"
        hidden = _shape(self.checkpoint, f"{block}.key.weight", 2)[0]
        normed = graph.add(f"{at}.feed_norm", self._norm(f"blocks.{layer}.ln2"), stream)
        shifted = self._shift(f"{at}.feed_shifted", f"{block}.x_k", normed)
        up = Linear(self.checkpoint.take(f"{block}.key.weight", (hidden, self.dim)))
        value = graph.add(f"{at}.up", up, shifted)
        value = graph.add(f"{at}.squared", Pointwise("relu_squared"), value)
        down = Linear(self.checkpoint.take(f"{block}.value.weight", (self.dim, hidden)))
        out = graph.add(f"{at}.feed_out", down, value)
        return graph.add(f"{at}.fed", Add(), stream, out)

    def _value(self, layer: int, shifted: str) -> str:
        """v, and from the second layer on v + (v_first - v) * s = v * (1 - s) + v_first * s."""
        graph, at, block = self.graph, f"layer{layer}", f"blocks.{layer}.att"
        value = graph.add(f"{at}.value", self._square(f"{block}.value"), shifted)
        if layer == 0:
            for name in ("v0", "v1", "v2"):  # some checkpoints carry them; the first layer has nothing to mix in
                self.checkpoint.tensors.pop(f"{block}.{name}", None)
            self.first_value = value
            return value
        share = self._low_rank(f"{at}.share", f"{block}.v", shifted)
        own = graph.add(f"{at}.own_share", Pointwise("complement"), share)
        first = graph.add(f"{at}.first_share", Pointwise("sigmoid"), share)
        return graph.add(f"{at}.blended_value", Products((None, None)), value, own, self.first_value, first)

    def _removal(self, layer: int, key: str) -> str:
        """-(k * k_k) / max(length, 1e-12), per head."""
        at, width = f"layer{layer}", self.dim // self.heads
        scaled = Scale((self._vector(f"blocks.{layer}.att.k_k"),))
        scaled_key = self.graph.add(f"{at}.scaled_key", scaled, key)
        weight = np.full(self.dim, -1 / math.sqrt(width), np.float32)
        norm = GroupNorm(weight, None, LENGTH_EPSILON**2 / width, self.heads, centred=False)
        return self.graph.add(f"{at}.removal", norm, scaled_key)

    def _key(self, layer: int, key: str, rate: str) -> str:
        """k * (1 + (a - 1) * k_a)."""
        share = self._vector(f"blocks.{layer}.att.k_a")
        factor = self.graph.add(f"layer{layer}.key_factor", Scale((share,), 1 - share), rate)
        return self.graph.add(f"layer{layer}.scaled_by_rate", Products((None,)), key, factor)

    def _bonus(self, layer: int, receptance: str, key: str, value: str) -> str:
        """sum(r * k * r_k) * v, the sum over the channels of each head."""
        at, width = f"layer{layer}", self.dim // self.heads
        share = self.checkpoint.take(f"blocks.{layer}.att.r_k", (self.heads, width)).reshape(-1)
        match = self.graph.add(f"{at}.match", Products((share,)), receptance, key)
        head = np.arange(self.dim) // width
        same_head = np.asarray(head[:, None] == head, dtype=np.float32)
        total = self.graph.add(f"{at}.match_sum", Linear(same_head), match)
        return self.graph.add(f"{at}.bonus", Products((None,)), total, value)

    def _low_rank(self, name: str, block: str, shifted: str, function: str | None = None) -> str:
        """function(x A) B + bias; without a function the product A B is one map where that has no more weights."""
        rank = _shape(self.checkpoint, f"{block}1", 2)[1]
        down = self.checkpoint.take(f"{block}1", (self.dim, rank)).T
        up = self.checkpoint.take(f"{block}2", (rank, self.dim)).T
        bias = None if block.endswith(".g") else self._vector(f"{block}0")
        if function is None and 2 * rank >= self.dim:
            return self.graph.add(name, Linear(up @ down, bias), shifted)
        low = self.graph.add(f"{name}_down", Linear(np.ascontiguousarray(down)), shifted)
        if function is not None:
            low = self.graph.add(f"{name}_{function}", Pointwise(function), low)
        return self.graph.add(name, Linear(np.ascontiguousarray(up), bias), low)

    def _shift(self, name: str, tensor: str, normed: str) -> str:
        """x + (x' - x) * mu = x * (1 - mu) + x' * mu."""
        share = self._vector(tensor)
        return self.graph.add(name, Scale((1 - share, share)), normed, BEFORE + normed)

    def _norm(self, name: str) -> GroupNorm:
        return layer_norm(self.checkpoint, name, self.dim, EPSILON)

    def _square(self, name: str) -> Linear:
        return Linear(self.checkpoint.take(f"{name}.weight", (self.dim, self.dim)))

    def _vector(self, name: str, rank: int = 3) -> Floats:
        """(dim,) values, stored as (1, 1, dim)."""
        return self.checkpoint.take(name, (1,) * (rank - 1) + (self.dim,)).reshape(-1)
