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
from numbers import Integral, Real
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
        require_kept("Pruning", self.kept)
        if self.neurons and isinstance(self.kept, tuple):
            got, expected = f"kept {self.kept} of the neurons", "a share of 0..1"
            raise UnsupportedError("Pruning", got, expected, "Pruning((2, 4)) keeps 2 of 4 weights, not neurons")

    def apply(self, graph: Graph, tokens: npt.NDArray[Any]) -> Graph:
        """The pruned graph; tokens: calibration that what stays is fitted to."""
        if self.neurons and not isinstance(self.kept, tuple):
            return prune_neurons(graph, self.kept, tokens)
        return prune_weights(graph, self.kept, tokens, refit=True)


def require_kept(where: str, kept: Any) -> None:
    """Refuse what is no share of 0..1 and no (n, m) of whole numbers, n of every m.

    raises: UnsupportedError.
    """
    if isinstance(kept, tuple):
        right = len(kept) == 2 and all(isinstance(x, Integral) for x in kept) and 0 <= kept[0] <= kept[1] > 0
    else:
        right = isinstance(kept, Real) and 0 <= float(kept) <= 1
    if not right:
        expected, mend = (
            "a share of 0..1, or (n, m): n of every m weights",
            "0.5 keeps a half, (2, 4) two of every four",
        )
        raise UnsupportedError(where, f"kept {kept!r}", expected, mend)


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
    require_kept("prune_weights", kept)
    if refit and tokens is None:
        raise UnsupportedError(
            "prune_weights", "refit without tokens", "calibration tokens", "tokens=graph.sample(8, 64, 0)"
        )
    seen = hessians(graph, tokens) if tokens is not None else {}
    known = {node.name for node in linear_maps(graph)}
    chosen = known if names is None else set(names)
    if chosen - known:
        got = f"{', '.join(sorted(chosen - known))}, which are none"
        raise UnsupportedError("prune_weights", got, "names of linear maps with float weights", "names=None takes all")
    others = [node.name for node in graph.nodes if _unpruned(node)]
    if not chosen:
        got = f"no linear map with float weights, but {', '.join(others) or 'no weights'}"
        integers = any(getattr(node.operation, "integers", None) is not None for node in graph.nodes)
        mend = "Convert graph.unquantized(), where integers are floats" if integers else "Leave pruning out"
        raise UnsupportedError("prune_weights", got, "at least one", mend)
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
    require_kept("prune_neurons", kept)
    layers = hidden_layers(graph)
    if not layers:
        got, expected = "0 hidden layers", "linear maps of float weights with neurons between them"
        mend = "Pruning(0.5) takes single weights out; integers of a source are floats in graph.unquantized()"
        raise UnsupportedError("prune_neurons", got, expected, mend)
    seen = hessians(graph, tokens)
    nodes = {node.name: node for node in graph.nodes}
    left = []
    for layer in layers:
        hessian = seen[layer.after[0]]
        readers = [nodes[name].operation for name in layer.after]
        squares = sum((r.weight.astype(np.float64) ** 2).sum(axis=0) for r in readers if isinstance(r, Linear))
        matters = np.diag(hessian) * squares
        stays = np.zeros(len(hessian), dtype=bool)
        stays[np.argsort(-matters, kind="stable")[: max(1, round(kept * len(hessian)))]] = True
        left.append(f"{np.count_nonzero(stays)} of {len(stays)}")
        for name in (*layer.before, *layer.between):
            nodes[name] = _selected(nodes[name], stays)
        for name in layer.after:
            reader = nodes[name].operation
            if isinstance(reader, Linear):
                mask = np.broadcast_to(stays, reader.weight.shape)
                weight = refitted(reader.weight, mask, hessian) if refit else reader.weight
                narrowed = replace(reader, weight=weight[:, stays].astype(np.float32))
                nodes[name] = replace(nodes[name], operation=narrowed)
    note = f"pruned: in each of {len(layers)} layers of hidden neurons, {', '.join(dict.fromkeys(left))} were kept"
    return replace(graph, nodes=list(nodes.values()), notes=[*graph.notes, note])


def _selected(node: Node, stays: npt.NDArray[np.bool_]) -> Node:
    """A node with the channels that stay, and their codes."""
    operation, codes = node.operation, node.codes
    if isinstance(operation, Linear):
        bias = None if operation.bias is None else operation.bias[stays]
        operation = replace(operation, weight=operation.weight[stays], bias=bias)
    elif isinstance(operation, Scale):
        bias = None if operation.bias is None else operation.bias[stays]
        operation = replace(operation, weights=tuple(weight[stays] for weight in operation.weights), bias=bias)
    elif isinstance(operation, Products):
        operation = replace(operation, weights=tuple(None if w is None else w[stays] for w in operation.weights))
    if codes is not None and codes.scale.size > 1:
        codes = replace(codes, scale=codes.scale[stays])
    return replace(node, operation=operation, codes=codes)


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
