"""The docs: commands, options and names that pages show exist; pages run; the site builds and its links lead on."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import snngen
from snngen import folder

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

for needed in ("sphinx", "myst_nb", "furo"):
    pytest.importorskip(needed, reason="the docs are built where their tools are: snngen[docs]")

cells: Any = importlib.import_module("cells")
command_reference: Any = importlib.import_module("command_reference")
docstrings: Any = importlib.import_module("docstrings")
links: Any = importlib.import_module("links")

PAGES = sorted(
    path
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "snngen/models/README.md"]
    if "_build" not in path.parts and "notebooks" not in path.parts
)
EXECUTED = [path for path in PAGES if path.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb")]
COMMANDS = command_reference.commands()
OPTIONAL = {"torch", "snntorch", "norse", "lava"}

FENCE = re.compile(r"^(?P<fence>```+|:::+)(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    .*\n)+", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
TABLE = re.compile(r"<!-- table: (.+?) -->")
DOTTED = re.compile(r"(?<![\w/.@-])snngen(?:\.[A-Za-z_]\w*)+(?![\w/-])")
FILE_ENDINGS = ("h5", "git", "md", "py", "egg")


def of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of every fenced block, and of indented ones, whose kind is empty."""
    for match in FENCE.finditer(text):
        yield match["kind"].strip(), match["body"]
    for match in INDENTED.finditer(FENCE.sub("\n", text)):
        yield "", match[0]


def command_lines(text: str) -> Iterator[str]:
    """Every command that a page shows: in blocks, in code spans, and those that make tables."""
    for _, body in blocks(text):
        for line in body.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")
    yield from (match[1] for match in SPAN.finditer(FENCE.sub("\n", text)))
    yield from (match[1] for match in TABLE.finditer(text))


def words_of(line: str) -> list[list[str]]:
    """The words of each command of a line of shell; nothing for what is no shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) <= set("|&;()"):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:  # a quotation that does not end
        return []
    return [words[: words.index(">")] if ">" in words else words for words in found if words]


def fault_of_command(words: list[str]) -> str:
    """What is wrong with a command of ours; empty where it is right, or not ours."""
    program, arguments = words[0], words[1:]
    if program == "snngen" and arguments and re.fullmatch(r"-?-?[a-z][a-z-]*", arguments[0]):
        return fault_of_snngen(arguments)
    if program in ("python", "python3") and arguments and arguments[0].endswith(".py"):
        script = ROOT / arguments[0]
        if not script.is_file():
            return f"there is no {arguments[0]}"
        source = script.read_text(encoding="utf-8")
        wrong = [word for word in options_in(arguments) if f'"{word}"' not in source]
        return f"{arguments[0]} has no {', '.join(wrong)}" if wrong else ""
    if program == "make" and arguments:
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        wrong = [word for word in arguments if re.fullmatch(r"[a-z][\w-]*", word) and word not in targets]
        return f"the Makefile has no {', '.join(wrong)}" if wrong else ""
    return ""


def fault_of_snngen(arguments: list[str]) -> str:
    if arguments[0] in ("--version", "--help"):
        return ""
    if arguments[0] not in COMMANDS:
        return f"there is no command {arguments[0]}"
    known = {*command_reference.options(COMMANDS[arguments[0]]), "--help"}
    wrong = [word for word in options_in(arguments[1:]) if word not in known]
    return f"snngen {arguments[0]} has no {', '.join(wrong)}" if wrong else ""


def options_in(words: list[str]) -> list[str]:
    return [word.split("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]


def python_of(kind: str, body: str) -> str:
    """The Python of a block; none where it is something else."""
    if kind.startswith(("python", "{code-cell}")) and not body.lstrip().startswith("%%"):
        return body
    return ""


def names_in(text: str) -> set[str]:
    """Dotted names under `snngen` that a page has in code, and what its Python imports from there."""
    code = [body for _, body in blocks(text)] + [match[1] for match in SPAN.finditer(FENCE.sub("\n", text))]
    found = {match[0] for part in code for match in DOTTED.finditer(part)}
    for kind, body in blocks(text):
        for node in ast.walk(ast.parse(python_of(kind, body))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "snngen":
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.rsplit(".", 1)[-1] not in FILE_ENDINGS}


def exists(name: str) -> bool:
    """Whether a dotted name leads to a module, or to something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name in OPTIONAL:
                return True
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", {})
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("path", PAGES, ids=of)
def test_every_command_and_option_of_a_page_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    faults = [
        f"{line}: {fault}"
        for line in command_lines(text)
        for words in words_of(line)
        if (fault := fault_of_command(words))
    ]
    assert faults == []


@pytest.mark.parametrize("path", PAGES, ids=of)
def test_every_name_of_a_page_exists(path: Path) -> None:
    assert [name for name in sorted(names_in(path.read_text(encoding="utf-8"))) if not exists(name)] == []


