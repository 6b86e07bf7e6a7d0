"""Models that several tests of a family use, trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trained

STEPS = 150


@pytest.fixture(scope="session")
def learned(shared: Path) -> Callable[[str], Path]:
    """The folder of a model of a family of `examples/train_small.py`."""
    return lambda family: trained.train(family, shared / "text" / "tinyshakespeare.txt", STEPS)
