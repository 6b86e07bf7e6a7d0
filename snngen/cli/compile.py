"""Compile: the kernels ahead of their first use, so that nothing waits for them later."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from snngen import machine
from snngen.cli.terminal import Quiet, app, progress
from snngen.errors import SnngenError

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATE = "import snngen; snngen.SettledEngine(snngen.load(), threads=2).warm()"
TICKS = "import snngen; from snngen.engines.ticked import TickedEngine; TickedEngine(snngen.load()).warm()"
SENSORS = """
import numpy as np
from snngen.digits import DigitReader
from snngen.events import EVENT
reader = DigitReader()
reader.begin(0)
reader.take(np.array([(10, 3, 3, True), (20, 4, 3, True)], dtype=EVENT))
reader.reading()
"""
PROGRAMS = {"generate": GENERATE, "ticks": TICKS, "sensors": SENSORS}


@app.command("compile")
def compile_kernels(quiet: Quiet = False) -> None:
    """Compile the kernels now, once for this machine.

    Otherwise the first use of each does, with a word.
    """
    started = time.perf_counter()
    with progress("compiling the kernels", quiet) as report:
        _run(report)
    if not quiet:
        Console(stderr=True).print(f"kernels compiled in {time.perf_counter() - started:.0f} s")


def _run(report: Callable[[int, int], None]) -> None:
    """Each program in a process of its own, as many at once as there are cores: Numba compiles one thing at a time."""
    waiting, running = dict(PROGRAMS), dict[str, subprocess.Popen[str]]()
    done = 0
    report(done, len(PROGRAMS))
    with ExitStack() as stack:
        messages = {name: stack.enter_context(tempfile.TemporaryFile("w+")) for name in PROGRAMS}
        stack.callback(_stop, running)
        while waiting or running:
            while waiting and len(running) < machine.cores():
                name, program = waiting.popitem()
                running[name] = subprocess.Popen(
                    [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=messages[name], text=True
                )
            for name in [name for name, process in running.items() if process.poll() is not None]:
                process = running.pop(name)
                if process.returncode:
                    messages[name].seek(0)
                    last = (messages[name].read().strip() or "no message").splitlines()[-1]
                    raise SnngenError(f"compile {name}", last, "kernels that compile", "Report this")
                done += 1
                report(done, len(PROGRAMS))
            time.sleep(0.05)


def _stop(running: dict[str, subprocess.Popen[str]]) -> None:
    for process in running.values():
        process.kill()
