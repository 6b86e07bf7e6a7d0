"""The LLaMA family: RMSNorm, rotary positions, grouped queries, SwiGLU (Llama, Mistral, Qwen2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Graph
from snngen.converters.operations import Add, Attention, Embedding, Gate, Linear, RMSNorm, Rotary
from snngen.errors import FormatError, UnsupportedError

MODEL_TYPES = ("llama", "mistral", "qwen2")

# Configuration keys that change nothing in what an already trained model computes for one sequence.
IGNORED = {
    "architectures", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range",
    "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache", "pretraining_tp", "_name_or_path",
    "name_or_path", "_attn_implementation", "return_dict", "output_attentions", "output_hidden_states", "is_decoder",
    "chunk_size_feed_forward", "id2label", "label2id", "problem_type", "cross_attention_hidden_size",
    "tie_encoder_decoder", "is_llama_config", "transformers.js_config",
}  # fmt: skip
USED = {
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_parameters",
    "rope_scaling", "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias", "sliding_window",
    "use_sliding_window", "max_window_layers", "layer_types",
}  # fmt: skip
OFF = {"is_encoder_decoder", "add_cross_attention", "rope_interleaved", "use_mrope"}  # accepted where false
ROPE_KEYS = {"rope_type", "type", "rope_theta"}
LARGEST = 2**24  # no dimension of a real model is beyond
LAYER_TYPES = ("full_attention", "sliding_attention")


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a LLaMA-like checkpoint.

    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    layers = _size(checkpoint, "num_hidden_layers")
    _refuse(checkpoint, layers)
    dim, hidden = _size(checkpoint, "hidden_size"), _size(checkpoint, "intermediate_size")
    vocabulary, context = _size(checkpoint, "vocab_size"), _size(checkpoint, "max_position_embeddings")
    heads = _size(checkpoint, "num_attention_heads")
    groups = _size(checkpoint, "num_key_value_heads", heads)
    width = _size(checkpoint, "head_dim", dim // heads)
    if heads % groups or width < 2 or width % 2:
        raise FormatError(checkpoint.source, f"{heads} heads, {groups} key heads, width {width}", "even divisions")
    notes = list(checkpoint.notes)
    if _slides(checkpoint.config, layers) and (window := _size(checkpoint, "sliding_window")) < context:
        context = window
        notes.append(f"the context is held to the sliding window of {window} tokens, inside which it has no effect")
    graph = Graph(
        vocabulary,
        context,
        tokenizer=checkpoint.tokenizer,
        begin=checkpoint.begin,
        end=checkpoint.end,
        notes=notes,
        provenance={"source": checkpoint.source, "format": checkpoint.format, "source_sha256": checkpoint.digest},
    )
    epsilon = _positive(checkpoint, "rms_norm_eps", checkpoint.config.get("rms_norm_eps", 1e-6))
    frequencies = _frequencies(checkpoint, width)
    biased = _biased(checkpoint)

    def linear(name: str, outputs: int, inputs: int) -> Linear:
        weight = checkpoint.take(f"{name}.weight", (outputs, inputs))
        bias = checkpoint.take(f"{name}.bias", (outputs,)) if name.rsplit(".", 1)[-1] in biased else None
        return Linear(weight, bias)

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
    tied = _switch(checkpoint, "tie_word_embeddings")
    if tied and "lm_head.weight" in checkpoint.tensors:
        head = checkpoint.take("lm_head.weight", (vocabulary, dim))
        if not np.array_equal(head, embedding):
            raise FormatError(checkpoint.source, "lm_head.weight unlike the embedding", "tied weights, as configured")
    graph.add("logits", Linear(embedding) if tied else linear("lm_head", vocabulary, dim), normed)
    if checkpoint.tensors:
        raise FormatError(
            checkpoint.source, f"tensors left over: {sorted(checkpoint.tensors)[:8]}", "a known use for each"
        )
    return graph


def _refuse(checkpoint: Checkpoint, layers: int) -> None:
    """Refuse, in one message, everything in the configuration that this family does not carry."""
    config = checkpoint.config
    unknown = sorted(config.keys() - IGNORED - USED - OFF)
    wrong = [f"{key} = {config[key]!r:.60} (unknown key)" for key in unknown]
    wrong += [f"{key} = {config[key]!r:.60} (only false)" for key in sorted(OFF) if config.get(key)]
    if config.get("model_type") != "llama":
        keys = [key for key in ("attention_bias", "mlp_bias") if config.get(key)]
        wrong += [f"{key} = {config[key]!r:.60} (not a choice of {config.get('model_type')})" for key in keys]
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        wrong.append(f"hidden_act = {config['hidden_act']!r:.60} (only silu)")
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        if (
            not isinstance(rope, dict)
            or rope.keys() - ROPE_KEYS
            or any(rope.get(name, "default") != "default" for name in ("rope_type", "type"))
        ):
            wrong.append(f"{key} = {rope!r:.120} (only the default rotary positions)")
    types = config.get("layer_types") or []
    if not isinstance(types, list) or any(kind not in LAYER_TYPES for kind in types):
        wrong.append(f"layer_types = {types!r:.120} (only {' and '.join(LAYER_TYPES)})")
    elif types and len(types) != layers:
        wrong.append(f"layer_types of {len(types)} layers (num_hidden_layers = {layers})")
    elif _slides(config, layers) and config.get("sliding_window") is None:
        wrong.append("layer_types with sliding_attention (but no sliding_window)")
    if wrong:
        raise UnsupportedError(checkpoint.source, "; ".join(wrong), "a plain LLaMA, Mistral or Qwen2")


def _slides(config: dict[str, Any], layers: int) -> bool:
    """True where the attention of any layer may be held to a sliding window."""
    types, window = config.get("layer_types") or [], config.get("sliding_window")
    if config.get("model_type") != "qwen2" or "sliding_attention" in types:
        return window is not None or "sliding_attention" in types
    opened = config.get("max_window_layers", 28)  # Qwen2 has a window from this layer on, where it is switched on
    switched = not types and bool(config.get("use_sliding_window")) and window is not None
    return switched and not (isinstance(opened, int) and opened >= layers)


def _biased(checkpoint: Checkpoint) -> set[str]:
    """The linear maps that have a bias."""
    if checkpoint.config.get("model_type") == "qwen2":
        return {"q_proj", "k_proj", "v_proj"}
    attention = {"q_proj", "k_proj", "v_proj", "o_proj"} if _switch(checkpoint, "attention_bias") else set()
    return attention | ({"gate_proj", "up_proj", "down_proj"} if _switch(checkpoint, "mlp_bias") else set())


def _size(checkpoint: Checkpoint, key: str, default: int | None = None) -> int:
    """A positive integer of the configuration; `default`, where given, stands for a missing one or null."""
    value = checkpoint.config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", f"an integer of 1..{LARGEST}")
    return value


def _switch(checkpoint: Checkpoint, key: str) -> bool:
    value = checkpoint.config.get(key, False)
    if not isinstance(value, bool):
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", "true or false")
    return value


def _positive(checkpoint: Checkpoint, key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e38:
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", "a positive number")
    return float(value)


def _frequencies(checkpoint: Checkpoint, width: int) -> npt.NDArray[np.float64]:
    """(width / 2,) radians per position of each pair of channels."""
    config = checkpoint.config
    places = [config.get("rope_scaling") or {}, config.get("rope_parameters") or {}, config]
    given = {_positive(checkpoint, "rope_theta", place["rope_theta"]) for place in places if "rope_theta" in place}
    if len(given) > 1:
        raise FormatError(f"{checkpoint.source}: rope_theta", f"{sorted(given)}", "one value")
    theta = given.pop() if given else 10000.0
    return np.asarray(theta ** (-np.arange(0, width, 2) / width))
