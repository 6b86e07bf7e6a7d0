"""Pruning: weights that matter least become zeros, in a float graph, before it is quantized.

Zeros of single weights become synapses that are not there (`Sparse`); whole hidden neurons are removed from the maps
before and after them, so that nothing of them is left. What a weight matters is |w| * rms of its input on calibration
tokens, or |w| without; with `refit`, the weights that stay are fitted to what the map gave before.

Sources: magnitude, Han et al. 2015; |w| * rms, Sun et al. 2023 (Wanda); N:M, Mishra et al. 2021; refitting, the least
squares of Frantar & Alistarh 2023 (SparseGPT), solved row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.compensation import divergence, log_softmax
from snngen.converters.graph import BEFORE, Graph, Node
from snngen.converters.operations import Convolution, Floats, Gate, Linear, Pointwise, Products, Scale
from snngen.errors import UnsupportedError

Doubles = npt.NDArray[np.float64]

DAMPING = 0.01  # of the mean of the Hessian's diagonal
ELEMENTWISE = (Gate, Pointwise, Products, Scale)


def hessians(graph: Graph, tokens: npt.NDArray[Any]) -> dict[str, Doubles]:
    """Mean of x x^T over all tokens, (inputs, inputs), by the name of each linear map; tokens: as `calibrate`'s."""
    values = graph.observe(tokens)
    if graph.entry not in values and graph.channels:
        values[graph.entry] = tokens
    found = {}
    for node in linear_maps(graph):
        parts = [_before(values, name) for name in node.inputs]
        x = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts], axis=1).astype(np.float64)
        found[node.name] = x.T @ x / len(x)
    return found


def _before(values: dict[str, Floats], name: str) -> Floats:
    if not name.startswith(BEFORE):
        return values[name]
    value = values[name.removeprefix(BEFORE)]
    return np.concatenate((np.zeros_like(value[:, :1]), value[:, :-1]), axis=1)


def linear_maps(graph: Graph) -> list[Node]:
    """The linear maps with float weights."""
    return [n for n in graph.nodes if isinstance(n.operation, Linear) and n.operation.integers is None]


@dataclass(frozen=True)
class Pruning:
    """What is pruned before a model is rounded, refitted to the calibration.

    kept: the share of each neuron's weights, or (n, m): n of every m neighbouring inputs; of hidden neurons where
    `neurons` is True.
    """

    kept: float | tuple[int, int]
    neurons: bool = False

    def __post_init__(self) -> None:
        share = self.kept[0] / max(1, self.kept[1]) if isinstance(self.kept, tuple) else self.kept
        if not 0 <= share <= 1 or (self.neurons and isinstance(self.kept, tuple)):
            raise UnsupportedError("Pruning", f"kept {self.kept}", "a share of 0..1, or (n, m) of weights, n <= m")

    def apply(self, graph: Graph, tokens: npt.NDArray[Any]) -> Graph:
        """The pruned graph; tokens: calibration that what stays is fitted to."""
        if self.neurons and not isinstance(self.kept, tuple):
            return prune_neurons(graph, self.kept, tokens)
        return prune_weights(graph, self.kept, tokens, refit=True)


