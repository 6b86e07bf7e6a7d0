"""The command line: what it prints, what it writes, and how it ends; one line and status 2 for whatever is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

import snngen
from snngen.cli import main
from snngen.network import Network
from snngen.summary import describe
from snngen.text import Text

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball."
)
GREEDY = STORY[:92]  # what the shared README promises
SCRIPT = Path(sys.executable).with_name("snngen")
SHIPPED = str(Path(snngen.__file__).parent / "models" / "shakespeare.h5")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)


def run(*arguments: object, out: io.StringIO | None = None) -> Ended:
    """The command in this process."""
    out, err = io.StringIO() if out is None else out, io.StringIO()
    before = sys.argv
    sys.argv = ["snngen", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, out.getvalue(), err.getvalue())


def script(*arguments: object) -> Ended:
    """The installed script in a process of its own."""
    command = [os.fsencode(str(part)) for part in (SCRIPT, *arguments)]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(ended: Ended, *parts: str) -> None:
    """Status 2, nothing on standard output, and one line that names the fault."""
    assert (ended.status, ended.out) == (2, ""), ended
    (line,) = ended.err.splitlines()
    assert line.startswith("snngen: ")
    assert "; expected " in line
    for part in parts:
        assert part in line


@pytest.fixture(scope="module")
def source(shared: Path) -> Path:
    return shared / "models" / "stories260K"


@pytest.fixture(scope="module")
def prose(source: Path, tmp_path_factory: pytest.TempPathFactory, stories: Network) -> Path:
    """A text of one calibration sequence, so that a conversion is quick."""
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    told = " ".join(snngen.generate(stories, "", 200, temperature=1.0, seed=seed).text for seed in range(4))
    path.write_text(Text(stories).decode(Text(stories).encode(told)[:400]), encoding="utf-8")
    assert 255 < len(Text(stories).encode(path.read_text(encoding="utf-8"))) < 510
    return path


@dataclass(frozen=True)
class Converted:
    """stories260K by the command line. path: the network. report: its JSON. ended: how."""

    path: Path
    report: Path
    ended: Ended


@pytest.fixture(scope="module")
def converted(source: Path, prose: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("converted")
    path, report = folder / "stories.h5", folder / "report.json"
    ended = run(
        "convert", source / "stories260K.bin", path, "--tokenizer", source / "tok512.bin", "--calibrate", prose,
        "--json", report,
    )  # fmt: skip
    return Converted(path, report, ended)


# generate


def test_generate_prints_the_text_and_sums_up() -> None:
    ended = run("generate", "ROMEO:", "--tokens", 12, "--seed", 3)
    expected = snngen.generate(snngen.load(), "ROMEO:", 12, temperature=0.8, seed=3)
    assert ended.status == 0
    assert ended.out == expected.text + "\n"
    assert len(expected.generated) == 12
    for part in ("prefill", "generate", "certificate: equal", "Loihi 2", "Loihi (14 nm", "Jetson Orin Nano"):
        assert part in ended.err
    assert ended.err.count("energy per token") == 3


def test_quiet_prints_only_the_text() -> None:
    loud, quiet = (run("generate", "ROMEO:", "--tokens", 5, *more) for more in ((), ("--quiet",)))
    assert (quiet.status, quiet.err) == (0, "")
    assert quiet.out == loud.out


def test_the_options_of_sampling_reach_the_sampler(shakespeare: Network) -> None:
    options = ("generate", "KING", "--tokens", 20, "--temperature", 1.3, "--seed", 8, "--quiet")
    ended = run(*options, "--top-k", 9, "--top-p", 0.9)
    expected = snngen.generate(shakespeare, "KING", 20, temperature=1.3, top_k=9, top_p=0.9, seed=8)
    assert ended.out == expected.text + "\n"
    assert run(*options).out != ended.out


class Tape(io.StringIO):
    """Remembers what could be read after each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def test_text_streams_token_by_token() -> None:
    tape = Tape()
    ended = run("generate", "ROMEO:", "--tokens", 9, "--temperature", 0, "--quiet", out=tape)
    steps = list(dict.fromkeys(tape.seen))  # without the flushes that added nothing
    assert [len(text) for text in steps[: len("ROMEO:") + 9]] == list(range(1, len("ROMEO:") + 10))
    assert steps[-1] == ended.out


