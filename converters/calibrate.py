"""Calibration: the range of every code, chosen by what clipping and rounding do to the model's predictions.

A range is the peak that a channel reached on the calibration tokens, drawn towards the peak of the whole population
(`blend`) and widened (`headroom`). Both are chosen per role (norm, query, key, value, ...) by the Kullback-Leibler
divergence of the quantized from the float predictions on calibration sequences that were held out: activations have
heavy tails, so the peak of a short calibration is too low for some and the maximum too wide for others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Add, Attention, Embedding, Floats, Gate, Linear, RMSNorm, Rotary

Doubles = npt.NDArray[np.float64]

BLENDS = (0.0, 0.125, 0.25, 0.375, 0.5)
HEADROOMS = (0.9, 1.0, 1.125, 1.25, 1.5, 2.0)
DEFAULT = (0.0, 1.25)  # where there is a single calibration sequence, so that none can be held out
WIDE_HEADROOM = 1.5  # codes with more bits than they need


def role(graph: Graph, node: Node) -> str | None:
    """What the value of a node is coded as, or None for potentials (the residual stream, the logits)."""
    readers = graph.consumers(node.name)
    operation = node.operation
    if not readers or isinstance(operation, Add | Embedding):
        return None
    first = readers[0]
    if isinstance(operation, Rotary) and isinstance(first.operation, Attention):
        return ("query", "key")[first.inputs.index(node.name)]
    if isinstance(operation, RMSNorm | Attention | Gate):
        return type(operation).__name__.lower()
    if isinstance(operation, Linear):
        if all(isinstance(reader.operation, Add) for reader in readers):
            return None
        if isinstance(first.operation, Rotary):
            return "unturned"
        if isinstance(first.operation, Gate):
            return ("gate_in", "gate_value")[first.inputs.index(node.name)]
        if isinstance(first.operation, Attention):
            return "value"
    return "linear"


WIDE_ROLES = ("unturned", "gate_in", "gate_value")


@dataclass(eq=False)
class Ranges:
    """Peaks of every value on every calibration sequence, and the choice made per role.

    peaks: node name -> (sequences, channels) largest magnitudes.
    choices: role -> (blend, headroom). divergences: role -> what the choice costs, in nats per token.
    """

    graph: Graph
    peaks: dict[str, Doubles]
    choices: dict[str, tuple[float, float]] = field(default_factory=dict)
    divergences: dict[str, float] = field(default_factory=dict)

    def peak(self, name: str, held_out: int | None = None) -> Doubles:
        """(channels,) peak over the calibration sequences but the one held out; a dead channel gets a small one."""
        rows = self.peaks[name]
        peak = (rows if held_out is None else np.delete(rows, held_out, axis=0)).max(axis=0)
        floor: Doubles = np.maximum(peak, peak.max(initial=0.0) * 1e-4 + 1e-9)
        return floor

    def range(self, node: Node, choice: tuple[float, float] | None = None, held_out: int | None = None) -> Doubles:
        """(channels,) largest magnitude that the code of each channel can express."""
        kind = role(self.graph, node)
        blend, headroom = choice or self.choices.get(kind or "", DEFAULT)
        if kind in ("query", "key"):
            return self._attention_range(node, kind, blend, headroom, held_out)
        peak = self.peak(node.name, held_out)
        if kind == "gate_in":  # one table serves the whole population
            return np.full(len(peak), peak.max() * WIDE_HEADROOM)
        if kind == "unturned":  # the two channels of a pair mix, so they share a unit
            (turning,) = (reader.operation for reader in self.graph.consumers(node.name))
            pairs = peak.reshape(turning.heads, 2, -1) if isinstance(turning, Rotary) else peak[None, None]
            return np.broadcast_to(pairs.max(axis=1, keepdims=True), pairs.shape).reshape(-1) * WIDE_HEADROOM
        if kind in WIDE_ROLES:
            return peak * WIDE_HEADROOM
        widened: Doubles = peak ** (1 - blend) * peak.max() ** blend * headroom
        return widened

    def _attention_range(self, node: Node, kind: str, blend: float, headroom: float, held_out: int | None) -> Doubles:
        """Keys have a range per channel; queries carry its inverse, so that a score is one integer product.

        With k / r and q * r (r the key's range) a head's query has a single range: errors of keys, which every later
        token reads, are kept small, and queries take over the outliers.
        """
        (attention,) = self.graph.consumers(node.name)
        query, key = attention.inputs[:2]
        operation = attention.operation
        if not isinstance(operation, Attention):
            raise TypeError(f"{attention.name} is not an attention")
        groups, heads = operation.groups, operation.heads
        if kind == "query":
            blend, _ = self.choices.get("key", DEFAULT)
        peaks = self.peak(key, held_out).reshape(groups, -1)
        per_channel = peaks ** (1 - blend) * peaks.max(axis=1, keepdims=True) ** blend
        if kind == "key":
            return np.asarray(per_channel.reshape(-1) * headroom)
        spread = per_channel.repeat(heads // groups, axis=0)  # (heads, width)
        smooth = self.peak(query, held_out).reshape(heads, -1) * spread
        return np.asarray(smooth.max(axis=1, keepdims=True) * headroom / spread).reshape(-1)


def calibrate(
    graph: Graph,
    tokens: npt.NDArray[np.integer[Any]],
    high: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Observe a float graph on calibration tokens and choose the ranges of its codes.

    tokens: (sequences, tokens). high: largest code. progress: is told (trials done, trials in all).
    """
    peaks: dict[str, list[Doubles]] = {node.name: [] for node in graph.nodes}
    expected = []

    def keep(name: str, value: Floats) -> Floats:
        peaks[name].append(np.abs(value).max(axis=(0, 1)).astype(np.float64))
        return value

    for sequence in tokens:
        expected.append(_log_softmax(graph.run(sequence[None], transform=keep)))
    ranges = Ranges(graph, {name: np.stack(rows) for name, rows in peaks.items()})
    roles: dict[str, list[Node]] = {}
    for node in graph.nodes:
        kind = role(graph, node)
        if kind is not None and kind not in WIDE_ROLES:
            roles.setdefault(kind, []).append(node)
    order = sorted(roles, key=lambda kind: kind == "query")  # queries need to know what was chosen for keys
    options = list(product(BLENDS, HEADROOMS))
    trials = [(kind, option) for kind in order for option in options if kind != "query" or option[0] == 0.0]
    for done, (kind, option) in enumerate(trials):
        if len(tokens) > 1:
            cost = 0.0
            for index, sequence in enumerate(tokens):
                scales = {node.name: ranges.range(node, option, held_out=index) / high for node in roles[kind]}
                cost += _divergence(graph, sequence, scales, high, expected[index]) / len(tokens)
            if cost < ranges.divergences.get(kind, np.inf):
                ranges.choices[kind], ranges.divergences[kind] = option, cost
        if progress is not None:
            progress(done + 1, len(trials))
    return ranges


def _divergence(
    graph: Graph, sequence: npt.NDArray[np.integer[Any]], scales: dict[str, Doubles], high: int, expected: Doubles
) -> float:
    """Mean over tokens of sum p * (log p - log q), q with the named values rounded and clipped."""

    def code(name: str, value: Floats) -> Floats:
        if name not in scales:
            return value
        scale = scales[name].astype(np.float32)
        return np.asarray(np.clip(np.rint(value / scale), -high, high) * scale, dtype=np.float32)

    got = _log_softmax(graph.run(sequence[None], transform=code))
    return float((np.exp(expected) * (expected - got)).sum(axis=-1).mean())


def _log_softmax(logits: Floats) -> Doubles:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))
