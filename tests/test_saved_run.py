"""A saved run holds what was generated, and comes back as it was or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import random_transformer
from test_cli import refused, run
from test_conditioning import conditioned

import snngen
from snngen import codes, reference, saved_run
from snngen.certificate import Certificate, Mismatch
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, PromptError
from snngen.generation import Generation
from snngen.hardware import chips
from snngen.hardware.price import price
from snngen.ledger import CODES
from snngen.network import Network
from snngen.saved_run import LastToken, RunRecorder, SavedRun, read_saved_run, tokens_read
from snngen.store import seal
from snngen.trace import TraceWriter, read_trace

PROMPT = [1, 5, 2]


def record(
    network: Network, path: Path, tokens: int = 5, code: str = "", schedule: Any = "layered", **options: Any
) -> Generation:
    """A run of a small network, saved: with real spikes where a code is named."""
    last = LastToken() if code else None
    engine = TickedEngine(network, codes.by_name(code), schedule, recorder=last) if code else SettledEngine(network)
    generation = snngen.generate(network, PROMPT, tokens, engine=engine, **options)
    recorder = RunRecorder(generation, last)
    assert list(recorder) == generation.generated
    one = len(network.sources) == 1
    certificate = snngen.certify(network, generation.tokens[: network.context]) if one else None
    recorder.save(path, certificate, command="a test", model="here.h5")
    return generation


@pytest.mark.parametrize("code", ["", "graded", "unary", "delta"])
def test_a_run_comes_back_as_it_was(code: str, tmp_path: Path) -> None:
    network = random_transformer(1, layers=2)
    generation = record(network, tmp_path / "run.h5", code=code)
    saved = read_saved_run(tmp_path / "run.h5")
    ledger = saved.ledger(network)
    assert saved.tokens.tolist() == generation.tokens
    assert (saved.about.prompt, saved.about.stopped, saved.about.slides) == (3, "length", 0)
    assert (saved.about.command, saved.about.model, saved.about.network) == ("a test", "here.h5", network.digest)
    assert (saved.about.engine, saved.about.sent) == ("ticked" if code else "settled", bool(code))
    assert saved.certificate == snngen.certify(network, generation.tokens)
    assert ledger.phases == generation.ledger.phases
    for name in [code] if code else CODES:
        assert ledger.events(name).tolist() == generation.ledger.events(name).tolist()
        assert ledger.synaptic_operations(name).tolist() == generation.ledger.synaptic_operations(name).tolist()
        assert ledger.ticks(name).tolist() == generation.ledger.ticks(name).tolist()
        for chip in ("loihi1", "loihi2"):
            before, after = (price(of, chips.by_name(chip), name).as_dict() for of in (generation.ledger, ledger))
            assert before == after


@pytest.mark.parametrize("code", ["", "unary"])
def test_active_neurons_are_those_of_the_reference(code: str, tmp_path: Path) -> None:
    """When a token is chosen the neurons hold what the reference has at the token before."""
    network = random_transformer(2)
    record(network, tmp_path / "run.h5", code=code)
    saved = read_saved_run(tmp_path / "run.h5")
    expected = reference.run(network, saved.tokens.tolist())
    whole = np.concatenate([expected[population.name] for population in network.populations], axis=1)
    assert saved.codes_active().tolist() == (whole[len(PROMPT) - 1 : -1] != 0).tolist()


class Heard(TickedEngine):
    """Notes which tokens it is given."""

    def step(self, token: int | None = None, codes: Any = None, read: bool = True) -> None:
        self.heard: list[int | None] = [*getattr(self, "heard", []), token]
        super().step(token, codes, read)


def test_every_row_knows_its_token_when_the_context_slides() -> None:
    network = random_transformer(1, context=6)
    engine = Heard(network)
    generation = snngen.generate(network, PROMPT, 14, temperature=1.0, engine=engine, when_full="slide").finish()
    assert generation.slides > 2
    assert [generation.tokens[at] for at in tokens_read(generation)] == engine.heard
    assert len(generation.tokens) - 1 not in tokens_read(generation)


def test_positions_of_a_prefix_hold_no_token(tmp_path: Path) -> None:
    model = conditioned(random_transformer(1))
    prefix = model.prefix(np.array([4, 0, 9]))
    generation = record(model.network, tmp_path / "run.h5", tokens=4, prefix=prefix)
    saved = read_saved_run(tmp_path / "run.h5")
    assert saved.read.tolist() == [-1, -1, 0, 1, 2, 3, 4, 5] == tokens_read(generation).tolist()


def test_a_full_context_with_a_prefix_is_read_again_with_it() -> None:
    model = conditioned(random_transformer(1))
    prefix = model.prefix(np.array([4, 0, 9]))
    generation = snngen.generate(model.network, PROMPT, 20, prefix=prefix, when_full="slide", temperature=1.0).finish()
    assert generation.slides > 1
    read = tokens_read(generation)
    assert len(read) == len(generation.ledger)
    assert (read == -1).sum() == 2 * (1 + generation.slides)


@pytest.mark.parametrize("schedule", ["layered", "eager"])
def test_the_last_token_keeps_its_spikes(schedule: Any, tmp_path: Path) -> None:
    """The same as a trace that is written beside it has."""
    network = random_transformer(1)
    with TraceWriter(tmp_path / "trace.h5", network, "unary", schedule) as writer:
        last = LastToken(writer)
        engine = TickedEngine(network, codes.by_name("unary"), schedule, recorder=last)
        recorder = RunRecorder(snngen.generate(network, PROMPT, 4, engine=engine), last)
        list(recorder)
    recorder.save(tmp_path / "run.h5")
    trace, saved = read_trace(tmp_path / "trace.h5"), read_saved_run(tmp_path / "run.h5")
    expected = trace.events(len(trace.tokens) - 1)[:, 1:]
    assert saved.last is not None
    assert saved.last.tolist() == expected.tolist()
    assert (saved.about.last_events, saved.about.last_every) == (len(expected), 1)
    assert saved.about.last_ticks == trace.tokens[-1, 1]


@pytest.mark.parametrize("portion", [1, 3, 7, 100])
def test_many_spikes_are_thinned_out_evenly(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_run, "MOST_EVENTS", 10)
    rows, last = np.arange(4 * 75, dtype=np.int32).reshape(75, 4), LastToken()
    for _ in range(2):  # the second token begins anew
        for start in range(0, 75, portion):
            last.record(rows[start : start + portion])
        last.token(1, 9)
        assert last.events.tolist() == rows[::8].tolist()
        assert (last.count, last.every, last.ticks) == (75, 8, 9)


def test_a_generation_is_recorded_from_its_beginning_and_by_one(tmp_path: Path) -> None:
    network = random_transformer(1)
    with pytest.raises(PromptError, match="has begun"):
        RunRecorder(snngen.generate(network, PROMPT, 3).finish())
    generation = snngen.generate(network, PROMPT, 5)
    recorder = RunRecorder(generation)
    coming = iter(recorder)
    next(coming)
    generation.finish()
    with pytest.raises(PromptError, match="elsewhere"):
        list(coming)
    with pytest.raises(PromptError, match="elsewhere"):
        recorder.save(tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())


def test_a_mismatch_comes_back(tmp_path: Path) -> None:
    network = random_transformer(1)
    recorder = RunRecorder(snngen.generate(network, PROMPT, 3))
    list(recorder)
    clean = snngen.certify(network, PROMPT)
    wrong = replace(clean, mismatches=2, first=Mismatch(1, "layer0.gate", 3, 5, 6))
    recorder.save(tmp_path / "run.h5", wrong)
    assert read_saved_run(tmp_path / "run.h5").certificate == wrong
    recorder.save(tmp_path / "none.h5")
    assert read_saved_run(tmp_path / "none.h5").certificate is None


@pytest.fixture(scope="module")
def ticked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run.h5"
    record(random_transformer(1), path, code="unary")
    return path


def edit(saved: Path, tmp_path: Path, change: Any) -> Path:
    """A changed copy whose seal holds again."""
    path = tmp_path / "edited.h5"
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path, saved_run.FORMAT)
    return path


def told(change: Any) -> Any:
    """A change of the JSON."""

    def apply(file: h5py.File) -> None:
        about = json.loads(file["about"][()].tobytes())
        change(about)
        put(file, "about", np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))

    return apply


def put(file: h5py.File, name: str, values: Any) -> None:
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.update(version=2),
        lambda file: file.attrs.update(format="snngen network"),
        lambda file: file.__delitem__("tokens"),
        lambda file: file.__delitem__("last_token"),
        lambda file: file["ledger"].__delitem__("ticks"),
        lambda file: put(file, "about", np.frombuffer(b"{", dtype=np.uint8)),
        lambda file: put(file, "about", np.frombuffer(b"[" * 100_000, dtype=np.uint8)),
        lambda file: put(file, "about", np.frombuffer(b"\xff", dtype=np.uint8)),
        lambda file: put(file, "tokens", np.arange(3)),
        lambda file: put(file, "tokens", np.arange(8.0)),
        lambda file: put(file, "tokens", np.full(8, -1)),
        lambda file: put(file, "active", file["active"][:, 1:]),
        lambda file: put(file, "active", file["active"][1:]),
        lambda file: put(file, "last_token", file["last_token"][1:]),
        lambda file: put(file, "last_token", file["last_token"][:, 1:]),
        lambda file: file["last_token"].__setitem__((0, 0), -1),
        lambda file: file["last_token"].__setitem__((0, 1), 999),
        lambda file: file["last_token"].__setitem__((0, 2), 999),
        lambda file: file["ledger/token"].__setitem__(0, 8),
        lambda file: file["ledger/token"].__setitem__(0, -2),
        lambda file: file["ledger/phase"].__setitem__(1, 2),
        lambda file: file["ledger/phase"].__setitem__(0, 1),
        lambda file: file["ledger/populations"].__setitem__((0, 0, 0), -1),
        lambda file: put(file, "ledger/populations", file["ledger/populations"][:, 1:]),
        lambda file: put(file, "ledger/projections", file["ledger/projections"][1:]),
        told(lambda about: about.pop("text", None) or about.pop("pieces")),
        told(lambda about: about.update(extra=1) or about.update(prompt="3")),
        told(lambda about: about.update(prompt=8)),
        told(lambda about: about.update(prompt=True)),
        told(lambda about: about.update(pieces=[1] * 8)),
        told(lambda about: about.update(populations=[["a"]])),
        told(lambda about: about.update(populations=[])),
        told(lambda about: about.update(prefill_rate=float("nan"))),
        told(lambda about: about.update(versions={"snngen": 1})),
        told(lambda about: about.update(last_every=0)),
        told(lambda about: about["certificate"].update(codes=-1)),
        told(lambda about: about["certificate"].update(mismatches=1)),
        told(lambda about: about["certificate"].update(network=1)),
        told(lambda about: about["certificate"].pop("codes")),
        told(lambda about: about["certificate"].update(other=1)),
    ],
)
def test_edited_files_are_refused(change: Any, ticked: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        read_saved_run(edit(ticked, tmp_path, change))


def test_more_than_a_file_can_hold_is_refused(ticked: Path, tmp_path: Path) -> None:
    def declare(file: h5py.File) -> None:
        del file["last_token"]
        file.create_dataset("last_token", shape=(2**34, 4), dtype="i4", chunks=(2**14, 4))

    with pytest.raises(FormatError, match="a file can hold"):
        read_saved_run(edit(ticked, tmp_path, declare))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1), value=st.integers(1, 255))
def test_any_damaged_byte_is_refused(ticked: Path, tmp_path: Path, place: float, value: int) -> None:
    data = bytearray(ticked.read_bytes())
    data[int(place * (len(data) - 1))] ^= value
    (tmp_path / "damaged.h5").write_bytes(bytes(data))
    with pytest.raises(FormatError):
        read_saved_run(tmp_path / "damaged.h5")


def test_another_network_is_refused(ticked: Path) -> None:
    saved = read_saved_run(ticked)
    with pytest.raises(FormatError, match="--model"):
        saved.ledger(random_transformer(2))
    shorter = SavedRun(**{**vars(saved), "populations": saved.populations[:, 1:]})
    with pytest.raises(FormatError, match="populations"):
        shorter.ledger(random_transformer(1))


def test_the_command_line_saves_what_it_says(shakespeare: Network, tmp_path: Path) -> None:
    path, options = tmp_path / "run.h5", ("generate", "ROMEO:", "--tokens", 12, "--seed", 3, "--code", "bitwise")
    plain, saving = run(*options), run(*options, "--save", path, "--json", tmp_path / "out.json")
    assert (saving.status, saving.out) == (0, plain.out)
    saved, said = read_saved_run(path), json.loads((tmp_path / "out.json").read_text())
    assert saved.text + "\n" == plain.out
    assert saved.tokens.tolist() == said["tokens"]
    assert (saved.about.code, saved.about.sent, saved.about.model) == ("bitwise", False, "")
    assert saved.about.command.startswith("snngen generate ROMEO: --tokens 12 --seed 3")
    assert isinstance(saved.certificate, Certificate)
    assert {**saved.certificate.as_dict()} == said["certificate"]
    priced = price(saved.ledger(shakespeare), chips.by_name("loihi2"), "bitwise").as_dict()
    assert json.loads(json.dumps(priced)) == said["energy"]["loihi2"]


def test_the_command_line_saves_spikes_beside_a_trace(tmp_path: Path) -> None:
    paths = tmp_path / "run.h5", tmp_path / "trace.h5"
    ended = run(
        "generate", "RO", "--tokens", 2, "--code", "bitwise", "--engine", "ticked", "--save", paths[0], "--trace",
        paths[1], "--no-certificate", "--quiet",
    )  # fmt: skip
    assert ended.status == 0
    saved, trace = read_saved_run(paths[0]), read_trace(paths[1])
    assert saved.last is not None
    assert saved.last.tolist() == trace.events(len(trace.tokens) - 1)[:, 1:].tolist()
    assert saved.certificate is None


def test_what_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    refused(run("generate", "RO", "--save", tmp_path), "a folder")
    refused(run("generate", "RO", "--out", tmp_path / "a.png", "--save", tmp_path / "run.h5"), "--save")
