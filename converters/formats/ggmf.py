"""rwkv.cpp checkpoints (`ggmf`): float32, float16, and the blocks Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

Source of the layout: https://github.com/RWKV/rwkv.cpp, docs/FILE_FORMAT.md, versions 100 and 101.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.operations import Floats
from snngen.converters.tokenizer import byte_level
from snngen.errors import FormatError, UnsupportedError

MAGIC = b"fmgg"  # 0x67676d66, little end first
HEADER = struct.Struct("<4siiiii")
LARGEST = 2**24  # no dimension of a real model is beyond
LONGEST_NAME = 256
TOKENIZER_LIMIT = 2**28  # bytes
FLOATS: dict[int, np.dtype[np.floating[Any]]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
BLOCKS = {2: "Q4_0", 3: "Q4_1", 7: "Q5_0", 8: "Q5_1", 9: "Q8_0"}  # rwkv.cpp's numbers are not ggml's
BLOCK = 32  # weights in a block of each of them
BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}

# What rwkv.cpp turned around for RWKV-7 is turned back; tensors get the names and shapes of RWKV-LM.
MIXES = ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g")
TURNED = ("w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2")


@dataclass(frozen=True)
class Parameter:
    """One tensor as the file declares it: name, shape outermost first, data type, and where its bytes lie."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


