"""Compensation: what each linear map should say once the maps and codes before it are rounded.

The float model and the rounded one run side by side on the calibration tokens, node by node. With x the float input
of a map, x' what reaches it in the rounded model, and d what the residual stream it adds to is short of,

    correction = argmin over W' of sum |W x + d - W' x'|**2,   hessian = mean of x' x'^T,

and W' is what is rounded. So the rounding of later maps makes up for that of earlier ones, embeddings included.
Source: GPTQ (Frantar et al. 2022) for the Hessian, GPTAQ (Li et al. 2025) for the difference of the inputs; d is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.calibrate import Ranges
from snngen.converters.coding import limits, role
from snngen.converters.graph import BEFORE, Graph, Node
from snngen.converters.operations import Add, Embedding, Floats, Linear
from snngen.converters.rounding import compensated
from snngen.converters.settings import Settings

Doubles = npt.NDArray[np.float64]

RIDGE = 0.001  # of the mean of the Hessian's diagonal: holds the correction to the float weights
BLENDS = (0.0, 0.25, 0.5, 0.75)  # of the ranges of codes that pass weights of few bits
FEW_BITS = 4
RARE = 0.1  # occurrences given to a token that the calibration does not have


@dataclass(frozen=True, eq=False)
class Correction:
    """weight: (outputs, inputs) float64, to be rounded in place of the float weights; an embedding's is transposed.

    hessian: (inputs, inputs) mean of x x^T, x in units of the float model; (vocabulary,) for an embedding.
    """

    weight: Doubles
    hessian: Doubles


def corrections(
    graph: Graph, ranges: Ranges, tokens: npt.NDArray[Any], settings: Settings
) -> dict[str, Correction]:  # fmt: skip
    """Correction of every linear map and embedding, by the name of its node; maps that came quantized have none.

    tokens: as `calibrate` takes them. A recurrent graph runs token by token, so there all maps are corrected for the
    rounding of codes alone.
    """
    codes = _Codes(graph, ranges, settings)
    if graph.recurrent:
        return _at_once(graph, codes, tokens)
    expected: dict[str, Floats] = {}

    def keep(name: str, value: Floats) -> Floats:
        expected[name] = value
        return value

    graph.run(tokens, transform=keep)
    found: dict[str, Correction] = {}
    values: dict[str, Floats] = {}

    def correct(name: str, value: Floats) -> Floats:
        node = None if name == graph.entry else graph.node(name)
        if node is not None and isinstance(node.operation, Embedding) and node.operation.integers is None:
            found[name] = _embedding(node.operation, tokens)
            rounded = compensated(found[name].weight, found[name].hessian, settings.bits_of(name)).weight
            value = rounded.T[tokens].astype(np.float32)
        elif node is not None and correctable(node):
            target = _target(graph, node, expected, values)
            found[name], value = _linear(node, values, target, codes, settings)
        values[name] = codes.code(name, value)
        return values[name]

    graph.run(tokens, transform=correct)
    return found


def correctable(node: Node) -> bool:
    """True for a linear map with float weights."""
    return isinstance(node.operation, Linear) and node.operation.integers is None


class _Codes:
    """Rounds values as the network will."""

    def __init__(self, graph: Graph, ranges: Ranges, settings: Settings) -> None:
        self.scales: dict[str, Floats] = {}
        self.limits: dict[str, tuple[int, int]] = {}
        for node in graph.nodes:
            if node.codes is None and role(graph, node) is not None:
                self.limits[node.name] = low, high = limits(graph, node, settings)
                self.scales[node.name] = (ranges.range(node) / max(-low, high)).astype(np.float32)

    def code(self, name: str, value: Floats) -> Floats:
        if name not in self.scales:
            return value
        scale = self.scales[name]
        return np.asarray(np.clip(np.rint(value / scale), *self.limits[name]) * scale, dtype=np.float32)

    def scale(self, names: Iterable[str], widths: Iterable[int]) -> Doubles:
        """(inputs,) worth of one unit of each input of a map; 1 for a potential, which is read as it is."""
        pairs = zip((name.removeprefix(BEFORE) for name in names), widths, strict=True)
        return np.concatenate([np.broadcast_to(self.scales.get(n, np.ones(1)), (w,)) for n, w in pairs]).astype(float)


def _flat(values: Mapping[str, Floats], names: tuple[str, ...]) -> Doubles:
    """(all tokens, inputs) float64, the inputs side by side."""
    parts = [values[name].reshape(-1, values[name].shape[-1]) for name in names]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _target(
    graph: Graph, node: Node, expected: Mapping[str, Floats], values: Mapping[str, Floats]
) -> Doubles:  # fmt: skip
    """(all tokens, outputs): what the map should give, its bias aside."""
    operation = node.operation
    if not isinstance(operation, Linear):
        raise TypeError(f"{node.name} is not a linear map")
    target: Doubles = _flat(expected, node.inputs) @ operation.weight.T.astype(np.float64)
    readers = graph.consumers(node.name)
    if len(readers) == 1 and isinstance(readers[0].operation, Add):
        for name in readers[0].inputs:
            if name in values and values[name].shape[:2] == expected[name].shape[:2]:
                target += _flat(expected, (name,)) - _flat(values, (name,))
    return target


def _embedding(operation: Embedding, tokens: npt.NDArray[Any]) -> Correction:
    """Rows of tokens that come often count for more in the choice of the units."""
    seen = np.bincount(tokens.reshape(-1), minlength=len(operation.weight)) + RARE
    return Correction(operation.weight.T.astype(np.float64), seen / seen.mean())


def _linear(
    node: Node, values: Mapping[str, Floats], target: Doubles, codes: _Codes, settings: Settings
) -> tuple[Correction, Floats]:  # fmt: skip
    """The correction of a map, and what it gives once rounded."""
    operation = node.operation
    if not isinstance(operation, Linear):
        raise TypeError(f"{node.name} is not a linear map")
    inputs = _flat(values, node.inputs)
    hessian = inputs.T @ inputs / len(inputs)
    weight = operation.weight.astype(np.float64)
    missing = inputs.T @ (target - inputs @ weight.T) / len(inputs)
    weight = weight + np.linalg.solve(_damped(hessian), missing).T
    scale = codes.scale(node.inputs, [values[name].shape[-1] for name in node.inputs])
    folded = hessian / np.outer(scale, scale)
    rounded = compensated(weight * scale, folded, settings.bits_of(node.name)).weight / scale
    given = inputs @ rounded.T + (0 if operation.bias is None else operation.bias)
    shape = (*values[node.inputs[0]].shape[:2], -1)
    return Correction(weight, hessian), given.reshape(shape).astype(np.float32)


def _damped(hessian: Doubles) -> Doubles:
    return np.asarray(hessian + np.eye(len(hessian)) * max(RIDGE * float(np.diag(hessian).mean()), 1e-30))


def _at_once(graph: Graph, codes: _Codes, tokens: npt.NDArray[Any]) -> dict[str, Correction]:
    """Hessians of all maps from one run with rounded codes and float weights."""
    maps = [node for node in graph.nodes if correctable(node)]
    wanted = {name.removeprefix(BEFORE) for node in maps for name in node.inputs}
    pieces: dict[str, list[Floats]] = {name: [] for name in wanted}

    def keep(name: str, value: Floats) -> Floats:
        value = codes.code(name, value)
        if name in wanted:
            pieces[name].append(value)
        return value

    graph.run(tokens, transform=keep)
    values = {name: np.concatenate(parts, axis=1) for name, parts in pieces.items()}
    for name in wanted:  # what "~name" reads is one token old
        values[BEFORE + name] = np.concatenate((np.zeros_like(values[name][:, :1]), values[name][:, :-1]), axis=1)
    found = {}
    for node in graph.nodes:
        if isinstance(node.operation, Embedding) and node.operation.integers is None:
            found[node.name] = _embedding(node.operation, tokens)
        elif isinstance(node.operation, Linear) and node.operation.integers is None:
            inputs = _flat(values, node.inputs)
            found[node.name] = Correction(node.operation.weight.astype(np.float64), inputs.T @ inputs / len(inputs))
    return found


def choose_blends(graph: Graph, ranges: Ranges, tokens: npt.NDArray[Any], settings: Settings) -> None:
    """Choose anew, for codes that pass weights of few bits, how far their ranges are drawn to the common peak.

    Folded weights are times these ranges: ranges that differ less can leave the weights of a row closer together. Each
    choice is the one with the least divergence of the rounded model's predictions from the float model's.
    """
    kinds: dict[str, None] = {}
    for node in graph.nodes:
        kind = role(graph, node)
        few = [r for r in graph.consumers(node.name) if correctable(r) and settings.bits_of(r.name) <= FEW_BITS]
        if kind in ranges.choices and kind not in ("query", "key") and few:
            kinds[kind] = None
    if graph.recurrent or graph.channels:
        return
    expected = log_softmax(graph.run(tokens))
    for kind in kinds:
        headroom = max(1.0, ranges.choices[kind][1])
        costs = {}
        for blend in BLENDS:
            ranges.choices[kind] = (blend, headroom)
            costs[blend] = divergence(expected, _rounded_run(graph, ranges, tokens, settings))
        ranges.choices[kind] = (min(costs, key=lambda blend: costs[blend]), headroom)


def _rounded_run(graph: Graph, ranges: Ranges, tokens: npt.NDArray[Any], settings: Settings) -> Floats:
    codes = _Codes(graph, ranges, settings)
    found = corrections(graph, ranges, tokens, settings)
    rounded = rounded_graph(graph, found, codes.scale, settings)
    return rounded.run(tokens, transform=codes.code)


def rounded_graph(graph: Graph, found: Mapping[str, Correction], scale: Any, settings: Settings) -> Graph:
    """The float graph with the weights that its maps have once rounded.

    scale: gives (inputs,) worth of one unit of each input, from the names and widths of the inputs.
    """
    nodes = []
    for node in graph.nodes:
        if node.name in found:
            correction, bits = found[node.name], settings.bits_of(node.name)
            if correction.hessian.ndim == 1:
                weight = compensated(correction.weight, correction.hessian, bits).weight.T
            else:
                worth = scale(node.inputs, [graph.width(name.removeprefix(BEFORE)) for name in node.inputs])
                hessian = correction.hessian / np.outer(worth, worth)
                weight = compensated(correction.weight * worth, hessian, bits).weight / worth
            node = reweighted(node, weight)
        nodes.append(node)
    return replace(graph, nodes=nodes)


def reweighted(node: Node, weight: npt.NDArray[Any]) -> Node:
    """A linear map or an embedding with other weights."""
    if not isinstance(node.operation, Linear | Embedding):
        raise TypeError(f"{node.name} has no weights to replace")
    return replace(node, operation=replace(node.operation, weight=weight.astype(np.float32)))


def log_softmax(logits: Floats) -> Doubles:
    """Log probabilities."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def divergence(expected: Doubles, logits: Floats) -> float:
    """Mean over tokens of sum p * (log p - log q), in nats. expected: log p."""
    return float((np.exp(expected) * (expected - log_softmax(logits))).sum(axis=-1).mean())
