"""Text: what goes in comes out, in one piece or token by token, and what is no text is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_transformer

import snngen
from snngen.errors import FormatError, PromptError
from snngen.network import Network
from snngen.text import Text

BYTES = Text(snngen.load())  # the network in the package reads bytes


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_carry_any_text(text: str) -> None:
    tokens = BYTES.encode(text)
    assert tokens == list(text.encode())
    assert BYTES.decode(tokens) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_stream_adds_up_to_the_text(text: str) -> None:
    stream = BYTES.stream()
    assert "".join(stream.put(token) for token in BYTES.encode(text)) == text


def test_half_a_character_waits_for_the_rest() -> None:
    stream = BYTES.stream()
    assert [stream.put(token) for token in "é日".encode()] == ["", "é", "", "", "日"]


def test_a_text_opens_with_the_token_that_begins_one_and_does_not_speak_it(stories: Network) -> None:
    text = Text(stories)
    tokens = text.encode("Once upon a time")
    assert tokens[0] == stories.begin == 1
    assert text.encode("") == [1]
    assert text.decode(tokens) == "Once upon a time"
    assert text.decode([*tokens, *stories.end]) == "Once upon a time"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["Once", " upon", " a", " time", ",", " Lily", " zebra", "!", "\n", " é"]), max_size=12)
)
def test_the_stream_of_a_real_tokenizer_adds_up(stories: Network, parts: list[str]) -> None:
    text = Text(stories)
    tokens = text.encode("".join(parts))
    stream = text.stream()
    assert "".join(stream.put(token) for token in tokens) == text.decode(tokens)


def test_bytes_that_are_no_text_are_refused() -> None:
    """The command line hands on bytes that are not UTF-8 as lone surrogates."""
    with pytest.raises(PromptError, match="not a character; expected UTF-8"):
        BYTES.encode(b"RO\xff".decode(errors="surrogateescape"))


def test_a_network_without_a_tokenizer_takes_no_text() -> None:
    with pytest.raises(PromptError, match="no tokenizer"):
        Text(random_transformer(1))


def test_a_tokenizer_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        Text(replace(random_transformer(1), tokenizer="{}"))


def test_tokens_that_the_network_does_not_know_are_refused() -> None:
    vocabulary = {chr(97 + number): number for number in range(12)}  # one more than the network's 11
    words = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
    keys = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    tokenizer = json.dumps({"version": "1.0", "added_tokens": [], "model": words, **dict.fromkeys(keys)})
    text = Text(replace(random_transformer(1), tokenizer=tokenizer))
    assert text.encode("k") == [10]
    with pytest.raises(PromptError, match=r"token 11; expected 0\.\.10"):
        text.encode("l")


def test_a_tokenizer_alone_adds_nothing(stories: Network) -> None:
    assert stories.tokenizer is not None
    text = Text.of(stories.tokenizer, stories.vocabulary)
    assert [1, *text.encode("Once upon")] == Text(stories).encode("Once upon")
