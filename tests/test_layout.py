"""The house: packages, symlinks, docstrings, a light import, kernels that fit on a page."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from patience import PATIENCE

import snngen

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings

ROOT = Path(__file__).parent.parent
LONGEST, MOST_ARGUMENTS = 60, 10


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings: dict[str, Any] = tomllib.load(file)
    return settings


def python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


OPTIONAL = {
    "torch",
    "snntorch",
    "norse",
    "lava",
    "neurobench",
}  # of extras: what needs them is left out where they are absent


def modules() -> Iterator[ModuleType]:
    yield snngen
    for found in pkgutil.walk_packages(snngen.__path__, "snngen."):
        try:
            yield importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise


def test_every_package_of_the_tree_is_in_pyproject() -> None:
    found = {
        ".".join(Path(folder).relative_to(ROOT).parts)
        for folder, _, files in os.walk(ROOT / "snngen", followlinks=True)
        if "__init__.py" in files
    }
    assert {"snngen", "snngen.converters.formats", "snngen.hardware.chips"} <= found  # the walk follows the links
    assert sorted(found) == sorted(project()["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("name", ["converters", "hardware"])
def test_the_outer_folders_are_linked_in(name: str) -> None:
    link = ROOT / "snngen" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"  # relative: it must survive a clone
    assert project()["tool"]["setuptools"]["package-dir"][f"snngen.{name}"] == name


@pytest.mark.parametrize("name", ["converters", "hardware"])
def test_the_bare_names_are_refused(name: str) -> None:
    done = python(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: import snngen.{name}, not {name}")


def test_importing_snngen_brings_the_standard_library_and_nothing_else() -> None:
    """What takes time to import is imported where it is used."""
    done = python("""
import sys
before = set(sys.modules)
import snngen
brought = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*brought - sys.stdlib_module_names)
""")
    assert done.stdout.split() == ["snngen"], done.stderr


def test_the_version_is_the_projects() -> None:
    assert snngen.__version__ == project()["project"]["version"]


def test_every_offered_name_is_what_it_says_whatever_was_imported_before() -> None:
    """A module of the same name, once imported, would take a function's place in the package."""
    code = """
import importlib, pkgutil
import snngen
for found in pkgutil.walk_packages(snngen.__path__, "snngen."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "snntorch", "norse", "lava", "neurobench"):
            raise
    for name in snngen.__all__:
        value = getattr(snngen, name)
        assert isinstance(value, str) if name == "__version__" else callable(value), (found.name, name, value)
print("fine")
"""
    done = python(code)
    assert done.stdout.strip() == "fine", done.stderr
    for name in snngen.__all__:
        assert name in dir(snngen)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = snngen.nonsense


def test_everything_public_has_a_docstring() -> None:
    bare, seen = [], 0
    for module in modules():
        if module.__name__ == "snngen.models":
            continue  # holds no code
        bare += [] if module.__doc__ else [module.__name__]
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isroutine(value) or hasattr(value, "py_func"):
                seen += 1
                function = getattr(value, "py_func", value)  # a compiled kernel
                # a dataclass without one is given its signature
                own = function.__doc__ and not function.__doc__.startswith(f"{name}(")
                bare += [] if own else [f"{module.__name__}.{name}"]
    assert seen > 100
    assert bare == []


def test_kernels_fit_on_a_page() -> None:
    seen = 0
    for path in sorted((ROOT / "snngen" / "kernels").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                seen += 1
                where, parts = f"{path.name}: {node.name}", node.args
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno + 1 <= LONGEST, where
                assert len([*parts.posonlyargs, *parts.args, *parts.kwonlyargs]) <= MOST_ARGUMENTS, where
    assert seen > 10
