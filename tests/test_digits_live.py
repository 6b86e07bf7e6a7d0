"""Digits, live: the source that shows them, the application on a stream, its work and its price."""

from __future__ import annotations

import numpy as np
import pytest

from snngen import digits
from snngen.digits_live import DECODER, DigitsApplication, DigitsSource
from snngen.errors import PromptError, UnsupportedError
from snngen.events import EVENT, EventArray
from snngen.hardware import chips
from snngen.hardware.live import Circuit, pricing
from snngen.streaming.application import Output
from snngen.streaming.runner import Stream

pytest.importorskip("sklearn", reason="the digits are scikit-learn's (pip install snngen[digits])")


def streamed(count: int, **options: object) -> tuple[list[Output], Stream]:
    source = DigitsSource(seed=1, count=count, speed=None)
    application = DigitsApplication(truth=source.truth)
    with Stream(source, application, period_us=digits.PERIOD_US, settle_s=5.0, **options) as stream:  # type: ignore[arg-type]
        outputs = list(stream)
    assert not stream.status().failure
    return outputs, stream


def test_a_stream_of_digits_is_one_answer_per_digit() -> None:
    outputs, stream = streamed(30)
    assert len(outputs) == 30
    assert [output.time_us for output in outputs] == [digits.PERIOD_US * turn for turn in range(1, 31)]
    right = [output.label == str(output.values["shown"]) for output in outputs]
    assert sum(right) >= 27
    tally = stream.status().tally
    assert tally.balanced
    assert tally.sent == tally.processed > 30_000
    for output in outputs:
        assert output.picture is not None
        assert output.picture.shape == (8, 8)
        assert output.picture.dtype == np.float32
        assert str(output.values["shown"]) in output.text
        assert 0.1 <= output.values["confidence"] <= 1


def test_the_stream_says_what_the_reader_says() -> None:
    outputs, _ = streamed(5)
    pictures, labels = digits.digits(held_out=True)
    order = np.random.default_rng(1).permutation(len(labels))[:5]
    assert [output.values["shown"] for output in outputs] == labels[order].tolist()
    reader = digits.DigitReader()
    reader.begin(0)
    for turn, events in enumerate(digits.presentations(pictures, order)):
        reader.take(events)
        reader.advance(digits.PERIOD_US * (turn + 1))
        reading = reader.reading()
        reader.forget()
        assert outputs[turn].label == str(reading.label)
        assert outputs[turn].spikes == reading.spikes.sum()
        assert outputs[turn].picture is not None
        assert np.array_equal(outputs[turn].picture, np.asarray(reading.picture, dtype=np.float32))


def test_work_holds_encoder_and_decoder_and_is_priced_on_every_chip() -> None:
    application = DigitsApplication()
    model = application.reader.model
    events = digits.recording(digits.digits(held_out=True)[0][0])
    application.begin(0)
    application.take(events)
    output = application.answer(digits.PERIOD_US)
    work = output.work
    assert work is not None
    circuit = Circuit.of({"": model.encoder, DECODER: model.decoder})
    assert len(work.operations) == len(model.encoder.projections) + len(model.decoder.projections)
    source = DECODER + model.decoder.sources[0].name
    spikes = work.events[digits.LABEL] + work.events[digits.LATENT]
    assert work.events[source] == spikes == output.spikes  # what the decoder takes is what the encoder sent, once each
    assert source in circuit.inputs
    first = len(model.encoder.projections)
    hidden = model.decoder.projections[0].synapse.target_size
    assert work.operations[first] == spikes * hidden
    neuromorphic = [chip for chip in chips.chips().values() if chip.kind == "neuromorphic"]
    joules = pricing(circuit, neuromorphic)(work, 0.12)
    assert len(joules) == len(neuromorphic) >= 4
    for chip in neuromorphic:
        if "synapses" in chip.quantities:
            assert joules[chip.name] > chip.quantities["synapses"].value * work.synaptic_operations * 0.99
        assert joules[chip.name] >= 0


def test_a_period_is_read_as_far_as_it_is_and_forgotten_when_it_ends() -> None:
    application = DigitsApplication()
    events = digits.recording(digits.digits(held_out=True)[0][4])
    half = len(events) // 2
    application.begin(0)
    application.take(events[:half])
    early = application.answer(int(events["t"][half - 1]) + 1)
    application.take(events[half:])
    late = application.answer(digits.PERIOD_US)
    assert 0 < early.spikes < late.spikes
    assert late.work is not None
    assert late.work.events[digits.INPUT] == len(events) - half
    again = events.copy()
    again["t"] += np.uint64(digits.PERIOD_US)
    application.take(again)
    assert abs(application.answer(2 * digits.PERIOD_US).spikes - late.spikes) < 0.2 * late.spikes


def test_a_stream_without_digits_is_answered_too() -> None:
    application = DigitsApplication()
    application.begin(10**9)
    application.take(np.array([(10**9 + 5, 3, 3, True)], dtype=EVENT))
    output = application.answer(10**9 + 1000)
    assert output.label is None
    assert output.picture is None
    assert output.text.startswith("nothing")


def test_the_source_shows_every_digit_once_before_any_twice() -> None:
    source = DigitsSource(seed=2)
    size = len(digits.digits(held_out=True)[1])
    shown = [source.truth(digits.PERIOD_US * (turn + 1)) for turn in range(2 * size)]
    assert shown[:size] == shown[size:]
    assert np.array_equal(np.sort(shown[:size]), np.sort(digits.digits(held_out=True)[1]))
    source.close()


def read_all(source: DigitsSource) -> EventArray:
    parts = []
    while (events := source.read(1.0)) is not None:
        parts.append(events)
    return np.concatenate(parts)


def test_the_source_gives_the_same_events_for_the_same_seed() -> None:
    first, again, other = (read_all(DigitsSource(seed, count=3, speed=None)) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (np.diff(first["t"].astype(np.int64)) >= 0).all()
    assert int(first["t"][-1]) < 3 * digits.PERIOD_US


def test_impossible_options_are_refused() -> None:
    with pytest.raises(PromptError):
        DigitsSource(seed=-1)
    with pytest.raises(PromptError):
        DigitsApplication(period_us=0)
    with pytest.raises(UnsupportedError, match="code"):
        DigitsApplication(code="morse")