def prune_weights(
    graph: Graph,
    kept: float | tuple[int, int],
    tokens: npt.NDArray[Any] | None = None,
    refit: bool = False,
    names: Sequence[str] | None = None,
) -> Graph:
    """Set the weights that matter least to zero, output neuron by output neuron.

    kept: the share of each neuron's weights that stays, or (n, m): n of every m neighbouring inputs.
    tokens: calibration; without, magnitudes alone decide. refit: fit what stays (needs tokens).
    names: of the maps; all linear ones if None.
    raises: UnsupportedError for shares outside 0..1, for refitting without tokens, and where there is nothing to prune.
    """
    share = kept[0] / kept[1] if isinstance(kept, tuple) and kept[1] > 0 else kept
    if isinstance(share, tuple) or not 0 <= share <= 1:
        raise UnsupportedError("prune_weights", f"kept {kept}", "a share of 0..1, or (n, m) with 0 <= n <= m")
    if refit and tokens is None:
        raise UnsupportedError("prune_weights", "refit without tokens", "calibration tokens")
    seen = hessians(graph, tokens) if tokens is not None else {}
    chosen = {node.name for node in linear_maps(graph)} if names is None else set(names)
    others = [node.name for node in graph.nodes if _unpruned(node)]
    if not chosen:
        got = f"no linear map with float weights, but {', '.join(others) or 'no weights'}"
        raise UnsupportedError("prune_weights", got, "at least one")
    nodes = []
    for node in graph.nodes:
        if node.name in chosen and isinstance(node.operation, Linear):
            weight, hessian = node.operation.weight, seen.get(node.name)
            matters = np.abs(weight) * (1 if hessian is None else np.sqrt(np.diag(hessian)))
            mask = _largest(matters, kept)
            pruned = refitted(weight, mask, hessian) if refit and hessian is not None else weight * mask
            node = replace(node, operation=replace(node.operation, weight=pruned.astype(np.float32)))
        nodes.append(node)
    notes = [*graph.notes, f"pruned: {kept} of the weights of {len(chosen)} maps kept"]
    if others and names is None:
        notes.append(f"not pruned (convolutions, integers of the source): {', '.join(others)}")
    return replace(graph, nodes=nodes, notes=notes)


def _unpruned(node: Node) -> bool:
    """True for weights that pruning does not reach."""
    operation = node.operation
    return isinstance(operation, Convolution) or (isinstance(operation, Linear) and operation.integers is not None)


