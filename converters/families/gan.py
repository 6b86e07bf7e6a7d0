"""Generators of GANs that are plain stacks of linear layers: ReLU between them, tanh at the end."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.families import decoder
from snngen.converters.families.vae import square
from snngen.converters.graph import Graph
from snngen.errors import FormatError

MODEL_TYPES = ("gan",)
NAME = re.compile(r"(?P<stack>(?:[A-Za-z_]\w*\.)?)(?P<layer>\d{1,6})\.(?P<part>weight|bias)")


def recognizes(checkpoint: Checkpoint) -> bool:
    """True for the state dict of one `Sequential`: linear layers with one layer without weights between any two."""
    numbers = _numbers(checkpoint)
    weights = [checkpoint.tensors.get(f"{numbers[0]}{layer}.weight") for layer in numbers[1]] if numbers else []
    return len(weights) > 1 and all(weight is not None and weight.ndim == 2 for weight in weights)


def build(checkpoint: Checkpoint) -> Graph:
    """The generator. A state dict does not say its activations: see the note.

    Source: the generators of Goodfellow et al. 2014 as commonly written: ReLU, and tanh for pixels of -1..1.
    """
    numbers = _numbers(checkpoint)
    if numbers is None or not recognizes(checkpoint):
        raise FormatError(checkpoint.source, f"tensors {sorted(checkpoint.tensors)[:8]}", "a stack of linear layers")
    stack, order = numbers
    layers: list[dict[str, Any]] = []
    for layer in order:
        layers += [{"kind": "linear", "name": f"{stack}{layer}"}, {"kind": "activation", "function": "relu"}]
    layers[-1] = {"kind": "activation", "function": "tanh"}
    config = {
        "model_type": "decoder",
        "latent": int(checkpoint.tensors[f"{stack}{order[0]}.weight"].shape[1]),
        "picture": square(checkpoint, f"{stack}{order[-1]}.weight"),
        "layers": layers,
    }
    notes = [
        *checkpoint.notes,
        "the file names no activations: ReLU was taken between the linear layers and tanh after the last, as in the "
        "generator of a GAN; a configuration of model_type decoder says otherwise",
    ]
    return decoder.build(replace(checkpoint, config=config, notes=notes))


def _numbers(checkpoint: Checkpoint) -> tuple[str, list[int]] | None:
    """Name of the stack and numbers of its layers, or None where it is none, or has not every second layer."""
    found = [NAME.fullmatch(name) for name in checkpoint.tensors]
    matches = [match for match in found if match is not None]
    stacks = {match["stack"] for match in matches}
    if not matches or len(matches) < len(found) or len(stacks) != 1:
        return None
    order = sorted({int(match["layer"]) for match in matches})
    if any(after - before != 2 for before, after in pairwise(order)):
        return None
    return stacks.pop(), order
