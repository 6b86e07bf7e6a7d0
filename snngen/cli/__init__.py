"""The command `snngen`. One file per group of commands; each registers with `terminal.app`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

import snngen
from snngen.cli import batch, bench, certify, codes, compare, convert, generate, place, stream
from snngen.cli.terminal import app
from snngen.errors import SnngenError

__all__ = ["app", "batch", "bench", "certify", "codes", "compare", "convert", "generate", "main", "place", "stream"]

# Typer brings its own copy of click, or the click that is installed, by its version: the class is taken from its own.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line: errors are one line and exit status 2, an interrupt is 130."""
    try:
        status = app(standalone_mode=False)
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except SnngenError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"snngen: {error}", markup=False)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"snngen {snngen.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Spiking generative models: converted exactly, simulated event by event, priced honestly."""
