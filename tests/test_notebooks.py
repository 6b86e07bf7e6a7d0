"""The notebooks of `examples/`: kept without outputs, by public names only, and each runs from a clean start."""

from __future__ import annotations

import ast
import importlib
import json
import re
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

NOTEBOOKS = sorted((Path(__file__).parent.parent / "examples").glob("*.ipynb"))
VALIDATION_FROM = 1_003_854  # bytes of tinyshakespeare that the network in the package was trained on
IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}")

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def text_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code_of(notebook: dict[str, Any]) -> str:
    """All code in order, without IPython's magic lines."""
    cells = (text_of(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")
    return "\n".join(line for cell in cells for line in cell.splitlines() if not line.startswith("%"))


def left_in(notebook: dict[str, Any]) -> list[str]:
    """What a run left in a notebook."""
    found = []
    for cell in notebook["cells"]:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(cell["id"])
        found += [f"{cell['id']}: {key}" for key in cell["metadata"] if key != "tags"]
    return found + [key for key in notebook["metadata"] if key not in ("kernelspec", "language_info")]


def private_names(code: str) -> list[str]:
    """Names with a leading underscore that code takes from a module or an object."""
    found = []
    for node in ast.walk(ast.parse(code)):
        taken: list[str] = []
        if isinstance(node, ast.Attribute):
            taken = [node.attr]
        elif isinstance(node, ast.Import):
            taken = [part for name in node.names for part in name.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            taken = [*(node.module or "").split("."), *(name.name for name in node.names)]
        found += [name for name in taken if name.startswith("_") and not name.endswith("__")]
    return found


def imported(code: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) of everything that code imports, wherever it does; name None for the module itself."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((name.name, None) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)


def unresolved(code: str) -> list[str]:
    """Imports from snngen that are not there."""
    found = []
    for module, name in imported(code):
        if module.split(".")[0] != "snngen" or (name or "").startswith("*"):
            continue
        try:
            holder = importlib.import_module(module)
            if name is not None and not hasattr(holder, name):
                importlib.import_module(f"{module}.{name}")
        except ModuleNotFoundError as error:
            if str(error.name).startswith("snngen"):
                found.append(f"{module}: {name}")
    return found


def missing(code: str) -> list[str]:
    """Modules that the cells themselves import, not functions or branches in them, and that are not installed."""
    outermost = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {module.split(".")[0] for node in outermost for module, _ in imported(ast.unparse(node))}
    return sorted(module for module in modules if find_spec(module) is None)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@every
def test_a_notebook_is_kept_as_it_was_written(path: Path) -> None:
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert left_in(notebook) == []
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    assert [one for one in identifiers if not IDENTIFIER.fullmatch(one)] == []
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(notebook))


@every
def test_a_notebook_begins_with_a_question_and_ends_with_what_it_found(path: Path) -> None:
    first, *_, title, last = read(path)["cells"]
    heading = text_of(first).splitlines()[0]
    assert first["cell_type"] == "markdown"
    assert heading.startswith("# ")
    assert "?" in heading
    assert text_of(title).startswith("## What was found")
    assert last["cell_type"] == "code"
    assert "print" in text_of(last)


@every
def test_a_notebook_uses_public_names_only(path: Path) -> None:
    code = code_of(read(path))
    assert private_names(code) == []
    assert "snngen" in {module.split(".")[0] for module, _ in imported(code)}
    assert unresolved(code) == []


def test_what_is_wrong_with_a_notebook_is_seen() -> None:
    assert private_names("import a\na.b._c\nfrom d._e import f\nfrom g import _h\nimport i._j\na.__doc__") == [
        "_e", "_h", "_j", "_c",
    ]  # fmt: skip
    wrong = "import snngen.nonsense\nfrom snngen import nonsense, load\nfrom snngen.hardware import chips, chops"
    assert unresolved(wrong) == ["snngen.nonsense: None", "snngen: nonsense", "snngen.hardware: chops"]
    assert missing("import nonsense, json\nfrom nonsuch.a import b\ndef f():\n    import inside") == [
        "nonsense",
        "nonsuch",
    ]
    ran = {"id": "ran", "outputs": [], "execution_count": 3, "metadata": {"collapsed": True}}
    said = {"id": "said", "outputs": [{}], "execution_count": None, "metadata": {"tags": []}}
    notebook = {"cells": [ran, said], "metadata": {"kernelspec": {}, "widgets": {}}}
    assert left_in(notebook) == ["ran", "ran: collapsed", "said", "widgets"]


def test_the_held_out_passages_were_held_out(shared: Path) -> None:
    """Cut evenly from what the network in the package was not trained on, and in no place of the rest."""
    (path,) = (path for path in NOTEBOOKS if path.stem == "precision_and_sparsity")
    (cell,) = (cell for cell in read(path)["cells"] if cell["id"] == "held-out")
    (statement,) = ast.parse(text_of(cell)).body
    assert isinstance(statement, ast.Assign)
    passages = ast.literal_eval(statement.value)
    corpus = (shared / "text" / "tinyshakespeare.txt").read_bytes()
    trained, held_out = corpus[:VALIDATION_FROM].decode(), corpus[VALIDATION_FROM:].decode()
    starts = [number * len(held_out) // len(passages) for number in range(len(passages))]
    assert list(passages) == [held_out[start : start + 257] for start in starts]
    assert not any(passage in trained for passage in passages)


@pytest.mark.slow
@every
def test_a_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    nbformat, client = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    if missing(code_of(read(path))):
        pytest.skip(f"not installed: {', '.join(missing(code_of(read(path))))}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}  # nothing is written beside the notebook
    started = time.perf_counter()
    client.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources).execute()
    seconds = time.perf_counter() - started
    record_property("seconds", round(seconds, 1))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert warned == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any(output.get("name") == "stdout" and output.text.strip() for output in notebook.cells[-1].outputs)
