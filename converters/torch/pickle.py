"""torch's files, looked through before torch reads them: what they name, and whether what they declare is there.

The pickle is never run here: its opcodes are followed on a stack of symbols. Only the names that a state dict needs are
let through; every storage has to lie in the file whole, and every tensor in its storage. `torch.load` then allocates no
more than the file has bytes.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snngen.errors import FormatError, UnsupportedError

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."  # magic number and protocol version, pickled
LARGEST_PICKLE = 8 * 2**20  # bytes; the structure of a model, without its weights, has some hundred kilobytes at most
ITEM = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip
STORAGES = {f"torch {kind}Storage": size for kind, size in ITEM.items()}
TENSOR, PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
NAMES = {*STORAGES, TENSOR, PARAMETER, "collections OrderedDict", "torch Size", "torch device"}


@dataclass(frozen=True)
class Storage:
    """Bytes that a pickle says lie elsewhere in the file."""

    key: str
    count: int
    item: int


@dataclass(frozen=True)
class Name:
    """A global name of Python, not looked up."""

    text: str


# Symbols on the stack: a mark, a tensor, and anything else whose value does not matter.
MARK, TENSOR_VALUE, OTHER = object(), object(), object()


@dataclass
class Structure:
    """What a pickle declares.

    storages: by key. strings: of lists, such as the keys at the end of old files. foreign: names that are refused.
    """

    where: str
    storages: dict[str, Storage] = field(default_factory=dict)
    strings: list[str] = field(default_factory=list)
    foreign: dict[str, None] = field(default_factory=dict)


def recognizes(path: Path) -> bool:
    """True for a file that begins like one of torch's."""
    with path.open("rb") as file:
        start = file.read(len(LEGACY))
    return start.startswith(ZIP) or start == LEGACY


