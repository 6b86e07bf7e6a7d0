"""Generation and prefill of LLaMA-shaped spiking networks against llama.cpp, which runs the plain model in Q8_0.

    python benchmarks/llama.py [--models 15M 110M 1.1B stories260K shipped] [--shares 0.98 0.4] [--threads 1 2]
                               [--work generate prefill] [--tokens N] [--prompt N] [--rounds N] [--json FILE]

15M, 110M and 1.1B are shapes with random weights (`snngen.synthetic`), whose thresholds make a share of the codes that
meet weights non-zero; llama.cpp gets random Q8_0 weights of the same shape, written once into --files. stories260K and
the network in the package are exported as GGUF in Q8_0, embedding and head once where they are one matrix.

- generate: tokens one at a time from an empty context, the logits of each; neither sampling nor text on either side.
- prefill: a prompt at once, the logits of its last token.

Rounds are interleaved, ours, llama.cpp, a reading of all our weights by as many threads, and so on, after one round
that does not count. Best and median tokens/s of both stand in the table, and the ratios of the bests and of the
medians; `reached` goes by the medians. Bytes are those of the weight rows that events read, per token; their rate
stands beside the rate at which the reading went. Before any of that, the certificate compares every code of every
population with the reference for the first --compared tokens, and a prompt at once with the same one token by token:
all codes of its last token, and all keys and values. One difference ends the benchmark.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import numpy as np
import record
from rich.console import Console
from rich.table import Table

import snngen
from snngen import roofline
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError
from snngen.kernels import bandwidth
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network
from snngen.synthetic import SHAPES, Shape, llama, weighed_share

ROOT = Path(__file__).resolve().parents[1]
STORIES = ROOT.parent / "shared" / "data" / "models" / "stories260K"
SMALL = ("stories260K", "shipped")
TARGETS = {("15M", 0.98): 1.8, ("110M", 0.98): 1.3, ("1.1B", 0.98): 1.3}  # of generation; of a share of 0.4: 3
SPARSE_TARGET, SMALL_TARGET, PREFILL_TARGET = 3.0, 1.0, 0.5
CONTEXT = 1024
WIDTH = 132  # columns of the printed table
READ_BYTES = 1 << 28  # that one timing of the bandwidth reads, at least


class Peer:
    """llama.cpp in a process of its own, which waits while ours runs (see `benchmarks/llama_peer.py`)."""

    def __init__(self, python: Path, file: Path, context: int, shape: Shape | None) -> None:
        sizes = [] if shape is None else ["--sizes", *map(str, vars(shape).values())]
        command = [
            str(python),
            str(ROOT / "benchmarks" / "llama_peer.py"),
            str(file),
            "--context",
            str(context),
            *sizes,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._requests, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self.about = self._answer()

    def seconds(self, tokens: Sequence[int], threads: int, block: bool) -> float:
        """Seconds that tokens take, one at a time or at once."""
        request = json.dumps({"tokens": list(tokens), "threads": threads, "block": block})
        self._requests.write(request + "\n")
        self._requests.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            sys.exit(f"llama.cpp's process ended with {self._process.wait()}; expected an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._process.wait()


@dataclass(frozen=True, eq=False)
class Case:
    """One network and what it is compared with.

    model: name. share: of non-zero codes as asked for, None of a converted network. network: ours. peer: llama.cpp with
    the same shape loaded. notes: what differs there.
    """

    model: str
    share: float | None
    network: Network
    peer: Peer
    notes: Sequence[str]

    def target(self, work: str) -> float:
        """The ratio that is to be reached."""
        if work == "prefill":
            return PREFILL_TARGET
        if self.share is None:
            return SMALL_TARGET
        return TARGETS.get((self.model, self.share), SPARSE_TARGET)


def cases(models: Sequence[str], shares: Sequence[float], python: Path, files: Path) -> Iterator[Case]:
    """Every case; the peer's process lives while its model's cases are worked on."""
    for model in models:
        if model in SMALL:
            network = snngen.load() if model == "shipped" else stories()
            file = files / f"{model}.gguf"
            notes = export(network, file)
            with Peer(python, file, network.context or CONTEXT, None) as peer:
                yield Case(model, None, network, peer, notes)
            continue
        shape = SHAPES[model]
        with Peer(python, files / f"{model}.gguf", CONTEXT, shape) as peer:
            for share in shares:
                gc.collect()  # a network before this one may take a gigabyte
                yield Case(model, share, llama(shape, share, context=CONTEXT), peer, [])


def stories() -> Network:
    """stories260K, converted with the default settings."""
    from snngen.converters.convert import convert

    if not STORIES.is_dir():
        sys.exit(f"got no folder {STORIES}; expected stories260K there, or --models without it")
    return convert(STORIES / "stories260K.bin", STORIES / "tok512.bin").network


def export(network: Network, file: Path) -> list[str]:
    """Write a network as GGUF in Q8_0; returns what llama.cpp computes otherwise."""
    from snngen.converters.exports import gguf

    file.parent.mkdir(parents=True, exist_ok=True)
    return gguf.write(network, file, "Q8_0")


def ours(engine: SettledEngine, tokens: Sequence[int], block: bool) -> float:
    """Seconds that tokens take from an empty context to the last one's logits."""
    engine.reset()
    begun = time.perf_counter()
    if block:
        for _ in engine.prefill(tokens[:-1]):
            pass
        engine.step(tokens[-1])
    else:
        for token in tokens:
            engine.step(token)
    return time.perf_counter() - begun


