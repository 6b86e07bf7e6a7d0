"""Stopping: which tokens and which text end a generation."""

from __future__ import annotations

from collections.abc import Sequence

from snngen.errors import PromptError
from snngen.network import Network
from snngen.text import Text

END, STRING = "end", "string"


class Stopping:
    """Watches generated tokens for what ends a text.

    tokens: that end it, one or several; None for those of the network, an empty sequence for none.
    strings: that end it as soon as the generated text holds one of them, even across tokens; they stay in the text.
    raises: PromptError for tokens that the network has not, an empty string, or strings for a network without text.
    """

    def __init__(
        self, network: Network, tokens: int | Sequence[int] | None = None, strings: str | Sequence[str] = ()
    ) -> None:
        given = network.end if tokens is None else (tokens,) if isinstance(tokens, int) else tuple(tokens)
        self._tokens = {int(token) for token in given}
        wrong = sorted(token for token in self._tokens if not 0 <= token < network.vocabulary)
        if wrong:
            raise PromptError("eos_token_id", f"token {wrong[0]}", f"0..{network.vocabulary - 1}")
        self._strings = (strings,) if isinstance(strings, str) else tuple(strings)
        if not all(self._strings):
            raise PromptError("stop_strings", "an empty string", "text")
        self._stream = Text(network).stream() if self._strings else None
        self._longest = max(map(len, self._strings), default=0)
        self._tail = ""

    def after(self, token: int) -> str | None:
        """Take the next generated token: ``end`` or ``string`` where it ends the text, else None."""
        if token in self._tokens:
            return END
        if self._stream is None:
            return None
        self._tail += self._stream.put(token)
        found = any(string in self._tail for string in self._strings)
        self._tail = self._tail[-self._longest :]
        return STRING if found else None
