"""Perplexity: every token is scored once, and the sum is the logits'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_transformer

import snngen
from snngen import reference
from snngen.errors import PromptError
from snngen.likelihood import nats_per_token, windows


@given(st.integers(2, 60), st.integers(1, 12), st.integers(0, 14))
def test_windows_score_every_token_but_the_first_once(length: int, context: int, stride: int) -> None:
    scored = []
    for part, unscored in windows(range(length), context, stride):
        assert unscored >= 1
        assert len(part) <= context + 1
        scored += list(part)[unscored:]
    assert scored == list(range(1, length))


def test_nats_are_those_of_the_logits() -> None:
    network = random_transformer(2)
    tokens = [1, 2, 3, 4, 5]
    logits = reference.run(network, tokens)["logits"] * network["logits"].scale[0]
    likely = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -np.mean([likely[i, tokens[i + 1]] for i in range(4)])
    assert nats_per_token(network, [(tokens, 1)]) == pytest.approx(expected, rel=1e-12)
    assert snngen.perplexity(network, tokens) == pytest.approx(np.exp(expected), rel=1e-12)


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(PromptError):
        nats_per_token(random_transformer(2), [([1], 1)])
