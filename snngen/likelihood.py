"""Likelihood: how well a network predicts a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.errors import PromptError
from snngen.integers import FloatArray
from snngen.network import Network

Window = tuple[Sequence[int], int]  # tokens, and how many at the start are read but not scored


def windows(tokens: Sequence[int], context: int, stride: int = 0) -> list[Window]:
    """Cut a long text into windows of `context` predictions; every token but the first is scored once.

    stride: tokens from window to window, half the context if 0; each scored token then has at least
        context - stride tokens before it, those of the first window aside.
    """
    stride = min(context, stride or max(1, context // 2))
    cut: list[Window] = []
    scored = 1
    for start in range(0, max(1, len(tokens) - 1), stride):
        part = tokens[start : start + context + 1]
        cut.append((part, scored - start))
        scored = start + len(part)
        if scored >= len(tokens):
            break
    return cut


def nats(logits: FloatArray, token: int) -> float:
    """-log of the softmax probability of a token. logits: (vocabulary,) in nats."""
    top = logits.max()
    return float(np.log(np.exp(logits - top).sum()) + top - logits[token])


def nats_per_token(
    network: Network,
    cut: Iterable[Window],
    engine: Engine | None = None,
    progress: Callable[[int], None] | None = None,
) -> float:
    """Mean of -log p(token | tokens before it) in nats; the network starts anew at each window.

    cut: (tokens, how many at the start are not scored, at least 1); up to context + 1 tokens, as the last is only
        predicted. progress: is told how many tokens are done.
    raises: PromptError where nothing is predicted.
    """
    engine = SettledEngine(network) if engine is None else engine
    unit = float(network[network.output].scale[0])
    total, count, done = 0.0, 0, 0
    for tokens, unscored in cut:
        engine.reset()
        for index, token in enumerate(tokens[:-1]):
            scored = index + 1 >= unscored
            engine.step(int(token), read=scored)
            if scored:
                total += nats(engine.output * unit, int(tokens[index + 1]))
                count += 1
        done += len(tokens)
        if progress is not None:
            progress(done)
    if not count:
        raise PromptError("text", "nothing to predict", "at least two tokens")
    return total / count


def perplexity(network: Network, tokens: Sequence[int]) -> float:
    """exp of the nats per token of a text of any length, in windows that overlap by half."""
    return float(np.exp(nats_per_token(network, windows(tokens, network.context or len(tokens)))))
