"""The command line as a newcomer meets it: what may be left out, typing errors, files that are none, pipes that end."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import SCRIPT, SHIPPED, Ended, refused, run

import snngen
from snngen.dynamics import store
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation
from snngen.dynamics.neurons.input import Input
from snngen.sources import open_source

COMMANDS = (
    "anytime", "batch", "bench", "certify", "codes", "compare", "compile", "convert", "export", "generate", "inspect",
    "perplexity", "place", "plot", "report", "stream", "validate",
)  # fmt: skip


def script(*arguments: object, **options: Any) -> Ended:
    """The installed script with standard output and more as given."""
    command = [str(part) for part in (SCRIPT, *arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=120, text=True, **options)
    return Ended(done.returncode, done.stdout or "", done.stderr)


# What may be left out


@pytest.mark.parametrize(
    "arguments",
    [
        ("certify", "ROM"),
        ("codes", "ROM", "--codes", "graded,bitwise"),
        ("anytime", "ROM", "--codes", "graded", "--out", "OUT.png"),
        ("perplexity", "TEXT"),
        ("inspect",),
        ("place",),
    ],
)
def test_the_network_in_the_package_is_taken_where_none_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("ROMEO", encoding="utf-8")
    found = {"TEXT": str(text), "OUT.png": str(tmp_path / "out.png")}
    command, *rest = (found.get(part, part) for part in arguments)
    left_out, named = run(command, *rest, "--json", "-"), run(command, SHIPPED, *rest, "--json", "-")
    assert left_out.status == 0, left_out.err
    assert left_out == named


def test_the_network_in_the_package_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    out = tmp_path / "shakespeare.gguf"
    assert run("export", out).status == 0
    left_out = out.read_bytes()
    assert run("export", SHIPPED, out).status == 0
    assert out.read_bytes() == left_out


def test_a_batch_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is in the extra `parity`")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ROMEO:\n", encoding="utf-8")
    told = run("batch", prompts, "--tokens", 2, "--device", "cpu", "--json", "-").json
    assert told["texts"] == [snngen.generate(snngen.load(), "ROMEO:", 2, temperature=0.8, seed=0).text]
    prompts.write_text("\n", encoding="utf-8")
    refused(run("batch", prompts), str(prompts), "no prompts", "one prompt per line")


# What is mistyped


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("generate", SHIPPED), ("a network without a prompt", f'{SHIPPED} "ROMEO:"')),
        (("compare", "absent.h5"), ("a network without a prompt",)),
        (("certify", SHIPPED), ("a network without a prompt",)),
        (("generate", "To", "be"), ("To: got no such file", "Quote a prompt of several words")),
        (("codes", "ROMEO:", SHIPPED), ("ROMEO:: got no such file", "[MODEL] PROMPT")),
        (("certify", "To", "be", "or"), ("3 arguments", "Quote a prompt of several words")),
        (("perplexity", "a", "b", "c"), ("3 arguments", "[MODEL] TEXT")),
        (("export", "absent", "b.gguf"), ("absent: got no such file", "[MODEL] OUT")),
        (("place", SHIPPED, "--shapes", "llama2-7b"), ("a network and shapes",)),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_what_to_type(
    arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run(*arguments), *parts)


@pytest.mark.parametrize(
    "arguments",
    [
        ("anytime", "ROM", "--out", "a.txt"),
        ("compare", "ROM", "--out", "a.txt"),
        ("place", "--out", "a.txt"),
        ("bench", "--plot", "a.txt"),
        ("compare", "ROM", "--out", "a"),
    ],
)
def test_a_picture_of_no_known_format_is_refused_before_the_work(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snngen.load", lambda path: pytest.fail("the work has begun"))
    monkeypatch.setattr("snngen.roofline.points", lambda *given: pytest.fail("the work has begun"))
    refused(run(*arguments), "a picture as", ".png, .svg, .pdf")


# Files that are none


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    listening = tmp_path / "listening.h5"
    store.save(DynamicNetwork((DynamicPopulation("in", Input(4)),), ()), listening)
    refused(run("generate", listening, "RO"), "the kind `snngen continuous network`", "snngen convert")
    refused(run("report", SHIPPED), "the kind `snngen network`", "generate --save")
    refused(run("stream", "synthetic:bar", "--app", SHIPPED), "the kind `snngen network`")


def test_files_that_may_not_be_read_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may read all files, so the system's refusal is spoken here."""

    def denied(path: Path, *given: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", denied)
    refused(run("inspect", SHIPPED), SHIPPED, "Permission denied", "a file that can be read")
    refused(run("stream", "synthetic:bar", "--app", SHIPPED), SHIPPED, "Permission denied")


def test_paths_with_spaces_and_letters_of_other_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "mein Ordner 文"
    folder.mkdir()
    model, text, saved = folder / "mödel 1.h5", folder / "Wörter.txt", folder / "lauf ü.h5"
    model.write_bytes(Path(SHIPPED).read_bytes())
    text.write_text("ROMEO", encoding="utf-8")
    assert run("perplexity", model, text, "-q").status == 0
    assert run("generate", model, "RO", "--tokens", 2, "--save", saved, "-q").status == 0
    told = run("report", saved)
    assert (told.status, told.out.startswith(f"wrote {saved.with_suffix('.html')}")) == (0, True)
    refused(run("inspect", folder / "kein Netz.h5"), str(folder / "kein Netz.h5"))


# Terminals and pipes


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_whole_on_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERMINAL_WIDTH", "60")
    ended = run(command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 60
    assert "…" not in ended.out  # nothing is cut short
    assert "--help" in ended.out


def test_every_command_is_summed_up_in_a_line_of_eighty_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = run("--help")
    _, _, listed = ended.out.partition("Commands:\n")
    assert [line.split()[0] for line in sorted(listed.splitlines())] == list(COMMANDS)
    assert "..." not in listed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", [("--help",), ("inspect",), ("validate", "--json", "-")])
def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        ended = script(*arguments, stdout=full)
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert line == "snngen: output: got No space left on device; expected a place that can be read or written"


@pytest.mark.parametrize("arguments", [("--help",), ("inspect",), ("validate", "--json", "-")])
def test_a_pipe_that_nobody_reads_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    try:
        ended = script(*arguments, stdout=writing, env=buffered)
    finally:
        os.close(writing)
    assert (ended.status in (1, 141), ended.err) == (True, ""), ended


def test_without_standard_output_it_runs() -> None:
    closed = subprocess.run(["sh", "-c", f'"{SCRIPT}" inspect >&-'], stderr=subprocess.PIPE, timeout=120)
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_no_colours_where_none_are_wanted() -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    ended = script("generate", "RO", "--tokens", 2, stdout=subprocess.PIPE, env=environment)
    assert ended.status == 0
    assert "\x1b" not in ended.out + ended.err


def test_a_full_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: object) -> None:
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr("snngen.load", full)
    ended = run("inspect")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "snngen: memory: got Unable to allocate 8.00 TiB; expected more of it, or a smaller model\n"


# Streams


def test_seconds_cut_a_stream_that_runs_as_fast_as_it_can() -> None:
    """A second of events, to the event, however long this machine takes; what comes later was never part of it."""
    ended = run("stream", "synthetic:bar?rate=20000&seed=3", "--speed", 0, "--seconds", 1, "--json", "-", "-q")
    assert ended.status == 0, ended.err
    summary = json.loads(ended.out.splitlines()[-1])["summary"]
    with open_source("synthetic:bar?rate=20000&seed=3&duration=2", speed=None) as source:
        portions = []
        while (events := source.read(1.0)) is not None:
            portions.append(events["t"])
    times = np.concatenate(portions)
    assert summary["events"]["sent"] == summary["events"]["processed"] == (times < times[0] + 1_000_000).sum()
    assert (summary["events"]["dropped"], summary["ended"]) == ({}, "time over")


def test_a_source_without_an_application_is_told_which_is_taken() -> None:
    options = ("synthetic:bar?rate=1000&duration=0.1", "--speed", 0)
    said = "no --app: digits are looked for in synthetic:bar"
    assert said in run("stream", *options).err
    for more in (("--app", "digits"), ("--quiet",)):
        assert said not in run("stream", *options, *more).err


# Plans


def test_a_plan_shows_whole_numbers_as_such() -> None:
    ended = run("place", "--shapes", "llama2-7b")
    assert ended.status == 0
    assert "235,984,384" in ended.out
    assert ".0 │" not in ended.out
    assert "True" not in ended.out
    assert all(
        isinstance(row["operations"], int)
        for row in run("place", "--shapes", "llama2-7b", "--json", "-").json["sections"]
    )
