"""The LLaMA family: RMSNorm, rotary positions, grouped queries, SwiGLU (Llama, Mistral, Qwen2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Add, Attention, Embedding, Gate, Graph, Linear, RMSNorm, Rotary
from snngen.errors import FormatError, UnsupportedError

MODEL_TYPES = ("llama", "mistral", "qwen2")

# Configuration keys that change nothing in what an already trained model computes for one sequence.
IGNORED = {
    "architectures", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range",
    "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache", "pretraining_tp", "_name_or_path",
    "max_window_layers", "name_or_path", "_attn_implementation", "return_dict", "output_attentions",
    "output_hidden_states", "is_decoder", "chunk_size_feed_forward", "id2label", "label2id", "problem_type",
    "is_encoder_decoder", "cross_attention_hidden_size", "add_cross_attention", "tie_encoder_decoder",
}  # fmt: skip
USED = {
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_parameters",
    "rope_scaling", "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias", "sliding_window",
    "use_sliding_window", "layer_types",
}  # fmt: skip


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a LLaMA-like checkpoint.

    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    config = checkpoint.config
    _refuse(checkpoint)
    dim, hidden, layers = (_size(config, key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    heads, vocabulary = _size(config, "num_attention_heads"), _size(config, "vocab_size")
    groups = int(config.get("num_key_value_heads") or heads)
    width = int(config.get("head_dim") or dim // heads)
    if heads % groups or width % 2:
        raise FormatError(checkpoint.source, f"{heads} heads, {groups} key heads, width {width}", "even divisions")
    context = _size(config, "max_position_embeddings")
    window = config.get("sliding_window")
    notes = list(checkpoint.notes)
    if window and config.get("use_sliding_window", True) and window < context:
        context = int(window)
        notes.append(f"the context is held to the sliding window of {window} tokens, inside which it has no effect")
    graph = Graph(
        vocabulary, context, tokenizer=checkpoint.tokenizer, begin=checkpoint.begin, end=checkpoint.end, notes=notes,
        provenance={"source": checkpoint.source, "format": checkpoint.format, "source_sha256": checkpoint.digest},
    )
    epsilon, frequencies = float(config.get("rms_norm_eps", 1e-6)), _frequencies(config, width)

    def linear(name: str, outputs: int, inputs: int) -> Linear:
        weight = checkpoint.take(f"{name}.weight", (outputs, inputs))
        biased = f"{name}.bias" in checkpoint.tensors
        return Linear(weight, checkpoint.take(f"{name}.bias", (outputs,)) if biased else None)

    embedding = checkpoint.take("model.embed_tokens.weight", (vocabulary, dim))
    stream = graph.add("embedding", Embedding(embedding), "tokens")
    for layer in range(layers):
        at, long = f"layer{layer}", f"model.layers.{layer}"
        norm = RMSNorm(checkpoint.take(f"{long}.input_layernorm.weight", (dim,)), epsilon)
        normed = graph.add(f"{at}.norm", norm, stream)
        query = graph.add(f"{at}.query", linear(f"{long}.self_attn.q_proj", heads * width, dim), normed)
        key = graph.add(f"{at}.key", linear(f"{long}.self_attn.k_proj", groups * width, dim), normed)
        value = graph.add(f"{at}.value", linear(f"{long}.self_attn.v_proj", groups * width, dim), normed)
        query = graph.add(f"{at}.turned_query", Rotary(heads, frequencies), query)
        key = graph.add(f"{at}.turned_key", Rotary(groups, frequencies), key)
        mixed = graph.add(f"{at}.attention", Attention(heads, groups), query, key, value)
        out = graph.add(f"{at}.attention_out", linear(f"{long}.self_attn.o_proj", dim, heads * width), mixed)
        stream = graph.add(f"{at}.attended", Add(), stream, out)
        norm = RMSNorm(checkpoint.take(f"{long}.post_attention_layernorm.weight", (dim,)), epsilon)
        normed = graph.add(f"{at}.feed_norm", norm, stream)
        gate = graph.add(f"{at}.gate", linear(f"{long}.mlp.gate_proj", hidden, dim), normed)
        up = graph.add(f"{at}.up", linear(f"{long}.mlp.up_proj", hidden, dim), normed)
        gated = graph.add(f"{at}.gated", Gate("silu"), gate, up)
        out = graph.add(f"{at}.feed_out", linear(f"{long}.mlp.down_proj", dim, hidden), gated)
        stream = graph.add(f"{at}.fed", Add(), stream, out)
    normed = graph.add("norm", RMSNorm(checkpoint.take("model.norm.weight", (dim,)), epsilon), stream)
    tied = bool(config.get("tie_word_embeddings", False))
    if tied and "lm_head.weight" in checkpoint.tensors:
        head = checkpoint.take("lm_head.weight", (vocabulary, dim))
        if not np.array_equal(head, embedding):
            raise FormatError(checkpoint.source, "lm_head.weight unlike the embedding", "tied weights, as configured")
    graph.add("logits", Linear(embedding) if tied else linear("lm_head", vocabulary, dim), normed)
    if checkpoint.tensors:
        raise FormatError(checkpoint.source, f"tensors left over: {sorted(checkpoint.tensors)[:8]}", "a known use for each")
    return graph


def _size(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FormatError(f"configuration: {key}", repr(value), "a positive integer")
    return value


def _refuse(checkpoint: Checkpoint) -> None:
    """Refuse, in one message, everything in the configuration that this family does not carry."""
    config, wrong = checkpoint.config, []
    wrong += [f"{key} = {config[key]!r} (unknown key)" for key in sorted(config) if key not in IGNORED | USED]
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        wrong.append(f"hidden_act = {config['hidden_act']!r} (only silu)")
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key)
        if rope and rope.get("rope_type", rope.get("type", "default")) != "default":
            wrong.append(f"{key} = {rope!r} (only the default rotary positions)")
    if wrong:
        raise UnsupportedError(checkpoint.source, "; ".join(wrong), "a plain LLaMA, Mistral or Qwen2")


def _frequencies(config: dict[str, Any], width: int) -> np.ndarray:
    rope = config.get("rope_parameters") or {}
    theta = float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    return theta ** (-np.arange(0, width, 2) / width)
