"""Configuration: its values, checked, and the refusal of all that a family does not carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Graph
from snngen.errors import FormatError, UnsupportedError

LARGEST = 2**24  # no dimension of a real model is beyond

# Keys that change nothing in what an already trained model computes for one sequence.
IGNORED = {
    "architectures", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range",
    "model_type", "torch_dtype", "dtype", "transformers_version", "use_cache", "pretraining_tp", "_name_or_path",
    "name_or_path", "_attn_implementation", "return_dict", "output_attentions", "output_hidden_states", "is_decoder",
    "chunk_size_feed_forward", "id2label", "label2id", "problem_type", "cross_attention_hidden_size",
    "tie_encoder_decoder", "transformers.js_config", "gradient_checkpointing", "task_specific_params",
    "embd_pdrop", "resid_pdrop", "attn_pdrop",
}  # fmt: skip
OFF = {"is_encoder_decoder", "add_cross_attention"}  # accepted where false

# Hugging Face's names of activations, and ours.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu_squared",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}


def size(checkpoint: Checkpoint, key: str, default: int | None = None) -> int:
    """A positive integer of the configuration; `default`, where given, stands for a missing one or null.

    raises: FormatError for anything else.
    """
    value = checkpoint.config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", f"an integer of 1..{LARGEST}")
    return value


def switch(checkpoint: Checkpoint, key: str, default: bool = False) -> bool:
    """True or false; `default` where the key is missing.

    raises: FormatError for anything else.
    """
    value = checkpoint.config.get(key, default)
    if not isinstance(value, bool):
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", "true or false")
    return value


def positive(checkpoint: Checkpoint, key: str, value: object) -> float:
    """A value of the configuration that has to be a positive number.

    raises: FormatError where it is not.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e38:
        raise FormatError(f"{checkpoint.source}: {key}", f"{value!r:.60}", "a positive number")
    return float(value)


def unknown(config: dict[str, Any], used: Iterable[str], off: Iterable[str] = ()) -> list[str]:
    """Complaints about keys that are neither used, nor without effect, nor off."""
    off = OFF.union(off)
    wrong = [f"{key} = {config[key]!r:.60} (unknown key)" for key in sorted(config.keys() - IGNORED - off - set(used))]
    return wrong + [f"{key} = {config[key]!r:.60} (only false)" for key in sorted(off) if config.get(key)]


def other_activation(config: dict[str, Any], key: str, default: str, carried: Iterable[str] = ACTIVATIONS) -> list[str]:
    """Complaint about an activation that is not carried."""
    value = config.get(key, default)
    if isinstance(value, str) and value in carried:
        return []
    return [f"{key} = {value!r:.60} (only {', '.join(carried)})"]


def refuse(checkpoint: Checkpoint, wrong: list[str], expected: str) -> None:
    """Refuse, in one message, everything that is not carried.

    raises: UnsupportedError where there are complaints.
    """
    if wrong:
        raise UnsupportedError(checkpoint.source, "; ".join(wrong), expected)


def graph(checkpoint: Checkpoint, vocabulary: int, context: int | None, notes: Iterable[str] = ()) -> Graph:
    """An empty float graph that knows where the model came from; the checkpoint's notes come first."""
    return Graph(
        vocabulary,
        context,
        tokenizer=checkpoint.tokenizer,
        begin=checkpoint.begin,
        end=checkpoint.end,
        notes=[*checkpoint.notes, *notes],
        provenance={"source": checkpoint.source, "format": checkpoint.format, "source_sha256": checkpoint.digest},
    )
