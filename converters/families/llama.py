"""The LLaMA family: RMSNorm, rotary positions, grouped queries, SwiGLU (Llama, Mistral, Qwen2, Qwen3).

`assemble` also serves the families whose layers differ from LLaMA's in what `Decoder` lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snngen.converters import rotary
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.configuration import graph as new_graph
from snngen.converters.configuration import other_activation, positive, refuse, size, switch, unknown
from snngen.converters.graph import Graph
from snngen.converters.layers import head, linear
from snngen.converters.operations import Add, Attention, Embedding, Floats, Gate, GroupNorm, Linear, RMSNorm, Rotary
from snngen.errors import FormatError

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")

SIZES = {
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_parameters",
    "rope_scaling", "hidden_act", "tie_word_embeddings", "sliding_window",
}  # fmt: skip
USED = SIZES | {
    "attention_bias", "mlp_bias", "use_sliding_window", "max_window_layers", "layer_types", "is_llama_config",
}  # fmt: skip
OFF = {"rope_interleaved", "use_mrope"}  # accepted where false
LAYER_TYPES = ("full_attention", "sliding_attention")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Decoder:
    """What a family's layers have that LLaMA's have not.

    biased: names of the linear maps with a bias. activation: of the gate. head_norms: queries and keys are normed per
    head before they turn. offset: added to the weights of norms. embedding_scale: of the embedding, not of a tied head.
    tied: where the configuration does not say. share: of a head's channels that turn, see `rotary.layout`.
    slides: the attention of some layer is held to a sliding window.
    """

    biased: tuple[str, ...] = ()
    activation: str = "silu"
    head_norms: bool = False
    offset: float = 0.0
    embedding_scale: float = 1.0
    tied: bool = False
    share: float | None = None
    slides: bool = False


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a LLaMA-like checkpoint.

    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    layers = size(checkpoint, "num_hidden_layers")
    _refuse(checkpoint, layers)
    slides = _slides(checkpoint.config, layers)
    head_norms = checkpoint.config.get("model_type") == "qwen3"
    return assemble(checkpoint, Decoder(_biased(checkpoint), head_norms=head_norms, slides=slides))


def assemble(checkpoint: Checkpoint, decoder: Decoder) -> Graph:
    """The float graph of a checkpoint with LLaMA's tensor names and sizes.

    raises: FormatError for sizes that cannot be, and for tensors that are missing, left over, of a wrong shape or not
    finite.
    """
    dim, layers = size(checkpoint, "hidden_size"), size(checkpoint, "num_hidden_layers")
    vocabulary, context = size(checkpoint, "vocab_size"), size(checkpoint, "max_position_embeddings")
    notes = []
    if decoder.slides and (window := size(checkpoint, "sliding_window")) < context:
        context = window
        notes.append(f"the context is held to the sliding window of {window} tokens, inside which it has no effect")
    graph = new_graph(checkpoint, vocabulary, context, notes)
    parts = _Parts(checkpoint, decoder)
    embedding = checkpoint.take("model.embed_tokens.weight", (vocabulary, dim))
    scaled = embedding if decoder.embedding_scale == 1 else embedding * np.float32(decoder.embedding_scale)
    stream = graph.add("embedding", Embedding(scaled), "tokens")
    for layer in range(layers):
        at, long = f"layer{layer}", f"model.layers.{layer}"
        normed = graph.add(f"{at}.norm", parts.norm(f"{long}.input_layernorm"), stream)
        out = parts.attend(graph, at, f"{long}.self_attn", normed)
        stream = graph.add(f"{at}.attended", Add(), stream, out)
        normed = graph.add(f"{at}.feed_norm", parts.norm(f"{long}.post_attention_layernorm"), stream)
        out = parts.feed(graph, at, f"{long}.mlp", normed)
        stream = graph.add(f"{at}.fed", Add(), stream, out)
    normed = graph.add("norm", parts.norm("model.norm"), stream)
    tied = switch(checkpoint, "tie_word_embeddings", decoder.tied)
    graph.add("logits", head(checkpoint, "lm_head", embedding, tied), normed)
    checkpoint.require_spent()
    return graph


class _Parts:
    """The parts of a layer, taken from a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, decoder: Decoder) -> None:
        self.checkpoint, self.decoder = checkpoint, decoder
        self.dim, self.hidden = size(checkpoint, "hidden_size"), size(checkpoint, "intermediate_size")
        self.heads = size(checkpoint, "num_attention_heads")
        self.groups = size(checkpoint, "num_key_value_heads", self.heads)
        self.width = size(checkpoint, "head_dim", self.dim // self.heads)
        if self.heads % self.groups or self.width < 2 or self.width % 2:
            got = f"{self.heads} heads, {self.groups} key heads, width {self.width}"
            raise FormatError(checkpoint.source, got, "even divisions")
        self.epsilon = positive(checkpoint, "rms_norm_eps", checkpoint.config.get("rms_norm_eps", 1e-6))
        self.layout = rotary.layout(checkpoint, self.width, decoder.share)

    def norm(self, name: str) -> RMSNorm:
        return RMSNorm(self._gain(name, self.dim), self.epsilon)

    def _gain(self, name: str, channels: int) -> Floats:
        weight = self.checkpoint.take(f"{name}.weight", (channels,))
        return weight if self.decoder.offset == 0 else weight + np.float32(self.decoder.offset)

    def _linear(self, name: str, outputs: int, inputs: int) -> Linear:
        return linear(self.checkpoint, name, outputs, inputs, name.rsplit(".", 1)[-1] in self.decoder.biased)

    def _turned(self, graph: Graph, at: str, name: str, heads: int, normed: str) -> str:
        """Queries or keys of so many heads, their channels in the layout's order; returns the node's name."""
        kind = {"q": "query", "k": "key"}[name.rsplit(".", 1)[-1][0]]
        source = self._linear(f"{name}_proj", heads * self.width, self.dim)
        bias = None if source.bias is None else self.layout.arrange(source.bias)
        node = graph.add(f"{at}.{kind}", Linear(self.layout.arrange(source.weight), bias), normed)
        if self.decoder.head_norms:
            gain = self.layout.arrange(np.tile(self._gain(f"{name}_norm", self.width), heads))
            node = graph.add(f"{at}.normed_{kind}", GroupNorm(gain, None, self.epsilon, heads, centred=False), node)
        return graph.add(f"{at}.turned_{kind}", Rotary(heads, self.layout.frequencies), node)

    def attend(self, graph: Graph, at: str, name: str, normed: str) -> str:
        """Attention and the map of its result onto the stream; returns that map's node."""
        query = self._turned(graph, at, f"{name}.q", self.heads, normed)
        key = self._turned(graph, at, f"{name}.k", self.groups, normed)
        value = self._linear(f"{name}.v_proj", self.groups * self.width, self.dim)
        value_node = graph.add(f"{at}.value", value, normed)
        mixed = graph.add(f"{at}.attention", Attention(self.heads, self.groups), query, key, value_node)
        out = self._linear(f"{name}.o_proj", self.dim, self.heads * self.width)
        return graph.add(f"{at}.attention_out", out, mixed)

    def feed(self, graph: Graph, at: str, name: str, normed: str) -> str:
        """The gated feed-forward and the map of its result onto the stream; returns that map's node."""
        gate = graph.add(f"{at}.gate", self._linear(f"{name}.gate_proj", self.hidden, self.dim), normed)
        up = graph.add(f"{at}.up", self._linear(f"{name}.up_proj", self.hidden, self.dim), normed)
        gated = graph.add(f"{at}.gated", Gate(self.decoder.activation), gate, up)
        return graph.add(f"{at}.feed_out", self._linear(f"{name}.down_proj", self.dim, self.hidden), gated)


def _refuse(checkpoint: Checkpoint, layers: int) -> None:
    """Refuse, in one message, everything in the configuration that this family does not carry."""
    config = checkpoint.config
    wrong = unknown(config, USED, OFF)
    model_type = config.get("model_type")
    if model_type != "llama":
        foreign = ("mlp_bias",) if model_type == "qwen3" else ("attention_bias", "mlp_bias")
        keys = [key for key in foreign if config.get(key)]
        wrong += [f"{key} = {config[key]!r:.60} (not a choice of {model_type})" for key in keys]
    wrong += other_activation(config, "hidden_act", "silu", ("silu", "swish"))
    wrong += rotary.other_positions(config)
    types = config.get("layer_types") or []
    if not isinstance(types, list) or any(kind not in LAYER_TYPES for kind in types):
        wrong.append(f"layer_types = {types!r:.120} (only {' and '.join(LAYER_TYPES)})")
    elif types and len(types) != layers:
        wrong.append(f"layer_types of {len(types)} layers (num_hidden_layers = {layers})")
    elif _slides(config, layers) and config.get("sliding_window") is None:
        wrong.append("layer_types with sliding_attention (but no sliding_window)")
    refuse(checkpoint, wrong, "a plain LLaMA, Mistral, Qwen2 or Qwen3")


def _slides(config: dict[str, Any], layers: int) -> bool:
    """True where the attention of any layer may be held to a sliding window."""
    types, window = config.get("layer_types") or [], config.get("sliding_window")
    if config.get("model_type") not in ("qwen2", "qwen3") or "sliding_attention" in types:
        return window is not None or "sliding_attention" in types
    opened = config.get("max_window_layers", 28)  # Qwen has a window from this layer on, where it is switched on
    switched = not types and bool(config.get("use_sliding_window")) and window is not None
    return switched and not (isinstance(opened, int) and opened >= layers)


def _biased(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The linear maps that have a bias."""
    if checkpoint.config.get("model_type") == "qwen2":
        return ATTENTION[:3]
    attention = ATTENTION if switch(checkpoint, "attention_bias") else ()
    return attention + (FEED if switch(checkpoint, "mlp_bias") else ())
