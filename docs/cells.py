"""The cells of the pages: the environment that they run in, and how they and their outputs are shown.

A cell of commands begins with two lines that the kernel needs and no reader does; the page does not show them. `-e`
makes a command that fails fail the cell, and with it the build; the second line keeps standard output and standard
error in the order in which they were written, and asks for no colours, which a kernel asks for.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

FIRST_LINES = "%%bash -e\nexec 2>&1; unset FORCE_COLOR CLICOLOR_FORCE\n"


def environment() -> dict[str, str]:
    """Variables for the kernels: this environment's programs are found, and a terminal has one width everywhere."""
    return {
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "COLUMNS": "96",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "OPENBLAS_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def show_commands_only(tree: nodes.document) -> None:
    """Take the first lines from every cell of commands."""
    for block in tree.findall(nodes.literal_block):
        if block.astext().startswith(FIRST_LINES):
            write(block, block.astext().removeprefix(FIRST_LINES))
            block["language"] = "bash"


def join_streams(tree: nodes.document) -> None:
    """Make one block of what a cell printed in pieces; a line that was written over is shown as it was in the end."""
    for outputs in list(tree.findall(lambda node: "cell_output" in getattr(node, "attributes", {}).get("classes", ()))):
        before: nodes.literal_block | None = None
        for node in list(outputs.children):
            stream = isinstance(node, nodes.literal_block) and "stream" in node["classes"]
            if not stream:
                before = None
            elif before is None:
                before = node
            else:
                write(before, before.astext() + node.astext())
                outputs.remove(node)
    for block in tree.findall(nodes.literal_block):
        if "stream" in block["classes"]:
            write(block, re.sub(r"[^\n]*\r(?=[^\n])", "", block.astext().rstrip()))


def write(block: nodes.literal_block, text: str) -> None:
    """Replace the text of a block."""
    block.children = []
    block += nodes.Text(text)
    block.rawsource = text  # Sphinx highlights it where the two are the same


def tidy(app: Sphinx, tree: nodes.document) -> None:
    """Called for every page once it is read."""
    show_commands_only(tree)
    join_streams(tree)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", tidy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
