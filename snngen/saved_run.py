"""Saved run: text, tokens, ledger, certificate and spikes of a generation in one sealed HDF5 file.

Layout, version 1:
    /                    format, version
    /about               (bytes,) uint8: JSON: what is one value or one text (see `About`)
    /tokens              (tokens,) int64: prompt and generated
    /ledger/phase        (rows,) uint8: 0 prefill, 1 generate
    /ledger/token        (rows,) int64: place of the token that was read; -1 for a position of the prefix
    /ledger/ticks        (rows,) int64: that it took, 0 where no spikes were sent
    /ledger/populations  (rows, populations, 6) int64: counts, as `snngen.ledger` has them
    /ledger/projections  (rows, projections, 6) int64
    /active              (generated, ceil(neurons / 8)) uint8: one bit per neuron, population after population, the
                         highest bit first; 1 where its code was not zero when that token was chosen
    /last_token          (events, 4) int32: tick, population, neuron, payload of spikes of the last token that was
                         read, evenly thinned out where they are many; only where spikes were really sent
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

import snngen
from snngen import machine
from snngen.certificate import Certificate, Mismatch
from snngen.engines.ticked import Recorder, TickedEngine
from snngen.errors import FormatError, PromptError, SnngenError
from snngen.generation import Generation
from snngen.integers import IntArray
from snngen.kernels.settled import COUNTERS
from snngen.ledger import PHASES, PREFILL, Ledger
from snngen.network import Network
from snngen.store import numbers, read_sealed, write_sealed
from snngen.text import Text

FORMAT, VERSION = "snngen run", 1
MADE_BY = "a run saved by `snngen generate --save`"
MOST_EVENTS = 2**18  # of the last token that are kept
TICK, POPULATION, NEURON, PAYLOAD = range(4)
PACKED = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


@dataclass(frozen=True)
class About:
    """What a saved run says of itself in single values.

    pieces: the text that each token adds; together they are the text. prompt: how many tokens the prompt has.
    stopped, slides: as `Generation` has them. engine: ``settled`` or ``ticked``. schedule: of the ticked engine, else
    "". exact: False where the engine was told to lose something. code: the spike code that was sent or, where settled
    codes were counted, asked for. sent: True where its spikes were really sent.
    network: digest. model: path of the network, "" for the one in the package. populations: name and neurons of each.
    projections: how many. provenance: of the network. prefill_rate, generate_rate: tokens/s on this machine.
    certificate: as a dict, or None where none was made. command: what was typed. created: UTC, ISO 8601.
    versions: of snngen and of what it computes with. machine: processor and system.
    last_events, last_ticks: spikes and ticks of the last token that was read, 0 where none were sent. last_every: one
    in so many of its spikes is in the file.
    """

    pieces: list[str]
    prompt: int
    stopped: str
    slides: int
    engine: str
    schedule: str
    exact: bool
    code: str
    sent: bool
    network: str
    model: str
    populations: list[list[Any]]
    projections: int
    provenance: dict[str, Any]
    prefill_rate: float
    generate_rate: float
    certificate: dict[str, Any] | None
    command: str
    created: str
    versions: dict[str, str]
    machine: dict[str, str]
    last_events: int
    last_ticks: int
    last_every: int


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A generation as it was saved; the arrays are those of the file (see above).

    seal: SHA-256 of the file's contents. certificate: None where none was made.
    last: spikes of the last token, one in `about.last_every` of them, or None where none were sent.
    """

    path: Path
    seal: str
    about: About
    certificate: Certificate | None
    tokens: IntArray
    phases: npt.NDArray[np.uint8]
    read: IntArray
    ticks: IntArray
    populations: IntArray
    projections: IntArray
    active: npt.NDArray[np.uint8]
    last: IntArray | None

    @property
    def text(self) -> str:
        """Prompt and generated text."""
        return "".join(self.about.pieces)

    def codes_active(self) -> npt.NDArray[np.bool_]:
        """(generated, neurons): True where a neuron's code was not zero when that token was chosen."""
        neurons = sum(size for _, size in self.about.populations)
        return np.unpackbits(self.active, axis=1, count=neurons).astype(np.bool_)

    def ledger(self, network: Network) -> Ledger:
        """The ledger of the run, to be priced; the network is not run.

        raises: FormatError for another network than the one that was run.
        """
        if network.digest != self.about.network:
            raise FormatError(
                str(self.path), f"a run of network {self.about.network[:16]}",
                f"one of {network.digest[:16]}, the network given", "Name its network with --model",
            )  # fmt: skip
        expected = (len(network.populations), len(network.projections))
        if (self.populations.shape[1], self.projections.shape[1]) != expected:
            got = f"counts of {self.populations.shape[1]} populations, {self.projections.shape[1]} projections"
            raise FormatError(str(self.path), got, f"{expected[0]} and {expected[1]}")
        ledger = Ledger(network, self.about.code if self.about.sent else None)
        for row, phase in enumerate(self.phases.tolist()):
            ledger.record(PHASES[phase], self.populations[row], self.projections[row], int(self.ticks[row]))
        return ledger


