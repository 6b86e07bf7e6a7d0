"""Trained models are kept whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import trained_models


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trained_models, "KEPT", tmp_path / "kept")
    path = tmp_path / "script.py"
    path.write_text("1")
    return path


def test_a_model_is_made_once_for_each_script(script: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "weights").write_text(script.read_text())

    first = trained_models.kept("model", [script], make)
    assert trained_models.kept("model", [script], make) == first
    assert len(made) == 1
    script.write_text("2")
    second = trained_models.kept("model", [script], make)
    assert [(folder / "weights").read_text() for folder in (first, second)] == ["1", "2"]
    assert sorted(trained_models.KEPT.iterdir()) == sorted((first, second))


def test_what_failed_is_not_kept(script: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        trained_models.kept("model", [script], make)
    assert list(trained_models.KEPT.iterdir()) == []
    whole = trained_models.kept("model", [script], lambda folder: (folder / "whole").touch())
    assert [file.name for file in whole.iterdir()] == ["whole"]


def test_of_two_that_train_at_once_one_is_kept(script: Path) -> None:
    def slow(folder: Path) -> None:
        (folder / "slow").touch()
        trained_models.kept("model", [script], lambda other: (other / "fast").touch())

    kept = trained_models.kept("model", [script], slow)
    assert [file.name for file in kept.iterdir()] == ["fast"]
    assert list(trained_models.KEPT.iterdir()) == [kept]


def test_a_script_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_models, "EXAMPLES", tmp_path)
    (tmp_path / "broken.py").write_text("raise SystemExit('no corpus')")
    with pytest.raises(RuntimeError, match=r"broken\.py --steps: no corpus"):
        trained_models.run("broken.py", "--steps")
