"""The command `snngen`. One file per group of commands; each registers with `terminal.app`."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

import snngen
from snngen import folder
from snngen.cli.terminal import app
from snngen.errors import SnngenError

ASIDE = {"terminal", "live", "window"}  # files of this folder that hold no command

# Typer brings its own copy of click, or the click that is installed, by its version: the class is taken from its own.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line: errors are one line and exit status 2, an interrupt is 130."""
    try:
        _without_scipy()
        register(sys.argv[1] if len(sys.argv) > 1 else None)
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


def register(command: str | None = None) -> None:
    """Make commands known: the one that is a file of its own by this name, alone (it starts faster), or all of them."""
    names = [name for name in folder.names(__path__) if name not in ASIDE]
    for name in [command] if command in names else names:
        importlib.import_module(f"{__name__}.{name}")


def _without_scipy() -> None:
    """Keep Numba from importing SciPy's linear algebra, which no kernel uses: time and memory at every start."""
    if "scipy.linalg" in sys.modules:
        return
    held = sys.modules.get("scipy")
    sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        if held is None:
            del sys.modules["scipy"]
        else:
            sys.modules["scipy"] = held


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
