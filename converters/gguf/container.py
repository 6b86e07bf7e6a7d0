"""The container of GGUF files: metadata and where the tensors lie, every size held against the file before it is used.

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version, number of tensors, number of keys;
then each key with type and value; then each tensor's name, shape (innermost first), type and offset; then the data.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.operations import Floats
from snngen.errors import FormatError, UnsupportedError

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # version 1 counts in 32 bits
HEADER_BYTES = 24
METADATA_LIMIT = 2**28  # bytes of keys, values and tensor names; the largest vocabularies take 2**24
COUNT_LIMIT = 2**16  # keys, tensors; real files have thousands
LARGEST = 2**24  # no dimension of a real model is beyond
AXES = 4  # that a tensor may have
ALIGNMENT, ALIGNED = "general.alignment", 32  # bytes, where the file says nothing
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
PLAIN = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # types without blocks


@dataclass(frozen=True, eq=False)
class Entry:
    """A tensor as it is declared. shape: outermost axis first. kind: the type's name. raw: its bytes, (n,) uint8."""

    name: str
    shape: tuple[int, ...]
    kind: str
    raw: npt.NDArray[np.uint8]

    @property
    def in_blocks(self) -> bool:
        """True where blocks of weights share a scale."""
        return self.kind not in PLAIN


@dataclass(frozen=True, eq=False)
class Container:
    """What a file declares. metadata: key -> str, int, float, bool, list of str, or array. tensors: in file order."""

    metadata: dict[str, Any]
    tensors: list[Entry]


