"""Calibration: the range of every code, chosen by what clipping and rounding do to the model's predictions.

A range is the peak that a channel reached on the calibration tokens, drawn towards the peak of the whole population
(`blend`) and widened (`headroom`). Both are chosen per role (norm, query, key, value, ...) by what they do to the
predictions on calibration sequences that were held out: activations have heavy tails, so the peak of a short
calibration is too low for some and the maximum too wide for others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.coding import WIDE_ROLES, limits, role, shared_block
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Attention, Floats, Rotary
from snngen.converters.settings import Settings
from snngen.errors import PromptError

Doubles = npt.NDArray[np.float64]

BLENDS = (0.0, 0.125, 0.25, 0.375, 0.5)
HEADROOMS = (0.9, 1.0, 1.125, 1.25, 1.5, 2.0)
RECURRENT_OPTIONS = ((0.0, 1.0), (0.0, 1.25), (0.0, 1.5), (0.25, 1.0), (0.25, 1.25))  # runs token by token: dear
DEFAULT = (0.0, 1.25)  # where there is a single calibration sequence, so that none can be held out
MEND = "Give an array of that shape and kind, or leave calibrate out"
WIDE_HEADROOM = 1.5  # codes with more bits than they need


@dataclass(eq=False)
class Ranges:
    """Peaks of every value on every calibration sequence, and the choice made per role.

    peaks: node name -> (sequences, channels) largest magnitudes.
    choices: role -> (blend, headroom). divergences: role -> what the choice costs, in nats per token (relative squared
    error where the output is not a distribution).
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

    def entry(self) -> Doubles:
        """(channels,) largest magnitude that the codes of a vector input can express."""
        return self._shared(self.graph.entry, self.peak(self.graph.entry) * DEFAULT[1])

    def range(self, node: Node, choice: tuple[float, float] | None = None, held_out: int | None = None) -> Doubles:
        """(channels,) largest magnitude that the code of each channel can express."""
        kind = role(self.graph, node)
        blend, headroom = choice or self.choices.get(kind or "", DEFAULT)
        if kind in ("query", "key"):
            return self._attention_range(node, kind, blend, headroom, held_out)
        peak = self.peak(node.name, held_out)
        if kind == "bounded":  # a sigmoid, a hyperbolic tangent
            return np.ones(len(peak))
        if kind == "unturned":  # the two channels of a pair mix, so they share a unit
            turning = self.graph.consumers(node.name)[0].operation
            pairs = peak.reshape(turning.heads, 2, -1) if isinstance(turning, Rotary) else peak[None, None]
            return np.broadcast_to(pairs.max(axis=1, keepdims=True), pairs.shape).reshape(-1) * WIDE_HEADROOM
        if kind in WIDE_ROLES:
            return self._shared(node.name, peak * WIDE_HEADROOM)
        widened: Doubles = peak ** (1 - blend) * peak.max() ** blend * headroom
        return self._shared(node.name, widened)

    def _shared(self, name: str, wanted: Doubles) -> Doubles:
        """The largest of each block of channels that has to share a unit."""
        block = shared_block(self.graph, name, len(wanted))
        return wanted if block == 1 else wanted.reshape(-1, block).max(axis=1).repeat(block)

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


