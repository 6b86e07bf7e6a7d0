"""Precision: bits per layer under a byte budget, by what fewer bits of that layer alone do to the predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.compensation import divergence, log_softmax, reweighted
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Embedding, Linear
from snngen.converters.rounding import nearest
from snngen.errors import UnsupportedError

CHOICES = (8, 4, 2)
STEPS = 4096  # of the budget: bytes are counted in so many parts of it, rounded up


@dataclass(frozen=True)
class Sensitivity:
    """What one node's weights at so many bits cost: nats per token, and bytes."""

    node: str
    bits: int
    divergence: float
    bytes: int


def sensitivities(
    graph: Graph,
    tokens: npt.NDArray[Any],
    choices: Sequence[int] = CHOICES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Sensitivity]:
    """Divergence of held-out predictions when one linear map or embedding alone is rounded to few bits.

    tokens: (sequences, tokens) that the ranges were not chosen on. Weights are rounded to the nearest, as they are (not
    folded): this ranks layers, it does not quantize them. Integers of the source stay as they are, at no cost.
    progress: is told (layers done, layers in all).
    raises: UnsupportedError for a graph that takes vectors.
    """
    if graph.channels:
        mend = "Give the bits of each node instead: Settings(bits={name: 4})"
        raise UnsupportedError("sensitivities", "a graph without tokens", "a graph that predicts tokens", mend)
    nodes = [node for node in graph.nodes if _weights(node) is not None]
    expected, found = log_softmax(graph.run(tokens)), []
    for number, node in enumerate(nodes):
        integers = getattr(node.operation, "integers", None)
        if integers is not None:
            found.append(Sensitivity(node.name, integers.bits, 0.0, bytes_of(node, integers.bits)))
        for bits in choices if integers is None else ():
            cost = divergence(expected, _with(graph, node, bits).run(tokens))
            found.append(Sensitivity(node.name, bits, cost, bytes_of(node, bits)))
        if progress is not None:
            progress(number + 1, len(nodes))
    return found


def bytes_of(node: Node, bits: int) -> int:
    """Bytes of a node's weights: whole bytes per source neuron, as `Dense` and `Packed` store them."""
    weight = _weights(node)
    if weight is None:
        return 0
    outputs, inputs = weight.shape
    stored = 8 if bits > 4 else 4 if bits > 2 else 2
    return int(inputs * -(-outputs * stored // 8))


def _weights(node: Node) -> npt.NDArray[Any] | None:
    """(outputs, inputs), of a linear map or an embedding."""
    if isinstance(node.operation, Embedding):
        return np.asarray(node.operation.weight.T)
    if isinstance(node.operation, Linear):
        return np.asarray(node.operation.weight)
    return None


def _with(graph: Graph, node: Node, bits: int) -> Graph:
    weight = _weights(node)
    rounded = nearest(np.asarray(weight, dtype=np.float64), bits).weight.astype(np.float32)
    weight = rounded.T if isinstance(node.operation, Embedding) else rounded
    changed = reweighted(node, weight)
    return replace(graph, nodes=[changed if other is node else other for other in graph.nodes])


def choose_bits(found: Sequence[Sensitivity], budget: int) -> dict[str, int]:
    """Bits per node with the least sum of divergences whose bytes fit the budget: an exact knapsack.

    budget: bytes of all weights together, counted in 4096 steps.
    raises: UnsupportedError where even the fewest bits do not fit.
    """
    options: dict[str, list[Sensitivity]] = {}
    for one in found:
        options.setdefault(one.node, []).append(one)
    least = sum(min(one.bytes for one in several) for several in options.values())
    if least > budget:
        mend = f"weight_budget={least} gives every map the fewest bits; pruning neurons makes maps smaller"
        raise UnsupportedError("choose_bits", f"a budget of {budget} bytes", f"at least {least}", mend)
    step = max(1, budget // STEPS)
    room = budget // step
    best = np.zeros(room + 1)
    taken: list[npt.NDArray[np.int64]] = []
    for several in options.values():
        trial = np.full((len(several), room + 1), np.inf)
        for number, one in enumerate(several):
            size = -(-one.bytes // step)
            if size <= room:
                trial[number, size:] = best[: room + 1 - size] + one.divergence
        taken.append(trial.argmin(axis=0))
        best = trial.min(axis=0)
    if not np.isfinite(best[room]):  # the steps are too coarse for a budget this tight
        return {name: min(several, key=lambda one: one.bytes).bits for name, several in options.items()}
    return _traced(options, taken, room, step)


def _traced(
    options: Mapping[str, list[Sensitivity]], taken: list[npt.NDArray[np.int64]], room: int, step: int
) -> dict[str, int]:  # fmt: skip
    chosen = {}
    for (name, several), choice in zip(reversed(list(options.items())), reversed(taken), strict=True):
        one = several[int(choice[room])]
        chosen[name] = one.bits
        room -= -(-one.bytes // step)
    return dict(reversed(list(chosen.items())))
