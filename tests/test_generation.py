"""Generation: streaming, limits, full contexts, bad prompts."""

from __future__ import annotations

import numpy as np
import pytest
from networks import random_transformer

import snngen
from snngen import reference
from snngen.engines.settled import SettledEngine
from snngen.errors import CapacityError, PromptError
from snngen.ledger import GENERATE, PREFILL
from snngen.network import Network


class Recorder:
    """A streamer that keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[list[int]] = []
        self.ended = 0

    def put(self, value: np.ndarray) -> None:
        self.values.append(value.reshape(-1).tolist())

    def end(self) -> None:
        self.ended += 1


def greedy(network: Network, prompt: list[int], count: int) -> list[int]:
    """What the reference would say, recomputed from scratch for each token."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(np.argmax(reference.run(network, tokens)[network.output][-1])))
    return tokens


def test_greedy_tokens_are_the_references() -> None:
    network = random_transformer(3, layers=2)
    assert snngen.generate(network, [1, 2], 6).tokens == greedy(network, [1, 2], 6)


def test_iterating_reading_and_streaming_agree() -> None:
    network, recorder = random_transformer(3), Recorder()
    run = snngen.generate(network, [1, 2], 5, temperature=1.0, seed=4, streamer=recorder)
    first = next(iter(run))
    assert run.ledger.tokens() == 2  # nothing runs ahead of what was asked for
    assert [first, *list(run)[1:]] == run.generated
    assert list(run) == run.generated
    assert recorder.values == [[1, 2], *([token] for token in run.generated)]
    assert recorder.ended == 1
    assert run.stopped == "length"
    assert run.ledger.tokens(PREFILL) == 2
    assert run.ledger.tokens(GENERATE) == 4  # the last token is said, not read


def test_same_seed_same_tokens() -> None:
    network = random_transformer(3)
    runs = [snngen.generate(network, [1], 8, temperature=1.5, seed=seed).tokens for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_an_engine_that_ran_something_else_meanwhile_is_noticed() -> None:
    network = random_transformer(3)
    engine = SettledEngine(network)
    first = snngen.generate(network, [1], 6, engine=engine)
    assert next(iter(first)) == first._generated[0]
    assert len(snngen.generate(network, [2], 3, engine=engine).generated) == 3
    for _ in range(2):  # and the error comes again, not half a text
        with pytest.raises(PromptError, match="one engine per generation"):
            first.finish()


def test_two_readers_each_get_every_token() -> None:
    run = snngen.generate(random_transformer(3), [1, 2], 5)
    left, right = iter(run), iter(run)
    assert [token for pair in zip(left, right, strict=True) for token in pair] == [
        t for t in run.generated for _ in "ab"
    ]


def test_stops_when_the_context_is_full() -> None:
    run = snngen.generate(random_transformer(3, context=5), [1, 2, 3], 50).finish()
    assert run.stopped == "context"
    assert len(run.tokens) == 6  # five read, the sixth said


def test_slides_to_the_newest_half_recomputed() -> None:
    network = random_transformer(3, context=6)
    run = snngen.generate(network, [1, 2, 3], 12, when_full="slide").finish()
    assert run.slides > 1
    tokens, seen = [1, 2, 3], 3
    for _ in range(12):
        tokens.append(int(np.argmax(reference.run(network, tokens[-seen:])[network.output][-1])))
        seen = seen + 1 if seen < 6 else 3
    assert run.tokens == tokens


def test_stops_at_an_end_token(stories: Network) -> None:
    run = snngen.generate(stories, [1], 5, temperature=0.0).finish()
    assert run.stopped == "length"
    silenced = snngen.generate(stories, [1, 2], 400, temperature=1.0, seed=2).finish()
    assert silenced.stopped in ("end", "length")


def test_stories_tell_their_story(stories: Network) -> None:
    run = snngen.generate(stories, "", max_new_tokens=60)
    assert run.text.startswith("Once upon a time, there was a little girl named Lily.")


def test_a_transformers_streamer_works(stories: Network) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is in the extra `parity`")
    text = snngen.text.Text(stories)

    class Tokenizer:
        def decode(self, tokens: list[int], **kwargs: object) -> str:
            return text.decode(tokens)

    streamer = transformers.TextIteratorStreamer(Tokenizer(), skip_prompt=True)
    run = snngen.generate(stories, "Once upon", 20, streamer=streamer).finish()
    assert "".join(streamer).strip() == text.decode(run.generated).strip()


def test_text_streams_as_it_is_decoded(shakespeare: Network) -> None:
    from snngen.text import Text

    text = Text(shakespeare)
    tokens = text.encode("Ay, ‘tis so — é 🙂!")
    stream = text.stream()
    assert "".join(stream.put(token) for token in tokens) == text.decode(tokens) == "Ay, ‘tis so — é 🙂!"


@pytest.mark.parametrize("prompt", [[], "", [0, 99], [-1], [1] * 10])
def test_bad_prompts_are_refused(prompt: list[int] | str) -> None:
    network = random_transformer(3)
    with pytest.raises((PromptError, CapacityError), match="expected"):
        snngen.generate(network, prompt)


def test_bad_settings_are_refused(shakespeare: Network) -> None:
    network = random_transformer(3)
    for settings in ({"max_new_tokens": 0}, {"when_full": "guess"}, {"engine": SettledEngine(random_transformer(4))}):
        with pytest.raises(PromptError):
            snngen.generate(network, [1], **settings)
    with pytest.raises(PromptError, match="no tokens"):
        snngen.generate(shakespeare, "")
