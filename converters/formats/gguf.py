"""GGUF files of llama.cpp: weights as floats or in blocks, configuration and vocabulary in one file.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; names of keys and tensors as llama.cpp's converters
write them (gguf-py, `gguf/constants.py` and `gguf/tensor_mapping.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.formats.huggingface import read_tokenizer
from snngen.converters.formats.llama2c import half_split
from snngen.converters.gguf import container as gguf_container
from snngen.converters.gguf import vocabulary as gguf_vocabulary
from snngen.converters.gguf.container import MAGIC, Container, Entry
from snngen.converters.gguf.vocabulary import Vocabulary
from snngen.converters.operations import Floats
from snngen.errors import FormatError, UnsupportedError

# Keys of a configuration: GGUF's name after the architecture's, and Hugging Face's.
SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
}
LLAMA_KEYS = SIZES | {
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window",
    "attention.key_length": "head_dim",
}
GPT2_KEYS = {
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
PHI_KEYS = SIZES | {"attention.layer_norm_epsilon": "layer_norm_eps", "rope.freq_base": "rope_theta"}

# Names of tensors without their ending; # stands for the layer.
EDGES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
NORMS = {
    "blk.#.attn_norm": "model.layers.#.input_layernorm",
    "blk.#.ffn_norm": "model.layers.#.post_attention_layernorm",
}
ATTENTION = {
    "blk.#.attn_q": "model.layers.#.self_attn.q_proj",
    "blk.#.attn_k": "model.layers.#.self_attn.k_proj",
    "blk.#.attn_v": "model.layers.#.self_attn.v_proj",
    "blk.#.attn_output": "model.layers.#.self_attn.o_proj",
}
FEED = {
    "blk.#.ffn_gate": "model.layers.#.mlp.gate_proj",
    "blk.#.ffn_up": "model.layers.#.mlp.up_proj",
    "blk.#.ffn_down": "model.layers.#.mlp.down_proj",
}
LLAMA_NAMES = EDGES | NORMS | ATTENTION | FEED
HEAD_NORMS = {
    "blk.#.attn_q_norm": "model.layers.#.self_attn.q_norm",
    "blk.#.attn_k_norm": "model.layers.#.self_attn.k_norm",
}
PHI3_NAMES = (
    EDGES
    | NORMS
    | {
        "blk.#.attn_qkv": "model.layers.#.self_attn.qkv_proj",
        "blk.#.attn_output": "model.layers.#.self_attn.o_proj",
        "blk.#.ffn_up": "model.layers.#.mlp.gate_up_proj",
        "blk.#.ffn_down": "model.layers.#.mlp.down_proj",
    }
)
PHI2_NAMES = (
    EDGES
    | ATTENTION
    | {
        "output_norm": "model.final_layernorm",
        "blk.#.attn_norm": "model.layers.#.input_layernorm",
        "blk.#.attn_output": "model.layers.#.self_attn.dense",
        "blk.#.ffn_up": "model.layers.#.mlp.fc1",
        "blk.#.ffn_down": "model.layers.#.mlp.fc2",
    }
)
GPT2_NAMES = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "blk.#.attn_norm": "transformer.h.#.ln_1",
    "blk.#.attn_qkv": "transformer.h.#.attn.c_attn",
    "blk.#.attn_output": "transformer.h.#.attn.c_proj",
    "blk.#.ffn_norm": "transformer.h.#.ln_2",
    "blk.#.ffn_up": "transformer.h.#.mlp.c_fc",
    "blk.#.ffn_down": "transformer.h.#.mlp.c_proj",
}


@dataclass(frozen=True)
class Architecture:
    """How one of llama.cpp's architectures is spelled in Hugging Face's names.

    keys, names: see above. config: what the architecture itself says. interleaved: a head's channels stand in pairs.
    inputs_first: names of matrices that Hugging Face stores transposed. offset: what llama.cpp adds to norms' weights.
    partly: only some of a head's channels may turn.
    """

    model_type: str
    keys: Mapping[str, str]
    names: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    interleaved: bool = False
    inputs_first: tuple[str, ...] = ()
    offset: float = 0.0
    partly: bool = False


SILU = {"hidden_act": "silu"}
ARCHITECTURES = {
    "llama": Architecture("llama", LLAMA_KEYS, LLAMA_NAMES, SILU, interleaved=True),  # Mistral too
    "qwen2": Architecture("qwen2", LLAMA_KEYS, LLAMA_NAMES, SILU),
    "qwen3": Architecture("qwen3", LLAMA_KEYS, LLAMA_NAMES | HEAD_NORMS, SILU),
    "gemma": Architecture("gemma", LLAMA_KEYS, LLAMA_NAMES, {"hidden_act": "gelu_pytorch_tanh"}, offset=1.0),
    "phi3": Architecture("phi3", LLAMA_KEYS, PHI3_NAMES, SILU, partly=True),
    "phi2": Architecture("phi", PHI_KEYS, PHI2_NAMES, {"hidden_act": "gelu_new"}, partly=True),
    "gpt2": Architecture(
        "gpt2",
        GPT2_KEYS,
        GPT2_NAMES,
        {"activation_function": "gelu_new"},
        inputs_first=("attn_qkv", "attn_output", "ffn_up", "ffn_down"),
    ),
}

# Keys that change nothing in what the model computes, whatever the architecture; others are accepted with one value.
SILENT = {"vocab_size", "tensor_data_layout", "rope.dimension_count", "attention.value_length"}
SILENT |= {"rope.scaling.original_context_length"}  # of positions that are scaled, which are refused
ONLY: dict[str, tuple[Any, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scale_linear": (1.0,),
    "rope.scaling.factor": (1.0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.max_alibi_bias": (0.0,),
    "attention.clamp_kqv": (0.0,),
    "use_parallel_residual": (True,),
}
ELSEWHERE = ("general.", "tokenizer.", "quantize.", "split.")  # what these say of the model is read or of no effect
LAYER = re.compile(r"^blk\.(\d{1,6})\.")


def recognizes(path: Path) -> bool:
    """True for a file that begins with GGUF."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read a GGUF file; tensors become float32 under Hugging Face's names and in its channel order.

    tokenizer: a tokenizer.json to use in place of the file's own vocabulary.
    raises: FormatError for a file that is damaged or inconsistent; UnsupportedError with everything in it that is not
    carried.
    """
    container = gguf_container.read(path)
    architecture = _architecture(container, str(path), own=tokenizer is None)
    prefix = str(container.metadata["general.architecture"])
    entries = {entry.name: entry for entry in container.tensors}
    embedding = entries.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise FormatError(str(path), "no matrix token_embd.weight", "the embedding")
    vocabulary, width = embedding.shape[0], _head_width(container.metadata, prefix, str(path))
    tensors, notes = _tensors(container, architecture, width, str(path))
    config = {
        "model_type": architecture.model_type,
        "vocab_size": vocabulary,
        "tie_word_embeddings": "output.weight" not in entries,
        **architecture.config,
        **_config(container.metadata, prefix, architecture, width),
    }
    if architecture.model_type in ("llama", "gemma"):
        config |= _biases(tensors, config)
    if tokenizer is None:
        words = gguf_vocabulary.read(container.metadata, prefix, vocabulary, str(path))
        notes += [] if words.tokenizer else ["the file has no vocabulary: prompts are token numbers"]
    else:
        begin, end = gguf_vocabulary.begin_and_end(container.metadata, prefix, vocabulary, str(path))
        text, opening = read_tokenizer(tokenizer, vocabulary, () if begin is None else (begin,), notes)
        words = Vocabulary(text, opening[0] if opening else None, end)
    return Checkpoint(
        source=str(path),
        format="gguf",
        digest=digest_files([path] if tokenizer is None else [path, tokenizer]),
        config=config,
        tensors=tensors,
        tokenizer=words.tokenizer,
        begin=words.begin,
        end=words.end,
        notes=notes,
    )


def _architecture(container: Container, where: str, own: bool) -> Architecture:
    """The file's architecture; refuses, in one message, everything in the file that is not carried."""
    metadata = container.metadata
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        raise FormatError(f"{where}: general.architecture", f"{name!r:.60}", "a text")
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise UnsupportedError(f"{where}: general.architecture", f"{name!r:.60}", "one of " + ", ".join(ARCHITECTURES))
    wrong = []
    for key, value in metadata.items():
        short = key.removeprefix(f"{name}.")
        if short != key and isinstance(value, list | np.ndarray):
            raise UnsupportedError(f"{where}: {key:.80}", f"{len(value)} values", "one for all layers")
        if key.startswith(ELSEWHERE) or short in architecture.keys or short in SILENT:
            continue
        if short == key or value not in ONLY.get(short, ()):
            wrong.append(f"{key:.80} = {value!r:.60}")
    if metadata.get("general.type", "model") != "model":
        wrong.append(f"general.type = {metadata['general.type']!r:.60} (only model)")
    if metadata.get("split.count", 1) not in (0, 1):
        wrong.append("a model in several files (join them: llama-gguf-split --merge)")
    if own:
        wrong += gguf_vocabulary.unsupported(metadata, name)
    unknown = [entry.name for entry in container.tensors if _renamed(entry.name, architecture) is None]
    if unknown:
        wrong.append(f"{len(unknown)} tensors without a known use: {', '.join(f'{name:.60}' for name in unknown[:8])}")
    kinds = {entry.kind for entry in container.tensors}
    wrong += [f"weights of type {kind}" for kind in sorted(kinds) if not gguf_container.dequantizable(kind)]
    wrong += _partial(metadata, name, architecture)
    if wrong:
        raise UnsupportedError(where, "; ".join(wrong), f"a plain {name}")
    return architecture


