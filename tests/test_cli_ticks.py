"""The command line with real spikes: codes, schedules, traces, early answers, pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli import SHIPPED, refused, run

import snngen
from snngen.trace import read_trace

PROMPT = "ROMEO:"


@pytest.mark.parametrize("code", ["graded", "delta", "bitwise", "ttfs", "unary"])
def test_every_code_says_the_same(code: str) -> None:
    ended = run("generate", PROMPT, "--tokens", 6, "--seed", 3, "--code", code, "--engine", "ticked", "--json", "-")
    assert ended.status == 0
    result = ended.json
    assert result["tokens"] == snngen.generate(snngen.load(), PROMPT, 6, temperature=0.8, seed=3).tokens
    assert (result["engine"], result["exact"], result["certificate"]["clean"]) == ("ticked", True, True)
    assert list(result["ledger"]["per_token"]["generate"]) == [code]
    assert {breakdown["code"] for breakdown in result["energy"].values()} == {code}


def test_the_settled_engine_prices_every_code_from_one_run() -> None:
    ended = run("generate", PROMPT, "--tokens", 4, "--code", "unary", "--json", "-")
    assert ended.json["engine"] == "settled"
    assert ended.json["energy"]["loihi2"]["code"] == "unary"
    assert set(ended.json["ledger"]["per_token"]["generate"]) == {"graded", "delta", "bitwise", "ttfs", "unary"}


def test_a_lossy_run_says_so_and_counts_what_it_lost() -> None:
    for options in (("--max-ticks", 300, "--code", "unary"), ("--code", "rate:8")):
        ended = run("generate", PROMPT, "--tokens", 4, *options, "--json", "-")
        assert ended.status == 0
        assert ended.json["exact"] is False
        assert ended.json["certificate"]["mismatches"] > 0
        told = run("generate", PROMPT, "--tokens", 4, *options)
        assert "told to lose something" in told.err
        assert "MISMATCHES" in told.err


def test_stopping_when_safe_says_the_same_and_how_often() -> None:
    options = ("generate", PROMPT, "--tokens", 5, "--temperature", 0, "--engine", "ticked", "--code", "bitwise")
    plain, safe = run(*options, "--json", "-"), run(*options, "--stop-when-safe", "--json", "-")
    assert safe.json["text"] == plain.json["text"]
    assert 0 < safe.json["safe_stops"] <= 5
    refused(run("generate", PROMPT, "--stop-when-safe"), "--temperature 0")


def test_trace_and_plot(tmp_path: Path) -> None:
    trace, picture = tmp_path / "run.h5", tmp_path / "run.svg"
    options = ("--tokens", 3, "--code", "bitwise", "--schedule", "eager", "--trace", trace, "--quiet")
    assert run("generate", PROMPT, *options).status == 0
    recorded = read_trace(trace)
    assert (recorded.code, recorded.schedule) == ("bitwise", "eager")
    assert len(recorded.tokens) == len(PROMPT) + 2  # the last token is said, not run
    ended = run("plot", trace, "--out", picture)
    assert ended.status == 0
    assert f"{recorded.counts.sum():,} events" in ended.out
    assert picture.read_text().lstrip().startswith("<?xml")
    refused(run("plot", SHIPPED), "snngen trace")
    refused(run("plot", tmp_path / "absent.h5"), "absent.h5")


def test_codes_table() -> None:
    ended = run("codes", SHIPPED, "To be", "--codes", "graded,unary,rate:8", "--markdown")
    assert ended.status == 0
    header, _, *rows = ended.out.splitlines()
    assert header.startswith("| code | events | ticks |")
    assert [row.split("|")[1].strip() for row in rows] == ["graded", "unary", "rate:8"]
    assert ["equal" in row for row in rows] == [True, True, False]
    table = run("codes", SHIPPED, "To be", "--codes", "graded", "--json", "-").json["codes"][0]
    assert table["certificate"] == "equal"
    refused(run("codes", SHIPPED, "To be", "--codes", "morse"), "morse")
    refused(run("codes", SHIPPED, "To be", "--schedule", "lazy"), "lazy")


def test_anytime_picture(tmp_path: Path) -> None:
    picture, figures = tmp_path / "anytime.png", tmp_path / "anytime.json"
    options = ("--codes", "graded,bitwise", "--out", picture, "--json", figures)
    assert run("anytime", SHIPPED, "To be", *options).status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert figures.stat().st_size > 100
    refused(run("anytime", SHIPPED, "T", "--out", picture), "at least 2")


@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "settled", "--schedule", "eager"),
        ("--engine", "settled", "--code", "rate:8"),
        ("--engine", "guess"),
        ("--schedule", "lazy"),
        ("--code", "rate:0"),
        ("--trace", "/absent/run.h5"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...]) -> None:
    refused(run("generate", PROMPT, "--tokens", 2, *options))
