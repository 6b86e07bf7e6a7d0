"""Fixtures: the shared data, the models, the networks made from them once per run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is there: on small matrices OpenBLAS's threads mostly wait for each other, and on a machine whose cores
# are busy a conversion takes minutes instead of seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import snngen
from snngen.network import Network

if TYPE_CHECKING:
    from snngen.converters.graph import Graph

# The same examples in every run, and no limit of time to any. Others: pytest --hypothesis-profile=search
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")

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


@pytest.fixture(scope="session")
def stories_graph(shared: Path) -> Graph:
    """The float model that `stories` was made from."""
    from snngen.converters import families, formats

    folder = shared / "models" / "stories260K"
    return families.build(formats.read(folder / "stories260K.bin", folder / "tok512.bin"))
