"""Models that several tests of a family use, trained once per run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trained

STEPS = 150


@pytest.fixture(scope="session")
def learned(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of a family of `examples/train_small.py`."""
    made: dict[str, Path] = {}

    def model(family: str) -> Path:
        if family not in made:
            corpus = shared / "text" / "tinyshakespeare.txt"
            made[family] = trained.train(family, corpus, tmp_path_factory.mktemp(family), STEPS)
        return made[family]

    return model