def test_json_goes_to_a_file_or_to_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    options = ("generate", "ROMEO:", "--tokens", 12, "--seed", 3)
    plain, to_file, to_stdout = run(*options), run(*options, "--json", path), run(*options, "--json", "-", "--quiet")
    assert to_file.out == plain.out
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]
    told, same = json.loads(path.read_text(), parse_constant=pytest.fail), to_stdout.json
    assert told["text"] + "\n" == same["text"] + "\n" == plain.out
    told.pop("speed"), same.pop("speed")
    assert told == same


def test_json_holds_everything(shakespeare: Network) -> None:
    told = run("generate", "ROMEO:", "--tokens", 12, "--seed", 3, "--json", "-").json
    expected = snngen.generate(shakespeare, "ROMEO:", 12, temperature=0.8, seed=3).finish()
    assert (told["tokens"], told["prompt_tokens"]) == (expected.tokens, 6)
    assert (told["stopped"], told["slides"]) == ("length", 0)
    assert all(rate > 0 for rate in told["speed"].values())
    assert set(told["speed"]) == {"prefill_tokens_per_second", "generate_tokens_per_second"}
    assert told["ledger"] == json.loads(json.dumps(expected.ledger.summary()))
    certificate = told["certificate"]
    assert (certificate["clean"], certificate["mismatches"], certificate["first"]) == (True, 0, None)
    assert (certificate["network"], certificate["tokens"]) == (shakespeare.digest, len(expected.tokens))
    assert set(told["energy"]) == {"loihi2", "loihi1", "jetson-orin-nano"}
    for name in ("loihi1", "loihi2"):
        for phase in ("prefill", "generate"):
            total = told["energy"][name]["phases"][phase]["total"]
            assert (total["unit"], total["at_least"]) == ("J/token", True)
            assert 0 < total["low"] <= total["value"] <= total["high"]
    assert told["energy"]["jetson-orin-nano"]["cited"]


@pytest.mark.parametrize("command", ["certify", "codes", "anytime", "perplexity"])
def test_json_on_standard_output_is_alone_there(command: str, tmp_path: Path) -> None:
    """No table after it, no line before it: another program reads it."""
    text = tmp_path / "text.txt"
    text.write_text("ROMEO", encoding="utf-8")
    extra: tuple[object, ...] = ("--out", tmp_path / "a.png") if command == "anytime" else ()
    ended = run(command, SHIPPED, text if command == "perplexity" else "ROM", "--json", "-", *extra)
    assert ended.status == 0
    assert ended.json


def test_the_certificate_can_be_left_out() -> None:
    ended = run("generate", "ROMEO:", "--tokens", 3, "--no-certificate", "--json", "-")
    assert ended.json["certificate"] is None
    assert "certificate" not in ended.err


def test_chips_and_code_are_what_was_asked_for() -> None:
    options = ("generate", "ROMEO:", "--tokens", 3, "--json", "-", "--quiet")
    told = {code: run(*options, "--chip", "loihi2,loihi1", "--code", code).json for code in ("graded", "bitwise")}
    for code, result in told.items():
        assert list(result["energy"]) == ["loihi2", "loihi1"]
        assert {entry["code"] for entry in result["energy"].values()} == {code}
    energy = [result["energy"]["loihi2"]["phases"]["generate"]["total"]["value"] for result in told.values()]
    assert energy[0] != energy[1]
    assert run(*options, "--chip", "").json["energy"] == {}


