"""How much memory it takes to load a network and run it, and where the time before the first token goes.

    python benchmarks/memory.py [--shapes 15M 110M ...] [--models FILE.h5 ...] [--tokens N] [--repeats N]
                                [--without-scipy] [--json FILE]

For each network, a file on disk (random ones of LLaMA's shape are written to a temporary folder first), a fresh process
does what `snngen generate` does: it imports, loads, lays out, loads the kernels from Numba's cache and generates a few
tokens. It reports after each stage how long it took, and the peak of its memory so far: VmHWM of /proc/self/status, the
most pages that were ever resident at once, those of Python and of the libraries included (ru_maxrss where there is no
/proc).
The limit is 1.1 times the bytes of the network's constant weights, plus 200 MB (MB = 10**6 bytes).

After the peak is taken, the same process has the certificate compare every code with the reference, which takes memory
of its own, and measures two parts of loading again: the checksum of the file and that of the network. Each network is
run once to fill the caches, then --repeats times; times are the best and the median, peaks the largest.

snngen does not ask for SciPy. Where another package brought it, Numba loads its linear algebra, which no kernel uses;
--without-scipy measures what an installation without it takes. "Shared" are the resident pages of programs and
libraries, which processes share; they are part of the peak.

`benchmarks/generate.py` measures the first token of a whole process, warm and cold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

STAGES = ("import", "load", "lay out", "load kernels", "generate")
PARTS = ("checksum of the file", "checksum of the network")
FACTOR, CONSTANT = 1.1, 200e6  # the limit: FACTOR * bytes of weights + CONSTANT
SHAPES = ("15M", "110M", "1.1B")


def status(key: str) -> int:
    """Bytes that the kernel states of this process under a key: VmHWM, the peak; RssFile, resident pages of files."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        import resource  # not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit if key == "VmHWM" else 0
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024


