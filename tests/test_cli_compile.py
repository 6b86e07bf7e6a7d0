"""`snngen compile`: the kernels, ahead of their first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snngen.cli import compile as command
from snngen.errors import SnngenError


def test_afterwards_nothing_is_compiled(tmp_path: Path) -> None:
    """Every program finds all its kernels in the cache: no second run adds a file to it."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found: list[set[str]] = []
    for _ in range(2):
        done = subprocess.run(
            [Path(sys.executable).with_name("snngen"), "compile"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "kernels compiled in" in done.stderr
        found.append({path.name for path in tmp_path.rglob("*.nbc")})
    assert found[0] == found[1] != set()


def test_a_kernel_that_does_not_compile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PROGRAMS", {"ticks": "raise SystemExit('no such instruction')"})
    with pytest.raises(SnngenError, match="compile ticks: got no such instruction"):
        command.compile_kernels(quiet=True)
