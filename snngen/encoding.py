"""Encoding: real values become codes of a source, and codes become real values again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snngen.errors import PromptError
from snngen.integers import FloatArray, IntArray
from snngen.network import Network


def encode(network: Network, values: npt.ArrayLike, source: str | None = None) -> IntArray:
    """Codes of real values: clip(floor(value / scale + 1 / 2), low, high).

    values: (..., size) floats in the units of the float model. source: its name, the first source where None.
    returns: (..., size) int64.
    raises: PromptError for a wrong size or values that are not finite.
    """
    population = network.sources[0] if source is None else network[source]
    given = np.asarray(values, dtype=np.float64)
    if given.shape[-1:] != (population.size,) or not np.isfinite(given).all():
        raise PromptError(population.name, f"values of shape {given.shape}", f"(..., {population.size}), finite")
    low, high = population.neuron.range
    return np.clip(np.floor(given / population.scale + 0.5), low, high).astype(np.int64)


def decode(network: Network, codes: npt.ArrayLike, population: str | None = None) -> FloatArray:
    """What codes (or potentials) of a population are worth: code * scale.

    codes: (..., size) integers. population: its name, the network's output where None.
    """
    name = network.output if population is None else population
    worth: FloatArray = np.asarray(codes, dtype=np.float64) * network[name].scale
    return worth
