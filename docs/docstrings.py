"""Docstrings of this house, in plain English with lines `name: text`, as reStructuredText fields.

    Price a run on a chip.                              Price a run on a chip.

    ledger: of a run. chip: see `snngen.hardware`.  ->  :param ledger: of a run.
    raises: UnsupportedError for an unknown code.       :param chip: see ``snngen.hardware``.
                                                        :Raises: :py:exc:`UnsupportedError` for an unknown code.

Lines that are all equations keep their lines, code stays code, and no sign of the text is taken for markup.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import snngen

HEADINGS = {"returns": "Returns", "raises": "Raises", "yields": "Yields", "Source": "Source", "Sources": "Source"}
EQUATION = re.compile(r"^\S.{0,60}? (=|->|>=|<=|~) \S")
MARKUP = re.compile(r"([\\*|_`])")
SPAN = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)
EXCEPTION = re.compile(r"\b([A-Z]\w+Error)\b")


def fields_of(described: Any) -> set[str]:
    """Names that a docstring may explain: parameters of a function, fields and attributes of a class."""
    names: set[str] = set()
    if inspect.isclass(described):
        for base in described.__mro__:
            names |= set(vars(base).get("__annotations__", {})) | set(vars(base))
        described = described.__init__
    with contextlib.suppress(TypeError, ValueError):  # of what has no signature
        names |= set(inspect.signature(described).parameters)
    return {name for name in names if not name.startswith("__")}


def converted(lines: list[str], names: set[str]) -> list[str]:
    """The lines of a docstring as reStructuredText.

    names: that a line ``name: text`` can explain.
    """
    done: list[str] = []
    for block in blocks(lines):
        stripped = [line.strip() for line in block]
        if all(line.startswith("    ") for line in block):
            done += [
                ".. code-block:: python" if is_code([line[4:] for line in block]) else ".. code-block:: text",
                "",
                *block,
                "",
            ]
        elif is_code(block):
            done += [".. code-block:: python", "", *("    " + line for line in block), ""]
        elif len(block) > 1 and all(EQUATION.match(line) for line in block):
            done += [".. code-block:: text", "", *("    " + line for line in block), ""]
        elif stripped[0].startswith("- "):
            done += [*items(stripped), ""]
        else:
            done += [*paragraph(" ".join(stripped), names), ""]
    return done


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """The runs of lines between blank ones; indented lines apart from those before them."""
    block: list[str] = []
    for line in [*lines, ""]:
        indented, before = line.startswith("    "), bool(block) and block[-1].startswith("    ")
        explains = bool(block) and re.match(r"[\w, ]+: ", block[-1].strip()) is not None
        if block and (not line.strip() or (indented and not before and not explains and block[-1].endswith(":"))):
            yield block
            block = []
        if line.strip():
            block.append(line)


def is_code(block: list[str]) -> bool:
    """True for lines of Python that import or assign something and call it."""
    try:
        tree = ast.parse("\n".join(block))
    except SyntaxError:
        return False
    return any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in tree.body)


def items(lines: list[str]) -> list[str]:
    """The lines of a list, the continued ones joined."""
    joined: list[str] = []
    for line in lines:
        if line.startswith("- "):
            joined.append(line[2:])
        else:
            joined[-1] += " " + line
    return ["- " + escaped(item) for item in joined]


def paragraph(text: str, names: set[str]) -> list[str]:
    """A paragraph, and the fields that stand in it."""
    known = "|".join(re.escape(name) for name in sorted(names | set(HEADINGS), key=len, reverse=True))
    starts = list(re.finditer(rf"(?:^|(?<=[.;)] ))((?:{known})(?:(?:, | and )(?:{known}))*): ", text))
    done = [escaped(text[: starts[0].start()].strip()), ""] if starts and starts[0].start() else []
    if not starts:
        return [escaped(text)]
    for start, end in zip(starts, [*(match.start() for match in starts[1:]), len(text)], strict=True):
        said, name = text[start.end() : end].strip(), start[1]
        if name == "raises":
            said = re.sub(EXCEPTION, r":py:exc:`\1`", escaped(said))
            done.append(f":Raises: {said}")
        elif name in HEADINGS:
            done.append(f":{HEADINGS[name]}: {escaped(said)}")
        else:
            first, *others = re.split(", | and ", name)
            done.append(f":param {first}: {escaped(said)}")
            done += [f":param {other}: see ``{first}``." for other in others]
    return done


def escaped(text: str) -> str:
    """Text whose stars, bars and underlines are no markup; `code` becomes ``code``."""
    parts = SPAN.split(text)
    for place, part in enumerate(parts):
        parts[place] = f"``{part.strip('`')}``" if place % 2 else MARKUP.sub(r"\\\1", part)
    # An inline literal must stand alone: what touches it is parted by an escaped blank, which is not shown.
    return re.sub(r"(?<=\w)(?=``\w)", r"\\ ", "".join(parts))


def process(app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Called by autodoc for every docstring."""
    lines[:] = converted(lines, fields_of(described))


def find(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> nodes.Node | None:
    """Find what `snngen` offers (``snngen.generate``) in its home, and a bare class name where only one has it."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    objects = env.domains.python_domain.objects
    if target.removeprefix("snngen.") in snngen.__all__:
        offered = getattr(snngen, target.removeprefix("snngen."))
        target = f"{offered.__module__}.{offered.__qualname__}"
    found = [full for full in objects if full == target or (full.endswith("." + target) and "." not in target)]
    if len(found) != 1:
        return None
    home = objects[found[0]]
    uri = app.builder.get_relative_uri(str(node["refdoc"]), home.docname) + "#" + home.node_id
    return nodes.reference("", "", shown, internal=True, refuri=uri, reftitle=found[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