def test_a_full_context_slides_or_stops(shakespeare: Network, tmp_path: Path) -> None:
    prompt = "a" * shakespeare.context if shakespeare.context else ""
    options = ("generate", prompt, "--tokens", 3, "--no-certificate", "--json", "-", "--quiet")
    slid, stopped = (run(*options, "--when-full", when).json for when in ("slide", "stop"))
    assert (slid["stopped"], slid["slides"], len(slid["tokens"])) == ("length", 1, len(prompt) + 3)
    assert (stopped["stopped"], stopped["slides"], len(stopped["tokens"])) == ("context", 0, len(prompt) + 1)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("RO", "--temperature", -1), ("temperature", "-1.0")),
        (("RO", "--temperature", "nan"), ("temperature", "nan")),
        (("RO", "--top-k", -1), ("top_k", "-1")),
        (("RO", "--top-p", 0), ("top_p", "0.0")),
        (("RO", "--top-p", 1.5), ("top_p", "1.5")),
        (("RO", "--seed", -1), ("seed", "-1")),
        (("RO", "--code", "morse"), ("'morse'", "one of", "graded", "ttfs")),
        (("RO", "--chip", "loihi9"), ("'loihi9'", "jetson-orin-nano, loihi1, loihi1-fitted, loihi2")),
        (("RO", "--chip", "loihi2,loihi9"), ("'loihi9'",)),
        (("RO", "--when-full", "burst"), ("'burst'", "'stop' or 'slide'")),
        (("one", "two", "three"), ("3 arguments", "[MODEL] PROMPT")),
        (("",), ("no tokens",)),
        (("a" * 2000,), ("2000 tokens", "256, the context")),
        (("absent.h5", "RO"), ("absent.h5", "no such file")),
        ((__file__, "RO"), (__file__, "foreign")),
        (("RO", "--json", "absent/out.json"), ("absent/out.json", "No such file or directory")),
        (("RO", "--json", "."), ("a folder",)),
    ],
)
def test_bad_use_of_generate_is_one_line(arguments: tuple[object, ...], parts: tuple[str, ...]) -> None:
    refused(run("generate", *arguments), *parts)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("generate", "RO", "--tokens", 0), "'--tokens'"),
        (("generate", "RO", "--tokens", "many"), "'--tokens'"),
        (("generate", "RO", "--nonsense"), "--nonsense"),
        (("generate",), "PROMPT"),
        (("convert", "one"), "out"),
        (("perplexity", "m.h5", "t.txt", "--stride", -1), "'--stride'"),
        (("nonsense",), "'nonsense'"),
    ],
)
def test_bad_grammar_is_named_with_the_usage(arguments: tuple[object, ...], part: str) -> None:
    ended = run(*arguments)
    assert (ended.status, ended.out) == (2, "")
    lines = ended.err.splitlines()
    assert len(lines) <= 5
    assert lines[0].startswith("Usage: ")
    assert lines[-1].startswith("Error: ")
    assert part.lower() in lines[-1].lower()


# convert, and what follows


def test_convert_reports_and_writes(converted: Converted) -> None:
    assert (converted.ended.status, converted.ended.out) == (0, "")
    lines = converted.ended.err.splitlines()
    assert lines[-1] == f"wrote {converted.path}: {converted.path.stat().st_size:,} bytes, and stories.report.md"
    assert "layer0.attention" in converted.ended.err
    assert sorted(path.name for path in converted.path.parent.iterdir()) == [
        "report.json",
        "stories.h5",
        "stories.report.json",
        "stories.report.md",
    ]
    told, network = json.loads(converted.report.read_text(), parse_constant=pytest.fail), snngen.load(converted.path)
    assert told["provenance"] == network.provenance
    assert network.provenance["calibration"] == "given"
    assert {layer["population"] for layer in told["layers"]} == set(network.provenance["signal_to_noise"])


def test_the_story_begins_as_it_should(converted: Converted) -> None:
    ended = run("generate", converted.path, "", "--temperature", 0, "--tokens", 40, "--quiet")
    assert ended.status == 0
    assert ended.out.startswith(GREEDY)
    goes_on = run("generate", converted.path, "Once upon a time", "--temperature", 0, "--tokens", 40, "--quiet")
    assert goes_on.out.startswith(GREEDY)


def test_the_text_of_a_real_tokenizer_is_the_same_streamed_and_in_json(converted: Converted) -> None:
    options = ("generate", converted.path, "Lily", "--tokens", 60, "--seed", 4)
    assert run(*options, "--json", "-", "--quiet").json["text"] + "\n" == run(*options, "--quiet").out