def run_inside(path: Path, tokens: int, without_scipy: bool) -> dict[str, Any]:
    """What the fresh process does; nothing of snngen is imported before its first stage."""
    if without_scipy:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # as Python has it: no such package
    stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        stages[name] = {
            "seconds": time.perf_counter() - wall,
            "processor_seconds": time.process_time() - processor,
            "peak_bytes": status("VmHWM"),
        }

    with stage("import"):
        import snngen
        from snngen import store
        from snngen.engines.settled import SettledEngine
        from snngen.generation import generate
    with stage("load"):
        network = store.load(path)
    with stage("lay out"):
        engine = SettledEngine(network)
    with stage("load kernels"):
        engine.warm()
    prompt = [network.begin if network.begin is not None else 1]
    with stage("generate"):
        said = generate(network, prompt, tokens, engine=engine).tokens
    shared, scipy = status("RssFile"), sys.modules.get("scipy.linalg") is not None
    parts = {
        PARTS[0]: timed(lambda: store.check_seal(path, store.FORMAT, "snngen")),
        PARTS[1]: timed(lambda: store.checksum(replace(network))),
    }
    certificate = snngen.certify(network, said)
    if not certificate.clean:
        sys.exit(f"{path}: {certificate}")
    weights = [p.synapse.weights for p in network.projections if p.synapse.weights is not None]
    return {
        "stages": stages, "parts": parts, "weight_bytes": sum(part.nbytes for part in weights),
        "file_bytes": path.stat().st_size, "tokens": len(said) - len(prompt), "codes_certified": certificate.codes,
        "peak_with_certificate_bytes": status("VmHWM"), "shared_bytes": shared, "scipy": scipy,
    }  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_a_fresh_process(path: Path, options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """`run_inside` of a new process; `cache` is its NUMBA_CACHE_DIR."""
    command = [sys.executable, __file__, "--inside", str(path), "--tokens", str(options.tokens)]
    command += ["--without-scipy"] if options.without_scipy else []
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if answer.returncode:
        sys.exit(f"{path}: the process that runs it ended with status {answer.returncode}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def measure(name: str, path: Path, options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """One row of the result."""
    in_a_fresh_process(path, options, cache)  # fills the caches of Numba and of the disk
    runs = [in_a_fresh_process(path, options, cache) for _ in range(options.repeats)]
    most = max(run["stages"]["generate"]["peak_bytes"] for run in runs)
    weights = runs[0]["weight_bytes"]
    limit = FACTOR * weights + CONSTANT
    stages = {
        stage: {
            "best_s": min(run["stages"][stage]["seconds"] for run in runs),
            "median_s": statistics.median(run["stages"][stage]["seconds"] for run in runs),
            "best_processor_s": min(run["stages"][stage]["processor_seconds"] for run in runs),
            "peak_bytes": max(run["stages"][stage]["peak_bytes"] for run in runs),
        }
        for stage in STAGES
    }
    return {
        "network": name, "weight_bytes": weights, "file_bytes": runs[0]["file_bytes"], "peak_bytes": most,
        "limit_bytes": limit, "peak_over_limit": most / limit, "peak_beyond_weights_bytes": most - weights,
        "peak_with_certificate_bytes": max(run["peak_with_certificate_bytes"] for run in runs),
        "shared_bytes": max(run["shared_bytes"] for run in runs), "scipy": any(run["scipy"] for run in runs),
        "stages": stages, "parts_best_s": {part: min(run["parts"][part] for run in runs) for part in PARTS},
        "tokens": runs[0]["tokens"], "codes_certified": runs[0]["codes_certified"], "repeats": len(runs),
    }  # fmt: skip


def write_network(shape: str, path: Path) -> None:
    """Write a random network of LLaMA's shape, in a process of its own: it takes more memory than running does."""
    program = (
        f"from snngen import store, synthetic; store.save(synthetic.llama(synthetic.SHAPES[{shape!r}]), {str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def show(rows: list[dict[str, Any]]) -> None:
    """Two tables, one column per network: memory, and the time before the first tokens."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    memory = Table(title=f"MB, peak so far; the limit is {FACTOR} x weights + 200 MB", title_justify="left")
    times = Table(title="seconds, best (median)", title_justify="left")
    for table in (memory, times):
        table.add_column("")
        for row in rows:
            table.add_column(row["network"], justify="right")
    megabytes = {
        "weights": "weight_bytes",
        "file": "file_bytes",
        "limit": "limit_bytes",
        "shared files": "shared_bytes",
    }
    for heading, key in megabytes.items():
        memory.add_row(heading, *(f"{row[key] / 1e6:,.0f}" for row in rows))
    for stage in STAGES:
        stages = [row["stages"][stage] for row in rows]
        memory.add_row(f"after {stage}", *(f"{found['peak_bytes'] / 1e6:,.0f}" for found in stages))
        times.add_row(stage, *(f"{found['best_s']:.3f} ({found['median_s']:.3f})" for found in stages))
    memory.add_row("peak / limit", *(f"{row['peak_over_limit']:.2f}" for row in rows))
    times.add_row("all", *(f"{sum(row['stages'][stage]['best_s'] for stage in STAGES):.3f}" for row in rows))
    for part in PARTS:
        times.add_row(f"of load: {part}", *(f"{row['parts_best_s'][part]:.3f}" for row in rows))
    console.print(memory)
    console.print(times)
    codes = ", ".join(f"{row['network']} {row['codes_certified']:,}" for row in rows)
    console.print(f"codes equal to the reference: {codes}", soft_wrap=True)
    if any(row["scipy"] for row in rows):
        console.print("SciPy is installed here and Numba loaded it; see --without-scipy", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=["15M", "110M"], help="random networks")
    parser.add_argument("--models", nargs="*", type=Path, default=[], help="networks (.h5) besides the shipped one")
    parser.add_argument("--tokens", type=int, default=8, help="how many to generate, at most")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per network, after the first")
    parser.add_argument("--without-scipy", action="store_true", help="hide SciPy from the processes")
    parser.add_argument("--json", type=Path, help="write the result as JSON to this file, or - for standard output")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.tokens, options.repeats) < 1:
        parser.error("expected --tokens and --repeats of 1 or more")
    if options.inside is not None:
        print(json.dumps(run_inside(options.inside, options.tokens, options.without_scipy)))
        return

    import record  # the process inside does without it: its imports would be measured

    from snngen.store import SHIPPED

    with tempfile.TemporaryDirectory() as folder, resources.as_file(resources.files("snngen.models") / SHIPPED) as own:
        cache = Path(folder) / "cache"
        subjects = {"shipped": own, **{path.stem: path for path in options.models}}
        rows = [measure(name, path, options, cache) for name, path in subjects.items()]
        for shape in options.shapes:
            path = Path(folder) / f"{shape}.h5"
            write_network(shape, path)
            rows.append(measure(shape, path, options, cache))
            path.unlink()
    if options.json is not None:
        record.write(options.json, "memory", rows)
    if str(options.json) != "-":
        show(rows)


if __name__ == "__main__":
    main()
