"""Fixtures: the shared data, the models, the networks made from them once per run."""

from __future__ import annotations

from pathlib import Path

import pytest

import snngen
from snngen.network import Network

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and text; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared data are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def stories(shared: Path) -> Network:
    """stories260K, converted with the default settings."""
    from snngen.converters.convert import convert

    folder = shared / "models" / "stories260K"
    return convert(folder / "stories260K.bin", folder / "tok512.bin").network


@pytest.fixture(scope="session")
def shakespeare() -> Network:
    """The network that ships in the package."""
    return snngen.load()