def reading(engine: SettledEngine) -> float:
    """Bytes/s at which all weights are read by the engine's number of threads."""
    weights = engine.tables.weights
    words = weights[: weights.size // 8 * 8].view(np.int64)
    passes = -(-READ_BYTES // words.nbytes)
    works = [partial(bandwidth.read, part) for part in np.array_split(words, engine.threads)]
    return words.nbytes / roofline.run(works, passes)


def in_rounds(engine: SettledEngine, peer: Peer, tokens: Sequence[int], block: bool, rounds: int) -> dict[str, Any]:
    """Tokens/s of both, and bytes/s of the reading: best and median of interleaved rounds."""
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds + 1):
        mine, theirs = ours(engine, tokens, block), peer.seconds(tokens, engine.threads, block)
        times.append((len(tokens) / mine, len(tokens) / theirs, reading(engine)))
    found: dict[str, Any] = {"rounds": rounds}
    for name, values in zip(("tokens/s", "llama.cpp tokens/s", "bandwidth"), zip(*times[1:], strict=True), strict=True):
        found[f"{name} best"], found[f"{name} median"] = max(values), statistics.median(values)
    for kind in ("best", "median"):
        found[f"ratio {kind}"] = found[f"tokens/s {kind}"] / found[f"llama.cpp tokens/s {kind}"]
    return found


def counted(engine: SettledEngine, tokens: Sequence[int]) -> tuple[float, float]:
    """The share of codes that are not zero where they meet weights, and bytes of weights that a token reads."""
    engine.reset()
    ledger = Ledger(engine.network)
    for token in tokens:
        engine.step(token)
        ledger.record(GENERATE, *engine.counted())
    return weighed_share(ledger), ledger.per_token()["bytes_read"]


def require_same_prompt(engine: SettledEngine, tokens: Sequence[int]) -> None:
    """Compare a prompt at once with the same token by token: the last token's codes, and what memories hold.

    raises: MismatchError where anything differs.
    """
    names = [population.name for population in engine.network.populations]
    ours(engine, tokens, block=False)
    expected = {name: engine.codes(name).copy() for name in names}
    memory = engine.tables.memory.copy()
    engine.tables.memory[:] = 0
    ours(engine, tokens, block=True)
    wrong = [name for name in names if not np.array_equal(engine.codes(name), expected[name])]
    if wrong or not np.array_equal(engine.tables.memory, memory):
        raise MismatchError("prefill", f"other codes of {wrong or 'keys and values'}", "those of token by token")


def rows(case: Case, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row of a case."""
    network = case.network
    limit = network.context or CONTEXT
    rng = np.random.default_rng(11)
    prompt = rng.integers(network.vocabulary, size=min(options.prompt, limit)).tolist()
    for threads in options.threads:
        engine = SettledEngine(network, threads=threads)
        engine.warm()
        compared = min(options.compared, limit)
        certificate = snngen.certify(network, prompt[:compared], engine)
        certificate.require()
        if "prefill" in options.work:
            require_same_prompt(engine, prompt)
        for work in options.work:
            tokens = prompt if work == "prefill" else prompt[: options.tokens]
            share, read = counted(engine, tokens)
            row = in_rounds(engine, case.peer, tokens, work == "prefill", options.rounds)
            row |= {"work": work, "model": case.model, "share asked for": case.share, "share": share}
            row |= {"threads": threads, "tokens": len(tokens), "target": case.target(work), "notes": list(case.notes)}
            row["reached"] = row["ratio median"] >= row["target"]
            row |= {"weights": case.peer.about["parameters"], "compared tokens": compared}
            row["certificate"] = str(certificate)
            if work == "generate":  # a block of a prompt reads a row once for several tokens
                row["bytes/token"] = read
                for kind in ("best", "median"):
                    row[f"bytes/s {kind}"] = read * row[f"tokens/s {kind}"]
                    row[f"of bandwidth {kind}"] = row[f"bytes/s {kind}"] / row[f"bandwidth {kind}"]
            yield row


def table(found: Sequence[dict[str, Any]]) -> Table:
    """The rows as a table."""
    shown = Table(title="against llama.cpp, Q8_0: best / median", title_justify="left")
    headings = (
        "work",
        "model",
        "non-zero",
        "threads",
        "tokens",
        "tokens/s",
        "llama.cpp",
        "ratio",
        "target",
        "GB/s",
        "of reading",
    )
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in headings[:2] else "right")
    for row in found:
        rates = [
            f"{row[f'{name} best']:,.0f} / {row[f'{name} median']:,.0f}" for name in ("tokens/s", "llama.cpp tokens/s")
        ]
        ratio = f"{row['ratio best']:.2f} / {row['ratio median']:.2f}"
        read = ["", ""]
        if "bytes/token" in row:
            read = [f"{row['bytes/s best'] / 1e9:.1f}", f"{row['of bandwidth best']:.0%}"]
        target = f"{row['target']:.1f}{'' if row['reached'] else ' missed'}"
        shown.add_row(
            row["work"], row["model"], f"{row['share']:.1%}", str(row["threads"]), str(row["tokens"]), *rates, ratio,
            target, *read,
        )  # fmt: skip
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*SHAPES, *SMALL], default=[*SHAPES, *SMALL])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.98, 0.4], help="of non-zero codes, 0.01 to 0.99")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of both sides")
    parser.add_argument("--work", nargs="+", choices=["generate", "prefill"], default=["generate", "prefill"])
    parser.add_argument("--tokens", type=int, default=64, help="that are generated")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt, as far as the context goes")
    parser.add_argument("--rounds", type=int, default=5, help="that count")
    parser.add_argument("--compared", type=int, default=16, help="tokens that the certificate compares")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv" / "peers" / "bin" / "python", help="its Python")
    files = Path(tempfile.gettempdir()) / "snngen-llama"
    parser.add_argument("--files", type=Path, default=files, help="where GGUF files are kept")
    parser.add_argument("--json", type=Path, help="write the rows as JSON to this file, or - for standard output")
    options = parser.parse_args()
    if min(options.tokens, options.rounds, options.compared, *options.threads) < 1 or options.prompt < options.tokens:
        parser.error(
            "expected 1 or more of --tokens, --rounds, --compared, --threads, and --prompt of --tokens or more"
        )
    if not options.peers.exists():
        parser.error(f"got no {options.peers}; expected a Python with llama-cpp-python and gguf")
    console = Console(highlight=False, stderr=str(options.json) == "-", width=max(WIDTH, Console().width))
    found: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    for case in cases(options.models, options.shares, options.peers, options.files):
        versions |= case.peer.about["versions"]
        for row in rows(case, options):
            found.append(row)
            console.print(
                f"{row['work']} {row['model']} {row['share']:.2f} {row['threads']}: {row['ratio median']:.2f}"
            )
        del case
    console.print(table(found))
    for note in sorted({f"{row['model']}: {note}" for row in found for note in row["notes"]}):
        console.print(note, soft_wrap=True)
    if options.json is not None:
        record.write(options.json, "llama", found, versions)


if __name__ == "__main__":
    main()
