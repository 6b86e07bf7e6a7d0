"""Noise: how far each layer of a network is from the float graph that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.graph import Graph
from snngen.converters.operations import Floats
from snngen.encoding import encode
from snngen.engines.settled import SettledEngine
from snngen.network import Network


@dataclass(frozen=True)
class LayerNoise:
    """One population against the float value that it stands for.

    decibels: 10 log10(sum x**2 / sum (x - y)**2) over all tokens and channels; errors of earlier layers included;
        infinite where there is no noise, or no signal.
    clipped: share of codes at an end of their range other than 0. active: share of codes that are not zero.
    """

    population: str
    decibels: float
    clipped: float
    active: float


def layer_noise(graph: Graph, network: Network, sequences: Sequence[Any]) -> list[LayerNoise]:
    """Run float graph and network side by side on sequences; compare each population that has a float value.

    sequences: token numbers each, or (tokens, channels) floats where the input is a vector.
    """
    engine = SettledEngine(network)
    shared = [p for p in network.populations if p.name in {node.name for node in graph.nodes}]
    sums = {p.name: np.zeros(5) for p in shared}  # signal, noise, clipped, active, codes
    for sequence in sequences:
        given = np.asarray(sequence)
        values = graph.observe(given[None])
        engine.reset()
        for index, token in enumerate(given):
            if graph.channels:
                engine.step(codes={graph.entry: encode(network, token)})
            else:
                engine.step(int(token))
            for population in shared:
                codes = engine.codes(population.name)
                sums[population.name] += _compare(
                    values[population.name][0, index], codes, population.scale, *population.neuron.range
                )
    return [
        LayerNoise(
            name,
            _decibels(signal, noise),
            float(clipped / codes),
            float(active / codes),
        )
        for name, (signal, noise, clipped, active, codes) in sums.items()
    ]


def _decibels(signal: float, noise: float) -> float:
    if signal > 0 and noise > 0:
        return float(10 * np.log10(signal / noise))
    return float("-inf") if noise > 0 else float("inf")


def _compare(
    x: Floats, codes: npt.NDArray[np.int32], scale: npt.NDArray[np.floating], low: int, high: int
) -> npt.NDArray[np.float64]:
    error = x - codes * scale
    clipped = np.count_nonzero((codes != 0) & ((codes == low) | (codes == high)))
    return np.array([(x.astype(np.float64) ** 2).sum(), (error**2).sum(), clipped, np.count_nonzero(codes), codes.size])
