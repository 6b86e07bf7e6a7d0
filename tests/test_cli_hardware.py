"""The command line's hardware: comparison, placement, validation."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from test_cli import SHIPPED, refused, run

import snngen
from snngen.hardware import chips
from snngen.hardware.price import price


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


def test_every_command_says_the_same_energy(tmp_path: Path) -> None:
    """One run, one chip, one total, and beside it what it rests on."""
    chip, saved = chips.by_name("loihi1"), tmp_path / "run.h5"
    options = ("ROMEO:", "--tokens", 5, "--seed", 1, "--json", tmp_path / "a.json")
    generated = run("generate", *options, "--chip", "loihi1", "--save", saved)
    energy = json.loads((tmp_path / "a.json").read_text())["energy"]["loihi1"]
    compared = run("compare", *options, "--chips", "loihi1")
    (other,) = json.loads((tmp_path / "a.json").read_text())["chips"]
    assert energy == other
    assert energy["placed"]
    assert run("report", saved, "--chip", "loihi1").status == 0
    page = html.unescape(saved.with_suffix(".html").read_text(encoding="utf-8"))

    network = snngen.load()
    ledger = snngen.generate(network, "ROMEO:", 5, temperature=0.8, seed=1, when_full="slide").finish().ledger
    breakdown = price(ledger, chip)
    total = breakdown["generate"].total
    assert energy["phases"]["generate"]["total"]["value"] == total.value
    assert f"at least {str(total).removesuffix('/token')}" in page
    assert f"{chip.title}, 1 chip, 32 cores" in page
    for told in (" ".join(generated.err.split()), " ".join(compared.out.split()), page[page.index("<h3>") :]):
        assert breakdown.rests_on[1:] in told
        assert "1 chip, 32 cores" in told


def test_codes_say_what_their_energies_rest_on() -> None:
    placed, unplaced = (
        run("codes", SHIPPED, "RO", "--codes", "graded", "--chip", chip) for chip in ("loihi1", "truenorth")
    )
    assert "loihi1: 1 chip, 32 cores; static power is counted over the work of the busiest core" in placed.out
    assert "not placed" not in placed.out
    assert " ".join(unplaced.out.split()).count("not placed") == 3  # in the table and in the sentence below it


def test_place_a_network_and_plan_by_shapes(tmp_path: Path) -> None:
    picture = tmp_path / "chip.png"
    ended = run("place", SHIPPED, "--chip", "loihi2", "--out", picture)
    assert ended.status == 0, ended.err
    assert "layer5.gate" in ended.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    planned = run("place", "--shapes", "llama2-7b", "--json", "-")
    assert planned.json["chips"] > 400
    refused(run("place", SHIPPED, "--shapes", "llama2-7b"), "[MODEL], or --shapes NAME")
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


def test_batch_says_what_generate_says_and_where_it_ran(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is in the extra `parity`")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ROMEO:\nTo be, or\n")
    result = run("batch", SHIPPED, prompts, "--tokens", 5, "--seed", 2, "--device", "cpu", "--json", "-").json
    for prompt, tokens in zip(("ROMEO:", "To be, or"), result["tokens"], strict=True):
        assert tokens == snngen.generate(snngen.load(), prompt, 5, temperature=0.8, seed=2).tokens
    told = run("batch", SHIPPED, prompts, "--tokens", 2, "--device", "auto")
    assert "device auto: " in told.err
    refused(run("batch", SHIPPED, tmp_path / "absent.txt"), "absent.txt")
    refused(run("batch", SHIPPED, prompts, "--device", "abacus"), "abacus")


@pytest.mark.parametrize("backend", ["ticked", "torch", "lava"])
def test_backends_are_certified_from_the_command_line(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="torch is in the extra `parity`")
    if backend == "lava":
        from snngen.hardware.backends.lava import find_python

        try:
            find_python()
        except snngen.UnsupportedError as error:
            pytest.skip(str(error))
    result = run("certify", SHIPPED, "RO", "--backend", backend, "--json", "-").json
    assert (result["backend"], result["clean"], result["tokens"], result["populations"]) == (backend, True, 2, 88)


def test_an_unknown_backend_is_refused() -> None:
    refused(run("certify", SHIPPED, "RO", "--backend", "abacus"), "abacus")
