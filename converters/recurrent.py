"""Recurrent cells of the float graph: LSTM, GRU and the simple one, from weights as torch has them."""

from __future__ import annotations

import numpy as np

from snngen.converters.graph import BEFORE, Graph
from snngen.converters.operations import Floats, Linear, Pointwise, Products, Scale

Weights = tuple[Floats, Floats, Floats | None]  # of the input, of the state before, bias of both together


def lstm(graph: Graph, name: str, inputs: tuple[str, ...], gates: dict[str, Weights]) -> str:
    """Add a long short-term memory; returns the name of its output.

    i, f, o = sigmoid(W x + U h + b), g = tanh(W x + U h + b), c = i * g + f * c before, h = o * tanh(c)

    name: that its nodes begin with. inputs: names of x. gates: weights by gate, keys i, f, g, o; (width, inputs),
    (width, width), (width,). State is zero before the first token.
    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; torch.nn.LSTM.
    """
    before = f"{BEFORE}{name}_h"
    values = {}
    for gate in "ifgo":
        sums = graph.add(f"{name}_{gate}_sum", _affine(*gates[gate]), *inputs, before)
        values[gate] = graph.add(f"{name}_{gate}", Pointwise("tanh" if gate == "g" else "sigmoid"), sums)
    pairs = (values["i"], values["g"], values["f"], f"{BEFORE}{name}_c")
    cell = graph.add(f"{name}_c", Products((None, None)), *pairs)
    squashed = graph.add(f"{name}_c_tanh", Pointwise("tanh"), cell)
    return graph.add(f"{name}_h", Products((None,)), values["o"], squashed)


def gru(graph: Graph, name: str, inputs: tuple[str, ...], gates: dict[str, Weights], state_bias: Floats | None) -> str:
    """Add a gated recurrent unit; returns the name of its output.

    r, z = sigmoid(W x + U h + b), n = tanh(W x + b + r * (U h + state_bias)), h = (1 - z) * n + z * h before

    gates: weights by gate, keys r, z, n. state_bias: (width,), that the reset gate scales. The rest as in `lstm`.
    Source: Cho et al. 2014 in the form of torch.nn.GRU, which resets after the product.
    """
    before = f"{BEFORE}{name}_h"
    sums = {gate: graph.add(f"{name}_{gate}_sum", _affine(*gates[gate]), *inputs, before) for gate in "rz"}
    reset = graph.add(f"{name}_r", Pointwise("sigmoid"), sums["r"])
    keep = graph.add(f"{name}_z", Pointwise("sigmoid"), sums["z"])
    renew = graph.add(f"{name}_1_z", Pointwise("complement"), sums["z"])
    weight, state_weight, bias = gates["n"]
    fresh = graph.add(f"{name}_n_x", Linear(weight, bias), *inputs)
    past = graph.add(f"{name}_n_h", Linear(state_weight, state_bias), before)
    held = graph.add(f"{name}_n_reset", Products((None,)), reset, past)
    ones = np.ones(len(state_weight), np.float32)
    total = graph.add(f"{name}_n_sum", Scale((ones, ones)), fresh, held)
    new = graph.add(f"{name}_n", Pointwise("tanh"), total)
    return graph.add(f"{name}_h", Products((None, None)), renew, new, keep, before)


def simple(graph: Graph, name: str, inputs: tuple[str, ...], weights: Weights, function: str) -> str:
    """Add h = function(W x + U h before + b); returns its name. The rest as in `lstm`. Source: torch.nn.RNN."""
    sums = graph.add(f"{name}_sum", _affine(*weights), *inputs, f"{BEFORE}{name}_h")
    return graph.add(f"{name}_h", Pointwise(function), sums)


def _affine(weight: Floats, state_weight: Floats, bias: Floats | None) -> Linear:
    return Linear(np.concatenate((weight, state_weight), axis=1), bias)
