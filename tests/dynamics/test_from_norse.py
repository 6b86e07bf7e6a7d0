"""Trained norse modules: the spikes of the library, to the last one."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
from clocked import spikes_of

from snngen.dynamics.network import DynamicNetwork
from snngen.errors import UnsupportedError

torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # norse still calls torch.jit.script when it is imported
    norse = pytest.importorskip("norse.torch", reason="norse is in the extra `torch`")
    resets = importlib.import_module("norse.torch.functional.reset")
    boxes = importlib.import_module("norse.torch.functional.leaky_integrator_box")

from torch import nn, tensor  # noqa: E402

from snngen.dynamics.from_norse import from_norse  # noqa: E402

STEPS = 300


def recording(seed: int, size: int) -> np.ndarray:
    """(STEPS, size) of 0 and 1."""
    return (np.random.default_rng(seed).random((STEPS, size)) < 0.3).astype(np.float64)


def library(module: Any, shape: tuple[int, ...], given: np.ndarray) -> list[np.ndarray]:
    """(STEPS, neurons) what every stateful layer sends, a step after the other."""
    module.return_hidden = True
    state, sent = None, []
    with torch.no_grad():
        for step in given:
            hidden, state = module(torch.tensor(step, dtype=torch.float32).reshape(1, *shape), state)
            sent.append([x.numpy().reshape(-1) for x, kept in zip(hidden, module.stateful_layers, strict=True) if kept])
    return [np.stack(layer) for layer in zip(*sent, strict=True)]


def assert_equal(network: DynamicNetwork, given: np.ndarray, expected: list[np.ndarray]) -> None:
    got = spikes_of(network, given, network.metadata["dt"], "norse")
    for population, theirs in zip(network.populations[1:], expected, strict=True):
        assert (got[population.name] == theirs).all()
        assert len(np.unique(theirs)) > 1


@pytest.mark.parametrize("seed", range(3))
def test_every_cell(seed: int) -> None:
    torch.manual_seed(seed)
    lif = norse.LIFParameters(
        v_th=torch.rand(40) * 0.3, tau_mem_inv=torch.rand(40) * 200 + 50, tau_syn_inv=torch.rand(40) * 200 + 50,
        v_leak=tensor(0.05), v_reset=tensor(-0.1),
    )  # fmt: skip
    box = norse.LIFBoxParameters(v_th=tensor(0.1), v_leak=tensor(0.02), reset_method=resets.reset_subtract)
    module = norse.SequentialState(
        nn.Linear(30, 40), norse.LIFCell(lif), nn.Linear(40, 30), norse.LIFBoxCell(box),
        nn.Linear(30, 20, bias=False), norse.IAFCell(norse.IAFParameters(v_th=tensor(0.8), v_reset=tensor(0.1))),
        nn.Linear(20, 7), norse.LIFBoxCell(norse.LIFBoxParameters(v_th=tensor(0.02), v_reset=tensor(-0.01))),
    )  # fmt: skip
    given = recording(seed, 30)
    assert_equal(from_norse(module, (30,)), given, library(module, (30,), given))


@pytest.mark.parametrize("last", ["LICell", "LIBoxCell"])
def test_what_is_read_out_is_a_potential(last: str) -> None:
    torch.manual_seed(5)
    cells = {"LICell": norse.LIParameters, "LIBoxCell": boxes.LIBoxParameters}
    cell = getattr(norse, last)(cells[last](v_leak=tensor(0.3)), dt=0.002)
    first = norse.LIFCell(norse.LIFParameters(v_th=tensor(0.1)), dt=0.002)
    module = norse.SequentialState(nn.Linear(30, 20), first, nn.Linear(20, 5), cell)
    given = recording(5, 30)
    network = from_norse(module, (30,))
    assert network.metadata["dt"] == 0.002
    assert_equal(network, given, library(module, (30,), given))


def test_convolutions_pooling_and_lift() -> None:
    torch.manual_seed(0)
    low = norse.LIFParameters(v_th=tensor(0.05))
    module = norse.SequentialState(
        nn.Conv2d(2, 4, 3, padding="same"), nn.AvgPool2d(2), norse.LIFCell(low),
        nn.Conv2d(4, 6, 3), norse.LIFCell(low), nn.Flatten(), nn.Linear(24, 10), norse.LIFCell(low),
    )  # fmt: skip
    given = recording(6, 128)
    assert_equal(from_norse(module, (2, 8, 8)), given, library(module, (2, 8, 8), given))


def test_layers_that_take_all_steps_at_once() -> None:
    """Weights on a grid of 2**-8, so that it does not matter how torch adds up."""
    torch.manual_seed(3)
    module = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 4, 3)), nn.Flatten(2), norse.LIF(norse.LIFParameters(v_th=tensor(0.1))),
        nn.Linear(64, 20), norse.IAF(), nn.Linear(20, 5), norse.LI(),
    )  # fmt: skip
    with torch.no_grad():
        for values in module.parameters():
            values.copy_(torch.round(values * 256) / 256)
    given = recording(7, 72)
    module.return_hidden = True
    with torch.no_grad():
        hidden, _ = module(torch.tensor(given, dtype=torch.float32).reshape(STEPS, 1, 2, 6, 6))
    expected = [hidden[index].numpy().reshape(STEPS, -1) for index in (2, 4, 6)]
    assert_equal(from_norse(module, (2, 6, 6)), given, expected)


def test_everything_that_is_not_carried_is_named_at_once() -> None:
    layers = [
        norse.LIFCell(), norse.LIFRecurrentCell(4, 4), nn.ReLU(), norse.LIFCell(dt=0.01), norse.LIF(),
        norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=lambda z, v, r, t: v)),
        norse.LIFCell(norse.LIFParameters(method="adjoint")),
    ]  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        from_norse(layers, (4,))
    for what in ("1 (", "2 (", "5 (", "6 (", "steps of", "all steps at once"):
        assert what in caught.value.got