def read(path: Path) -> Container:
    """Read the header of a GGUF file; the tensors' bytes stay in the file until they are used.

    raises: FormatError for whatever is damaged or beyond the limits; UnsupportedError without the package `gguf`.
    """
    size = path.stat().st_size
    if size < HEADER_BYTES:
        raise FormatError(str(path), f"{size} bytes", f"at least the {HEADER_BYTES} of a header", "Is it truncated?")
    cursor = _Cursor(np.memmap(path, dtype=np.uint8, mode="r"), str(path))
    magic, version, tensors, keys = struct.unpack("<4sIQQ", cursor.take(HEADER_BYTES))
    if magic != MAGIC or version not in VERSIONS:
        expected = f"{MAGIC!r}, version {' or '.join(map(str, VERSIONS))}, little-endian"
        raise FormatError(str(path), f"{magic!r}, version {version}", expected)
    if max(tensors, keys) > COUNT_LIMIT:
        raise FormatError(str(path), f"{tensors} tensors and {keys} keys", f"at most {COUNT_LIMIT} of each")
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        name = cursor.text()
        if name in metadata:
            raise FormatError(f"{path}: {name:.80}", "the key more than once", "every key once")
        metadata[name] = cursor.value(name)
    declared = [_declared(cursor) for _ in range(tensors)]
    alignment = metadata.get(ALIGNMENT, ALIGNED)
    if type(alignment) is not int or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise FormatError(f"{path}: {ALIGNMENT}", f"{alignment!r:.60}", "a power of two up to 2**20")
    start = -(-cursor.at // alignment) * alignment
    return Container(metadata, _placed(declared, cursor.data[start:], alignment, str(path)))


def write(path: Path, metadata: dict[str, Any], tensors: list[tuple[str, Floats, str]]) -> None:
    """Write a GGUF file of version 3.

    metadata: key -> str, bool, int (unsigned, 32 bits), float (32 bits), list of str, or array of int32 or float32.
    tensors: name, values, type; rows of a type in blocks must be multiples of its block.
    """
    gguf = _gguf()
    packed = [gguf.quantize(values, gguf.GGMLQuantizationType[kind]) for _, values, kind in tensors]
    header = [struct.pack("<4sIQQ", MAGIC, VERSIONS[-1], len(tensors), len(metadata))]
    for name, value in metadata.items():
        header += [_text(name), _value(value)]
    offset = 0
    for (name, values, kind), blocks in zip(tensors, packed, strict=True):
        number = gguf.GGMLQuantizationType[kind]
        header.append(_text(name) + struct.pack(f"<I{values.ndim}Q", values.ndim, *values.shape[::-1]))
        header.append(struct.pack("<IQ", number, offset))
        offset += -(-blocks.nbytes // ALIGNED) * ALIGNED
    with path.open("wb") as file:
        for part in (b"".join(header), *(blocks.tobytes() for blocks in packed)):
            file.write(part.ljust(-(-len(part) // ALIGNED) * ALIGNED, b"\0"))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    """Type and value of a metadata key."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_text, value))
    if isinstance(value, np.ndarray):
        kind = {"<i4": 5, "<f4": 6}[value.dtype.str]
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + value.tobytes()
    kind = {bool: 7, int: 4, float: 6}[type(value)]
    return struct.pack("<I", kind) + struct.pack(SCALARS[kind], value)


def floats(entry: Entry) -> Floats:
    """The values of a tensor as float32; a view of the file where they are float32 there."""
    if entry.kind == "BF16":  # the upper half of a float32
        return (entry.raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
    if entry.kind in PLAIN:
        values = np.require(entry.raw.view(PLAIN[entry.kind]), dtype=np.float32, requirements="A")
        return np.asarray(values).reshape(entry.shape)
    gguf = _gguf()
    rows = np.ascontiguousarray(entry.raw).reshape(math.prod(entry.shape[:-1]), -1)
    with np.errstate(all="ignore"):  # whoever takes the tensor refuses what is not finite
        values = gguf.dequantize(rows, gguf.GGMLQuantizationType[entry.kind])
    return np.asarray(values, dtype=np.float32).reshape(entry.shape)


def block_sizes() -> dict[int, tuple[str, int, int]]:
    """Of every type by number: its name, the weights of a block and its bytes.

    raises: UnsupportedError without the package `gguf`.
    """
    return {int(kind): (kind.name, *sizes) for kind, sizes in _gguf().GGML_QUANT_SIZES.items()}


def _gguf() -> Any:
    """The package `gguf`, or UnsupportedError."""
    try:
        import gguf
    except ImportError as error:
        raise UnsupportedError("GGUF", "no package gguf", "it", "pip install 'snngen[gguf]'") from error
    return gguf


def dequantizable(kind: str) -> bool:
    """True for a type whose weights become floats."""
    if kind in PLAIN:
        return True
    gguf = _gguf()
    number = gguf.GGMLQuantizationType[kind]
    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[number][1]), np.uint8), number)
    except NotImplementedError:
        return False
    return True


class _Cursor:
    """Reads values one after the other, never beyond the file or the limit."""

    def __init__(self, data: np.memmap, where: str) -> None:
        self.data, self.where, self.at = data, where, 0
        self.limit = min(len(data), METADATA_LIMIT)

    def require(self, count: int, what: str) -> None:
        if count > self.limit - self.at:
            raise FormatError(
                self.where,
                f"{what} of {count} bytes at {self.at}",
                f"at most {self.limit - self.at}",
                "Is it truncated?",
            )

    def take(self, count: int, what: str = "a value") -> bytes:
        self.require(count, what)
        taken = self.data[self.at : self.at + count].tobytes()
        self.at += count
        return taken

    def number(self, layout: str) -> Any:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return value

    def text(self) -> str:
        taken = self.take(self.number("<Q"), "a text")
        try:
            return taken.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(self.where, f"{error} in a text before byte {self.at}", "UTF-8 text") from error

    def value(self, name: str) -> Any:
        kind = self.number("<I")
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise FormatError(f"{self.where}: {name:.80}", f"type {kind}", f"0..{max(SCALARS)}")
        kind, count = self.number("<I"), self.number("<Q")
        if count > LARGEST or (kind != STRING and kind not in SCALARS):
            raise FormatError(
                f"{self.where}: {name:.80}", f"{count} values of type {kind}", f"at most {LARGEST}, plain"
            )
        if kind == STRING:
            self.require(8 * count, f"{name:.80}: texts")  # of length 0 each
            return [self.text() for _ in range(count)]
        layout = np.dtype(SCALARS[kind])
        return np.frombuffer(self.take(count * layout.itemsize, f"{name:.80}: an array"), dtype=layout)


def _declared(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, type and offset of a tensor."""
    name = cursor.text()
    axes = cursor.number("<I")
    if not 1 <= axes <= AXES:
        raise FormatError(f"{cursor.where}: {name:.80}", f"{axes} axes", f"1..{AXES}")
    shape = struct.unpack(f"<{axes}Q", cursor.take(8 * axes))
    if not all(0 < size <= LARGEST for size in shape):
        raise FormatError(f"{cursor.where}: {name:.80}", f"shape {shape}", f"sizes of 1..{LARGEST}")
    return name, shape[::-1], cursor.number("<I"), cursor.number("<Q")


def _placed(
    declared: list[tuple[str, tuple[int, ...], int, int]], data: npt.NDArray[np.uint8], alignment: int, where: str
) -> list[Entry]:
    """The tensors with their bytes, which lie inside the file and do not overlap: memory is bounded by the file."""
    sizes = block_sizes()
    entries: dict[str, Entry] = {}
    spans = []
    for name, shape, number, offset in declared:
        at = f"{where}: {name:.80}"
        if number not in sizes:
            raise FormatError(at, f"type {number}", f"one of {sorted(sizes)}")
        if name in entries:
            raise FormatError(at, "the tensor more than once", "every tensor once")
        kind, block, taken = sizes[number]
        if shape[-1] % block:
            raise FormatError(at, f"rows of {shape[-1]}", f"multiples of {block}, the block of {kind}")
        length = math.prod(shape) // block * taken
        if offset % alignment or offset + length > len(data):
            expected = f"multiples of {alignment} within {len(data)} bytes"
            raise FormatError(at, f"{length} bytes at {offset}", expected, "Is the file truncated?")
        spans.append((offset, offset + length, name))
        entries[name] = Entry(name, shape, kind, data[offset : offset + length])
    spans.sort()
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise FormatError(where, f"{first:.80} and {second:.80} in the same bytes", "tensors that do not overlap")
    return list(entries.values())
