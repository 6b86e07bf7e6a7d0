"""Weights: how the rounded weights of a map are stored, by their bits and by how many of them are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.builder import Builder, Doubles, Signal
from snngen.converters.graph import Node
from snngen.converters.operations import Embedding, Floats, Linear
from snngen.converters.rounding import Rounded, compensated, nearest
from snngen.errors import UnsupportedError
from snngen.integers import INT32_MAX
from snngen.synapses.dense import Dense
from snngen.synapses.packed import BITS, Packed
from snngen.synapses.sparse import Sparse

Matrix = Dense | Packed | Sparse
Part = tuple[Signal, Doubles]


def few_bits(builder: Builder, node: Node) -> bool:
    """True for weights of so few bits that they are packed, or whose rounding is compensated."""
    return node.name in builder.corrections or builder.settings.bits_of(node.name) <= max(BITS)


def split(builder: Builder, node: Node, weight: Floats | Doubles) -> list[Part]:
    """The codes of each input of a linear map, with its columns, times what one unit of each code is worth."""
    parts: list[Part] = []
    first = 0
    for name in node.inputs:
        signal = builder.codes(name)
        width = len(signal.scale)
        parts.append((signal, np.asarray(weight[:, first : first + width] * signal.scale, dtype=np.float64)))
        first += width
    if first != weight.shape[1]:
        raise UnsupportedError(f"node {node.name}", f"{first} inputs", f"{weight.shape[1]}, as its weights have")
    return parts


def columns(builder: Builder, node: Node, grain: float = 0.0) -> list[tuple[Signal, Rounded]]:
    """The rounded weights of a linear map or an embedding, input by input; all have the same units.

    grain: units are multiples of it, where it is not 0.
    """
    operation, bits = node.operation, builder.settings.bits_of(node.name)
    if isinstance(operation, Embedding):
        signal = builder.signals[node.inputs[0]]
        table = operation.weight.T.astype(np.float64)
        if node.name in builder.corrections:
            found = builder.corrections[node.name]
            return [(signal, compensated(found.weight, found.hessian, bits, grain))]
        return [(signal, nearest(table, bits, grain))]
    if not isinstance(operation, Linear):
        raise UnsupportedError(f"node {node.name}", type(operation).__name__, "a linear map or an embedding")
    correction = builder.corrections.get(node.name)
    parts = split(builder, node, operation.weight if correction is None else correction.weight)
    whole = np.concatenate([weight for _, weight in parts], axis=1)
    if correction is None:
        rounded = nearest(whole, bits, grain)
    else:
        worth = np.concatenate([signal.scale for signal, _ in parts])
        rounded = compensated(whole, correction.hessian * np.outer(1 / worth, 1 / worth), bits, grain)
    edges = np.cumsum([weight.shape[1] for _, weight in parts])[:-1]
    pieces = np.split(rounded.matrix, edges, axis=1)
    return [(signal, Rounded(piece, rounded.unit)) for (signal, _), piece in zip(parts, pieces, strict=True)]


def stored(builder: Builder, node: Node, matrix: npt.NDArray[np.int8], gain: npt.NDArray[Any]) -> Matrix:
    """Synapses of a rounded (outputs, inputs) matrix: packed by their bits, or row by row where few are not zero."""
    settings, integers = builder.settings, getattr(node.operation, "integers", None)
    bits = settings.bits_of(node.name) if integers is None else integers.bits
    rows = np.ascontiguousarray(matrix.T.astype(np.int8))
    gain = np.clip(gain, 1, INT32_MAX).astype(np.int32)
    plain: Matrix = Dense(rows, gain) if bits > max(BITS) else Packed.of(rows, gain, 4 if bits > 2 else 2)
    share = np.count_nonzero(rows) / rows.size
    below = settings.sparse_below
    if share < (0.5 if below is None else below):  # beyond a half, the indices alone take more
        sparse = Sparse.of(rows, gain)
        if below is not None or sparse.weight_bytes < plain.weight_bytes:
            return sparse
    return plain
