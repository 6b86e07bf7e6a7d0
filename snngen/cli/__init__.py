"""The command `snngen`. One file per group of commands; each registers with `terminal.app`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any, TextIO

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
    """Run the command line: errors are one line and exit status 2, 1 where the system fails; an interrupt is 130."""
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    try:
        _without_scipy()
        register(sys.argv[1] if len(sys.argv) > 1 else None)
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except SnngenError as error:
        _say(error)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.stdout = _nowhere()  # what the old one holds would fail once more
        sys.exit(141)
    except OSError as error:  # a full disk, say
        got = error.strerror or str(error)
        _say(SnngenError(str(error.filename or "output"), got, "a place that can be read or written"))
        sys.stdout = _nowhere()
        sys.exit(1)
    except MemoryError as error:
        _say(SnngenError("memory", str(error) or "none left", "more of it, or a smaller model"))
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _say(error: object) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"snngen: {error}", markup=False)


def _nowhere() -> TextIO:
    """What is written here is lost: for a stream that is closed."""
    return open(os.devnull, "w", encoding="utf-8")


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