class LastToken:
    """A recorder of the ticked engine that keeps the spikes of the token that was run last, at most `MOST_EVENTS`.

    Where there are more, every second is kept, or every fourth, and so on, in the order in which they were fired.

    also: another recorder that is told the same, such as a trace.
    events: (events, 4) int32 rows of tick, population, neuron, payload. every: one in so many was kept.
    count: how many there were. ticks: it took.
    """

    def __init__(self, also: Recorder | None = None) -> None:
        self.also = also
        self._parts: list[IntArray] = []
        self._count, self._every = 0, 1
        self.events: IntArray = np.zeros((0, 4), dtype=np.int32)
        self.count = self.ticks = 0
        self.every = 1

    def record(self, events: IntArray) -> None:
        """Spikes of the token under way."""
        if self.also is not None:
            self.also.record(events)
        self._parts.append(events[-self._count % self._every :: self._every])
        self._count += len(events)
        while sum(map(len, self._parts)) > MOST_EVENTS:
            self._parts, self._every = [np.concatenate(self._parts)[::2]], 2 * self._every

    def token(self, number: int, ticks: int) -> None:
        """The token under way is done."""
        if self.also is not None:
            self.also.token(number, ticks)
        self.events = np.concatenate([np.zeros((0, 4), dtype=np.int32), *self._parts])
        self.count, self.ticks, self.every = self._count, ticks, self._every
        self._parts, self._count, self._every = [], 0, 1

    def reset(self) -> None:
        """Nothing is kept from token to token."""
        if self.also is not None:
            self.also.reset()


class RunRecorder:
    """Iterates a generation and notes what its neurons held at each generated token; then saves the run.

    generation: one that has not begun. last: recorder of its engine, where that is ticked.
    raises: PromptError for a generation that has begun, or that something else iterates, too.
    """

    def __init__(self, generation: Generation, last: LastToken | None = None) -> None:
        self._generation, self._last = generation, last
        self._active: list[npt.NDArray[np.uint8]] = []
        self._rows = 0
        self._note_only(not len(generation.ledger))

    def __iter__(self) -> Iterator[int]:
        engine, names = self._generation.engine, [p.name for p in self._generation.network.populations]
        for token in self._generation:
            rows = len(self._generation.ledger)
            self._note_only(rows > self._rows)
            self._rows = rows
            self._active.append(np.packbits(np.concatenate([engine.codes(name) != 0 for name in names])))
            yield token

    def _note_only(self, whole: bool) -> None:
        if not whole:
            raise PromptError(
                "RunRecorder", "a generation that has begun, or is iterated elsewhere, too", "one that has not begun"
            )

    def save(
        self,
        path: str | Path,
        certificate: Certificate | None = None,
        *,
        code: str = "graded",
        model: str = "",
        command: str = "",
    ) -> None:
        """Write the run; an existing file is replaced only once the new one is whole.

        certificate: of its tokens. code: to price settled codes under. model: path of the network, "" for the one in
        the package. command: what was typed.
        raises: FormatError where the path cannot be written; PromptError where not every token was iterated here.
        """
        generation, ledger = self._generation, self._generation.ledger
        self._note_only(len(self._active) == len(generation.generated))
        about = _about(generation, certificate, ledger.code or code, model, command, self._last)
        text = json.dumps(asdict(about), allow_nan=False).encode()

        def fill(file: h5py.File) -> None:
            file.attrs.update(format=FORMAT, version=VERSION)
            file["about"] = np.frombuffer(text, dtype=np.uint8)
            file["tokens"] = np.array(generation.tokens, dtype=np.int64)
            group = file.create_group("ledger")
            group["phase"] = np.array([PHASES.index(phase) for phase in ledger.phases], dtype=np.uint8)
            group["token"] = tokens_read(generation)
            group["ticks"] = ledger.ticks() if ledger.code is not None else np.zeros(len(ledger), dtype=np.int64)
            for name, column in (("populations", ledger.populations), ("projections", ledger.projections)):
                counts = np.stack([column(number) for number in range(COUNTERS)], axis=-1)
                group.create_dataset(name, data=counts, **(PACKED if counts.size else {}))
            file.create_dataset("active", data=np.stack(self._active), **PACKED)
            if self._last is not None:
                events = self._last.events.astype(np.int32)
                file.create_dataset("last_token", data=events, **(PACKED if events.size else {}))

        write_sealed(path, FORMAT, fill)


