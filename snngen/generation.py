"""Generation: tokens in, tokens out, with the ledger of what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from snngen.engines import Engine
from snngen.engines.layout import check_codes
from snngen.engines.settled import SettledEngine
from snngen.errors import CapacityError, PromptError, SnngenError
from snngen.integers import IntArray
from snngen.ledger import GENERATE, PREFILL, Ledger
from snngen.network import Network
from snngen.sampling import Sampling
from snngen.stopping import Stopping
from snngen.text import Text

WhenFull = Literal["stop", "slide"]


class Streamer(Protocol):
    """Hugging Face's streamer protocol: `put` gets the prompt, then each token, as integer arrays; then `end`."""

    def put(self, value: Any) -> None: ...

    def end(self) -> None: ...


class Generation:
    """A running or finished generation: iterate for tokens as they come, or read `text` and `tokens` of the whole.

    engine: what runs. prompt: its tokens. tokens: prompt and generated. ledger: what was done, per token, and per
    position of the prefix. prefix: (n, size) codes of the second source, that came before the prompt.
    stopped: why it ended: ``length``, ``end`` (an end token), ``string`` (one of `stop_strings`) or ``context`` (full).
    slides: how often the memory was emptied and filled again with the newest half of the context.
    prefill_seconds, generate_seconds: time spent in the engine and the sampler.
    """

    def __init__(
        self,
        network: Network,
        prompt: Sequence[int],
        limit: int,
        sampling: Sampling,
        stopping: Stopping,
        streamer: Streamer | None,
        when_full: WhenFull,
        engine: Engine,
        prefix: IntArray,
    ) -> None:
        self.network, self.prompt, self.prefix = network, [int(token) for token in prompt], prefix
        self.ledger = Ledger(network, engine.spikes)
        self.stopped: str | None = None
        self.slides = 0
        self.prefill_seconds = self.generate_seconds = 0.0
        self._generated: list[int] = []
        self._error: SnngenError | None = None
        self._run_of_engine = -1
        self._limit, self._sampling, self._stopping, self._streamer = limit, sampling, stopping, streamer
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
        last = len(self.prefix) + len(tokens) - 1
        for index, codes in enumerate(self.prefix):
            self.engine.step(codes=positions(self.network, None, codes), read=index == last)
            self.ledger.record(PREFILL, *self.engine.counted(), self.engine.ticks)
        begun = 0
        if isinstance(self.engine, SettledEngine) and len(self.network.sources) == 1:
            begun = len(tokens) - 1  # all but the last, block by block
            for populations, projections in self.engine.prefill(tokens[:begun]):
                self.ledger.record(PREFILL, populations, projections, self.engine.ticks)
        for index, token in enumerate(tokens[begun:], start=begun):
            self._present(token, index + len(self.prefix) == last)
            self.ledger.record(PREFILL, *self.engine.counted(), self.engine.ticks)
        self.prefill_seconds += time.perf_counter() - started

    def _present(self, token: int, read: bool = True) -> None:
        if len(self.network.sources) == 1:
            self.engine.step(token, read=read)
        else:
            self.engine.step(codes=positions(self.network, token), read=read)

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
                self.stopped = self._stopping.after(token)
                if self.stopped is None and len(self._generated) >= self._limit:
                    self.stopped = "length"
                elif self.stopped is None and self._when_full == "stop" and context is not None:
                    self.stopped = "context" if engine.position >= context else None
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
            self._prefill([*self.prompt, *self._generated][-max(1, context // 2 - len(self.prefix)) :])
            return
        started = time.perf_counter()
        self._present(token)
        self.ledger.record(GENERATE, *self.engine.counted(), self.engine.ticks)
        self.generate_seconds += time.perf_counter() - started


def positions(network: Network, token: int | None, codes: IntArray | None = None) -> dict[str, IntArray]:
    """What every source of a network gets at one position.

    token: of the first source, none of its neurons where None. codes: (size,) of the second source, zeros where None;
    the others get zeros.
    """
    given: dict[str, IntArray] = {source.name: np.zeros(source.size, dtype=np.int64) for source in network.sources}
    if token is not None:
        given[network.sources[0].name][token] = 1
    if codes is not None:
        given[network.sources[1].name] = codes
    return given


def generate(
    network: Network,
    prompt: str | Sequence[int] | IntArray,
    max_new_tokens: int = 100,
    *,
    do_sample: bool | None = None,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    eos_token_id: int | Sequence[int] | None = None,
    stop_strings: str | Sequence[str] = (),
    streamer: Streamer | None = None,
    when_full: WhenFull = "stop",
    engine: Engine | None = None,
    prefix: IntArray | None = None,
) -> Generation:
    """Generate tokens with a network. The names are those of Hugging Face's `generate`, where there are such.

    Other than there, the result runs when it is read or iterated, sampling is seeded and `top_k` is off unless it is
    given. Where another condition is to end it, iterate and break.

    prompt: text, or token numbers: (n,) or (1, n), an array or tensor too. max_new_tokens: at most so many, at least 1.
    do_sample: False takes the most likely token, True draws, at temperature 1 if none is given; None draws where there
        is a temperature.
    temperature, top_k, top_p, seed: see `Sampling`; temperature 0 takes the most likely token.
    eos_token_id: tokens that end the text instead of the network's own; an empty sequence for none.
    stop_strings: text that ends it, see `Stopping`.
    streamer: gets the prompt and each token (Hugging Face's protocol), see `snngen.text_streamer`.
    when_full: ``stop`` when the context is full, or ``slide``: begin anew with the newest half of it, recomputed, so
        that every token is exactly what the network says about the tokens that it still sees.
    engine: one of this network (settled, ticked, ...); a new settled one otherwise.
    prefix: (n, size) codes of the network's second source, positions that stand before the prompt and hold no token
        (see `snngen.conditioning`); with one the prompt may be empty.
    returns: a Generation; nothing runs before it is iterated or read.
    raises: PromptError for an empty prompt, an unknown token or unusable settings; CapacityError for a prompt that is
        longer than the context.
    """
    before = _checked_prefix(network, prefix)
    tokens = _checked_prompt(network, prompt, len(before))
    if max_new_tokens < 1:
        raise PromptError("max_new_tokens", str(max_new_tokens), "1 or more")
    if when_full not in ("stop", "slide"):
        raise PromptError("when_full", repr(when_full), "'stop' or 'slide'")
    if engine is not None and engine.network is not network:
        raise PromptError("engine", "an engine of another network", "SettledEngine(network)")
    if do_sample is False and temperature:
        raise PromptError("do_sample", f"False, and temperature {temperature}", "one of them")
    sampling = Sampling(temperature or float(bool(do_sample)), top_k, top_p, seed)
    stopping = Stopping(network, eos_token_id, stop_strings)
    engine = SettledEngine(network) if engine is None else engine
    return Generation(network, tokens, max_new_tokens, sampling, stopping, streamer, when_full, engine, before)


def _checked_prompt(network: Network, prompt: str | Sequence[int] | IntArray, before: int) -> list[int]:
    """Tokens of a prompt. before: positions that stand before it."""
    tokens = [] if before and isinstance(prompt, str) and not prompt else _tokens(network, prompt)
    if not tokens and not before:
        raise PromptError("prompt", "no tokens", "at least one: this network has no token that begins a text")
    wrong = [token for token in tokens if not 0 <= token < network.vocabulary]
    if wrong:
        raise PromptError("prompt", f"token {wrong[0]}", f"0..{network.vocabulary - 1}")
    if network.context is not None and before + len(tokens) > network.context:
        got, room = f"{before + len(tokens)} tokens", f"at most {network.context}, the context"
        raise CapacityError("prompt", got, room, "Shorten the prompt")
    return tokens


def _tokens(network: Network, prompt: str | Sequence[int] | IntArray) -> list[int]:
    """Tokens of text, or of one row of numbers."""
    if isinstance(prompt, str):
        return Text(network).encode(prompt)
    try:
        given = np.asarray(prompt)
    except ValueError as error:  # rows of different lengths
        raise PromptError("prompt", str(error), "text, or token numbers (n,) or (1, n)") from error
    if given.ndim == 2 and len(given) == 1:
        given = given[0]
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        got = f"shape {given.shape} of {given.dtype}"
        raise PromptError("prompt", got, "text, or token numbers (n,) or (1, n)", "snngen batch takes several prompts")
    return [int(token) for token in given]


def _checked_prefix(network: Network, prefix: IntArray | None) -> IntArray:
    """(n, size) codes; none where there is no prefix."""
    if prefix is None:
        return np.zeros((0, 0), dtype=np.int64)
    if len(network.sources) != 2:
        raise PromptError("prefix", f"{len(network.sources)} sources", "two: tokens, and what the prefix drives")
    given, size = np.asarray(prefix), network.sources[1].size
    if given.ndim != 2 or given.shape[1] != size or not len(given) or given.dtype.kind not in "iu":
        raise PromptError("prefix", f"shape {given.shape} of {given.dtype}", f"(n, {size}) integers, n >= 1")
    for codes in given:
        check_codes(network, positions(network, None, codes))
    return given
