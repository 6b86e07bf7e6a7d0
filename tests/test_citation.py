"""CITATION.cff is valid, and says what the package says."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

import snngen

yaml = pytest.importorskip("yaml", reason="pyyaml is in the extra `test`")
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra `test`")

CITATION = Path(__file__).parent.parent / "CITATION.cff"


def schema() -> Any:
    """The schema of the Citation File Format 1.2.0, as the package cffconvert carries it (that one is not imported)."""
    try:
        files = importlib.metadata.files("cffconvert") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cffconvert is in the extra `test`")
    (found,) = [file for file in files if file.match("schemas/1.2.0/schema.json")]
    return json.loads(Path(str(found.locate())).read_text())


def test_the_citation_is_valid() -> None:
    citation, rules = yaml.safe_load(CITATION.read_text()), schema()
    assert citation["cff-version"] == "1.2.0"
    jsonschema.validate(citation, rules)
    for key in ("authors", "message", "title"):
        broken = {name: value for name, value in citation.items() if name != key}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, rules)


def test_the_citation_says_what_the_package_says() -> None:
    citation, package = yaml.safe_load(CITATION.read_text()), importlib.metadata.metadata("snngen")
    assert citation["version"] == snngen.__version__ == package["Version"]
    assert citation["license"] == package["License-Expression"]
    assert ",".join(citation["keywords"]) == package["Keywords"]