def inspect(path: Path) -> None:
    """Look through a file of `torch.save`, new or old.

    raises: FormatError where it is damaged or declares more than it holds; UnsupportedError where it holds anything
    but tensors, numbers, texts and containers of these.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(LEGACY))
    if start.startswith(ZIP):
        _inspect_archive(path, size)
    elif start == LEGACY:
        _inspect_legacy(path, size)
    else:
        raise FormatError(str(path), f"a file that begins with {start[:8]!r}", "a file of torch.save", "Is it whole?")


def _inspect_archive(path: Path, size: int) -> None:
    """A zip archive: nothing compressed, nothing twice, nothing beyond the file."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_directory(path, size, archive.start_dir)
            _check_members(where, members, size)
            by_name = {member.filename: member for member in members}
            pickles = [name for name in by_name if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1:
                raise FormatError(where, f"{len(pickles)} pickles named data.pkl", "one", "Is it a file of torch.save?")
            if by_name[pickles[0]].file_size > LARGEST_PICKLE:
                got = f"a pickle of {by_name[pickles[0]].file_size} bytes"
                raise FormatError(where, got, f"at most {LARGEST_PICKLE}, without the weights")
            data = archive.read(pickles[0])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        raise FormatError(where, f"{error!s:.200}", "a whole zip archive of torch.save", "Is it truncated?") from error
    structure = Structure(where)
    _follow(pickletools.genops(data), structure)
    _refuse_foreign(structure)
    folder = pickles[0].removesuffix("data.pkl")
    for storage in structure.storages.values():
        member = by_name.get(f"{folder}data/{storage.key}")
        held = -1 if member is None else member.file_size
        if held != storage.count * storage.item:
            got = f"storage {storage.key:.40} of {storage.count} x {storage.item} bytes; the file holds {held}"
            raise FormatError(where, got, "as many bytes as declared", "Is it damaged?")


def _check_directory(path: Path, size: int, start: int) -> None:
    """The central directory that every reader finds: at the very end, and where it says that it is."""
    with path.open("rb") as file:
        file.seek(max(0, size - 22))
        end = file.read(22)
    signature, *_, offset, comment = struct.unpack("<4s4H2LH", end) if len(end) == 22 else (b"", 0, 0)
    if signature != b"PK\x05\x06" or comment or offset not in (start, 0xFFFFFFFF):
        raise FormatError(str(path), "bytes around its zip archive", "an archive and nothing else", "Is it damaged?")


def _check_members(where: str, members: list[zipfile.ZipInfo], size: int) -> None:
    if len({member.filename for member in members}) < len(members):
        raise FormatError(where, "two members of one name", "names that differ")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise FormatError(where, f"{member.filename:.60} compressed", "members as they are, as torch.save writes")
    total = sum(member.file_size for member in members)
    if total > size:
        raise FormatError(where, f"members of {total} bytes in a file of {size}", "members that do not overlap")


def _inspect_legacy(path: Path, size: int) -> None:
    """Pickles one after the other: system, object, keys of storages; then their bytes in the order of the keys."""
    where = str(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        data.seek(len(LEGACY))
        stream: Any = data  # a file, for whoever reads pickles
        _follow(pickletools.genops(stream), Structure(where))  # sizes of numbers on the machine that wrote it
        structure, keys = Structure(where), Structure(where)
        _follow(pickletools.genops(stream), structure)
        _refuse_foreign(structure)
        _follow(pickletools.genops(stream), keys)
        if sorted(keys.strings) != sorted(structure.storages):
            got = f"bytes of {len(keys.strings)} storages for {len(structure.storages)}"
            raise FormatError(where, got, "each storage once", "Is it damaged?")
        at = data.tell()
        for key in keys.strings:
            storage = structure.storages[key]
            count = int.from_bytes(data[at : at + 8], "little", signed=True) if at + 8 <= size else -1
            at += 8 + storage.count * storage.item
            if count != storage.count or at > size:
                got = f"storage {key:.40} of {count} numbers, declared as {storage.count}, in {size} bytes"
                raise FormatError(where, got, "as many as declared", "Is it truncated?")


def _refuse_foreign(structure: Structure) -> None:
    if structure.foreign:
        raise UnsupportedError(
            structure.where,
            f"a pickle that names {', '.join(name.replace(' ', '.') for name in list(structure.foreign)[:6])}",
            "tensors, numbers and texts in dicts and lists; nothing else is ever unpickled",
            "Save it anew where you trust it: torch.save(model.state_dict(), path)",
        )


def _follow(opcodes: Iterator[tuple[Any, Any, int | None]], structure: Structure) -> None:
    """Follow a pickle's opcodes with symbols for values; fills the structure.

    raises: FormatError for an opcode that torch does not write, or a pickle that ends early.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of escapes in names, which torch does not write
            for opcode, argument, position in opcodes:
                if opcode.name == "STOP":
                    return
                if (position or 0) > LARGEST_PICKLE:
                    raise ValueError(f"more than {LARGEST_PICKLE} bytes")
                _step(opcode.name, argument, stack, memo, structure)
    except FormatError:
        _refuse_foreign(structure)
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, Warning) as error:
        _refuse_foreign(structure)
        got = f"{type(error).__name__}: {error!s:.120}"
        raise FormatError(structure.where, got, "a whole pickle of torch.save", "Is it truncated?") from error
    raise FormatError(structure.where, "a pickle without an end", "a whole pickle of torch.save", "Is it truncated?")


CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING",
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any], structure: Structure) -> None:
    if name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name in LITERALS:
        stack.append(argument)
    elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"):
        stack.append(OTHER)
    elif name == "MARK":
        stack.append(MARK)
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in TUPLES:
        count = TUPLES[name]
        if len(stack) < count:
            raise IndexError("an empty stack")
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "GLOBAL":
        if argument not in NAMES:
            structure.foreign[argument] = None
        stack.append(Name(argument))
    elif name in ("SETITEM", "APPEND", "BUILD"):
        structure.strings += [stack[-1]] if name == "APPEND" and isinstance(stack[-1], str) else []
        del stack[-2 if name == "SETITEM" else -1 :]
        if stack[-1] is not OTHER:  # the state of a tensor would be another shape of it
            raise FormatError(structure.where, f"{name} of something that is no container", "a dict or list")
    elif name in ("SETITEMS", "APPENDS"):
        structure.strings += [x for x in _since_mark(stack) if isinstance(x, str)] if name == "APPENDS" else []
        if name == "SETITEMS":
            _since_mark(stack)
    elif name in ("REDUCE", "NEWOBJ"):
        arguments, function = stack.pop(), stack.pop()
        stack.append(_called(function, arguments, structure))
    elif name == "BINPERSID":
        stack.append(_storage(stack.pop(), structure))
    elif name != "PROTO":
        raise FormatError(structure.where, f"the pickle's opcode {name}", "those that torch.save writes")


def _since_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark, off the stack."""
    at = len(stack) - 1
    while stack[at] is not MARK:  # runs out below zero: IndexError
        at -= 1
        if at < 0:
            raise IndexError("no mark")
    taken = stack[at + 1 :]
    del stack[at:]
    return taken


def _storage(identity: Any, structure: Structure) -> Storage:
    """A storage, from the identity that the pickle gives it: ("storage", type, key, place, count, view)."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise FormatError(structure.where, f"an identity {type(identity).__name__}", "that of a storage")
    _, kind, key, _, count, *view = identity
    item = STORAGES.get(kind.text) if isinstance(kind, Name) else None
    if item is None or not isinstance(key, str) or type(count) is not int or count < 0 or view not in ([], [None]):
        raise FormatError(structure.where, f"a storage of {count!r:.40} in {kind!r:.60}", "a count of known numbers")
    storage = Storage(key, count, item)
    if structure.storages.setdefault(key, storage) != storage:
        raise FormatError(structure.where, f"storage {key:.40} declared twice, unlike", "one declaration")
    return storage


def _called(function: Any, arguments: Any, structure: Structure) -> Any:
    """What a call gives; a tensor is held to lie in its storage with no number twice."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise FormatError(structure.where, f"a call of {type(function).__name__}", "one of a name")
    if function.text == PARAMETER:
        if not arguments or arguments[0] is not TENSOR_VALUE:
            raise FormatError(structure.where, "a parameter that is no tensor", "a tensor")
        return TENSOR_VALUE
    if function.text != TENSOR:
        return OTHER
    storage, offset, shape, strides = arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or any(type(x) is not int or x < 0 for x in numbers):
        raise FormatError(structure.where, f"a tensor of shape {shape!r:.60}", "numbers of a storage")
    size, reach = math.prod(shape), sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size and (offset + reach >= storage.count or size > reach + 1):
        got = f"a tensor of shape {shape!r:.60}, strides {strides!r:.60} in {storage.count} numbers"
        raise FormatError(structure.where, got, "a tensor that lies in its storage, no number twice")
    return TENSOR_VALUE
