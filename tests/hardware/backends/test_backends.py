"""Backends are found by name, and imported only when asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snngen.errors import UnsupportedError
from snngen.hardware import backends


def test_one_backend_per_file() -> None:
    files = {path.stem for path in Path(backends.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(backends.kinds()) == files
    assert {"torch", "snntorch", "norse"} <= files


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'abacus'; expected one of .*torch"):
        backends.by_name("abacus")


def test_a_backend_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snntorch", None)  # how Python marks a module that cannot be imported
    monkeypatch.delitem(sys.modules, "snngen.hardware.backends.snntorch", raising=False)
    with pytest.raises(UnsupportedError, match=r"backend snntorch.*pip install"):
        backends.by_name("snntorch")


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, snngen, snngen.hardware.backends as b; b.kinds();"
        "assert not {'torch', 'snntorch', 'norse', 'lava'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
