"""Lava: a network as processes of Intel's Lava, in fixed point, on this machine or on Loihi 2.

`lava-nc` runs on Python 3.10 with NumPy below 2 only, so a run takes place in a worker process of such a Python; on
3.10 it can also take place in this one. The codes equal `snngen.reference.run` bit for bit; the time that it takes says
nothing about Loihi. Lava is known to hang where it fails: a time limit ends the worker and all that it started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

import snngen
from snngen import errors
from snngen.engines.layout import check_room
from snngen.errors import PromptError, SnngenError, UnsupportedError
from snngen.integers import IntArray
from snngen.network import Network
from snngen.neurons.source import Source
from snngen.reference import one_hot
from snngen.store import save

PYTHON = "SNNGEN_LAVA_PYTHON"
INSTALL = f"python3.10 -m venv lava && lava/bin/pip install lava-nc numba h5py, then {PYTHON}=lava/bin/python"
NEEDED = "import h5py, numba, lava.magma.core.process.process, sys; print(sys.version_info[:2])"
GRACE = 5.0  # seconds that processes have to clean up after SIGTERM before SIGKILL


class LavaError(SnngenError):
    """A run in Lava that hung or failed; nothing came of it."""


def run_lava(
    network: Network,
    inputs: Sequence[int] | IntArray | Mapping[str, IntArray],
    timeout: float | None = 600.0,
    python: str | Path | None = None,
    hardware: bool = False,
) -> dict[str, IntArray]:
    """Codes of every population for every token, from Lava.

    inputs: token numbers for the first source, or (tokens, size) codes by the name of each source.
    timeout: seconds after which the run is ended. None: no limit, and on a Python that has Lava, no worker.
    python: the Python that has Lava; by default $SNNGEN_LAVA_PYTHON, or one that is found.
    hardware: run on Loihi 2 through Intel's extension.
    returns: population name -> (tokens, size) int64 codes; potentials for accumulators, as `snngen.reference.run`.
    raises: PromptError, CapacityError for inputs that do not fit; UnsupportedError for what Lava cannot run here;
    LavaError where the run hangs or fails.
    """
    ordered = [population.name for population in network.populations if population.neuron.ordered]
    if ordered:
        raise UnsupportedError(
            "run_lava",
            f"populations {ordered} that count spikes in order",
            "codes that settle",
            "stream_lava(network, events, ticks)",
        )
    wrong = [f"projection {p.name} (delayed)" for p in network.projections if p.delayed]
    wrong += [f"projection {p.name} (bilinear)" for p in network.projections if p.writer and not p.synapse.memory_bytes]
    wrong += [f"population {p.name} ({p.neuron.kind})" for p in network.populations if len(p.neuron.operands) > 2]
    if wrong:
        raise UnsupportedError("run_lava", ", ".join(wrong), "a network without recurrence", "SettledEngine(network)")
    if not isinstance(inputs, Mapping):
        if not network.sources:
            raise PromptError("run_lava", "tokens for a network without a source", "a network with a source")
        inputs = {network.sources[0].name: one_hot(inputs, network.vocabulary)}
    return _run(network, _checked(network, inputs), False, timeout, python, hardware)


def stream_lava(
    network: Network,
    events: IntArray,
    ticks: int,
    timeout: float | None = 600.0,
    python: str | Path | None = None,
    hardware: bool = False,
) -> dict[str, IntArray]:
    """Spikes of every population of an integrate-and-fire network, from Lava, tick by tick.

    events, ticks: as for `TickedEngine.stream`: (m, 4) rows of tick, number of the source, neuron, payload.
    timeout, python, hardware: as for `run_lava`.
    returns: population name -> (ticks, size) int64, what each neuron sent at each tick.
    raises: as `run_lava`; UnsupportedError where a population neither is a source nor counts spikes in order.
    """
    settled = [p.name for p in network.populations if not (p.neuron.ordered or isinstance(p.neuron, Source))]
    if settled:
        raise UnsupportedError(
            "stream_lava",
            f"populations {settled}",
            "sources and integrate-and-fire neurons",
            "run_lava(network, codes)",
        )
    if ticks < 1:
        raise PromptError("ticks", str(ticks), "1 or more")
    inputs = {source.name: np.zeros((ticks, source.size), dtype=np.int64) for source in network.sources}
    names = {network.order[name]: name for name in inputs}
    for tick, population, neuron, payload in np.asarray(events, dtype=np.int64).reshape(-1, 4).tolist():
        if population not in names or not 0 <= neuron < network.populations[population].size or tick < 0:
            raise PromptError(
                "events", f"tick {tick}, population {population}, neuron {neuron}", "a neuron of a source"
            )
        if tick < ticks:
            inputs[names[population]][tick, neuron] += payload
    return _run(network, _checked(network, inputs), True, timeout, python, hardware)


def find_python(python: str | Path | None = None) -> str:
    """The path of a Python that has Lava, and what snngen needs there.

    python: this one and no other; otherwise $SNNGEN_LAVA_PYTHON and no other; otherwise this Python, the environment
        `lava` inside this one's, a `python3.10` on the path, or one of pyenv's.
    raises: UnsupportedError where there is none.
    """
    given = str(python or os.environ.get(PYTHON, ""))
    if given:
        chosen = os.path.abspath(shutil.which(given) or given)
        reason = _unable(chosen)
        if reason:
            where = "python" if python else PYTHON
            raise UnsupportedError(where, f"{given}: {reason}", "a Python 3.10 that imports lava", INSTALL)
        return chosen
    candidates = list(_candidates())
    for candidate in candidates:
        if not _unable(candidate):
            return candidate
    tried = ", ".join(candidates) or "no Python 3.10"
    raise UnsupportedError(
        "lava", f"no Python that imports lava (tried {tried})", "a Python 3.10 with lava-nc", INSTALL
    )


def _candidates() -> Iterator[str]:
    if sys.version_info[:2] == (3, 10):
        yield sys.executable
    inner = Path(sys.prefix) / "lava" / "bin" / "python"
    if inner.is_file():
        yield str(inner)
    found = shutil.which("python3.10")
    if found:
        yield found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(root.glob("versions/3.10*/bin/python")))


@lru_cache(maxsize=16)
def _unable(python: str) -> str:
    """Why a Python cannot run Lava, in one line; empty where it can."""
    try:
        tried = subprocess.run([python, "-E", "-c", NEEDED], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return "" if tried.returncode == 0 else _last_line(tried.stderr)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(none)"


def _checked(network: Network, inputs: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """The codes of every source, all there, of one length, and in range."""
    if not network.sources or set(inputs) != {source.name for source in network.sources}:
        raise PromptError("inputs", f"codes for {sorted(inputs)}", f"sources {[s.name for s in network.sources]}")
    checked = {name: np.asarray(codes) for name, codes in inputs.items()}
    rows = {len(codes) for codes in checked.values()}
    if len(rows) != 1 or 0 in rows:
        raise PromptError("inputs", f"{sorted(rows)} tokens", "1 or more, as many for each source")
    check_room(network, rows.pop() - 1)
    for source in network.sources:
        codes, (low, high) = checked[source.name], source.neuron.range
        if codes.ndim != 2 or codes.shape[1] != source.size or codes.dtype.kind not in "iu":
            raise PromptError(source.name, f"shape {codes.shape} of {codes.dtype}", f"(tokens, {source.size}) integers")
        if not low <= codes.min() <= codes.max() <= high:
            raise PromptError(source.name, f"codes {codes.min()}..{codes.max()}", f"{low}..{high}")
        checked[source.name] = codes.astype(np.int64)
    return checked


def _run(
    network: Network,
    inputs: dict[str, IntArray],
    spiking: bool,
    timeout: float | None,
    python: str | Path | None,
    hardware: bool,
) -> dict[str, IntArray]:
    python = find_python(python)
    if timeout is None and python == sys.executable:
        from snngen.hardware.lava_processes.worker import Graph

        return Graph(network, inputs, spiking).run(hardware)
    with tempfile.TemporaryDirectory(prefix="snngen-lava-") as name:
        folder, names = Path(name), list(network.order)
        save(network, folder / "network.h5")
        with h5py.File(folder / "inputs.h5", "w") as file:
            for key, values in inputs.items():
                file[str(names.index(key))] = values
        (folder / "job.json").write_text(json.dumps({"spiking": spiking, "hardware": hardware}))
        _work(python, folder, timeout)
        with h5py.File(folder / "codes.h5", "r") as codes:
            return {name: codes[str(index)][()] for index, name in enumerate(names)}


def _work(python: str, folder: Path, timeout: float | None) -> None:
    """Let a worker do the job of a folder; what goes wrong there is raised here."""
    (folder / "path").mkdir()
    (folder / "path" / "snngen").symlink_to(Path(snngen.__file__).parent, target_is_directory=True)
    log = folder / "log.txt"
    with log.open("w") as output:
        worker = subprocess.Popen(
            [python, "-m", "snngen.hardware.lava_processes.worker", str(folder)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder / "path"), "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            worker.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LavaError(
                "lava",
                f"no end within {timeout} s",
                "a run that ends",
                f"A larger timeout=. Its last words: {_last_line(log.read_text())}",
            ) from None
        finally:
            end_group(worker)
    refusal = folder / "error.json"
    if refusal.is_file():
        kind, *parts = json.loads(refusal.read_text())
        raise getattr(errors, kind)(*parts)
    if not (folder / "codes.h5").is_file():
        raise LavaError("lava", f"a worker that failed with {worker.returncode}", "codes", _last_line(log.read_text()))


def end_group(worker: subprocess.Popen[bytes]) -> None:
    """End a worker's whole process group: first so that it frees its shared memory, then without asking."""
    for kill, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 0.0)):
        number, until = int(kill), time.monotonic() + grace
        while _signalled(worker.pid, number):
            worker.poll()
            if time.monotonic() >= until:
                break
            number = 0  # only ask whether any of it is left
            time.sleep(0.02)
    worker.wait()


def _signalled(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
