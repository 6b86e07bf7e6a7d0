"""The comparison with other systems says what they say when they are asked again."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    import comparison

    return comparison


def test_every_system_answered_every_question(comparison: ModuleType) -> None:
    record, probes = json.loads(comparison.RECORD.read_text()), comparison.probes()
    assert list(record) == list(probes.SYSTEMS)
    for system, said in record.items():
        assert set(said["answers"]) == set(probes.WORDS), system
        for answer, evidence in said["answers"].values():
            assert answer in ("yes", "no", "partly", probes.SILENT)
            assert evidence
        assert said["version"]
        assert said["date"]


@pytest.mark.slow
@pytest.mark.parametrize("system", ["snngen", "snntorch", "norse", "neurobench"])
def test_asked_again_the_answers_are_the_same(comparison: ModuleType, system: str) -> None:
    said = json.loads(comparison.RECORD.read_text())[system]
    pytest.importorskip("torch", reason="torch is in the extra `torch`")
    try:
        version = importlib.metadata.version(said["distribution"])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{said['distribution']} is not installed")
    if version != said["version"]:
        pytest.skip(f"{system} {version} is here; {said['version']} was asked")
    assert comparison.asked(sys.executable, system)["answers"] == said["answers"]


def test_a_word_that_is_there_is_no_answer(comparison: ModuleType) -> None:
    probes = comparison.probes()
    assert probes.silent("h5py", "NIR")[0] == probes.SILENT
    assert probes.silent("tokenizers", "language models")[0] == "?"
    with pytest.raises(AttributeError):
        probes.named("json:no_such_name")


def test_another_package_that_does_it_is_named_and_never_a_yes(comparison: ModuleType) -> None:
    probes = comparison.probes()
    assert probes.beside("h5py", "NIR", "through x") == (
        "partly",
        f"through x (not asked here); of its own: {probes.silent('h5py', 'NIR')[1]}",
    )
    assert probes.beside("tokenizers", "language models", "through x") == ("partly", "through x (not asked here)")


def test_what_each_has_over_the_other(comparison: ModuleType) -> None:
    ours = {"answers": {"a": ("yes", ""), "b": ("no", ""), "c": ("partly", "")}}
    theirs = {"answers": {"a": ("no word", ""), "b": ("yes", ""), "c": ("yes", "")}}
    assert [line.split(": ")[1] for line in comparison.differences(ours, theirs)] == ["b", "a"]
