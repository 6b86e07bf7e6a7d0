"""Generation: tokens in, tokens out, with the ledger of what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.errors import CapacityError, PromptError, SnngenError
from snngen.ledger import GENERATE, PREFILL, Ledger
from snngen.network import Network
from snngen.sampling import Sampling
from snngen.text import Text

WhenFull = Literal["stop", "slide"]


class Streamer(Protocol):
    """Hugging Face's streamer protocol: `put` gets the prompt, then each token, as integer arrays; then `end`."""

    def put(self, value: Any) -> None: ...

    def end(self) -> None: ...


class Generation:
    """A running or finished generation: iterate for tokens as they come, or read `text` and `tokens` of the whole.

    engine: what runs. prompt: its tokens. tokens: prompt and generated. ledger: what was done, per token.
    stopped: why it ended: ``length``, ``end`` (an end token) or ``context`` (full). slides: how often the memory was
    emptied and filled again with the newest half of the context.
    prefill_seconds, generate_seconds: time spent in the engine and the sampler.
    """

    def __init__(
        self,
        network: Network,
        prompt: Sequence[int],
        limit: int,
        sampling: Sampling,
        streamer: Streamer | None,
        when_full: WhenFull,
        engine: Engine,
    ) -> None:
        self.network, self.prompt = network, [int(token) for token in prompt]
        self.ledger = Ledger(network, engine.spikes)
        self.stopped: str | None = None
        self.slides = 0
        self.prefill_seconds = self.generate_seconds = 0.0
        self._generated: list[int] = []
        self._error: SnngenError | None = None
        self._run_of_engine = -1
        self._limit, self._sampling, self._streamer = limit, sampling, streamer
        self._when_full, self.engine = when_full, engine
        self._steps = self._run()

    def __iter__(self) -> Iterator[int]:
        at = 0
        while at < len(self._generated) or self._step():
            yield self._generated[at]
            at += 1

    def finish(self) -> Generation:
        """Run to the end."""
        while self._step():
            pass
        return self

    def _step(self) -> bool:
        """Generate one more token, if there is one; an error that ended the run comes again."""
        if self._error is not None:
            raise self._error
        try:
            return next(self._steps, None) is not None
        except SnngenError as error:
            self._error = error
            raise

    @property
    def generated(self) -> list[int]:
        """All generated tokens; runs to the end first."""
        self.finish()
        return list(self._generated)

    @property
    def tokens(self) -> list[int]:
        """Prompt and generated tokens; runs to the end first."""
        return [*self.prompt, *self.generated]

    @property
    def text(self) -> str:
        """Prompt and generated text; runs to the end first."""
        return Text(self.network).decode(self.tokens)

    @property
    def prefill_rate(self) -> float:
        """Prompt tokens per second."""
        return self.ledger.tokens(PREFILL) / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def generate_rate(self) -> float:
        """Generated tokens per second, the first (which the prompt pays for) aside."""
        return self.ledger.tokens(GENERATE) / self.generate_seconds if self.generate_seconds else 0.0

    def _prefill(self, tokens: Sequence[int]) -> None:
        self.engine.warm()
        started = time.perf_counter()
        self.engine.reset()
        self._run_of_engine = self.engine.runs
        for index, token in enumerate(tokens):
            self.engine.step(token, read=index == len(tokens) - 1)
            self.ledger.record(PREFILL, *self.engine.counted(), self.engine.ticks)
        self.prefill_seconds += time.perf_counter() - started

    def _run(self) -> Iterator[int]:
        network, engine, context = self.network, self.engine, self.network.context
        unit = float(network[network.output].scale[0])
        stream = self._sampling.stream()
        if self._streamer is not None:
            self._streamer.put(np.array([self.prompt]))
        try:
            self._prefill(self.prompt)
            while self.stopped is None:
                token = self._sampling.choose(engine.output, unit, stream)
                self._generated.append(token)
                if token in network.end:
                    self.stopped = "end"
                elif len(self._generated) >= self._limit:
                    self.stopped = "length"
                elif context is not None and engine.position >= context and self._when_full == "stop":
                    self.stopped = "context"
                if self._streamer is not None:
                    self._streamer.put(np.array([token]))
                yield token
                if self.stopped is None:
                    self._advance(token)
        finally:
            if self._streamer is not None:
                self._streamer.end()

    def _advance(self, token: int) -> None:
        if self.engine.runs != self._run_of_engine:
            raise PromptError("engine", "an engine that ran something else meanwhile", "one engine per generation")
        context = self.network.context
        if context is not None and self.engine.position >= context:
            self.slides += 1
            self._prefill([*self.prompt, *self._generated][-max(1, context // 2) :])
            return
        started = time.perf_counter()
        self.engine.step(token)
        self.ledger.record(GENERATE, *self.engine.counted(), self.engine.ticks)
        self.generate_seconds += time.perf_counter() - started


def generate(
    network: Network,
    prompt: str | Sequence[int],
    max_new_tokens: int = 100,
    *,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    streamer: Streamer | None = None,
    when_full: WhenFull = "stop",
    engine: Engine | None = None,
) -> Generation:
    """Generate tokens with a network.

    prompt: text, or token numbers. max_new_tokens: at most so many, at least 1.
    temperature, top_k, top_p, seed: see `Sampling`; temperature 0 takes the most likely token.
    streamer: gets the prompt and each token (Hugging Face's protocol).
    when_full: ``stop`` when the context is full, or ``slide``: begin anew with the newest half of it, recomputed, so
        that every token is exactly what the network says about the tokens that it still sees.
    engine: one of this network (settled, ticked, ...); a new settled one otherwise.
    returns: a Generation; nothing runs before it is iterated or read.
    raises: PromptError for an empty prompt, an unknown token or unusable settings; CapacityError for a prompt that is
        longer than the context.
    """
    tokens = Text(network).encode(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
    if not tokens:
        raise PromptError("prompt", "no tokens", "at least one: this network has no token that begins a text")
    wrong = [token for token in tokens if not 0 <= token < network.vocabulary]
    if wrong:
        raise PromptError("prompt", f"token {wrong[0]}", f"0..{network.vocabulary - 1}")
    if network.context is not None and len(tokens) > network.context:
        raise CapacityError(
            "prompt", f"{len(tokens)} tokens", f"at most {network.context}, the context", "Shorten the prompt"
        )
    if max_new_tokens < 1:
        raise PromptError("max_new_tokens", str(max_new_tokens), "1 or more")
    if when_full not in ("stop", "slide"):
        raise PromptError("when_full", repr(when_full), "'stop' or 'slide'")
    if engine is not None and engine.network is not network:
        raise PromptError("engine", "an engine of another network", "SettledEngine(network)")
    sampling = Sampling(temperature, top_k, top_p, seed)
    return Generation(network, tokens, max_new_tokens, sampling, streamer, when_full, engine or SettledEngine(network))
