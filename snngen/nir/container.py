"""Container: NIR's HDF5 files as nested dictionaries, in memory that the size of the file bounds.

Files that snngen writes begin (HDF5's user block, which every reader skips) with a line that holds the SHA-256 of all
that follows. It is verified before HDF5 sees a byte: on a damaged file the library may take the process down. In files
of others there is nothing to verify; every object is checked before it is read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from snngen.aside import written_aside
from snngen.errors import FormatError, SnngenError

Tree: TypeAlias = dict[str, Any]

SEAL, SEAL_BYTES = "snngen nir", 512
SIGNATURE = b"\x89HDF\r\n\x1a\n"
INFLATED = 1100  # deflate never packs better than 1032 to 1, so a larger claim is a lie
SMALLEST = 2**20  # bytes that any file may be worth
TEXT = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])  # HDF5's reference to a text
DEEPEST, MOST = 24, 2**18  # levels of groups, objects
DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
)


def read_tree(path: str | Path) -> Tree:
    """The groups and datasets of a file: text as str, numbers as they are stored.

    raises: FormatError for a file that is absent, foreign or damaged, or that claims more than it can hold.
    """
    path, where = Path(path), str(path)
    if not path.is_file():
        raise FormatError(where, "no such file", "a NIR file")
    _check_seal(path)
    try:
        with h5py.File(path, "r") as file:
            return _Walk(where, path.stat().st_size).group(file, "", 0)
    except SnngenError:
        raise
    except DAMAGE as error:  # whatever h5py says of bytes that are not what they should be
        raise FormatError(where, f"a damaged file ({error})", "a whole NIR file") from error


def write_tree(tree: Tree, path: str | Path) -> None:
    """Write nested dictionaries of str, numbers and arrays, uncompressed, and the checksum before them.

    raises: FormatError where the path cannot be written.
    """
    with written_aside(Path(path)) as aside:
        with h5py.File(aside, "w", userblock_size=SEAL_BYTES) as file:
            _write(file, tree)
        with aside.open("r+b") as raw:
            raw.seek(SEAL_BYTES)
            line = _seal(raw.read())
            raw.seek(0)
            raw.write(line.ljust(SEAL_BYTES, b"\0"))


def _seal(contents: bytes) -> bytes:
    return f"{SEAL}, sha256 {hashlib.sha256(contents).hexdigest()}\n".encode()


def _check_seal(path: Path) -> None:
    where = str(path)
    with path.open("rb") as file:
        head = file.read(SEAL_BYTES)
        if not head.startswith(SEAL.encode()):
            if not head.startswith(SIGNATURE):
                raise FormatError(where, "no HDF5 file", "a NIR file, as `nir.write` makes it")
            return
        if head.rstrip(b"\0") != _seal(file.read()):
            mend = "The file was changed or damaged after it was written: export or copy it again"
            raise FormatError(where, "contents that do not match their checksum", "a whole NIR file", mend)


def _write(group: Any, tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _write(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        elif isinstance(value, list):  # edges: pairs of names
            pairs = np.array(value, dtype=object).reshape(-1, 2)
            group.create_dataset(name, data=pairs, dtype=h5py.string_dtype())
        elif value is not None:
            group.create_dataset(name, data=value)


@dataclass
class _Walk:
    """Reads a file, object by object. where: for messages. size: bytes of the file."""

    where: str
    size: int
    left: int = field(init=False)
    seen: set[int] = field(default_factory=set)
    heaps: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = max(SMALLEST, INFLATED * self.size)

    def group(self, group: Any, at: str, depth: int) -> Tree:
        self._once(group, at)
        if depth > DEEPEST:
            raise FormatError(f"{self.where}:{at}", f"more than {DEEPEST} levels of groups", "fewer")
        tree: Tree = {}
        for name in group:
            inner = f"{at}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FormatError(f"{self.where}:{inner}", "a link", "what it leads to, in the file itself")
            item = group[name]
            if isinstance(item, h5py.Group):
                tree[name] = self.group(item, inner, depth + 1)
            elif isinstance(item, h5py.Dataset):
                tree[name] = self._dataset(item, inner)
            else:
                raise FormatError(f"{self.where}:{inner}", type(item).__name__, "groups and datasets")
        return tree

    def _once(self, item: Any, at: str) -> None:
        """Refuse an object that is reached twice: a loop, or memory that is read again and again."""
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in self.seen or len(self.seen) >= MOST:
            raise FormatError(f"{self.where}:{at}", "an object that stands there twice, or too many", f"at most {MOST}")
        self.seen.add(address)

    def _spend(self, count: int, at: str) -> None:
        self.left -= count
        if self.left < 0:
            got = f"more data than a file of {self.size} bytes can hold"
            raise FormatError(f"{self.where}:{at}", got, "a size that it can")

    def _dataset(self, dataset: Any, at: str) -> Any:
        self._once(dataset, at)
        if dataset.external or dataset.is_virtual:
            raise FormatError(f"{self.where}:{at}", "data in other files", "data in the file itself")
        kind = dataset.dtype.kind
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return self._text(dataset, at)
        if kind not in "iufb" or dataset.shape is None:
            raise FormatError(f"{self.where}:{at}", f"data of type {dataset.dtype}", "numbers or text")
        self._spend(dataset.nbytes, at)
        return dataset[()]

    def _text(self, dataset: Any, at: str) -> Any:
        """str, or an array of str."""
        if dataset.shape is None or dataset.ndim > 2:
            raise FormatError(f"{self.where}:{at}", f"text of shape {dataset.shape}", "(), (n,) or (n, 2)")
        self._spend(dataset.nbytes, at)
        if dataset.dtype.kind != "O" or dataset.size == 0:
            return dataset.asstr()[()]
        offset = dataset.id.get_offset()
        if offset is None or dataset.id.get_storage_size() != TEXT.itemsize * dataset.size:
            raise FormatError(f"{self.where}:{at}", "text in pieces, or none", "text as `nir.write` lays it out")
        found = self._raw(offset, TEXT.itemsize * dataset.size)
        base = dataset.file.userblock_size
        texts = [
            self._lookup(int(ref["address"]) + base, int(ref["index"]), int(ref["length"])) for ref in found.view(TEXT)
        ]
        self._spend(sum(len(text) for text in texts), at)
        return texts[0] if dataset.shape == () else np.array(texts, dtype=object).reshape(dataset.shape)

    def _raw(self, offset: int, count: int) -> Any:
        """(count,) uint8 of the file."""
        with open(self.where, "rb") as raw:
            raw.seek(min(offset, self.size))
            found = np.frombuffer(raw.read(min(count, self.size)), dtype=np.uint8)
        if found.size != count:
            raise FormatError(self.where, "data beyond its end", "a whole NIR file")
        return found

    def _lookup(self, address: int, index: int, length: int) -> str:
        """A text in a global heap: HDF5's own search may not end on a damaged one."""
        if length == 0:
            return ""
        if address not in self.heaps:
            head = self._raw(address, 16)
            size = int(head[8:].view("<u8")[0])
            if head[:4].tobytes() != b"GCOL" or size > self.size:
                raise FormatError(self.where, "a damaged heap of texts", "a whole NIR file")
            self._spend(size, "")
            heap, place, objects = self._raw(address, size).tobytes(), 16, {}
            while place + 16 <= size:
                number, extent = int.from_bytes(heap[place : place + 2], "little"), heap[place + 8 : place + 16]
                if number == 0:
                    break
                end = place + 16 + int.from_bytes(extent, "little")
                objects[number] = heap[place + 16 : end]
                place = (end + 7) // 8 * 8
            self.heaps[address] = objects
        if length > len(self.heaps[address].get(index, b"")):
            raise FormatError(self.where, "a text that is not there", "a whole NIR file")
        return self.heaps[address][index][:length].decode("utf-8")
