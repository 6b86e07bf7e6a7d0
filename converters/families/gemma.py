"""The Gemma family (Gemma 1): LLaMA's layers with norms by 1 + weight, a scaled embedding and GELU gates."""

from __future__ import annotations

from typing import Any

from snngen.converters import rotary
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.configuration import other_activation, refuse, size, switch, unknown
from snngen.converters.families import llama
from snngen.converters.graph import Graph

MODEL_TYPES = ("gemma",)

USED = llama.SIZES - {"sliding_window"} | {"attention_bias", "hidden_activation"}
OFF = {"use_bidirectional_attention"}  # accepted where false
GELUS = ("gelu", "gelu_pytorch_tanh", "gelu_new")  # early checkpoints say gelu and mean gelu_pytorch_tanh


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a Gemma checkpoint.

    raises: as `llama.build`.
    """
    config = checkpoint.config
    wrong = unknown(config, USED, OFF) + _other_gates(config) + rotary.other_positions(config)
    refuse(checkpoint, wrong, "a Gemma of the first generation")
    decoder = llama.Decoder(
        biased=llama.ATTENTION if switch(checkpoint, "attention_bias") else (),
        activation="gelu_tanh",
        offset=1.0,
        embedding_scale=size(checkpoint, "hidden_size") ** 0.5,
        tied=True,
    )
    return llama.assemble(checkpoint, decoder)


def _other_gates(config: dict[str, Any]) -> list[str]:
    """Complaints about activations; `hidden_activation`, where it is not null, is the newer name of `hidden_act`."""
    keys = [key for key in ("hidden_act", "hidden_activation") if config.get(key) is not None]
    return [complaint for key in keys for complaint in other_activation(config, key, "", GELUS)]