def recognizes(path: Path) -> bool:
    """True for a .bin file that begins with the magic."""
    if not path.is_file() or path.suffix != ".bin":
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read an rwkv.cpp checkpoint; tensors of RWKV-7 get RWKV-LM's names and shapes.

    tokenizer: a `tokenizers` JSON file; a model of 256 tokens has bytes for tokens and needs none.
    raises: FormatError where magic, version, sizes, names or length are wrong.
    """
    where, size = str(path), path.stat().st_size
    if size < HEADER.size:
        raise FormatError(where, f"{size} bytes", f"at least the {HEADER.size} of a header", "Is the file truncated?")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    magic, version, vocabulary, dim, layers, kind = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC or version not in (100, 101):
        raise FormatError(where, f"magic {magic!r}, version {version}", f"{MAGIC!r} and version 100 or 101")
    if not all(0 < value < LARGEST for value in (vocabulary, dim, layers)):
        got = f"vocabulary {vocabulary}, {dim} channels, {layers} layers"
        raise FormatError(where, got, "positive sizes of a real model", "Is this an rwkv.cpp checkpoint?")
    if kind not in FLOATS and kind not in BLOCKS:
        raise FormatError(where, f"data type {kind}", f"one of {sorted((*FLOATS, *BLOCKS))}")
    tensors: dict[str, Floats] = {}
    types: set[str] = set()
    for parameter in _parameters(data, where):
        if parameter.name in tensors:
            raise FormatError(f"{where}: {parameter.name}", "the same name twice", "every tensor once")
        if parameter.kind in BLOCKS:
            types.add(BLOCKS[parameter.kind])
            if version == 100:
                got = f"{BLOCKS[parameter.kind]} in version 100"
                raise FormatError(f"{where}: {parameter.name}", got, "version 101", "quantize the float file again")
        tensors[parameter.name] = _values(data, parameter)
    embedding = tensors.get("emb.weight")
    if embedding is None or embedding.shape != (vocabulary, dim):
        got = "no such tensor" if embedding is None else f"shape {embedding.shape}"
        raise FormatError(f"{where}: emb.weight", got, f"{(vocabulary, dim)}, as the header says")
    generation = _generation(tensors)
    return Checkpoint(
        source=where,
        format="ggmf",
        digest=digest_files([path]),
        config={
            "model_type": generation,
            "vocab_size": vocabulary,
            "hidden_size": dim,
            "num_hidden_layers": layers,
        },
        tensors=_restored(tensors, where) if generation == "rwkv7" else tensors,
        tokenizer=_tokenizer(tokenizer, vocabulary),
        notes=[
            f"the source holds {', '.join(sorted(types))} weights with a float scale per {BLOCK}; thresholds carry "
            "one scale per output neuron, so they were dequantized and quantized again"
        ]
        if types
        else [],
    )


def _parameters(data: npt.NDArray[np.uint8], where: str) -> Iterator[Parameter]:
    """Every tensor that the file declares, in order; sizes are checked against what is there."""
    at = HEADER.size

    def take(count: int, what: str) -> bytes:
        nonlocal at
        if count > len(data) - at:
            raise FormatError(where, f"{len(data) - at} bytes for {what}", f"{count}", "Is the file truncated?")
        at += count
        return data[at - count : at].tobytes()

    while at < len(data):
        begin = at
        rank, length, kind = struct.unpack("<3i", take(12, "a tensor's header"))
        if not 1 <= rank <= 4 or not 1 <= length <= LONGEST_NAME or (kind not in FLOATS and kind not in BLOCKS):
            got = f"at byte {begin} a tensor of {rank} dimensions, a name of {length} bytes, data type {kind}"
            expected = f"1..4, 1..{LONGEST_NAME}, one of {sorted((*FLOATS, *BLOCKS))}"
            raise FormatError(where, got, expected, "Is the file damaged?")
        shape = struct.unpack(f"<{rank}i", take(4 * rank, "a tensor's shape"))[::-1]
        try:
            name = take(length, "a tensor's name").decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(where, f"at byte {begin} a name that is not UTF-8", "UTF-8 text") from error
        if not all(0 < extent < LARGEST for extent in shape):
            raise FormatError(f"{where}: {name!r:.80}", f"shape {shape}", "positive sizes of a real model")
        count = math.prod(shape)
        if kind in BLOCKS and shape[-1] % BLOCK:
            raise FormatError(f"{where}: {name!r:.80}", f"rows of {shape[-1]} in {BLOCKS[kind]}", f"whole {BLOCK}s")
        size = count * FLOATS[kind].itemsize if kind in FLOATS else count // BLOCK * BLOCK_BYTES[BLOCKS[kind]]
        if size > len(data) - at:
            got = f"{len(data) - at} bytes for shape {shape}"
            raise FormatError(f"{where}: {name!r:.80}", got, f"{size}", "Is the file truncated?")
        yield Parameter(name, shape, kind, at, size)
        at += size


def _values(data: npt.NDArray[np.uint8], parameter: Parameter) -> Floats:
    """The tensor in float32."""
    piece = data[parameter.start : parameter.start + parameter.size]
    if parameter.kind in FLOATS:
        return np.array(piece.view(FLOATS[parameter.kind]).reshape(parameter.shape), dtype=np.float32)
    try:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize
    except ImportError as error:
        got = f"a tensor in {BLOCKS[parameter.kind]}, without the package gguf"
        raise UnsupportedError(parameter.name, got, "gguf", "pip install gguf") from error
    with np.errstate(over="ignore", invalid="ignore"):  # whoever takes the tensor refuses what is not finite
        flat = dequantize(np.array(piece), GGMLQuantizationType[BLOCKS[parameter.kind]])
    return np.asarray(flat, dtype=np.float32).reshape(parameter.shape)


def _generation(tensors: dict[str, Floats]) -> str:
    """Which RWKV it is, by the tensors that each generation brought."""
    for name, generation in (("k_k", "rwkv7"), ("time_maa_x", "rwkv6"), ("ln_x.weight", "rwkv5")):
        if f"blocks.0.att.{name}" in tensors:
            return generation
    return "rwkv4"


def _restored(tensors: dict[str, Floats], where: str) -> dict[str, Floats]:
    """RWKV-LM's names and shapes: the six mixes apart, low-rank maps as x @ a @ b."""
    restored: dict[str, Floats] = {}
    for name, tensor in tensors.items():
        head, _, last = name.rpartition(".")
        if last == "x_rwkvag":
            if tensor.ndim != 3 or tensor.shape[:2] != (len(MIXES), 1):
                raise FormatError(f"{where}: {name}", f"shape {tensor.shape}", "(6, 1, channels)")
            values = {f"{head}.{mix}": tensor[index : index + 1] for index, mix in enumerate(MIXES)}
        elif last in TURNED and head.endswith(".att"):
            values = {name: tensor.T}
        else:
            values = {name: tensor}
        if twice := restored.keys() & values.keys():
            raise FormatError(f"{where}: {name}", f"{sorted(twice)} a second time", "every tensor once")
        restored |= values
    return restored


def _tokenizer(path: Path | None, vocabulary: int) -> str | None:
    """The tokenizer given, the bytes where 256 tokens are all there are, or none."""
    if path is None:
        return byte_level() if vocabulary == 256 else None
    if not path.is_file() or path.stat().st_size > TOKENIZER_LIMIT:
        raise FormatError(str(path), "no file, or a huge one", f"a tokenizer.json of at most {TOKENIZER_LIMIT} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise FormatError(str(path), str(error), "a tokenizer.json of the library `tokenizers`") from error
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    if not 0 < size <= vocabulary:
        raise FormatError(str(path), f"{size} tokens", f"1..{vocabulary}, the model's vocabulary", "Are they a pair?")
    return text
