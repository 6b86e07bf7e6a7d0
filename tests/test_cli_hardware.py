"""The command line's hardware: comparison, placement, validation."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli import SHIPPED, refused, run


def test_compare_writes_picture_page_csv_and_json(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a.png", "a.html", "a.csv", "a.json")}
    picture, page, table, figures = files.values()
    ended = run(
        "compare", "ROMEO:", "--tokens", 5, "--chips", "loihi2,jetson-orin-nano,cpu",
        "--out", picture, "--html", page, "--csv", table, "--json", figures,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert "loihi2" in ended.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text().startswith("<!doctype html>")
    assert table.read_text().startswith("chip,chips,code,phase,cause")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    result = run("compare", "ROMEO:", "--tokens", 3, "--chips", "loihi1", "--json", "-").json
    assert result["chips"][0]["placed"] is True
    refused(run("compare", "ROMEO:", "--chips", "loihi3"), "loihi3")
    refused(run("compare", "a", "b", "c"), "3 arguments")


def test_place_a_network_and_plan_by_shapes(tmp_path: Path) -> None:
    picture = tmp_path / "chip.png"
    ended = run("place", SHIPPED, "--chip", "loihi2", "--out", picture)
    assert ended.status == 0, ended.err
    assert "layer5.gate" in ended.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    planned = run("place", "--shapes", "llama2-7b", "--json", "-")
    assert planned.json["chips"] > 400
    refused(run("place"), "MODEL.h5, or --shapes")
    refused(run("place", "--shapes", "gpt-9"), "gpt-9")
    refused(run("place", SHIPPED, "--chip", "h100"), "h100")


def test_validate_shows_every_case_inside_its_band() -> None:
    ended = run("validate", "--json", "-")
    assert ended.status == 0
    cases = ended.json["cases"]
    assert len(cases) >= 6
    assert {case["pass"] for case in cases} == {"yes"}
    assert run("validate").status == 0


@pytest.mark.parametrize("option", ["--out", "--html", "--csv", "--json"])
def test_unwritable_outputs_are_refused_before_the_work(option: str) -> None:
    refused(run("compare", "ROMEO:", "--tokens", 3, option, "/absent/file"), "/absent/file")
