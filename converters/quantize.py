"""Quantizer: a float graph and calibration tokens become a network of integers.

Each operation of the graph becomes populations and projections (`lowering/`). Every scale is chosen from the values
that the float graph takes on the calibration tokens; at run time nothing is scaled, the thresholds are the scales.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.builder import Builder, lower
from snngen.converters.calibrate import calibrate
from snngen.converters.compensation import choose_blends, corrections
from snngen.converters.graph import Graph
from snngen.converters.lowering import lowerings
from snngen.converters.operations import Convolution, Position
from snngen.converters.settings import Settings
from snngen.errors import PromptError, UnsupportedError
from snngen.network import Network
from snngen.synapses.packed import BITS

RANGE_SEQUENCES = 8  # enough to choose ranges on; compensation needs more


def quantize(
    graph: Graph,
    calibration: npt.NDArray[Any],
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Turn a float graph into a spiking network.

    calibration: (sequences, tokens) token numbers on which the scales are chosen; (sequences, tokens, channels) floats
        for a graph whose input is a vector.
    progress: is told (calibration trials done, trials in all).
    raises: UnsupportedError with every operation that cannot be carried; PromptError for unusable calibration.
    """
    settings = Settings() if settings is None else settings
    tokens = _checked(graph, np.asarray(calibration))
    lowerings()
    unknown = [
        f"{node.name} ({type(node.operation).__name__})"
        for node in graph.nodes
        if lower.dispatch(type(node.operation)) is lower.dispatch(object)
    ]
    if unknown:
        raise UnsupportedError("graph", ", ".join(unknown), "operations that a file of converters/lowering carries")
    unheard = sorted(settings.bits.keys() - {node.name for node in graph.nodes})
    if unheard:
        raise UnsupportedError("Settings.bits", ", ".join(unheard), "names of nodes of the graph")
    compensates = settings.rounding == "compensated"
    ranges = calibrate(graph, tokens[:RANGE_SEQUENCES] if compensates else tokens, settings, progress)
    if compensates:
        choose_blends(graph, ranges, tokens[:RANGE_SEQUENCES], settings)
    builder = Builder(graph, ranges, settings)
    if compensates:
        builder.corrections = corrections(graph, ranges, tokens, settings)
    for node in graph.nodes:
        lower(node.operation, node, builder)
    builder.notes += _otherwise(graph, settings)
    return builder.network(tokens)


def _otherwise(graph: Graph, settings: Settings) -> list[str]:
    """Notes on weights for which a setting does not hold as it does for linear maps."""
    taken = [node.name for node in graph.nodes if getattr(node.operation, "integers", None) is not None]
    others = [node.name for node in graph.nodes if isinstance(node.operation, Convolution | Position)]
    tables = [name for name in others if name not in taken]
    notes = []
    few = [name for name in tables if settings.bits_of(name) <= max(BITS)]
    if few:
        notes.append(f"rounded to fewer bits, but stored in 8 each (convolutions, positions): {', '.join(few)}")
    if tables and settings.rounding == "compensated":
        notes.append(f"rounded to the nearest, not compensated (convolutions, positions): {', '.join(tables)}")
    unlike = settings.rounding == "compensated" or any(settings.bits_of(name) != 8 for name in taken)
    if taken and unlike:
        notes.append(f"integers of the source, kept as they are whatever the settings: {', '.join(taken)}")
    return notes


def _checked(graph: Graph, tokens: npt.NDArray[Any]) -> npt.NDArray[Any]:
    room = tokens.shape[1] if graph.context is None and tokens.ndim > 1 else graph.context or 0
    if graph.channels:
        if tokens.ndim != 3 or tokens.size == 0 or tokens.shape[1] > room or tokens.shape[2] != graph.channels:
            expected = f"(sequences, tokens, {graph.channels}) floats"
            raise PromptError("calibration", f"shape {tokens.shape} of {tokens.dtype}", expected)
        if tokens.dtype.kind != "f" or not np.isfinite(tokens).all():
            raise PromptError("calibration", f"{tokens.dtype}, or values that are not finite", "finite floats")
        return tokens.astype(np.float32)
    if tokens.ndim != 2 or tokens.size == 0 or tokens.shape[1] > room or tokens.dtype.kind not in "iu":
        expected = f"(sequences, up to {room} tokens) integers"
        raise PromptError("calibration", f"shape {tokens.shape} of {tokens.dtype}", expected)
    if not 0 <= tokens.min() <= tokens.max() < graph.vocabulary:
        raise PromptError("calibration", f"tokens {tokens.min()}..{tokens.max()}", f"0..{graph.vocabulary - 1}")
    return tokens
