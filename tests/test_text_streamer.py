"""Streamers: our own across threads, Hugging Face's unchanged, and the words of their `generate`."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import random_transformer

import snngen
from snngen.errors import CapacityError, PromptError
from snngen.network import Network
from snngen.text import Text, for_transformers
from snngen.text_streamer import TextIteratorStreamer

PATIENCE = 600.0  # seconds; kernels may have to be compiled
WORDS = "Ay, ‘tis so — é 🙂!\n"


def in_a_thread(run: snngen.Generation) -> threading.Thread:
    thread = threading.Thread(target=run.finish)
    thread.start()
    return thread


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_pieces_from_another_thread_are_the_text(shakespeare: Network, skip_prompt: bool) -> None:
    streamer = snngen.TextIteratorStreamer(shakespeare, skip_prompt=skip_prompt, timeout=PATIENCE)
    run = snngen.generate(shakespeare, WORDS, 12, streamer=streamer)
    thread = in_a_thread(run)
    pieces = list(streamer)
    thread.join()
    assert "".join(pieces) == (Text(shakespeare).decode(run.generated) if skip_prompt else run.text)
    assert len(pieces) >= 12
    assert list(streamer) == []  # once


def test_a_piece_can_be_read_before_the_next_token_is_there(shakespeare: Network) -> None:
    streamer = TextIteratorStreamer(shakespeare, skip_prompt=True, timeout=PATIENCE)
    run = snngen.generate(shakespeare, "ROMEO:", 3, streamer=streamer)
    tokens = iter(run)
    first = Text(shakespeare).decode([next(tokens)])
    assert next(streamer) == first != ""
    assert len(run.ledger) == len(run.prompt)


def test_characters_are_never_cut(shakespeare: Network) -> None:
    streamer, tokens = TextIteratorStreamer(shakespeare), Text(shakespeare).encode(WORDS)
    assert len(tokens) == len(WORDS.encode()) > len(WORDS)  # a token is a byte
    for token in tokens:
        streamer.put(np.array([token]))
    streamer.end()
    assert list(streamer) == list(WORDS)
    torn = TextIteratorStreamer(shakespeare)
    torn.put(np.array([[*tokens[:3], *Text(shakespeare).encode("🙂")[:-1]]]))
    torn.end()
    assert list(torn) == ["Ay,"]


def test_tokens_that_end_a_text_are_silent(stories: Network) -> None:
    streamer = TextIteratorStreamer(stories, timeout=PATIENCE)
    run = snngen.generate(stories, "Once upon", 12, streamer=streamer)
    thread = in_a_thread(run)
    assert "".join(streamer) == run.text
    thread.join()
    assert stories.begin in run.prompt
    streamer.put(np.array([[stories.begin, *stories.end]]))
    streamer.end()
    assert list(streamer) == []


def test_a_generation_that_fails_ends_the_text(shakespeare: Network) -> None:
    streamer = TextIteratorStreamer(shakespeare, timeout=PATIENCE)
    engine = snngen.SettledEngine(shakespeare)
    run = snngen.generate(shakespeare, "A", 9, streamer=streamer, engine=engine)
    next(iter(run))
    engine.reset()
    with pytest.raises(PromptError, match="one engine per generation"):
        run.finish()
    assert "".join(streamer) == Text(shakespeare).decode([*run.prompt, run._generated[0]])


def test_a_generation_that_nobody_runs_is_waited_for_no_longer_than_asked(shakespeare: Network) -> None:
    streamer = TextIteratorStreamer(shakespeare, timeout=0.01)
    snngen.generate(shakespeare, "A", 9, streamer=streamer)
    with pytest.raises(CapacityError, match=r"target=run\.finish"):
        next(streamer)


def test_what_cannot_stream_is_refused(shakespeare: Network) -> None:
    with pytest.raises(PromptError, match="tokenizer"):
        TextIteratorStreamer(random_transformer(3))
    for timeout in (-1.0, float("nan")):
        with pytest.raises(PromptError, match="timeout"):
            TextIteratorStreamer(shakespeare, timeout=timeout)


def transformers_parts(network: Network) -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers", reason="transformers is in the extra `parity`")
    return transformers, for_transformers(network)


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_transformers_own_iterator_works_unchanged(shakespeare: Network, skip_prompt: bool) -> None:
    transformers, tokenizer = transformers_parts(shakespeare)
    theirs = transformers.TextIteratorStreamer(tokenizer, skip_prompt=skip_prompt, timeout=PATIENCE)
    ours = TextIteratorStreamer(shakespeare, skip_prompt=skip_prompt)
    run = snngen.generate(shakespeare, WORDS, 40, streamer=theirs)
    thread = in_a_thread(run)
    text = "".join(theirs)
    thread.join()
    assert text == (Text(shakespeare).decode(run.generated) if skip_prompt else run.text)
    snngen.generate(shakespeare, WORDS, 40, streamer=ours).finish()
    assert "".join(ours) == text


def test_transformers_own_printer_works_unchanged(stories: Network, capsys: pytest.CaptureFixture[str]) -> None:
    transformers, tokenizer = transformers_parts(stories)
    streamer = transformers.TextStreamer(tokenizer, skip_special_tokens=True)
    run = snngen.generate(stories, "Once upon a time", 30, streamer=streamer).finish()
    assert capsys.readouterr().out.strip() == run.text.strip()
    assert len(run.text) > 60


def test_transformers_tokenizer_gives_prompts_and_reads_answers(stories: Network, shakespeare: Network) -> None:
    _, tokenizer = transformers_parts(shakespeare)
    given = tokenizer("ROMEO:", return_tensors="np")["input_ids"]
    assert given.shape == (1, 6)
    run = snngen.generate(shakespeare, given, max_new_tokens=20)
    assert run.tokens == snngen.generate(shakespeare, "ROMEO:", 20).tokens
    assert tokenizer.decode(run.tokens) == run.text
    torch = pytest.importorskip("torch", reason="torch is in the extra `torch`")
    assert snngen.generate(shakespeare, torch.tensor(given), 20).tokens == run.tokens
    _, tokenizer = transformers_parts(stories)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (stories.begin, stories.end[0])
    with pytest.raises(PromptError, match="tokenizer"):
        for_transformers(random_transformer(3))


def test_do_sample_says_what_a_temperature_says() -> None:
    network = random_transformer(3)

    def said(**settings: Any) -> list[int]:
        return snngen.generate(network, [1, 2], 6, seed=3, **settings).generated

    assert said(do_sample=False) == said() == said(temperature=0.0)
    assert said(do_sample=True) == said(temperature=1.0) == said(do_sample=True, temperature=1.0) != said()
    assert said(do_sample=True, temperature=2.0, top_k=4) == said(temperature=2.0, top_k=4)
    with pytest.raises(PromptError, match="one of them"):
        said(do_sample=False, temperature=0.7)


def test_end_tokens_can_be_given() -> None:
    network = replace(random_transformer(3), end=(7,))
    whole = snngen.generate(network, [1, 2], 6, temperature=1.0, seed=1, eos_token_id=[])
    assert (whole.finish().stopped, len(whole.generated)) == ("length", 6)
    last = whole.generated[2]
    for given in (last, [last], (last, 99 % network.vocabulary)):
        run = snngen.generate(network, [1, 2], 6, temperature=1.0, seed=1, eos_token_id=given).finish()
        cut = whole.generated[: 1 + min(whole.generated.index(t) for t in np.atleast_1d(given) if t in whole.generated)]
        assert (run.stopped, run.generated) == ("end", cut)
    with pytest.raises(PromptError, match="token 99"):
        snngen.generate(network, [1], eos_token_id=99)


def test_stop_strings_end_a_text_even_across_tokens(shakespeare: Network) -> None:
    whole = Text(shakespeare).decode(snngen.generate(shakespeare, "ROMEO:", 80).generated)
    for string in (whole[20:27], whole[5], whole[40:75]):
        run = snngen.generate(shakespeare, "ROMEO:", 80, stop_strings=string).finish()
        said = Text(shakespeare).decode(run.generated)
        assert run.stopped == "string"
        assert said == whole[: whole.index(string) + len(string)]
    earliest = min(whole.index(string) + len(string) for string in (whole[30:36], whole[12:14]))
    run = snngen.generate(shakespeare, "ROMEO:", 80, stop_strings=["no such words", whole[30:36], whole[12:14]])
    assert Text(shakespeare).decode(run.generated) == whole[:earliest]
    assert snngen.generate(shakespeare, "ROMEO:", 8, stop_strings="ROMEO:").finish().stopped == "length"  # the prompt
    with pytest.raises(PromptError, match="stop_strings"):
        snngen.generate(shakespeare, "A", stop_strings=["x", ""])
    with pytest.raises(PromptError, match="tokenizer"):
        snngen.generate(random_transformer(3), [1], stop_strings="x")


@pytest.mark.parametrize("prompt", [[[1, 2], [3, 4]], [[1], [2, 3]], [1.5], np.zeros((1, 1, 1), dtype=int)])
def test_prompts_that_are_not_one_row_of_numbers_are_refused(prompt: Any) -> None:
    with pytest.raises(PromptError, match="token numbers"):
        snngen.generate(random_transformer(3), prompt)
