"""Clocked runs: ours and a library's, from the same recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.neurons.input import Input
from snngen.engines.clocked import ClockedEngine


def spikes_of(network: DynamicNetwork, recording: np.ndarray, dt: float, rule: str) -> dict[str, np.ndarray]:
    """(steps, neurons) spikes of every population that fires, potentials of others, in the clocked engine.

    recording: (steps, neurons) of the only input.
    """
    engine = ClockedEngine(network, dt, rule)
    silent = [p.name for p in network.populations if not (p.neuron.fires or isinstance(p.neuron, Input))]
    history: dict[str, list[np.ndarray]] = {}
    for given in recording:
        sent = dict(engine.step({network.inputs[0]: given}))
        sent |= {name: engine.potential(name) for name in silent}
        for name, values in sent.items():
            history.setdefault(name, []).append(values)
    return {name: np.stack(steps) for name, steps in history.items()}


def as_library(
    layers: list[Any], shape: tuple[int, ...], recording: np.ndarray, fires: Callable[[Any], bool]
) -> list[np.ndarray]:
    """(steps, neurons) what every layer that fires sends, in a batch of 1, a step after the other."""
    import torch

    sent: list[list[np.ndarray]] = []
    with torch.no_grad():
        for given in recording:
            x = torch.tensor(given, dtype=torch.float32).reshape(1, *shape)
            step = []
            for layer in layers:
                x = layer(x)
                if fires(layer):
                    step.append(x.numpy().reshape(-1).copy())
            sent.append(step)
    return [np.stack(layer) for layer in zip(*sent, strict=True)]