def test_enough_is_checked() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    shown = [words for text in texts.values() for line in command_lines(text) for words in words_of(line)]
    assert len(PAGES) > 25
    assert sum(words[0] == "snngen" for words in shown) > 60
    assert {words[1] for words in shown if words[0] == "snngen" and len(words) > 1} >= set(COMMANDS) - {"compile"}
    assert len({name for text in texts.values() for name in names_in(text)}) > 60


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("snngen frobnicate x", "there is no command frobnicate"),
        ('snngen generate "a | b" --tokens 3 --loud', "snngen generate has no --loud"),
        ("snngen generate x --tokens=3 | tee --loud", ""),
        ("snngen plot run.h5 -z > --loud", "snngen plot has no -z"),
        ("FOO=1; snngen codes m.h5 x --cods graded", "snngen codes has no --cods"),
        ("python docs/absent.py", "there is no docs/absent.py"),
        ("python docs/speed.py --wrote", "docs/speed.py has no --wrote"),
        ("make nonsense", "the Makefile has no nonsense"),
        ("make test EXTRAS=test", ""),
    ],
)
def test_what_does_not_exist_is_found(line: str, fault: str) -> None:
    assert "; ".join(filter(None, map(fault_of_command, words_of(line)))) == fault


def test_names_that_do_not_exist_are_found() -> None:
    page = "Say `snngen.generat`, `snngen.network.Network`.\n\n```python\nfrom snngen.sampling import Sampler\n```\n"
    assert {name for name in names_in(page) if not exists(name)} == {"snngen.generat", "snngen.sampling.Sampler"}


def test_commands_are_found_in_blocks_cells_spans_and_tables() -> None:
    page = (
        "`snngen a`\n\n    snngen b  # why\n\n```{code-cell} ipython3\n%%bash -e\nsnngen c \\\n  --d\n```\n"
        "<!-- table: snngen e -->\n"
    )
    found = [words for line in command_lines(page) for words in words_of(line) if words[0] == "snngen"]
    assert sorted(found) == [["snngen", "a"], ["snngen", "b"], ["snngen", "c", "--d"], ["snngen", "e"]]


def test_the_interface_has_a_page_for_what_a_folder_holds() -> None:
    described = {
        module
        for path in (DOCS / "api").glob("*.md")
        for module in re.findall(r"automodule:: ([\w.]+)", path.read_text(encoding="utf-8"))
    }
    for package in (
        "codes", "neurons", "synapses", "sources", "dynamics.neurons", "dynamics.synapses", "dynamics.rules",
        "converters.formats", "converters.families", "converters.exports", "hardware.backends",
    ):  # fmt: skip
        found = importlib.import_module(f"snngen.{package}")
        assert {f"snngen.{package}.{name}" for name in folder.names(found.__path__)} <= described, package
    index = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    assert [name for name in snngen.__all__ if name != "__version__" and f"`snngen.{name}`" not in index] == []


def test_docstrings_become_fields() -> None:
    lines = [
        "Price a run * on a chip_.", "", "ledger: of `a_run`. chip: where;", "see there. low, high: ends.",
        "raises: UnsupportedError for |nothing|.", "", "a = b * c", "d -> e",
    ]  # fmt: skip
    assert docstrings.converted(lines, {"ledger", "chip", "low", "high"}) == [
        r"Price a run \* on a chip\_.", "",
        ":param ledger: of ``a_run``.", ":param chip: where; see there.", ":param low: ends.",
        ":param high: see ``low``.", r":Raises: :py:exc:`UnsupportedError` for \|nothing\|.", "",
        ".. code-block:: text", "", "    a = b * c", "    d -> e", "",
    ]  # fmt: skip


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"></a><a href="#there"></a><a href="b.html#x"></a><a href="b.html#y"></a>'
        '<a href="c.html"></a><a href="https://snngen.org/x"></a><a href="http:/wrong"></a><img src="b%20c.png">'
    )
    (tmp_path / "b.html").write_text('<p id="x">')
    (tmp_path / "b c.png").write_bytes(b"")
    assert links.faults(tmp_path) == [
        "a.html: #there: there is no such place in that page",
        "a.html: b.html#y: there is no such place in that page",
        "a.html: c.html: there is no such file",
        "a.html: http:/wrong: not a well-formed https address",
    ]
    with pytest.raises(SystemExit, match="no pages"):
        links.faults(tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.parametrize("path", EXECUTED, ids=of)
def test_a_page_runs(path: Path, tmp_path: Path) -> None:
    """Every cell of the page, as the build runs it; a command that fails fails its cell."""
    nbclient = pytest.importorskip("nbclient")
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    if path.name == "lava.md":
        from snngen.errors import UnsupportedError
        from snngen.hardware.backends.lava import find_python

        try:
            find_python()
        except UnsupportedError as error:
            pytest.skip(str(error))
    page = read_myst_markdown_notebook(path.read_text(encoding="utf-8"), config=MdParserConfig(), add_source_map=True)
    ran = [cell for cell in page.cells if cell.cell_type == "code"]
    assert ran
    client = nbclient.NotebookClient(page, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, **cells.environment()})
    assert all(cell.execution_count for cell in ran)


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_its_links_lead_on(tmp_path: Path) -> None:
    """Without running the cells, which the test above and that of the notebooks do."""
    site = tmp_path / "site"
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-D", "nb_execution_mode=off", "-b", "html"]
    done = subprocess.run(
        [sys.executable, *command, "-d", str(tmp_path / "doctrees"), str(DOCS), str(site)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert (site / "index.html").is_file()
    assert links.faults(site) == []
