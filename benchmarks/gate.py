"""The gate against regressions of speed: fast kernels against a plain kernel in the same run, never against the clock.

    python benchmarks/gate.py [--width 64|32|16] [--json FILE]    # under a minute; exit status 1 where one is too slow
    python benchmarks/gate.py --instructions [--json FILE]        # instructions per synaptic operation, by valgrind

The plain kernel (`rows.plain`), which adds weight rows one by one, runs in turns with each fast path over the same
weights and events, and what they add up is compared by ==; the engine is compared with the reference. The gate is how
many times as fast as the plain kernel a path is, per synaptic operation, the best of many timings against the best. A
noisy machine slows both; what fails is measured again before it counts. Limits are 60 % of what was measured, for each
width of vectors (bytes), as the ratio depends on it.

--instructions: a child process under `valgrind --tool=callgrind` delivers once, and then a thousand times more; the
difference counts. Valgrind knows no AVX-512, so this is the path for AVX2. Its counts hardly vary: limits are 15 %
above what was counted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record
from numba import njit
from rich.console import Console
from rich.table import Table

import snngen
from snngen import roofline
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError
from snngen.integers import IntArray, lines
from snngen.kernels import bandwidth, rows, settled
from snngen.synthetic import Shape, llama

SIZE = 512 << 10  # bytes of weights: they lie in a cache of the core's own, which neighbours cannot slow
SHAPE = Shape(288, 768, 2, 6, 6, 1024)
TOKENS = 16
CASES = {  # bits of a weight, largest payload
    "8-bit weights, 8-bit payloads": (8, 127),
    "8-bit weights, spikes of ±1": (8, 1),
    "4-bit weights, 8-bit payloads": (4, 127),
    "2-bit weights, 8-bit payloads": (2, 127),
}
NETWORK = "settled engine, whole tokens"
# Times as fast as the plain kernel, measured; by bytes of the vectors (64: AVX-512 VNNI, 32: AVX2, 16: SSE and others)
MEASURED = {
    64: dict(zip((*CASES, NETWORK), (1.55, 1.5, 8.9, 10.0, 0.72), strict=True)),
    32: dict(zip((*CASES, NETWORK), (1.45, 1.45, 8.7, 8.6, 0.85), strict=True)),
    16: dict(zip((*CASES, NETWORK), (0.73, 0.72, 4.2, 4.1, 0.55), strict=True)),
}
MARGIN = 0.6
ATTEMPTS, REPEATS = 3, 100
# Instructions per synaptic operation at 32 bytes, measured
INSTRUCTIONS = dict(zip(CASES, (0.82, 0.65, 0.72, 0.72), strict=True))
INSTRUCTION_MARGIN = 1.15
PLAIN = "the plain kernel"
PASSES, COUNTED = 1000, 64 << 10  # deliveries, and bytes of weights, in the counted process
# What NUMBA_CPU_NAME and NUMBA_CPU_FEATURES make of a processor whose vectors have so many bytes
SSE = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+cmov,+mmx,+fxsr"
PROCESSORS = {
    32: ("haswell", f"{SSE},+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+movbe,+f16c"),
    16: ("nehalem", SSE),
}


@njit(cache=True, nogil=True)
def plain(
    event: IntArray, payload: IntArray, weights: IntArray, width: int, bits: int, total: IntArray, passes: int
) -> None:  # fmt: skip
    """Add the rows by the plain kernel, `passes` times."""
    for _ in range(passes):
        rows.plain(event, payload, 0, weights, width, bits, total)


class Delivery:
    """One kind of weights and payloads, delivered by the fast kernel and by the plain kernel. ratio: see `measure`."""

    def __init__(self, name: str, size: int = SIZE) -> None:
        self.name = name
        self.bits, largest = CASES[name]
        buffer = roofline.Buffer.of("L2", size)
        rng = np.random.default_rng(4)
        sources, targets = size // buffer.row, buffer.row * 8 // self.bits
        event = np.arange(sources, dtype=np.int32)
        payload = (rng.integers(1, largest + 1, sources) * rng.choice((-1, 1), sources)).astype(np.int32)
        self.operations = sources * targets
        self._drive, self._total = (row[:targets] for row in lines(2, targets))
        scratch = lines(1, rows.scratch_size(sources, targets, 1))[0]
        given = event, payload, buffer.data, buffer.row, self.bits
        self.fast = partial(bandwidth.dense, *given, np.ones(targets, np.int64), scratch, self._drive)
        self.plain = partial(plain, *given, self._total)
        self.fast(1)
        self.plain(1)
        if (self._drive != self._total).any():
            raise MismatchError(name, "other drives by the fast kernel", "those of the plain kernel")

    def ratio(self) -> float:
        """How many times as fast as the plain kernel the fast kernel is."""
        return speedup(self.plain, self.fast, 1.0)


class Tokens:
    """Tokens of a small network in the settled engine, against as many synaptic operations of the plain kernel."""

    name = NETWORK

    def __init__(self) -> None:
        network = llama(SHAPE, context=64)
        self._engine = SettledEngine(network)
        self._prompt = np.random.default_rng(5).integers(0, network.vocabulary, TOKENS).tolist()
        snngen.certify(network, self._prompt[:2], self._engine).require()
        self._loop = Delivery("8-bit weights, 8-bit payloads")
        self.operations = self._generate(1)

    def _generate(self, passes: int) -> int:
        operations = 0
        for _ in range(passes):
            self._engine.reset()
            operations = 0
            for token in self._prompt:
                self._engine.step(token)
                operations += int(self._engine.counted()[1][:, settled.GRADED].sum())
        return operations

    def ratio(self) -> float:
        """How many times as fast as the plain kernel the engine is, per synaptic operation."""
        return speedup(self._loop.plain, self._generate, self.operations / self._loop.operations)


def speedup(slow: Callable[[int], Any], fast: Callable[[int], Any], work: float) -> float:
    """Best time of `slow` over best time of `fast`, which does `work` times as many operations, in turns."""
    first, second = roofline.in_turns([[slow], [fast]], REPEATS)
    return work * first.best / second.best


def ratios() -> list[dict[str, Any]]:
    """Every path: its ratio, and the limit; what fails is measured again, and the best of the attempts counts."""
    found = []
    paths: list[Delivery | Tokens] = [*map(Delivery, CASES), Tokens()]
    for path in paths:
        limit = MARGIN * MEASURED[rows.WIDTH][path.name]
        reached = [path.ratio()]
        while reached[-1] < limit and len(reached) < ATTEMPTS:
            reached.append(path.ratio())
        found.append({
            "path": path.name, "vector bytes": rows.WIDTH, "times as fast as the plain kernel": max(reached),
            "limit": limit, "attempts": len(reached), "passed": max(reached) >= limit,
        })  # fmt: skip
    return found


def instructions() -> list[dict[str, Any]]:
    """Instructions per synaptic operation of every delivery, and of the plain kernel, at 32 bytes."""
    names = [*CASES, PLAIN]
    with tempfile.TemporaryDirectory() as cache:
        environment = forced(32) | {"NUMBA_CACHE_DIR": cache, "PYTHONHASHSEED": "0"}
        counted_by_valgrind(environment, [], dry=True)  # fills the cache: nothing is compiled under valgrind
        nothing = counted_by_valgrind(environment, [])
        found = []
        for name in names:
            operations = PASSES * Delivery(name if name in CASES else next(iter(CASES)), COUNTED).operations
            each = (counted_by_valgrind(environment, [name]) - nothing) / operations
            limit = INSTRUCTION_MARGIN * INSTRUCTIONS.get(name, float("inf"))
            found.append({
                "path": name, "vector bytes": 32, "instructions per synaptic operation": each,
                "limit": limit if name in INSTRUCTIONS else None, "passed": each <= limit,
            })  # fmt: skip
    return found


def counted_by_valgrind(environment: dict[str, str], names: Sequence[str], dry: bool = False) -> int:
    """Instructions of a child that delivers once in every way, and PASSES times more in those of these names."""
    child = [sys.executable, str(Path(__file__)), "--child", *names]
    if dry:
        subprocess.run(child, check=True, env=environment)
        return 0
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *child]
    said = subprocess.run(command, check=True, env=environment, stderr=subprocess.PIPE, text=True).stderr
    collected = re.search(r"Collected : (\d+)", said)
    if collected is None:
        sys.exit(f"valgrind counted nothing; it said {said[-500:]!r}")
    return int(collected[1])


def deliver_in_child(names: Sequence[str]) -> None:
    """What is counted: see `counted_by_valgrind`."""
    for name in CASES:
        delivery = Delivery(name, COUNTED)
        delivery.fast(PASSES if name in names else 1)
        delivery.plain(PASSES if PLAIN in names and name == next(iter(CASES)) else 1)


def forced(width: int) -> dict[str, str]:
    """The environment in which Numba compiles for vectors of so many bytes."""
    name, features = PROCESSORS[width]
    return {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}


def show(found: Sequence[dict[str, Any]]) -> None:
    table = Table()
    for heading, value in found[0].items():
        table.add_column(heading, justify="right" if isinstance(value, float) else "left")
    for row in found:
        cells = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
        table.add_row(*cells, style=None if row["passed"] else "bold red")
    Console(highlight=False, width=130).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, choices=(64, *PROCESSORS), help="bytes of the vectors, if not the widest")
    parser.add_argument("--instructions", action="store_true", help="count instructions rather than time")
    parser.add_argument("--json", type=Path, help="write the rows as JSON to this file, or - for standard output")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        deliver_in_child(options.child)
        return
    if options.width in PROCESSORS and options.width != rows.WIDTH:
        os.execve(sys.executable, [sys.executable, *sys.argv], forced(options.width))
    if options.width is not None and options.width != rows.WIDTH:
        sys.exit(f"this processor has vectors of {rows.WIDTH} bytes")
    if options.instructions and shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    found = instructions() if options.instructions else ratios()
    if options.json is not None:
        record.write(options.json, "instructions" if options.instructions else "gate", found)
    if str(options.json) != "-":
        show(found)
    slow = [row["path"] for row in found if not row["passed"]]
    if slow:
        sys.exit(f"slower than the limit: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