def _partial(metadata: Mapping[str, Any], name: str, architecture: Architecture) -> list[str]:
    """Complaints about heads of which only a part turns, or whose values have a width of their own."""
    get = metadata.get
    heads, dim = get(f"{name}.attention.head_count"), get(f"{name}.embedding_length")
    if type(heads) is not int or type(dim) is not int or heads < 1:
        return []  # refused as damage
    width = get(f"{name}.attention.key_length", dim // heads)
    wrong = []
    if get(f"{name}.attention.value_length", width) != width:
        wrong.append(f"{name}.attention.value_length = {get(f'{name}.attention.value_length')!r:.60} (only {width})")
    turning = get(f"{name}.rope.dimension_count", width)
    if not architecture.partly and turning != width:
        wrong.append(f"{name}.rope.dimension_count = {turning!r:.60} (only {width})")
    return wrong


def _head_width(metadata: Mapping[str, Any], name: str, where: str) -> int:
    """Channels of a head."""
    heads, dim = metadata.get(f"{name}.attention.head_count"), metadata.get(f"{name}.embedding_length")
    for key, value in (("attention.head_count", heads), ("embedding_length", dim)):
        if type(value) is not int or not 0 < value <= gguf_container.LARGEST:
            raise FormatError(f"{where}: {name}.{key}", f"{value!r:.60}", "a positive integer")
    width = metadata.get(f"{name}.attention.key_length", int(dim or 0) // int(heads or 1))
    if type(width) is not int or not 2 <= width <= gguf_container.LARGEST or width % 2:
        raise FormatError(f"{where}: {name}", f"heads of {width!r:.60} channels", "an even number of them")
    return width


def _config(metadata: Mapping[str, Any], name: str, architecture: Architecture, width: int) -> dict[str, Any]:
    """The configuration under Hugging Face's keys."""
    config = {
        long: metadata[f"{name}.{short}"] for short, long in architecture.keys.items() if f"{name}.{short}" in metadata
    }
    turning = metadata.get(f"{name}.rope.dimension_count", width)
    if architecture.partly and turning != width:
        config["partial_rotary_factor"] = turning / width if type(turning) is int else repr(turning)
    elif architecture.partly:
        config["partial_rotary_factor"] = 1.0
    return config


def _renamed(name: str, architecture: Architecture) -> str | None:
    """Hugging Face's name of a tensor, or None for one that the architecture has not."""
    stem, _, ending = name.rpartition(".")
    layer = LAYER.match(name)
    long = architecture.names.get(LAYER.sub("blk.#.", stem))
    if long is None or ending not in ("weight", "bias"):
        return None
    return f"{long.replace('#', str(int(layer[1])) if layer else '')}.{ending}"


def _tensors(
    container: Container, architecture: Architecture, width: int, where: str
) -> tuple[dict[str, Floats], list[str]]:
    """All tensors by Hugging Face's names, and notes."""
    tensors: dict[str, Floats] = {}
    kinds: set[str] = set()
    signal = error = 0.0
    for entry in container.tensors:
        values = gguf_container.floats(entry)
        if entry.in_blocks:
            kinds.add(entry.kind)
            power, lost = _rounding(values)
            signal, error = signal + power, error + lost
        name = _renamed(entry.name, architecture)
        if name is None or name in tensors:
            raise FormatError(f"{where}: {entry.name:.80}", "a name that is in use", "every tensor once")
        tensors[name] = _arranged(values, entry, architecture, width, where)
    if not kinds:
        return tensors, []
    cost = f"{10 * np.log10(error / signal):.1f} dB" if 0 < error <= signal else "nothing"
    return tensors, [
        f"the source holds {', '.join(sorted(kinds))} weights, whose blocks have a scale each; thresholds carry one "
        f"scale per output neuron, so they are quantized again: in int8 per row that costs {cost} (relative squared "
        "error over all matrices in blocks)"
    ]


def _rounding(values: Floats) -> tuple[float, float]:
    """Power of a matrix, and of the error that int8 with one scale per row makes; zeros where it is not finite."""
    signal = error = 0.0
    rows = values.reshape(-1, values.shape[-1])
    step = max(1, 2**20 // rows.shape[1])
    for at in range(0, len(rows), step):
        piece = rows[at : at + step].astype(np.float64)
        unit = np.abs(piece).max(axis=1, keepdims=True) / 127
        if not np.isfinite(unit).all():
            return 0.0, 0.0  # refused by name when it is taken
        lost = piece - np.rint(piece / np.where(unit > 0, unit, 1)) * unit
        signal, error = signal + float((piece**2).sum()), error + float((lost**2).sum())
    return signal, error


def _arranged(values: Floats, entry: Entry, architecture: Architecture, width: int, where: str) -> Floats:
    """A tensor as Hugging Face stores it."""
    kind = entry.name.rsplit(".", 2)[-2]
    if architecture.interleaved and kind in ("attn_q", "attn_k"):
        if values.shape[0] % width:
            raise FormatError(f"{where}: {entry.name:.80}", f"shape {values.shape}", f"heads of {width} channels")
        return half_split(values.reshape(len(values), -1), width).reshape(values.shape)
    if kind in architecture.inputs_first and values.ndim == 2:
        return np.ascontiguousarray(values.T)
    if architecture.offset and kind.endswith("norm"):
        return np.asarray(values - np.float32(architecture.offset), dtype=np.float32)
    return values


def _biases(tensors: dict[str, Floats], config: Mapping[str, Any]) -> dict[str, bool]:
    """Which maps have a bias: all of attention, or of the feed-forward, or none; a missing one is filled with zeros."""
    switches = {}
    for switch, part in (("attention_bias", "self_attn"), ("mlp_bias", "mlp")):
        biased = any(name.endswith(".bias") and f".{part}." in name for name in tensors)
        if biased and (config["model_type"] == "llama" or part == "self_attn"):
            switches[switch] = True
            for name in [name for name in tensors if f".{part}." in name and name.endswith("_proj.weight")]:
                bias = name.removesuffix("weight") + "bias"
                tensors.setdefault(bias, np.zeros(len(tensors[name]), np.float32))
    return switches
