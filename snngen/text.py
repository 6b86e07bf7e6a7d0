"""Text: the tokenizer that a network carries."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from snngen.errors import FormatError, PromptError, UnsupportedError
from snngen.network import Network


class Text:
    """Turns text into a network's tokens and back.

    raises: PromptError for a network without a tokenizer, FormatError for one that cannot be read.
    """

    def __init__(self, network: Network) -> None:
        if network.tokenizer is None:
            raise PromptError("network", "no tokenizer", "one", "give tokens, or convert with --tokenizer")
        self._tokenizer = _parsed(network.tokenizer)
        self._vocabulary = network.vocabulary
        self._begin = [] if network.begin is None else [network.begin]
        self._silent = {*network.end, *self._begin}

    @classmethod
    def of(cls, tokenizer: str, vocabulary: int) -> Text:
        """Text in and out of a tokenizer alone, with no tokens that begin or end one."""
        text = cls.__new__(cls)
        text._tokenizer, text._vocabulary = _parsed(tokenizer), vocabulary
        text._begin, text._silent = [], set()
        return text

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, the token that begins one first."""
        try:
            text.encode()
        except UnicodeEncodeError as error:  # a command line hands on bytes that are not UTF-8 as lone surrogates
            raise PromptError("text", f"{text[error.start]!r}, not a character", "UTF-8 text") from error
        tokens = [*self._begin, *self._tokenizer.encode(text, add_special_tokens=False).ids]
        if tokens and max(tokens) >= self._vocabulary:
            raise PromptError("tokenizer", f"token {max(tokens)}", f"0..{self._vocabulary - 1}")
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; those that only begin or end one are silent."""
        spoken = [token for token in tokens if token not in self._silent]
        text: str = self._tokenizer.decode(spoken, skip_special_tokens=False)
        return text

    def stream(self) -> TextStream:
        """A decoder that is fed token by token."""
        return TextStream(self._tokenizer, self._silent)


def for_transformers(network: Network) -> Any:
    """A network's tokenizer as a `transformers.PreTrainedTokenizerFast`, with its begin and end tokens as bos and eos.

    raises: PromptError for a network without a tokenizer, UnsupportedError where `transformers` is not installed.
    """
    try:
        make = importlib.import_module("transformers").PreTrainedTokenizerFast
    except ImportError as error:
        raise UnsupportedError("transformers", str(error), "the package", "pip install transformers") from error
    if network.tokenizer is None:
        raise PromptError("network", "no tokenizer", "one", "give tokens, or convert with --tokenizer")
    tokenizer = _parsed(network.tokenizer)
    special = {"bos_token": network.begin, "eos_token": next(iter(network.end), None)}
    named = {name: tokenizer.id_to_token(token) for name, token in special.items() if token is not None}
    return make(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **named)


def _parsed(tokenizer: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(tokenizer)
    except Exception as error:  # the library raises bare Exception
        raise FormatError("tokenizer", str(error), "a tokenizer.json of the library `tokenizers`") from error


class TextStream:
    """Decodes token by token; text that waits for the rest of a character comes with the token that completes it."""

    def __init__(self, tokenizer: Tokenizer, silent: set[int]) -> None:
        self._tokenizer, self._silent = tokenizer, silent
        self._stream = DecodeStream(skip_special_tokens=False)

    def put(self, token: int) -> str:
        """The text that this token adds."""
        if token in self._silent:
            return ""
        return self._stream.step(self._tokenizer, token) or ""
