"""Conditioning: features of a sensor become positions before the prompt of a language model.

A second source of the network drives the embedding through synapses of its own. Each position k of the prefix has its
own block of feature neurons, so that one event of feature f at position k adds a learned row to the embedding there:

    embedding[k] = sum over f of  W[k, f] * feature[f]        (no token is present at these positions)

W is fitted by ridge regression, so that the prefix looks to the network like the embeddings of a text that depends on
what was sensed:   W[k] = argmin |F W[k] - E[k]|^2 + penalty * |W[k]|^2

Everything that follows is the network as it was: integers, counted in the same ledger and certified alike.
Source: a prefix of projected features before a frozen language model: Mokady, Hertz, Bermano, "ClipCap",
arXiv:2111.09734; here the projection is linear and its weights are 8-bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snngen.errors import NetworkError, PromptError, UnsupportedError
from snngen.integers import FloatArray, IntArray
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense

FEATURES = "features"
WEIGHT_HIGH = 127


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A language model with a prefix of features.

    network: the model with a second source. positions: of the prefix. features: numbers that are sensed; a constant
    one, the bias, is added to them. high: largest code of a feature.
    """

    network: Network
    positions: int
    features: int
    high: int

    def prefix(self, features: npt.ArrayLike) -> IntArray:
        """(positions, size of the second source) codes: the features in each position's own block.

        features: (features,) integers of 0..high, such as spike counts.
        raises: PromptError for another shape or range.
        """
        given = np.asarray(features)
        if given.shape != (self.features,) or given.dtype.kind not in "iu":
            raise PromptError("features", f"shape {given.shape} of {given.dtype}", f"({self.features},) integers")
        if not 0 <= given.min() <= given.max() <= self.high:
            raise PromptError("features", f"{given.min()}..{given.max()}", f"0..{self.high}")
        block = np.append(given.astype(np.int64), self.high)
        codes = np.zeros((self.positions, self.positions, len(block)), dtype=np.int64)
        codes[np.arange(self.positions), np.arange(self.positions)] = block
        return codes.reshape(self.positions, -1)


def embeddings(network: Network, tokens: npt.ArrayLike) -> FloatArray:
    """(..., channels) what each token puts into the embedding, in the units of the float model.

    raises: UnsupportedError for a network whose tokens do not drive an accumulator through dense synapses.
    """
    projection = _embedding(network)
    synapse, target = projection.synapse, network[projection.target]
    rows = synapse.reference(np.eye(network.vocabulary, dtype=np.int64), None)
    return np.asarray(rows * target.scale)[np.asarray(tokens, dtype=np.int64)]


def fit(features: npt.ArrayLike, targets: npt.ArrayLike, high: int, penalty: float = 1.0) -> FloatArray:
    """The projection that a prefix needs, by ridge regression.

    features: (n, features) integers of 0..high. targets: (n, positions, channels) embeddings that the prefix of each
    should look like. high: largest code, and the code of the bias. penalty: on the squared weights, 0 or more.
    returns: (positions, features + 1, channels) float64, the bias last.
    raises: PromptError for other shapes, no rows, or a penalty below 0.
    """
    sensed, wanted = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if sensed.ndim != 2 or wanted.ndim != 3 or len(sensed) != len(wanted) or not len(sensed) or penalty < 0:
        raise PromptError(
            "fit", f"features {sensed.shape}, targets {wanted.shape}", "(n, features), (n, positions, channels)"
        )
    rows = np.concatenate([sensed, np.full((len(sensed), 1), high)], axis=1)
    squared = rows.T @ rows + penalty * np.eye(rows.shape[1])
    flat = wanted.reshape(len(wanted), -1)
    weights = np.linalg.lstsq(squared, rows.T @ flat, rcond=None)[0]
    return np.asarray(weights.reshape(rows.shape[1], *wanted.shape[1:]).transpose(1, 0, 2))


def condition(network: Network, weights: npt.ArrayLike, high: int) -> Conditioned:
    """A language model with a second source, whose events are a prefix.

    network: whose only source takes tokens; it is left as it is. weights: (positions, features + 1, channels), as
    `fit` gives them. high: largest code of a feature.
    raises: UnsupportedError for another kind of network; NetworkError where the weights do not fit.
    """
    projection = _embedding(network)
    target = network[projection.target]
    given = np.asarray(weights, dtype=np.float64)
    fits = given.ndim == 3 and given.shape[2] == target.size and given.shape[1] > 1 and np.isfinite(given).all()
    if not fits or high < 1:
        expected = f"(positions, features + 1, {target.size}) finite numbers, a code of 1 or more"
        raise NetworkError("condition.weights", f"shape {given.shape}, codes up to {high}", expected)
    flat = given.reshape(-1, target.size)
    # a target's weights are multiples of its own unit, a whole number of units of the embedding's grid
    gain = np.maximum(np.ceil(np.abs(flat).max(axis=0) / (WEIGHT_HIGH * target.scale)), 1)
    synapse = Dense(np.rint(flat / (gain * target.scale)).astype(np.int8), gain.astype(np.int32))
    source = Population(FEATURES, Source(len(flat), 0, high), np.ones(len(flat)))
    first = network.order[network.sources[0].name] + 1
    populations = (*network.populations[:first], source, *network.populations[first:])
    extended = Network(
        populations,
        (*network.projections, Projection(FEATURES, target.name, synapse)),
        output=network.output,
        tokenizer=network.tokenizer,
        begin=network.begin,
        end=network.end,
        provenance={**network.provenance, "prefix": f"{given.shape[0]} positions of {given.shape[1] - 1} features"},
    )
    return Conditioned(extended, given.shape[0], given.shape[1] - 1, high)


def targets(network: Network, texts: Sequence[Sequence[int]]) -> FloatArray:
    """(texts, positions, channels) embeddings of token sequences of one length.

    raises: PromptError for sequences of different lengths or unknown tokens.
    """
    lengths = {len(text) for text in texts}
    if len(lengths) != 1 or not all(0 <= token < network.vocabulary for text in texts for token in text):
        raise PromptError("targets", f"lengths {sorted(lengths)}", "token numbers of the network, as many in each text")
    return embeddings(network, np.array(texts))


def _embedding(network: Network) -> Projection:
    """The projection by which tokens come in."""
    found = [p for p in network.projections if p.source == network.sources[0].name] if network.sources else []
    dense = [p for p in found if isinstance(p.synapse, Dense) and isinstance(network[p.target].neuron, Accumulator)]
    token = network.sources[0].neuron if network.sources else None
    if len(network.sources) != 1 or len(found) != 1 or not dense or getattr(token, "range", None) != (0, 1):
        got = f"{len(network.sources)} sources, {len(found)} projections of the first"
        raise UnsupportedError("conditioning", got, "one source of tokens that drives an accumulator by dense synapses")
    return dense[0]
