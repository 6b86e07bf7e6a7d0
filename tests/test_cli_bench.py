"""`snngen bench`: it measures what it says, writes it, and refuses what it cannot do."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from snngen import roofline
from snngen.cli import main

TINY = "32-64-2-2-1-96"
SIZES = {"L1": 4 << 10, "DRAM": 256 << 10}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers of a few KB: what is tested is the command, not the machine."""
    monkeypatch.setattr(roofline, "sizes", lambda dram: SIZES if dram is None else {**SIZES, "DRAM": dram})


def run(*arguments: object) -> tuple[int, str, str]:
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["snngen", "bench", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def measured(*arguments: object) -> dict[str, Any]:
    status, out, err = run(*arguments, "--repeats", 1, "--json", "-")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out, parse_constant=pytest.fail)
    return found


def test_json_has_machine_deliveries_and_networks() -> None:
    found = measured("--shape", TINY, "--tokens", 3, "--share", 0.5)
    assert found["machine"]["cores"] >= 1
    kinds = [(row["level"], row["bits"], row["largest payload"]) for row in found["deliveries"]]
    assert kinds == [(level, *kind) for level in SIZES for kind in ((8, 127), (8, 1), (4, 127), (2, 127))]
    for row in found["deliveries"]:
        assert row["bytes"] == SIZES[row["level"]]
        assert row["density"] == 0.5
        assert row["share best"] == pytest.approx(
            row["operations/s best"] * row["bits"] / 8 / row["bandwidth best"]
        )  # fmt: skip
    (network,) = found["networks"]
    assert network["network"] == TINY
    assert network["tokens/s best"] > 0
    assert network["tokens compared"] == 2


def test_threads_share_deliveries_and_networks() -> None:
    found = measured("--shape", TINY, "--tokens", 3, "--threads", 2)
    assert {row["threads"] for row in (*found["deliveries"], *found["networks"])} == {2}


def test_sizes_follow_the_options() -> None:
    found = measured("--shape", "none", "--dram", 1)
    assert found["networks"] == []
    assert {row["bytes"] for row in found["deliveries"]} == {4 << 10, 1 << 20}


def test_tables_and_picture(tmp_path: Path) -> None:
    picture = tmp_path / "roofline.png"
    status, out, _ = run("--shape", TINY, "--repeats", 1, "--plot", picture)
    assert status == 0
    for text in ("DRAM", "256 KB", "synaptic operations/s", TINY, f"wrote {picture}"):
        assert text in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_markdown_is_tables_only() -> None:
    status, out, _ = run("--shape", TINY, "--repeats", 1, "--markdown")
    assert status == 0
    lines = out.splitlines()
    assert all(line.startswith("| ") or not line for line in lines)
    assert sum(line.startswith("| ---") for line in lines) == 2


def test_quiet_says_nothing() -> None:
    assert run("--shape", "none", "--repeats", 1, "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shape", "7B"), "--shape"),
        (("--shape", "1-2-3"), "--shape"),
        (("--shape", "30-64-2-4-1-96"), "Shape"),
        (("--shape", "none", "--repeats", 0), "--repeats"),
        (("--shape", "none", "--tokens", 0), "--tokens"),
        (("--shape", "none", "--dram", 0), "--dram"),
        (("--shape", "none", "--threads", 0), "--threads"),
        (("--shape", "none", "--share", 0), "--share"),
        (("--shape", "none", "--plot", "/nowhere/at/all.png"), "/nowhere/at/all.png"),
    ],
)
def test_refusals_are_one_line(arguments: tuple[object, ...], said: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
