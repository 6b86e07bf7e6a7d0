"""Sparsity: how many codes and weights are not zero, per layer, head and neuron, since that is what energy follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.engines.settled import SettledEngine
from snngen.network import Network
from snngen.neurons.softmax import Softmax
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.packed import Packed
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory


@dataclass(frozen=True)
class LayerSparsity:
    """One population on a text.

    active: share of its codes that were not zero. heads: the same per attention head, for what attention reads and
    gives; empty otherwise. silent: share of neurons that never had a code but zero. neurons: (size,) share per neuron.
    weights: share of the weights into it that are not zero, 1 where none are stored. bytes: of these weights.
    operations: synaptic operations per token into it, of constant weights.
    """

    population: str
    active: float
    heads: tuple[float, ...]
    silent: float
    neurons: tuple[float, ...]
    weights: float
    bytes: int
    operations: float

    def as_dict(self, neurons: bool = True) -> dict[str, Any]:
        """Plain numbers for JSON; `neurons` False leaves the longest list out."""
        row = asdict(self)
        return row if neurons else {key: value for key, value in row.items() if key != "neurons"}


def sparsity(network: Network, tokens: Sequence[int]) -> list[LayerSparsity]:
    """Run a network on tokens (at least one, up to its context) and count what was not zero."""
    engine = SettledEngine(network)
    active = {population.name: np.zeros(population.size, dtype=np.int64) for population in network.populations}
    operations = np.zeros(len(network.projections))
    possible = dict.fromkeys(active, 0)
    for position, token in enumerate(tokens):
        engine.step(int(token))
        operations += engine.counted()[1][:, 1]
        for population in network.populations:
            active[population.name] += engine.codes(population.name) != 0
            heads = population.neuron.multiplier.size if isinstance(population.neuron, Softmax) else 0
            possible[population.name] += heads * (position + 1) if heads else population.size
    return [
        _layer(network, name, counts, possible[name], operations / len(tokens), len(tokens))
        for name, counts in active.items()
    ]


def _layer(
    network: Network, name: str, counts: npt.NDArray[np.int64], possible: int, operations: npt.NDArray[Any], tokens: int
) -> LayerSparsity:  # fmt: skip
    heads = _heads(network, name)
    kept = stored = size = 0
    spent = 0.0
    for projection, count in zip(network.projections, operations, strict=True):
        synapse = projection.synapse
        if projection.target == name and isinstance(synapse, Dense | Packed | Sparse):
            kept += int(np.count_nonzero(synapse.matrix))
            size += synapse.matrix.size
            stored += synapse.weight_bytes
            spent += float(count)
    return LayerSparsity(
        population=name,
        active=float(counts.sum() / max(1, possible)),
        heads=tuple((counts.reshape(heads, -1).sum(axis=1) * heads / max(1, possible)).tolist()) if heads else (),
        silent=float(np.mean(counts == 0)),
        neurons=tuple((counts / tokens).tolist()),
        weights=kept / size if size else 1.0,
        bytes=stored,
        operations=spent,
    )


def _heads(network: Network, name: str) -> int:
    """Heads into which the neurons of a population fall: queries, keys, values, scores and what is mixed of them."""
    for projection in network.projections:
        synapse = projection.synapse
        if isinstance(synapse, KeyMemory | ValueMemory):
            if name in (projection.source, projection.target):
                return synapse.heads
            if name == projection.writer:
                return synapse.groups
    return 0


def compared(before: Sequence[LayerSparsity], after: Sequence[LayerSparsity]) -> list[dict[str, Any]]:
    """Rows of a table: the populations of both, before and after."""
    second = {row.population: row for row in after}
    return [
        {
            "population": row.population,
            **{
                key: (getattr(row, key), getattr(second[row.population], key))
                for key in ("active", "silent", "weights", "bytes", "operations")
            },
        }
        for row in before
        if row.population in second
    ]
