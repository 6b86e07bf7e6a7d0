"""How a benchmark and a peer, a simulator of others in an environment of its own, talk to each other.

A peer is a script beside this file, started once: it reads an .npz with the weights and the inputs, builds, and then
runs what it is asked for, as often as it is asked, and times it itself; `serve` is all that it needs. It answers in
JSON, a line each, through a pipe of its own, since its libraries print to standard output.

Between requests its processes are stopped (SIGSTOP), so that a peer that spins while idle takes no core from others.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[str], "tuple[float, Arrays]"]  # the name of a work -> seconds, and what came of it

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FOLDER = Path(__file__).resolve().parent


class PeerError(RuntimeError):
    """A peer that failed, or that did not answer in time."""


def serve(build: Callable[[Arrays, int], Run], packages: Sequence[str]) -> None:
    """Be a peer: answer requests from standard input until it ends.

    build: makes the network from the arrays of the case, for a number of threads; returns what runs a named work.
    packages: distributions whose versions are told.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=Path, help=".npz with the weights and the inputs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--answers", type=int, default=1, help="file descriptor of the answers")
    options = parser.parse_args()
    answers = os.fdopen(options.answers, "w", encoding="utf-8")
    if sys.platform == "linux":  # a stopped process does not notice that its benchmark was killed; the kernel does
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with np.load(options.case) as stored:
        run = build(dict(stored), options.threads)
    print(json.dumps({package: metadata.version(package) for package in packages}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        runs = [run(request["work"]) for _ in range(request["repeats"])]
        result: dict[str, Any] = dict(runs[-1][1])
        np.savez(request["result"], **result)
        print(json.dumps([seconds for seconds, _ in runs]), file=answers, flush=True)


class Peer:
    """A running peer.

    script: its file's name without .py. python: of its environment. case: the .npz that it reads.
    threads: how many it may use. timeout: seconds that an answer may take.
    raises: PeerError where it fails or does not answer.
    """

    def __init__(self, script: str, python: Path, case: Path, threads: int = 1, timeout: float = 600.0) -> None:
        self.script, self.timeout = script, timeout
        self._scratch = tempfile.TemporaryDirectory()
        self._log = Path(self._scratch.name, "log")
        reading, writing = os.pipe()
        self._answers = os.fdopen(reading, encoding="utf-8")
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(python), str(FOLDER / f"{script}.py"), str(case)),
                    *("--threads", str(threads), "--answers", str(writing)),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                cwd=self._scratch.name,
                env={**os.environ, **dict.fromkeys(variables, str(threads))},
                start_new_session=True,
            )
        os.close(writing)
        self.versions = cast("dict[str, str]", self._answer())

    def run(self, work: str, repeats: int) -> tuple[list[float], dict[str, npt.NDArray[Any]]]:
        """Seconds of each repeat of a work, and the arrays that the last one gave."""
        result = Path(self._scratch.name, "result.npz")
        request = {"work": work, "repeats": repeats, "result": str(result)}
        os.killpg(self._process.pid, signal.SIGCONT)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None
        seconds = cast("list[float]", self._answer())
        with np.load(result) as stored:
            return seconds, dict(stored)

    def _answer(self) -> Any:
        if not select.select([self._answers], [], [], self.timeout)[0]:
            raise self._failure(f"no answer in {self.timeout:.0f} s")
        line = self._answers.readline()
        if not line:
            raise self._failure("ended")
        os.killpg(self._process.pid, signal.SIGSTOP)
        return json.loads(line)

    def _failure(self, what: str) -> PeerError:
        said = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        self.close()
        return PeerError(f"{self.script}: {what}; its last words:\n{said}")

    def close(self) -> None:
        """End it: it is let go on, so that it can clean up, and killed with all that it started where it does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError, BrokenPipeError):
            os.killpg(self._process.pid, signal.SIGCONT)
            self._process.stdin.close()
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._answers.close()
        self._scratch.cleanup()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
