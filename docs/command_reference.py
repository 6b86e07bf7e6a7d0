"""The directive `snngen-commands`: every command with its arguments and options, read from the program itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from snngen.cli import app as program
from snngen.cli import register

HEADS = ("option", "what it is", "default")


def commands() -> dict[str, Any]:
    """The commands of `snngen`, by name."""
    register()
    group: Any = typer.main.get_command(program)
    return dict(group.commands)


def options(command: Any) -> dict[str, Any]:
    """The parameters of a command by every spelling of their options."""
    return {spelling: part for part in command.params for spelling in (*part.opts, *part.secondary_opts)}


class Commands(SphinxDirective):
    """One section per command."""

    def run(self) -> list[nodes.Node]:
        return [section(name, command) for name, command in sorted(commands().items())]


def section(name: str, command: Any) -> nodes.section:
    """A command: its help, its use, and a table of its parameters."""
    made = nodes.section(ids=[f"snngen-{name}"], names=[f"snngen {name}"])
    made += nodes.title(text=f"snngen {name}")
    for paragraph in (command.help or "").split("\n\n"):
        made += paragraph_of(" ".join(paragraph.split()))
    arguments = [shown(part) for part in command.params if part.param_type_name == "argument"]
    made += nodes.literal_block(text=" ".join(["snngen", name, *arguments, "[OPTIONS]"]), language="text")
    made += table([HEADS, *rows(command)])
    return made


def paragraph_of(text: str) -> nodes.paragraph:
    """A paragraph whose parts between backticks are code."""
    parts = enumerate(text.split("`"))
    return nodes.paragraph(
        "", "", *(nodes.literal(text=part) if place % 2 else nodes.Text(part) for place, part in parts)
    )


def shown(part: Any) -> str:
    """An argument as it stands in a line of use."""
    name = str(part.metavar or part.name.upper())
    return name if part.required else f"[{name}]"


def rows(command: Any) -> Iterator[tuple[str, str, str]]:
    """Spelling, help and default of every parameter."""
    for part in command.params:
        spelling = shown(part) if part.param_type_name == "argument" else ", ".join([*part.opts, *part.secondary_opts])
        default = "" if part.default is None or part.default is False else str(part.default)
        default = "yes" if part.default is True else default
        yield spelling, part.help or "", default


def table(lines: Sequence[tuple[str, ...]]) -> nodes.table:
    """A table whose first line is its head; the first and last columns are code."""
    group = nodes.tgroup(cols=len(HEADS))
    group += [nodes.colspec(colwidth=width) for width in (30, 55, 15)]
    for part, of in ((nodes.thead(), lines[:1]), (nodes.tbody(), lines[1:])):
        for line in of:
            row = nodes.row()
            for place, text in enumerate(line):
                code = isinstance(part, nodes.tbody) and place != 1 and text
                inside = nodes.literal(text=text) if code else nodes.Text(text)
                row += nodes.entry("", nodes.paragraph("", "", inside))
            part += row
        group += part
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("snngen-commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
