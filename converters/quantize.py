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
from snngen.converters.calibrate import calibrate, require_calibration
from snngen.converters.compensation import choose_blends, corrections
from snngen.converters.effect import notes
from snngen.converters.graph import Graph
from snngen.converters.lowering import lowerings
from snngen.converters.settings import Settings
from snngen.errors import UnsupportedError
from snngen.network import Network

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
    raises: UnsupportedError with every operation that cannot be carried, and for a setting that would change nothing
        (`effect.py`); PromptError for unusable calibration.
    """
    settings = Settings() if settings is None else settings
    tokens = require_calibration(graph, np.asarray(calibration))
    lowerings()
    unknown = [
        f"{node.name} ({type(node.operation).__name__})"
        for node in graph.nodes
        if lower.dispatch(type(node.operation)) is lower.dispatch(object)
    ]
    if unknown:
        raise UnsupportedError("graph", ", ".join(unknown), "operations that a file of converters/lowering carries")
    said = notes(graph, settings)
    compensates = settings.rounding == "compensated"
    ranges = calibrate(graph, tokens[:RANGE_SEQUENCES] if compensates else tokens, settings, progress)
    if compensates:
        choose_blends(graph, ranges, tokens[:RANGE_SEQUENCES], settings)
    builder = Builder(graph, ranges, settings)
    if compensates:
        builder.corrections = corrections(graph, ranges, tokens, settings)
    for node in graph.nodes:
        lower(node.operation, node, builder)
    builder.notes += said
    return builder.network(tokens)