def test_inspect_shows_populations_projections_and_provenance(converted: Converted) -> None:
    told, network = run("inspect", converted.path, "--json", "-").json, snngen.load(converted.path)
    assert told == json.loads(json.dumps(describe(network)))
    assert [entry["name"] for entry in told["populations"]] == [p.name for p in network.populations]
    assert [entry["name"] for entry in told["projections"]] == [p.name for p in network.projections]
    assert (told["vocabulary"], told["context"], told["digest"]) == (512, 512, network.digest)
    shown = run("inspect", converted.path)
    assert (shown.status, shown.err) == (0, "")
    for name in [*(p.name for p in network.populations), *(p.name for p in network.projections)]:
        assert name in shown.out  # whole, never cut to the width of a terminal that is not there
    assert network.provenance["source_sha256"] in shown.out


def test_certify_compares_on_the_users_prompt(converted: Converted) -> None:
    network = snngen.load(converted.path)
    expected = snngen.certify(network, Text(network).encode("Once upon a time"))
    assert expected.clean
    shown = run("certify", converted.path, "Once upon a time")
    assert (shown.status, shown.out) == (0, f"{expected}\n")
    told = run("certify", converted.path, "Once upon a time", "--json", "-")
    assert told.json == {"backend": "settled", **expected.as_dict()}  # and nothing else on standard output
    assert run("certify", converted.path, "Once upon a time", "--quiet").out == ""


def test_perplexity_of_a_text(converted: Converted, prose: Path) -> None:
    network = snngen.load(converted.path)
    tokens = Text(network).encode(prose.read_text(encoding="utf-8"))
    told = run("perplexity", converted.path, prose, "--json", "-").json
    assert told["perplexity"] == pytest.approx(snngen.perplexity(network, tokens))
    assert told["perplexity"] == pytest.approx(math.exp(told["nats_per_token"]))
    assert (told["tokens"], told["perplexity"] < 10) == (len(tokens), True)  # a story, to a model of stories
    shown = run("perplexity", converted.path, prose)
    nats, value = told["nats_per_token"], told["perplexity"]
    assert shown.out == f"{nats:.4f} nats per token, perplexity {value:.4f}, over {len(tokens):,} tokens\n"


@pytest.mark.parametrize("bits", [("--weight-bits", 9), ("--activation-bits", 1), ("--context", 0)])
def test_settings_that_cannot_be_are_refused(source: Path, tmp_path: Path, bits: tuple[str, int]) -> None:
    model, tokenizer = source / "stories260K.bin", source / "tok512.bin"
    refused(run("convert", model, tmp_path / "n.h5", "--tokenizer", tokenizer, *bits), f"got {bits[1]}")
    assert list(tmp_path.iterdir()) == []


def damaged(kind: str, source: Path, folder: Path) -> list[object]:
    """Arguments of a conversion that must fail."""
    model, tokenizer, text = source / "stories260K.bin", source / "tok512.bin", folder / "text.txt"
    if kind == "absent":
        return [folder / "absent.bin"]
    if kind == "truncated":
        (folder / "short.bin").write_bytes(model.read_bytes()[:-1000])
        return [folder / "short.bin", "--tokenizer", tokenizer]
    if kind == "foreign":
        (folder / "foreign.bin").write_bytes(b"\xff" * 5000)
        return [folder / "foreign.bin"]
    if kind == "tokenizer":
        (folder / "tok.bin").write_bytes(tokenizer.read_bytes()[:-3])
        return [model, "--tokenizer", folder / "tok.bin"]
    text.write_text("Once upon a time", encoding="utf-8")
    return [model, "--tokenizer", tokenizer, "--calibrate", text]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("absent", "absent.bin: got no such file"),
        ("truncated", "short.bin"),
        ("foreign", "foreign.bin"),
        ("tokenizer", "tok.bin"),
        ("text", "at least 255"),
    ],
)
def test_a_conversion_that_fails_leaves_everything_as_it_was(
    source: Path, tmp_path: Path, kind: str, part: str, existing: bool
) -> None:
    folder, target = tmp_path / "out", tmp_path / "out" / "network.h5"
    folder.mkdir()
    if existing:
        target.write_bytes(b"an earlier network")
    model, *options = damaged(kind, source, tmp_path)
    refused(run("convert", model, target, *options), part)
    assert [path.name for path in folder.iterdir()] == (["network.h5"] if existing else [])
    if existing:
        assert target.read_bytes() == b"an earlier network"


