"""Trained snnTorch modules: the spikes of the library, to the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clocked import as_library, spikes_of

from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.errors import UnsupportedError

torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
snn = pytest.importorskip("snntorch", reason="snnTorch is in the extra `torch`")

from torch import nn  # noqa: E402

from snngen.dynamics.from_snntorch import from_snntorch  # noqa: E402

STEPS, DT = 300, 1e-3


def recording(seed: int, size: int) -> np.ndarray:
    """(STEPS, size) of 0 and 1."""
    return (np.random.default_rng(seed).random((STEPS, size)) < 0.3).astype(np.float64)


def library(layers: list[Any], shape: tuple[int, ...], given: np.ndarray) -> list[np.ndarray]:
    """(STEPS, neurons) spikes of every layer of neurons, from one recording, a step after the other."""
    return as_library(layers, shape, given, lambda layer: isinstance(layer, snn.SpikingNeuron))


def assert_equal(network: DynamicNetwork, given: np.ndarray, expected: list[np.ndarray]) -> None:
    """All spikes are the same, and there are some to be compared."""
    got = spikes_of(network, given, DT, "snntorch")
    names = [population.name for population in network.populations[1:]]
    assert len(names) == len(expected)
    for name, theirs in zip(names, expected, strict=True):
        assert (got[name] == theirs).all()
        assert 0 < theirs.mean() < 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [True, False])
def test_leaky_and_synaptic(seed: int, reset: str, delay: bool) -> None:
    torch.manual_seed(seed)
    how = {"reset_mechanism": reset, "reset_delay": delay, "init_hidden": True}
    layers = [
        nn.Linear(30, 40), snn.Leaky(torch.rand(40) * 0.5 + 0.5, torch.rand(40) * 0.5 + 0.1, **how),
        nn.Linear(40, 30, bias=False), snn.Synaptic(torch.rand(30) * 0.8, torch.rand(30), **how),
        nn.Linear(30, 20), snn.Leaky(0.9, 0.3, **how),
    ]  # fmt: skip
    given = recording(seed, 30)
    assert_equal(from_snntorch(nn.Sequential(*layers), (30,), DT), given, library(layers, (30,), given))


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_lapicque(reset: str) -> None:
    torch.manual_seed(1)
    how = {"reset_mechanism": reset, "init_hidden": True}
    layers = [nn.Linear(30, 20), snn.Lapicque(0.7, threshold=0.05, **how), snn.Lapicque(R=2.0, C=1.5, **how)]
    given = recording(1, 30)
    assert_equal(from_snntorch(layers, (30,), DT), given, library(layers, (30,), given))


def test_no_decay_and_no_memory() -> None:
    torch.manual_seed(2)
    decays = torch.tensor([0.0, 1.0, 1e-6, 0.9999999, 1.5, -0.2, 0.5, 0.3])
    layers = [nn.Linear(8, 8), snn.Leaky(decays, 0.2, init_hidden=True)]
    given = recording(2, 8)
    assert_equal(from_snntorch(layers, (8,), DT), given, library(layers, (8,), given))


def test_convolutions_and_pooling() -> None:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 4, 3, padding=1), nn.AvgPool2d(2), snn.Leaky(torch.rand(4, 1, 1), 0.2, init_hidden=True),
        nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, bias=False, padding="valid"), nn.Dropout(0.5).eval()),
        snn.Leaky(0.8, 0.1, init_hidden=True), nn.AvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
        snn.Leaky(1.0, init_hidden=True),
    ]  # fmt: skip
    given = recording(3, 2 * 8 * 8)
    assert_equal(from_snntorch(nn.Sequential(*layers), (2, 8, 8), DT), given, library(layers, (2, 8, 8), given))


def test_a_batch_whose_sums_are_exact() -> None:
    """Weights on a grid of 2**-8: torch then adds up a batch of 5 as it does one recording."""
    torch.manual_seed(4)
    layers = [
        nn.Linear(30, 40), snn.Leaky(torch.rand(40), 0.4, init_hidden=True),
        nn.Linear(40, 20), snn.Leaky(0.9, 0.3, init_hidden=True),
    ]  # fmt: skip
    with torch.no_grad():
        for layer in (layers[0], layers[2]):
            for values in (layer.weight, layer.bias):
                values.copy_(torch.round(values * 256) / 256)
    batch = np.stack([recording(seed, 30) for seed in range(5)], axis=1)
    expected: list[list[np.ndarray]] = [[], []]
    with torch.no_grad():
        for step in batch:
            x = torch.tensor(step, dtype=torch.float32)
            for index, layer in enumerate(layers):
                x = layer(x)
                if index % 2:
                    expected[index // 2].append(x.numpy().copy())
    network = from_snntorch(layers, (30,), DT)
    for sample in range(5):
        theirs = [np.stack(layer)[:, sample] for layer in expected]
        assert_equal(network, batch[:, sample], theirs)


def test_what_is_known_of_the_source() -> None:
    network = from_snntorch([nn.Linear(3, 2), snn.Leaky(0.5)], (3,), dt=0.002)
    assert network.metadata["rule"] == "snntorch"
    assert network.metadata["dt"] == 0.002
    neuron = network["1"].neuron
    assert isinstance(neuron, ClockedLeaky)
    assert neuron.jump.tolist() == [1, 1]
    np.testing.assert_allclose(np.exp(-0.002 / neuron.tau_mem), 0.5, rtol=1e-15)


def test_everything_that_is_not_carried_is_named_at_once() -> None:
    layers = [
        nn.Linear(4, 4), nn.BatchNorm1d(4), snn.Alpha(alpha=0.9, beta=0.8), nn.MaxPool2d(2), nn.Dropout(0.5),
        snn.RLeaky(0.9, linear_features=4), snn.Leaky(0.9, graded_spikes_factor=2.0),
        snn.Leaky(torch.tensor([0.1, 0.2, 0.3])), snn.Leaky(0.9, state_quant=lambda x: x), snn.Lapicque(R=3.0, C=1.0),
        snn.Lapicque(0.3), snn.Leaky(torch.tensor([0.5] * 4, dtype=torch.float64)), nn.Flatten(2),
    ]  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        from_snntorch(layers, (4,))
    for number in range(1, len(layers)):
        assert f"{number} (" in caught.value.got


def test_modules_without_an_order_or_without_neurons_are_refused() -> None:
    class Net(nn.Module):
        pass

    with pytest.raises(UnsupportedError, match="forward"):
        from_snntorch(Net(), (4,))
    with pytest.raises(UnsupportedError, match="no neurons behind"):
        from_snntorch([snn.Leaky(0.9), nn.Linear(4, 3)], (4,))
    with pytest.raises(UnsupportedError, match="no neurons"):
        from_snntorch([], (4,))
    with pytest.raises(UnsupportedError, match="4 inputs where a shape of"):
        from_snntorch([nn.Linear(4, 3), snn.Leaky(0.9)], (1, 2, 2))
    changed = snn.Leaky(0.9)
    changed.reset_mechanism = "zero"
    with pytest.raises(UnsupportedError, match="changed after"):
        from_snntorch([changed], (4,))