def tokens_read(generation: Generation) -> IntArray:
    """(rows of the ledger,) int64: place of the token that each row read, -1 for a position of the prefix.

    A full context that slides is read again from its newest half on. The last token is chosen, but never read.
    """
    before, context = [-1] * len(generation.prefix), generation.network.context
    read = [*before, *range(len(generation.prompt))]
    position = len(read)
    for token in range(len(generation.prompt), len(generation.tokens) - 1):
        if context is not None and position >= context:
            kept = max(1, context // 2 - len(before))
            again = [*before, *range(max(0, token + 1 - kept), token + 1)]
            read += again
            position = len(again)
        else:
            read.append(token)
            position += 1
    return np.array(read, dtype=np.int64)


def _about(
    generation: Generation, certificate: Certificate | None, code: str, model: str, command: str, last: LastToken | None
) -> About:
    engine, network = generation.engine, generation.network
    stream = Text(network).stream() if network.tokenizer is not None else None
    ticked = isinstance(engine, TickedEngine)
    return About(
        pieces=[f"[{token}] " if stream is None else stream.put(token) for token in generation.tokens],
        prompt=len(generation.prompt),
        stopped=generation.stopped or "",
        slides=generation.slides,
        engine="ticked" if ticked else "settled",
        schedule=engine.schedule if isinstance(engine, TickedEngine) else "",
        exact=engine.exact,
        code=code,
        sent=engine.spikes is not None,
        network=network.digest,
        model=model,
        populations=[[population.name, population.size] for population in network.populations],
        projections=len(network.projections),
        provenance=network.provenance,
        prefill_rate=generation.prefill_rate,
        generate_rate=generation.generate_rate,
        certificate=None if certificate is None else asdict(certificate),
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={"snngen": snngen.__version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", "numba", "h5py", "tokenizers")},
        machine={"processor": machine.processor(), "system": platform.platform()},
        last_events=0 if last is None else last.count,
        last_ticks=0 if last is None else last.ticks,
        last_every=1 if last is None else last.every,
    )


def read_saved_run(path: str | Path) -> SavedRun:
    """Read a saved run; its checksum, sizes and values are checked, and nothing in it is run.

    raises: FormatError for a file that is absent, foreign, damaged, of another version or inconsistent.
    """
    run: SavedRun = read_sealed(path, FORMAT, MADE_BY, _take)
    return run


def _take(file: h5py.File, where: str, size: int) -> SavedRun:
    if file.attrs.get("format") != FORMAT or int(file.attrs["version"]) != VERSION:
        got = f"{file.attrs.get('format')!r} version {file.attrs.get('version')}"
        raise FormatError(where, got, f"{FORMAT!r} version {VERSION}", "Use the snngen that wrote it")
    try:
        about = _checked(json.loads(numbers(file["about"], where, size).tobytes()))
        certificate = _certificate(about.certificate)
        with open(where, "rb") as plain:
            seal = plain.readline(512).decode().split()[-1]
        group, last = file["ledger"], None
        if about.sent:
            last = _integers(file, "last_token", (None, 4), where, size)
        run = SavedRun(
            Path(where),
            seal,
            about,
            certificate,
            _integers(file, "tokens", (len(about.pieces),), where, size),
            _integers(group, "phase", (None,), where, size),
            _integers(group, "token", (len(group["phase"]),), where, size),
            _integers(group, "ticks", (len(group["phase"]),), where, size),
            _integers(group, "populations", (len(group["phase"]), len(about.populations), COUNTERS), where, size),
            _integers(group, "projections", (len(group["phase"]), about.projections, COUNTERS), where, size),
            _integers(file, "active", (len(about.pieces) - about.prompt, None), where, size),
            last,
        )
    except SnngenError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(where, f"a damaged run ({error})", MADE_BY, "Save or copy it again") from error
    _check_values(run, where)
    return run


_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "list": list,
    "dict": dict,
}


def _checked(told: dict[str, Any]) -> About:
    """The JSON of a run, each value of the kind that it should have; ValueError says which is not."""
    for part in fields(About):
        kind = _KINDS[str(part.type).split("[")[0]]
        value = told[part.name]
        if part.name == "certificate" and value is None:
            continue
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{part.name} is {type(value).__name__}")
    about = About(**told)
    named = all(
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and type(entry[1]) is int
        for entry in about.populations
    )
    if not named or not about.populations or min(size for _, size in about.populations) < 1:
        raise ValueError("populations without name and size")
    if not all(isinstance(piece, str) for piece in about.pieces) or not 0 <= about.prompt < len(about.pieces):
        raise ValueError("pieces of text that do not fit the prompt")
    for named_values in (about.versions, about.machine):
        if not all(isinstance(value, str) for value in named_values.values()):
            raise ValueError("versions or machine that are no text")
    return about


def _certificate(told: dict[str, Any] | None) -> Certificate | None:
    if told is None:
        return None
    first = None if told["first"] is None else Mismatch(**told["first"])
    certificate = Certificate(**{**told, "first": first})
    counts = [certificate.tokens, certificate.populations, certificate.codes, certificate.logits]
    counts += [certificate.mismatches, certificate.decided]
    if any(type(count) is not int or count < 0 for count in counts) or (first is None) != (certificate.mismatches == 0):
        raise ValueError("a certificate whose counts do not hold")
    if not isinstance(certificate.network, str) or not isinstance(certificate.prompt, str):
        raise ValueError("a certificate without digests")
    return certificate


def _integers(group: Any, name: str, shape: tuple[int | None, ...], where: str, size: int) -> Any:
    """The integers in a dataset of that shape, None standing for any length."""
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iu" or len(dataset.shape) != len(shape):
        raise FormatError(where, f"{name} that is no table of integers", str(shape))
    if any(want is not None and want != got for want, got in zip(shape, dataset.shape, strict=True)):
        raise FormatError(where, f"{name} of shape {dataset.shape}", str(shape))
    return numbers(dataset, where, size)


def _check_values(run: SavedRun, where: str) -> None:
    sizes = np.array([size for _, size in run.about.populations], dtype=np.int64)
    if run.active.dtype != np.uint8 or run.active.shape[1] != -(-int(sizes.sum()) // 8):
        raise FormatError(where, f"active of shape {run.active.shape}", f"one bit for each of {sizes.sum()} neurons")
    counts = (run.tokens, run.ticks, run.populations, run.projections)
    if any(part.min(initial=0) < 0 for part in counts) or run.phases.max(initial=0) >= len(PHASES):
        raise FormatError(where, "counts below 0, or an unknown phase", "those of a run")
    if not len(run.phases) or not -1 <= run.read.min() <= run.read.max() < len(run.tokens):
        raise FormatError(where, "rows of tokens that there are not", f"0..{len(run.tokens) - 1}, or -1")
    if PHASES[int(run.phases[0])] != PREFILL:
        raise FormatError(where, "a run that begins without its prompt", f"{PREFILL} first")
    expected = 0 if run.last is None else -(-run.about.last_events // max(1, run.about.last_every))
    if run.about.last_every < 1 or (run.last is not None and len(run.last) != expected):
        raise FormatError(where, "another number of spikes than it says", f"{expected} of the last token")
    if run.last is not None and len(run.last):
        ticks, places, neurons = (run.last[:, column] for column in (TICK, POPULATION, NEURON))
        inside = 0 <= places.min() <= places.max() < len(sizes) and ticks.min() >= 0
        if not inside or neurons.min() < 0 or (neurons >= sizes[places]).any():
            raise FormatError(where, "spikes outside their populations", "spikes of this run")
