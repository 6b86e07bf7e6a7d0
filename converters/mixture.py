"""Mixture: a density per channel as a network says it, the likelihood of a value under it, and draws from it.

A row of an output is (channels * 3 * mixtures): per channel the logarithms of weights, means, and logarithms of
standard deviations, as in World Models (Ha and Schmidhuber 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.graph import Cache, Graph

Doubles = npt.NDArray[np.float64]


def parts(output: npt.NDArray[Any], mixtures: int) -> tuple[Doubles, Doubles, Doubles]:
    """Logarithms of weights that sum to one, means, and standard deviations, (..., channels, mixtures) each."""
    split = output.astype(np.float64).reshape(*output.shape[:-1], -1, 3, mixtures)
    weights, means, deviations = (split[..., index, :] for index in range(3))
    return weights - _log_sum(weights)[..., None], means, np.exp(deviations)


def nats(output: npt.NDArray[Any], values: npt.NDArray[Any], mixtures: int) -> Doubles:
    """-log sum over k of w[k] * normal(value; mean[k], deviation[k]), per channel.

    output: (..., channels * 3 * mixtures); values: (..., channels). returns (..., channels).
    """
    weights, means, deviations = parts(output, mixtures)
    distance = (values[..., None] - means) / deviations
    return -_log_sum(weights - 0.5 * distance**2 - np.log(deviations) - 0.5 * np.log(2 * np.pi))


def sample(output: npt.NDArray[Any], mixtures: int, generator: np.random.Generator) -> Doubles:
    """One value per channel, (..., channels), drawn from the mixture that the output says."""
    weights, means, deviations = parts(output, mixtures)
    draws = generator.random((*weights.shape[:-1], 1))
    chosen = np.minimum((np.cumsum(np.exp(weights), axis=-1) < draws).sum(axis=-1, keepdims=True), mixtures - 1)
    mean, deviation = (np.take_along_axis(x, chosen, axis=-1)[..., 0] for x in (means, deviations))
    return np.asarray(mean + deviation * generator.standard_normal(mean.shape))


def dream(
    graph: Graph, mixtures: int, actions: npt.NDArray[Any], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """What a model of latents and actions meets when its own draws are the next latents: the inputs, in order.

    actions: (batch, tokens, channels) numbers, the tail of each input; the first latents are N(0, 1).
    returns: (batch, tokens, graph.channels) float32, fit to calibrate on.
    """
    batch, tokens, width = actions.shape
    inputs = np.zeros((batch, tokens, graph.channels), dtype=np.float32)
    inputs[:, :, graph.channels - width :] = actions
    latents = generator.standard_normal((batch, graph.channels - width))
    cache: Cache = {}
    for token in range(tokens):
        inputs[:, token, : graph.channels - width] = latents
        latents = sample(graph.run(inputs[:, token : token + 1], token, cache)[:, 0], mixtures, generator)
    return inputs


def _log_sum(logarithms: Doubles) -> Doubles:
    """log sum exp over the last axis."""
    peak = logarithms.max(axis=-1)
    return np.asarray(peak + np.log(np.exp(logarithms - peak[..., None]).sum(axis=-1)))
