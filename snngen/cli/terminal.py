"""The terminal: the application, options that commands share, and how results are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from snngen.aside import require_writable, write_text
from snngen.errors import PromptError
from snngen.network import Network
from snngen.text import Text

app = typer.Typer(
    help="Spiking generative models: converted exactly, simulated event by event, priced honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: boxes cut names and defaults short on a narrow terminal
)

NETWORK = "a network (.h5; the one in the package, if left out)"
Model = Annotated[Path | None, typer.Argument(help=NETWORK)]
ModelAndPrompt = Annotated[list[str], typer.Argument(metavar="[MODEL] PROMPT", help=f"{NETWORK} and a prompt")]
Markdown = Annotated[bool, typer.Option("--markdown", help="print the table as Markdown")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar and no summary")]
Json = Annotated[
    Path | None, typer.Option("--json", help="write the result as JSON to this file, or - for standard output")
]


def model_and(arguments: list[str], what: str = "PROMPT") -> tuple[str | None, str]:
    """[MODEL] and one thing more: the network in the package where none is named."""
    usage = f"[MODEL] {what}"
    quote = "Quote a prompt of several words" if what == "PROMPT" else ""
    if len(arguments) > 2:
        raise PromptError("the command", f"{len(arguments)} arguments", usage, quote)
    model, last = (arguments[0] if len(arguments) == 2 else None), arguments[-1]
    if what == "PROMPT" and model is None and last.endswith(".h5"):
        raise PromptError(last, "a network without a prompt", usage, f'For example {last} "ROMEO:"')
    if model is not None and not model.endswith(".h5") and not Path(model).exists():
        raise PromptError(model, "no such file", f"{usage}, where MODEL is a network (.h5)", quote)
    return model, last


def tokens_of(network: Network, prompt: str) -> list[int]:
    """The tokens of a prompt that fits the context."""
    tokens = Text(network).encode(prompt)
    if network.context is not None and len(tokens) > network.context:
        raise PromptError("prompt", f"{len(tokens)} tokens", f"at most {network.context}, the context")
    return tokens


def standard_output() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def speak(text: str) -> None:
    """Write to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def read_text(path: Path) -> str:
    """The contents of a UTF-8 text file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(str(path), str(error), "a UTF-8 text file") from error


def is_stdout(path: Path | None) -> bool:
    """True for ``-``."""
    return str(path) == "-"


def require_all_writable(*paths: Path | None) -> None:
    """Refuse what cannot be written before the long work, not after it."""
    for path in paths:
        if path is not None and not is_stdout(path):
            require_writable(path)


def require_picture(path: Path | None) -> None:
    """Refuse a picture that cannot be written, or whose suffix says no format, before the long work."""
    if path is not None:
        from snngen.plots import picture_format

        picture_format(path)
        require_writable(path)


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON to a file, or to standard output for ``-``."""
    text = json.dumps(result, indent=2) + "\n"
    if is_stdout(path):
        sys.stdout.write(text)
    else:
        write_text(path, text)


@contextmanager
def compiling(quiet: bool) -> Iterator[None]:
    """A word on a terminal while kernels are compiled, or loaded."""
    with Console(stderr=True, quiet=quiet).status("compiling the kernels (once)", spinner="dots"):
        yield


@contextmanager
def progress(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, or nothing where it would only be noise."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
