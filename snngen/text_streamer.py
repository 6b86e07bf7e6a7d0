"""A streamer that hands text to another thread, piece by piece; as Hugging Face's, and without their library.

    streamer = snngen.TextIteratorStreamer(network, skip_prompt=True)
    run = snngen.generate(network, "ROMEO:", 100, streamer=streamer)
    threading.Thread(target=run.finish).start()
    for piece in streamer:
        print(piece, end="", flush=True)

`transformers.TextStreamer` and `transformers.TextIteratorStreamer` can be given to `generate` as well, with the
tokenizer of `snngen.text.for_transformers`.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.network import Network
from snngen.text import Text


class TextIteratorStreamer:
    """Takes tokens in one thread and gives text in another; iterate over it for the pieces, once.

    A piece comes as soon as its characters are whole: where a character's bytes are spread over several tokens, it
    comes with the last of them; one that the last token leaves unfinished does not come. All pieces together are the
    text of the tokens. Tokens that only begin or end a text add nothing.

    network: whose tokenizer decodes. skip_prompt: leave out the prompt. timeout: seconds to wait for a piece; None for
        as long as it takes.
    raises: PromptError for a network without a tokenizer or a timeout below 0; while iterating, CapacityError when
        nothing came in time.
    """

    def __init__(self, network: Network, skip_prompt: bool = False, timeout: float | None = None) -> None:
        if timeout is not None and not timeout >= 0:
            raise PromptError("timeout", str(timeout), "0 seconds or more, or None")
        self._stream = Text(network).stream()
        self._skip, self.timeout = skip_prompt, timeout
        self._pieces: SimpleQueue[str | None] = SimpleQueue()
        self._ended = False

    def put(self, value: Any) -> None:
        """Take tokens: the prompt first, then one token or several at a time; any shape that holds one text."""
        skipped, self._skip = self._skip, False
        if skipped:
            return
        text = "".join(self._stream.put(int(token)) for token in np.asarray(value).reshape(-1))
        if text:
            self._pieces.put(text)

    def end(self) -> None:
        """No more tokens come."""
        self._pieces.put(None)

    def __iter__(self) -> TextIteratorStreamer:
        return self

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        try:
            piece = self._pieces.get(timeout=self.timeout)
        except Empty:
            mend = "Give the generation a thread: threading.Thread(target=run.finish).start()"
            raise CapacityError("TextIteratorStreamer", f"no text in {self.timeout} s", "a piece of it", mend) from None
        if piece is None:
            self._ended = True
            raise StopIteration
        return piece