def require_calibration(graph: Graph, tokens: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The calibration, (sequences, tokens) integers or (sequences, tokens, channels) float32, once it fits the graph.

    raises: PromptError for other shapes, and numbers that the graph does not know.
    """
    room = tokens.shape[1] if graph.context is None and tokens.ndim > 1 else graph.context or 0
    if graph.channels:
        if tokens.ndim != 3 or tokens.size == 0 or tokens.shape[1] > room or tokens.shape[2] != graph.channels:
            expected = f"(sequences, tokens, {graph.channels}) floats"
            raise PromptError("calibration", f"shape {tokens.shape} of {tokens.dtype}", expected, MEND)
        if tokens.dtype.kind != "f" or not np.isfinite(tokens).all():
            got = f"{tokens.dtype}, or values that are not finite"
            raise PromptError("calibration", got, "finite floats", "calibrate=array.astype('float32')")
        return tokens.astype(np.float32)
    if tokens.ndim != 2 or tokens.size == 0 or tokens.shape[1] > room or tokens.dtype.kind not in "iu":
        expected = f"(sequences, up to {room} tokens) integers"
        raise PromptError("calibration", f"shape {tokens.shape} of {tokens.dtype}", expected, MEND)
    if not 0 <= tokens.min() <= tokens.max() < graph.vocabulary:
        got = f"tokens {tokens.min()}..{tokens.max()}"
        raise PromptError(
            "calibration", got, f"0..{graph.vocabulary - 1}", "Encode the text with the model's tokenizer"
        )
    return tokens


def calibrate(
    graph: Graph,
    tokens: npt.NDArray[Any],
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Observe a float graph on calibration tokens and choose the ranges of its codes.

    tokens: (sequences, tokens) integers, or (sequences, tokens, channels) floats. progress: is told (trials done,
    trials in all).
    """
    batches = [tokens] if graph.recurrent else [sequence[None] for sequence in tokens]
    peaks, expected = _observe(graph, batches)
    ranges = Ranges(graph, peaks)
    roles: dict[str, list[Node]] = {}
    for node in graph.nodes:
        kind = role(graph, node)
        if kind is not None and kind not in WIDE_ROLES and kind != "bounded" and node.codes is None:
            roles.setdefault(kind, []).append(node)
    order = sorted(roles, key=lambda kind: kind == "query")  # queries need to know what was chosen for keys
    options = list(RECURRENT_OPTIONS if graph.recurrent else product(BLENDS, HEADROOMS))
    trials = [(kind, option) for kind in order for option in options if kind != "query" or option[0] == 0.0]
    for done, (kind, option) in enumerate(trials):
        if len(tokens) > 1:
            cost = _cost(graph, ranges, roles[kind], option, batches, expected, settings)
            if cost < ranges.divergences.get(kind, np.inf):
                ranges.choices[kind], ranges.divergences[kind] = option, cost
        if progress is not None:
            progress(done + 1, len(trials))
    return ranges


def _observe(graph: Graph, batches: list[npt.NDArray[Any]]) -> tuple[dict[str, Doubles], list[Doubles]]:
    """Peaks of every value per sequence, and the predictions per batch."""
    peaks: dict[str, list[Doubles]] = {}
    expected = []
    for batch in batches:
        seen: dict[str, Doubles] = {}

        def keep(name: str, value: Floats, seen: dict[str, Doubles] = seen) -> Floats:
            peak = np.abs(value).max(axis=1).astype(np.float64)
            seen[name] = np.maximum(seen[name], peak) if name in seen else peak
            return value

        expected.append(_prediction(graph, graph.run(batch, transform=keep)))
        for name, rows in seen.items():
            peaks.setdefault(name, []).append(rows)
    return {name: np.concatenate(rows) for name, rows in peaks.items()}, expected


def _cost(
    graph: Graph,
    ranges: Ranges,
    nodes: list[Node],
    option: tuple[float, float],
    batches: list[npt.NDArray[Any]],
    expected: list[Doubles],
    settings: Settings,
) -> float:
    """Mean divergence over the sequences, each coded with ranges that were chosen without it."""
    bounds = {node.name: limits(graph, node, settings) for node in nodes}
    sequences, cost = sum(len(batch) for batch in batches), 0.0
    first = 0
    for batch, prediction in zip(batches, expected, strict=True):
        held_out = range(first, first + len(batch))
        first += len(batch)
        scales = {
            node.name: np.stack([ranges.range(node, option, index) for index in held_out])[:, None]
            / bounds[node.name][1]
            for node in nodes
        }
        cost += _divergence(graph, batch, scales, bounds, prediction) * len(batch) / sequences
    return cost


def _divergence(
    graph: Graph,
    batch: npt.NDArray[Any],
    scales: Mapping[str, Doubles],
    bounds: Mapping[str, tuple[int, int]],
    expected: Doubles,
) -> float:
    """Mean over tokens of sum p * (log p - log q), q with the named values rounded and clipped.

    Where the output is not a distribution: sum (q - p)**2 / sum p**2.
    """

    def code(name: str, value: Floats) -> Floats:
        if name not in scales:
            return value
        scale = scales[name].astype(np.float32)
        return np.asarray(np.clip(np.rint(value / scale), *bounds[name]) * scale, dtype=np.float32)

    got = _prediction(graph, graph.run(batch, transform=code))
    if graph.channels:
        return float(((got - expected) ** 2).sum() / max(float((expected**2).sum()), 1e-30))
    return float((np.exp(expected) * (expected - got)).sum(axis=-1).mean())


def _prediction(graph: Graph, output: Floats) -> Doubles:
    """Log probabilities of the tokens, or the output itself where it is not a distribution."""
    wide = output.astype(np.float64)
    if graph.channels:
        return wide
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))
