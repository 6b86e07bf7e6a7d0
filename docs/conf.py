"""How the site is built: `sphinx-build -W --keep-going -b html docs docs/_build/html`, then `python docs/links.py`.

Pages with `{code-cell}`s and the notebooks of `examples/` (linked in as `notebooks`) are run while the site is built;
a cell that fails fails the build. What they printed is kept in `docs/_build/executed-DIGEST`, where DIGEST is that of
the package's files: when the package changes, all of it is run anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent.resolve()
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))  # the extensions in this folder

from cells import environment  # noqa: E402

import snngen  # noqa: E402


def digest() -> str:
    """SHA-256 of every file that decides what the package does."""
    parts = [
        path
        for folder in ("snngen", "converters", "hardware")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".h5") and path.is_file()
    ]
    total = hashlib.sha256()
    for path in sorted(parts):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


os.environ.update(environment())


def not_run() -> list[str]:
    """Pages that are shown without being run: Lava's, where no Python on this machine has Lava."""
    from snngen.errors import UnsupportedError
    from snngen.hardware.backends.lava import find_python

    try:
        find_python()
    except UnsupportedError as error:
        print(f"howto/lava.md is not run: {error}", file=sys.stderr)
        return ["howto/lava.md"]
    return []


project, author, copyright = "snngen", "the snngen authors", "the snngen authors, Apache-2.0"
version = release = snngen.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "docstrings", "command_reference", "cells"]
exclude_patterns = ["_build", "pictures"]
suppress_warnings = ["config.cache", "ref.python"]  # a bare class name that two modules have
nitpicky = True
nitpick_ignore_regex = [
    # Documented elsewhere, and this build has no network to look there.
    (r"py:.*", r"(collections|numpy|np|npt|pathlib|torch|types|matplotlib|h5py|dataclasses|optional)(\..*)?"),
    (r"py:.*", r"(Axes|Figure|SubFigure|Path|Tensor|Module|nn.Module|Namespace)"),
    # Names of types, and those of kernels.
    (r"py:.*", r"(snngen\..*\.)?(IntArray|EventArray|NeuronOf|Price|MakeCell|Schedule|Shape|Tables)"),
    (r"py:.*", r"(kernel|snngen.kernels)\..*"),
    # Type variables.
    (r"py:.*", r"(snngen\..*\.)?(T|Model|Part|Item|Value)"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
smartquotes = False  # -- is the beginning of an option
myst_heading_anchors = 3
myst_dmath_double_inline = True

nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / f"executed-{digest()}")
nb_execution_excludepatterns = not_run()
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = False  # it ends a line after every piece; `cells` joins them
nb_output_stderr = "show"
nb_render_markdown_format = "myst"

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"snngen {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
html_show_sourcelink = False
# Everything a page needs lies beside it, but for the formulas: MathJax is fetched by the reader's browser.
