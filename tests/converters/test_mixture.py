"""Mixtures: densities that integrate to one, draws that follow them, dreams that are made of their own draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snngen.converters import mixture
from snngen.converters.graph import BEFORE, Graph
from snngen.converters.operations import Linear

MIXTURES, CHANNELS = 3, 2


def random_output(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=CHANNELS * 3 * MIXTURES)


def test_a_density_integrates_to_one() -> None:
    output, points = random_output(), np.linspace(-60, 60, 40001)
    nats = mixture.nats(np.broadcast_to(output, (len(points), len(output))), np.stack((points, points), -1), MIXTURES)
    np.testing.assert_allclose(np.trapezoid(np.exp(-nats), points, axis=0), 1, atol=1e-6)


def test_nats_are_those_of_the_formula() -> None:
    output, value = random_output(1), 0.3
    rows = output.reshape(CHANNELS, 3, MIXTURES)
    for channel, (weights, means, deviations) in enumerate(rows):
        shares = np.exp(weights) / np.exp(weights).sum()
        spread = np.exp(deviations)
        density = (shares * np.exp(-0.5 * ((value - means) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))).sum()
        nats = mixture.nats(output, np.full(CHANNELS, value), MIXTURES)[channel]
        assert nats == pytest.approx(-np.log(density), abs=1e-12)


def test_a_value_far_out_has_finite_nats() -> None:
    assert np.isfinite(mixture.nats(random_output(), np.full(CHANNELS, 1e6), MIXTURES)).all()


def test_draws_follow_the_mixture() -> None:
    output = np.broadcast_to(random_output(), (200_000, CHANNELS * 3 * MIXTURES))
    draws = mixture.sample(output, MIXTURES, np.random.default_rng(0))
    weights, means, deviations = mixture.parts(random_output(), MIXTURES)
    mean = (np.exp(weights) * means).sum(axis=-1)
    variance = (np.exp(weights) * (deviations**2 + means**2)).sum(axis=-1) - mean**2
    assert np.abs(draws.mean(axis=0) - mean).max() < 5 * np.sqrt(variance.max() / len(draws))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.03)


def test_a_dream_feeds_its_draws_back() -> None:
    """A model whose mean is its input plus one, all but certain, counts."""
    actions = np.random.default_rng(0).normal(size=(2, 6, 1))
    weight = np.zeros((3, 2 + 2), dtype=np.float32)
    weight[1, 0] = weight[1, 2] = 1  # the latent now, and the one before
    bias = np.array([0, 1, -30], dtype=np.float32)
    graph = Graph(0, None, channels=2)
    graph.add("copy", Linear(np.eye(2, dtype=np.float32)), "input")
    graph.add("mixture", Linear(weight, bias), "copy", f"{BEFORE}copy")
    inputs: Any = mixture.dream(graph, 1, actions, np.random.default_rng(1))
    np.testing.assert_array_equal(inputs[:, :, 1:], actions.astype(np.float32))
    latents = inputs[:, :, 0]
    np.testing.assert_allclose(latents[:, 1], latents[:, 0] + 1, atol=1e-5)
    np.testing.assert_allclose(latents[:, 2:], latents[:, 1:-1] + latents[:, :-2] + 1, atol=1e-4)
    again = mixture.dream(graph, 1, actions, np.random.default_rng(1))
    np.testing.assert_array_equal(again, inputs)