def test_outputs_that_cannot_be_written_are_refused_before_the_work(source: Path, tmp_path: Path) -> None:
    """Before: were the conversion to run first, this test would take as long as one."""
    model, tokenizer = source / "stories260K.bin", source / "tok512.bin"
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "absent" / "n.h5", tmp_path, tmp_path / "file" / "n.h5"):
        refused(run("convert", model, target, "--tokenizer", tokenizer), str(target))
    report = tmp_path / "absent" / "r.json"
    refused(run("convert", model, tmp_path / "n.h5", "--tokenizer", tokenizer, "--json", report), str(report))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_model_is_not_overwritten_by_its_network(source: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes((source / "stories260K.bin").read_bytes())
    refused(run("convert", model, model), "the source itself")
    assert model.read_bytes() == (source / "stories260K.bin").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("inspect", "absent.h5"), "no such file"),
        (("inspect", __file__), "foreign"),
        (("certify", "absent.h5", "RO"), "no such file"),
        (("certify", SHIPPED, ""), "no tokens"),
        (("certify", SHIPPED, "a" * 257), "257 tokens"),
        (("certify", SHIPPED, "RO", "--json", "absent/c.json"), "absent/c.json"),
        (("perplexity", SHIPPED, "absent.txt"), "absent.txt"),
        (("perplexity", SHIPPED, "."), "a UTF-8 text file"),
        (("perplexity", SHIPPED, os.devnull), "nothing to predict"),
        (("perplexity", SHIPPED, "absent.txt", "--json", "absent/p.json"), "absent/p.json"),
    ],
)
def test_bad_use_of_the_others_is_one_line(arguments: tuple[str, ...], part: str) -> None:
    refused(run(*arguments), part)


# The installed script


def test_version_and_help() -> None:
    assert script("--version") == Ended(0, f"snngen {snngen.__version__}\n", "")
    asked, bare = script("--help"), script()
    assert (asked.status, asked.err) == (0, "")
    assert bare.status == 2
    assert "Traceback" not in bare.err
    for command in ("generate", "convert", "inspect", "certify", "perplexity"):
        assert command in asked.out
        assert command in bare.out + bare.err


def test_the_script_generates_and_refuses() -> None:
    spoken = script("generate", "ROMEO:", "--tokens", 5, "--seed", 3, "--quiet")
    assert spoken == run("generate", "ROMEO:", "--tokens", 5, "--seed", 3, "--quiet")
    refused(script("generate", "RO", "--temperature", -1), "temperature")
    refused(script("generate", b"RO\xff".decode(errors="surrogateescape")), "UTF-8")  # bytes that are no text
    usage = script("generate", "RO", "--nonsense")
    assert usage.status == 2
    assert "Traceback" not in usage.err


@contextlib.contextmanager
def talking() -> Iterator[subprocess.Popen[bytes]]:
    """A generation that would go on for minutes, once it has begun to speak."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits only that a signal is ignored
    try:
        command = [str(SCRIPT), "generate", "ROMEO:", "--tokens", "1000000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert process.stdout is not None
        spoken = b""
        while len(spoken) < 20:
            assert select.select([process.stdout], [], [], PATIENCE)[0], "it does not begin to speak"
            spoken += (more := os.read(process.stdout.fileno(), 1))
            assert more, process.stderr.read() if process.stderr else ""
        assert spoken.startswith(b"ROMEO:")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_interrupt_ends_it_quietly() -> None:
    with talking() as process:
        assert process.poll() is None  # it speaks while it runs
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert err.strip() == b""


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    with talking() as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=PATIENCE) not in (0, 2)
        assert process.stderr.read().strip() == b""
