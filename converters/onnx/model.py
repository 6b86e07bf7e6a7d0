"""What an ONNX file holds, as plain Python and NumPy values, read within memory that its size bounds.

Nothing is computed and nothing is trusted: every length is compared with what is really there before it is used, data
outside the file only counts inside its folder, and the graph must be ordered, so that it has no cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.errors import FormatError, UnsupportedError

Array = npt.NDArray[Any]

LARGEST_FILE = 2**31 - 1  # bytes: what a protobuf message can be
LARGEST_DATA = 2**34  # bytes of one file of external data
MOST_STEPS = 2**16
DTYPES = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64",
          "UINT64", "BOOL", "INT4", "UINT4")  # fmt: skip
SMALL_FIELDS = {"FLOAT": "float_data", "DOUBLE": "double_data", "INT64": "int64_data", "UINT64": "uint64_data",
                "UINT32": "uint64_data"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Step:
    """One operator of the file: name for messages, operator, domain, values read and made, attributes."""

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def label(self) -> str:
        """What a message calls it."""
        domain = f"{self.domain}." if self.domain else ""
        return f"{self.name} ({domain}{self.operator})"


@dataclass(frozen=True, eq=False)
class Entry:
    """An input: its name, element type as ONNX names it, and declared sizes (None where open)."""

    name: str
    dtype: str
    sizes: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class Model:
    """A whole file. opsets: version by domain. functions: (domain, name) -> the function's bytes."""

    where: str
    opsets: dict[str, int]
    entries: tuple[Entry, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Array]
    steps: tuple[Step, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    functions: dict[tuple[str, str], bytes] = field(default_factory=dict)


def load(path: Path) -> tuple[Model, list[Path]]:
    """Read an ONNX file; returns it and the files of external data that belong to it.

    raises: FormatError for whatever is damaged; UnsupportedError without the `onnx` package or for tensor types that
    are not numbers.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UnsupportedError(str(path), "no onnx package", "onnx", "pip install onnx") from error
    where, size = str(path), path.stat().st_size
    if size > LARGEST_FILE:
        raise FormatError(where, f"{size} bytes", f"at most {LARGEST_FILE}, the largest protobuf message")
    try:
        proto = onnx.ModelProto()
        proto.ParseFromString(path.read_bytes())
        return _Loader(where, path.parent).model(proto)
    except DecodeError as error:
        raise FormatError(where, f"{error}"[:200], "an ONNX model", "Is it truncated?") from error
    except UnicodeDecodeError as error:
        raise FormatError(where, "a name that is no UTF-8", "UTF-8") from error


class _Loader:
    """Turns protobuf messages into plain values, checking each."""

    def __init__(self, where: str, folder: Path) -> None:
        self.where, self.folder = where, folder
        self.files: dict[Path, None] = {}

    def model(self, proto: Any) -> tuple[Model, list[Path]]:
        import onnx

        graph = proto.graph
        opsets = {entry.domain if entry.domain != "ai.onnx" else "": int(entry.version) for entry in proto.opset_import}
        newest = onnx.defs.onnx_opset_version()
        if not graph.node or not graph.output:
            raise FormatError(self.where, "no operators or no outputs", "an ONNX model", "Is it truncated?")
        if not 9 <= opsets.get("", 0) <= newest:
            raise UnsupportedError(self.where, f"opset {opsets.get('', 0)}", f"opset 9..{newest}")
        if graph.sparse_initializer:
            raise UnsupportedError(self.where, f"{len(graph.sparse_initializer)} sparse initializers", "dense ones")
        if len(graph.node) > MOST_STEPS:
            raise UnsupportedError(self.where, f"{len(graph.node)} operators", f"at most {MOST_STEPS}")
        constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            if not tensor.name or tensor.name in constants:
                raise FormatError(self.where, f"initializer {tensor.name!r:.60} more than once", "unique names")
            constants[tensor.name] = self.tensor(tensor)
        entries = tuple(self.entry(value) for value in graph.input if value.name not in constants)
        steps = tuple(self.step(node, index) for index, node in enumerate(graph.node))
        outputs = tuple(str(value.name) for value in graph.output)
        self.ordered({*constants, *(entry.name for entry in entries)}, steps, outputs)
        metadata = {str(item.key): str(item.value) for item in proto.metadata_props}
        functions = {(str(f.domain), str(f.name)): f.SerializeToString(deterministic=True) for f in proto.functions}
        found = Model(self.where, opsets, entries, outputs, constants, steps, metadata, functions)
        return found, list(self.files)

    def ordered(self, known: set[str], steps: tuple[Step, ...], outputs: tuple[str, ...]) -> None:
        """Refuse a graph that reads what nothing before has made: a cycle, a missing initializer."""
        for step in steps:
            missing = [name for name in step.inputs if name and name not in known]
            if missing:
                got = f"inputs {missing[:4]!r:.200} that nothing before makes"
                raise FormatError(
                    f"{self.where}: {step.label}", got, "an ordered graph without cycles, and all tensors"
                )
            again = [name for name in step.outputs if name in known]
            if again:
                raise FormatError(f"{self.where}: {step.label}", f"{again!r:.200} made twice", "each value made once")
            known.update(name for name in step.outputs if name)
        lost = [name for name in outputs if name not in known]
        if lost or len(set(outputs)) < len(outputs):
            raise FormatError(f"{self.where}: outputs", f"{(lost or outputs)!r:.200}", "distinct values of the graph")

    def entry(self, value: Any) -> Entry:
        import onnx

        kind = value.type.tensor_type
        names = {number: name for name, number in onnx.TensorProto.DataType.items()}
        if value.type.WhichOneof("value") != "tensor_type":
            raise UnsupportedError(f"{self.where}: input {value.name!r:.60}", "no tensor", "a tensor")
        if not kind.HasField("shape"):
            return Entry(str(value.name), names.get(kind.elem_type, "?"), None)
        sizes = []
        for axis in kind.shape.dim:
            known = axis.WhichOneof("value") == "dim_value"
            if known and axis.dim_value < 0:
                raise FormatError(f"{self.where}: input {value.name!r:.60}", f"size {axis.dim_value}", "0 or more")
            sizes.append(int(axis.dim_value) if known else None)
        return Entry(str(value.name), names.get(kind.elem_type, "?"), tuple(sizes))

    def step(self, node: Any, index: int) -> Step:
        outputs = tuple(str(name) for name in node.output)
        name = str(node.name) or next((output for output in outputs if output), f"{node.op_type}{index}")
        attributes = {str(item.name): self.attribute(item, name) for item in node.attribute}
        domain = "" if node.domain == "ai.onnx" else str(node.domain)
        return Step(name, str(node.op_type), domain, tuple(str(x) for x in node.input), outputs, attributes)

    def attribute(self, item: Any, name: str) -> Any:
        """The value of an attribute; None for graphs and types, which no operator that is carried has."""
        import onnx

        kinds = onnx.AttributeProto
        if item.type == kinds.TENSOR:
            return self.tensor(item.t)
        if item.type == kinds.STRING:
            return item.s.decode("utf-8")
        if item.type == kinds.STRINGS:
            return tuple(text.decode("utf-8") for text in item.strings)
        plain = {kinds.FLOAT: "f", kinds.INT: "i", kinds.FLOATS: "floats", kinds.INTS: "ints"}
        if item.type not in plain:
            return None
        value = getattr(item, plain[item.type])
        return value if item.type in (kinds.FLOAT, kinds.INT) else tuple(value)

    def tensor(self, tensor: Any) -> Array:
        """A tensor, once the length of its data has been found to be what its sizes say."""
        import onnx

        where = f"{self.where}: tensor {tensor.name!r:.60}"
        kind = {number: name for name, number in onnx.TensorProto.DataType.items()}.get(tensor.data_type, "?")
        if kind not in DTYPES:
            raise UnsupportedError(where, f"type {kind}", "one of " + ", ".join(DTYPES))
        if any(size < 0 for size in tensor.dims) or len(tensor.dims) > 32:
            raise FormatError(where, f"sizes {list(tensor.dims)[:8]}", "at most 32 sizes of 0 or more")
        count = math.prod(tensor.dims)
        if tensor.HasField("segment"):
            raise UnsupportedError(where, "a segment", "a whole tensor")
        bits = 4 if kind in ("INT4", "UINT4") else 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        needed = (count * bits + 7) // 8
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self.external(tensor, needed, where)
        if tensor.HasField("raw_data"):
            got, expected = len(tensor.raw_data), needed
        else:
            got = len(getattr(tensor, SMALL_FIELDS.get(kind, "int32_data")))
            expected = (count + 1) // 2 if bits == 4 else count
        if got != expected:
            raise FormatError(where, f"data of length {got}", f"{expected}, as its sizes say", "Is it truncated?")
        return _array(tensor, where)

    def external(self, tensor: Any, needed: int, where: str) -> Array:
        """A tensor whose data lies in another file of the same folder."""
        import onnx

        keys = {str(item.key): str(item.value) for item in tensor.external_data}
        location = keys.get("location", "")
        folder = self.folder.resolve()
        given = Path(location)
        if not location or "\0" in location or given.is_absolute() or ".." in given.parts:
            raise FormatError(where, f"external data at {location!r:.100}", "a file in the folder of the model")
        file = (folder / given).resolve()  # follows links
        if folder not in file.parents or not file.is_file():
            raise FormatError(where, f"external data at {location!r:.100}", "a file in the folder of the model")
        numbers = [keys.get("offset", "0"), keys.get("length", str(needed))]
        if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in numbers):
            raise FormatError(where, f"offset and length {numbers!r:.100}", "two whole numbers of 0 or more")
        offset, length = (int(text) for text in numbers)
        size = file.stat().st_size
        if length != needed or offset + length > size or size > LARGEST_DATA:
            got = f"{length} bytes from {offset} on in a file of {size}"
            raise FormatError(where, got, f"{needed}, as its sizes say, inside the file")
        with file.open("rb") as data:
            data.seek(offset)
            raw = data.read(length)
        self.files[file] = None
        inside = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
        return _array(inside, where)


def _array(tensor: Any, where: str) -> Array:
    from onnx import numpy_helper

    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(where, f"{error}"[:200], "numbers of its type") from error
    if array.dtype.kind in "biuf" and array.dtype.isbuiltin:
        return array
    narrow = {"int4": np.int8, "uint4": np.uint8}.get(array.dtype.name, np.float32)  # of ml_dtypes
    return array.astype(narrow)
