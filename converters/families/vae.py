"""Variational autoencoders of linear layers, as PyTorch's example has them: latent -> fc3, ReLU -> fc4, sigmoid."""

from __future__ import annotations

import math
from dataclasses import replace

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.families import decoder
from snngen.converters.graph import Graph
from snngen.errors import FormatError

MODEL_TYPES = ("vae",)
ENCODER = ("fc1.", "fc21.", "fc22.")
NAMES = {f"fc{layer}.{part}" for layer in (1, 21, 22, 3, 4) for part in ("weight", "bias")}


def recognizes(checkpoint: Checkpoint) -> bool:
    """True for a state dict with just the tensors of the example; with or without those of the encoder."""
    names = set(checkpoint.tensors)
    return {"fc3.weight", "fc4.weight"} <= names <= NAMES


def build(checkpoint: Checkpoint) -> Graph:
    """The decoder; the encoder is no part of the generator and is left out.

    Source: pytorch/examples, vae/main.py.
    """
    for name in ("fc3.weight", "fc4.weight"):
        if name not in checkpoint.tensors or checkpoint.tensors[name].ndim != 2:
            raise FormatError(f"{checkpoint.source}: {name}", "no such matrix", "the decoder of a VAE")
    config = {
        "model_type": "decoder",
        "latent": int(checkpoint.tensors["fc3.weight"].shape[1]),
        "picture": square(checkpoint, "fc4.weight"),
        "layers": [
            {"kind": "linear", "name": "fc3"},
            {"kind": "activation", "function": "relu"},
            {"kind": "linear", "name": "fc4"},
            {"kind": "activation", "function": "sigmoid"},
        ],
        "left_out": list(ENCODER),
    }
    notes = [
        *checkpoint.notes,
        "the layers are those of PyTorch's example of a VAE, recognised by the tensors' names: ReLU after fc3, "
        "sigmoid after fc4",
    ]
    return decoder.build(replace(checkpoint, config=config, notes=notes))


def square(checkpoint: Checkpoint, name: str) -> list[int]:
    """[channels, side, side] of a picture that a matrix gives: grey where its rows are a square number, else colour.

    raises: FormatError where it is neither.
    """
    rows = int(checkpoint.tensors[name].shape[0])
    for channels in (1, 3):
        side = math.isqrt(rows // channels)
        if rows and channels * side * side == rows:
            return [channels, side, side]
    raise FormatError(f"{checkpoint.source}: {name}", f"{rows} rows", "those of a square picture, grey or of 3 colours")
