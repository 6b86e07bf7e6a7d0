"""Layers: the tensors of a checkpoint as operations of the float graph."""

from __future__ import annotations

import numpy as np

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.operations import Floats, GroupNorm, Linear
from snngen.errors import FormatError


def linear(checkpoint: Checkpoint, name: str, outputs: int, inputs: int, bias: bool = False) -> Linear:
    """`name`.weight (outputs, inputs) and, with bias, `name`.bias (outputs,)."""
    weight = checkpoint.take(f"{name}.weight", (outputs, inputs))
    return Linear(weight, checkpoint.take(f"{name}.bias", (outputs,)) if bias else None)


def layer_norm(checkpoint: Checkpoint, name: str, channels: int, epsilon: float) -> GroupNorm:
    """`name`.weight and `name`.bias, (channels,) each."""
    weight = checkpoint.take(f"{name}.weight", (channels,))
    return GroupNorm(weight, checkpoint.take(f"{name}.bias", (channels,)), epsilon)


def head(checkpoint: Checkpoint, name: str, embedding: Floats, tied: bool, bias: bool = False) -> Linear:
    """The map onto the logits: a tensor of the shape of the embedding, or, where tied, the embedding itself.

    raises: FormatError for a tied one that is stored beside the embedding and unlike it.
    """
    vocabulary, channels = embedding.shape
    if not tied or f"{name}.weight" in checkpoint.tensors:
        own = checkpoint.take(f"{name}.weight", (vocabulary, channels))
        if tied and not np.array_equal(own, embedding):
            wrong = f"{name}.weight unlike the embedding"
            raise FormatError(checkpoint.source, wrong, "tied weights, as configured")
        embedding = embedding if tied else own
    return Linear(embedding, checkpoint.take(f"{name}.bias", (vocabulary,)) if bias else None)