def _largest(matters: npt.NDArray[Any], kept: float | tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(outputs, inputs): True for the largest of each row, or of every m neighbours of a row."""
    inputs = matters.shape[1]
    size, count = (kept[1], kept[0]) if isinstance(kept, tuple) else (inputs, round(kept * inputs))
    mask = np.zeros(matters.shape, dtype=bool)
    for first in range(0, inputs, size):
        block = matters[:, first : first + size]
        order = np.argsort(-block, axis=1, kind="stable")[:, :count]
        np.put_along_axis(mask[:, first : first + size], order, True, axis=1)
    return mask


def refitted(weight: npt.NDArray[Any], mask: npt.NDArray[np.bool_], hessian: Doubles) -> Doubles:
    """argmin over W' that is zero outside `mask` of tr (W - W') H (W - W')^T, row by row."""
    damped = hessian + np.eye(len(hessian)) * max(DAMPING * float(np.diag(hessian).mean()), 1e-30)
    wanted, fitted = weight.astype(np.float64) @ damped, np.zeros(weight.shape)
    for row, stays in enumerate(mask):
        if stays.any():
            fitted[row, stays] = np.linalg.solve(damped[np.ix_(stays, stays)], wanted[row, stays])
    return fitted


@dataclass(frozen=True)
class Hidden:
    """Hidden neurons that can be removed: channel i of all of these nodes is neuron i.

    before: linear maps that give them. between: element-wise nodes. after: linear maps that read them alone.
    """

    before: tuple[str, ...]
    between: tuple[str, ...]
    after: tuple[str, ...]


def hidden_layers(graph: Graph) -> list[Hidden]:
    """The layers of hidden neurons, those of an MLP: maps, element-wise operations, maps, and no other reader."""
    found = []
    for node in graph.nodes:
        readers = graph.consumers(node.name)
        if not readers or not all(_reads_alone(reader, node.name) for reader in readers):
            continue
        before, between, open_ends = set(), set(), [node]
        while open_ends:
            at = open_ends.pop()
            if isinstance(at.operation, Linear) and at.operation.integers is None:
                before.add(at.name)
            elif isinstance(at.operation, ELEMENTWISE) and all(n in graph_names(graph) for n in at.inputs):
                between.add(at.name)
                open_ends += [graph.node(name) for name in at.inputs if name not in before | between]
            else:
                before.clear()
                break
        inside = before | between
        closed = all(r.name in inside for n in inside - {node.name} for r in graph.consumers(n))
        if before and closed:
            after = tuple(reader.name for reader in readers)
            found.append(Hidden(tuple(sorted(before)), tuple(sorted(between)), after))
    return found


def graph_names(graph: Graph) -> set[str]:
    """Names of all nodes."""
    return {node.name for node in graph.nodes}


def _reads_alone(reader: Node, name: str) -> bool:
    return isinstance(reader.operation, Linear) and reader.inputs == (name,) and reader.operation.integers is None


def prune_neurons(graph: Graph, kept: float, tokens: npt.NDArray[Any], refit: bool = True) -> Graph:
    """Remove the hidden neurons that matter least, with all their synapses; every hidden layer keeps the same share.

    A neuron matters by what its removal takes from the maps that read it: its mean square times the sum of their
    squared weights. kept: share of 0..1, at least one neuron stays. refit: fit the weights of those that stay.
    raises: UnsupportedError where no layer of hidden neurons is found.
    """
    layers = hidden_layers(graph)
    if not layers or not 0 <= kept <= 1:
        got, expected = f"{len(layers)} hidden layers, kept {kept}", "linear maps with neurons between them, and 0..1"
        raise UnsupportedError("prune_neurons", got, expected)
    seen = hessians(graph, tokens)
    operations = {node.name: node.operation for node in graph.nodes}
    for layer in layers:
        hessian = seen[layer.after[0]]
        readers = [operations[name] for name in layer.after]
        squares = sum((r.weight.astype(np.float64) ** 2).sum(axis=0) for r in readers if isinstance(r, Linear))
        matters = np.diag(hessian) * squares
        stays = np.zeros(len(hessian), dtype=bool)
        stays[np.argsort(-matters, kind="stable")[: max(1, round(kept * len(hessian)))]] = True
        for name in (*layer.before, *layer.between):
            operations[name] = _selected(operations[name], stays)
        for name in layer.after:
            reader = operations[name]
            if isinstance(reader, Linear):
                mask = np.broadcast_to(stays, reader.weight.shape)
                weight = refitted(reader.weight, mask, hessian) if refit else reader.weight
                operations[name] = replace(reader, weight=weight[:, stays].astype(np.float32))
    nodes = [replace(node, operation=operations[node.name]) for node in graph.nodes]
    note = f"pruned: {kept} of the hidden neurons of {len(layers)} layers kept"
    return replace(graph, nodes=nodes, notes=[*graph.notes, note])


def _selected(operation: Any, stays: npt.NDArray[np.bool_]) -> Any:
    """An operation with the channels that stay."""
    if isinstance(operation, Linear):
        bias = None if operation.bias is None else operation.bias[stays]
        return replace(operation, weight=operation.weight[stays], bias=bias)
    if isinstance(operation, Scale):
        bias = None if operation.bias is None else operation.bias[stays]
        return replace(operation, weights=tuple(weight[stays] for weight in operation.weights), bias=bias)
    if isinstance(operation, Products):
        return replace(operation, weights=tuple(None if w is None else w[stays] for w in operation.weights))
    return operation


@dataclass(frozen=True)
class Pruned:
    """A row of the table: how much of the weights of linear maps stays, and what that costs in nats per token."""

    kept: str
    synapses: int
    divergence: float


def pruning_table(
    graph: Graph, pruned: dict[str, Graph], tokens: npt.NDArray[Any]
) -> list[Pruned]:  # fmt: skip
    """Synapses kept against divergence from the float graph, on tokens that were not pruned on."""
    expected = log_softmax(graph.run(tokens))
    rows = []
    for name, candidate in {"all": graph, **pruned}.items():
        maps = [node.operation for node in candidate.nodes if isinstance(node.operation, Linear)]
        synapses = sum(int(np.count_nonzero(operation.weight)) for operation in maps)
        rows.append(Pruned(name, synapses, divergence(expected, candidate.run(tokens))))
    return rows
