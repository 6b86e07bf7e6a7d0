"""Networks in HDF5: integers as they are, with provenance and a checksum that is verified when read.

The first 512 bytes (HDF5's user block) hold a line of text with the SHA-256 of all that follows. It is verified before
HDF5 sees a byte: on a damaged file the library may not just fail but take the process down.

Layout, version 1:
    /                   format, version, checksum, output, begin, end, provenance (JSON); picture and picture_range
                        where the output is a picture
    /tokenizer          tokenizers JSON text, where there is one
    /populations/0000   name, kind, scale, and the fields of the neuron model
    /projections/0000   source, target, operand, writer, kind, delayed, and the fields of the synapse model
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py
import numpy as np

from snngen import neurons, synapses
from snngen.aside import written_aside
from snngen.errors import FormatError, SnngenError
from snngen.integers import LINE, IntArray, aligned_bytes
from snngen.network import Network, Population, Projection

T = TypeVar("T")

FORMAT, VERSION = "snngen network", 1
SEAL_BYTES = 512
SHIPPED = "shakespeare.h5"
DEFLATE_LIMIT = 1100  # deflate never packs better than 1032 to 1, so a larger claim is a lie
# An array from here on is stored as it is: trained int8 weights shrink by a tenth only, and inflate at 0.3 GB/s what
# is read at 10 GB/s (`benchmarks/memory.py` measures reading).
PLAIN_BYTES = 2**20
TAIL = 64  # bytes behind the last weight, so that kernels may read whole vectors


def save(network: Network, path: str | Path) -> None:
    """Write a network; an existing file is replaced only once the new one is whole.

    raises: FormatError where the path cannot be written.
    """
    write_sealed(path, FORMAT, lambda file: write(network, file))


def write_sealed(path: str | Path, kind: str, fill: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file with its checksum; an existing one is replaced only once the new one is whole.

    kind: the words that the file begins with. fill: writes the contents.
    raises: FormatError where the path cannot be written.
    """
    with written_aside(Path(path)) as aside:
        with h5py.File(aside, "w", libver="latest", userblock_size=SEAL_BYTES) as file:
            fill(file)
        seal(aside, kind)


def read_sealed(path: str | Path, kind: str, made_by: str, take: Callable[[h5py.File, str, int], T]) -> T:
    """What `take(file, where, bytes of the file)` makes of a file whose checksum holds.

    kind: the words that it begins with. made_by: what writes such files, for messages.
    raises: FormatError for a file that is absent, foreign or damaged, or of which `take` cannot make anything.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(str(path), "no such file", made_by)
    check_seal(path, kind, made_by)
    try:
        with h5py.File(path, "r") as file:
            return take(file, str(path), path.stat().st_size)
    except SnngenError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        # whatever h5py or a constructor says of bytes that are not what they should be
        raise FormatError(
            str(path), f"a damaged file ({error})", "a whole network", "Convert or copy it again"
        ) from error


def seal(path: Path, kind: str = FORMAT) -> None:
    """Write the checksum of a file's contents into its user block."""
    with path.open("r+b") as file:
        file.write(_seal_of(file, kind).ljust(SEAL_BYTES, b"\0"))


def _seal_of(file: BinaryIO, kind: str) -> bytes:
    """The line that a file should begin with; leaves the file at its start."""
    file.seek(SEAL_BYTES)
    hasher = hashlib.sha256()
    while block := file.read(2**20):
        hasher.update(block)
    file.seek(0)
    return f"{kind}, sha256 {hasher.hexdigest()}\n".encode()


def check_seal(path: Path, kind: str, made_by: str) -> None:
    """Refuse a file that does not begin with `kind` and the checksum of what follows; one pass over the whole file.

    raises: FormatError.
    """
    try:
        with path.open("rb") as file:
            expected = _seal_of(file, kind)
            found = file.read(SEAL_BYTES).rstrip(b"\0")
    except OSError as error:
        raise FormatError(str(path), error.strerror or str(error), "a file that can be read") from error
    if not found.startswith(kind.encode()):
        kind = found.split(b",")[0].decode(errors="replace") if found.startswith(b"snngen ") else ""
        raise FormatError(str(path), f"a file of the kind `{kind}`" if kind else "a foreign or damaged file", made_by)
    if found != expected:
        raise FormatError(
            str(path), "contents that do not match their checksum", found.decode(errors="replace").strip(),
            "The file was changed or damaged after it was written: convert or copy it again",
        )  # fmt: skip


def write(network: Network, file: h5py.Group) -> None:
    """Write a network into an empty group, or the root of a file."""
    file.attrs.update(
        format=FORMAT, version=VERSION, checksum=checksum(network), output=network.output,
        begin=-1 if network.begin is None else network.begin, end=json.dumps(list(network.end)),
        provenance=json.dumps(network.provenance, sort_keys=True),
    )  # fmt: skip
    if network.picture is not None:
        file.attrs.update(picture=network.picture, picture_range=network.picture_range)
    if network.tokenizer is not None:
        file["tokenizer"] = network.tokenizer
    group = file.create_group("populations")
    for index, population in enumerate(network.populations):
        entry = group.create_group(f"{index:04d}")
        entry.attrs.update(name=population.name, kind=population.neuron.kind)
        entry["scale"] = population.scale
        _write_fields(entry, population.neuron)
    group = file.create_group("projections")
    for index, projection in enumerate(network.projections):
        entry = group.create_group(f"{index:04d}")
        entry.attrs.update(
            source=projection.source, target=projection.target, operand=projection.operand,
            writer=projection.writer or "", kind=projection.synapse.kind,
        )  # fmt: skip
        if projection.delayed:
            entry.attrs["delayed"] = 1
        _write_fields(entry, projection.synapse)


def load(path: str | Path | None = None) -> Network:
    """Read a network; without a path, the one that ships in the package.

    raises: FormatError for a file that is absent, foreign, damaged, of another version, or whose checksum differs;
    NetworkError where what it describes does not hold.
    """
    if path is None:
        with resources.as_file(resources.files("snngen.models") / SHIPPED) as shipped:
            return load(shipped)
    return read_sealed(path, FORMAT, "a network written by `snngen convert`", read)


def checksum(network: Network) -> str:
    """SHA-256 over the network, its scales and its provenance."""
    hasher = hashlib.sha256(network.digest.encode())
    for population in network.populations:
        hasher.update(population.scale.tobytes())
    hasher.update(json.dumps(network.provenance, sort_keys=True).encode())
    return hasher.hexdigest()


def _write_fields(entry: h5py.Group, model: Any) -> None:
    """The fields of a neuron or synapse model: arrays as datasets, all else as attributes."""
    for part in fields(model):
        value = getattr(model, part.name)
        if isinstance(value, np.ndarray):
            packs = value.size > 64 and value.nbytes < PLAIN_BYTES
            entry.create_dataset(part.name, data=value, **({"compression": "gzip", "shuffle": True} if packs else {}))
        else:
            entry.attrs[part.name] = value


def read(file: h5py.Group, where: str, size: int) -> Network:
    """The network in a group. where: for messages. size: bytes of the file, beyond which it cannot hold anything.

    raises: FormatError for another version, fields that do not belong, or a checksum that differs.
    """
    if file.attrs.get("format") != FORMAT:
        raise FormatError(where, f"format {file.attrs.get('format')!r}", repr(FORMAT))
    if int(file.attrs["version"]) != VERSION:
        raise FormatError(where, f"version {file.attrs['version']}", str(VERSION), "Use the snngen that wrote it")
    populations = []
    for key, entry in sorted(file["populations"].items()):
        at = f"{where}:/populations/{key}"
        neuron = _model(entry, neurons.by_kind, {"name", "kind"}, {"scale"}, at, size)
        populations.append(Population(str(entry.attrs["name"]), neuron, numbers(entry["scale"], at, size)))
    projections, rooms = [], _rooms(file["projections"], where, size)
    for key, entry in sorted(file["projections"].items()):
        at, known = f"{where}:/projections/{key}", {"source", "target", "operand", "writer", "kind", "delayed"}
        synapse = _model(entry, synapses.by_kind, known, set(), at, size, rooms[key])
        source, target, operand, writer = (str(entry.attrs[k]) for k in ("source", "target", "operand", "writer"))
        delayed = bool(entry.attrs.get("delayed", 0))
        projections.append(Projection(source, target, synapse, operand, writer or None, delayed))
    begin = int(file.attrs["begin"])
    network = Network(
        tuple(populations),
        tuple(projections),
        output=str(file.attrs["output"]),
        tokenizer=file["tokenizer"].asstr()[()] if "tokenizer" in file else None,
        begin=None if begin < 0 else begin,
        end=tuple(json.loads(file.attrs["end"])),
        provenance=json.loads(file.attrs["provenance"]),
        **_picture(file.attrs),
    )
    if checksum(network) != file.attrs["checksum"]:
        raise FormatError(
            where, f"contents with checksum {checksum(network)[:16]}", f"{file.attrs['checksum'][:16]}",
            "The file was changed or damaged after it was written",
        )  # fmt: skip
    return network


def _rooms(projections: h5py.Group, where: str, size: int) -> dict[str, dict[str, IntArray]]:
    """Where the constant weights of each projection are to lie: (bytes,) int8 by field, all views of one buffer.

    The weights of a projection begin at a multiple of 64 bytes, in the order of the projections; what lies between and
    behind them is zero. So the kernels use them where they are read (see `engines/layout.py`).
    """
    places: dict[str, dict[str, slice]] = {}
    end = 0
    for key, entry in sorted(projections.items()):
        end += -end % LINE
        places[key] = {}
        for name in synapses.by_kind(str(entry.attrs["kind"])).weight_fields:
            dataset = entry.get(name)
            if isinstance(dataset, h5py.Dataset) and dataset.dtype in (np.int8, np.int32):
                end += -end % dataset.dtype.itemsize
                places[key][name] = slice(end, end + dataset.nbytes)
                end += dataset.nbytes
                _check_size(end, DEFLATE_LIMIT, where, size)
    buffer, last = aligned_bytes(end + TAIL), 0
    for place in (place for named in places.values() for place in named.values()):
        buffer[last : place.start] = 0
        last = place.stop
    buffer[last:] = 0
    return {key: {name: buffer[place] for name, place in named.items()} for key, named in places.items()}


def _picture(attributes: Any) -> dict[str, Any]:
    """The fields of a network whose output is a picture; none for other networks."""
    if "picture" not in attributes:
        return {}
    channels, height, width = (int(x) for x in attributes["picture"])
    low, high = (float(x) for x in attributes["picture_range"])
    return {"picture": (channels, height, width), "picture_range": (low, high)}


def _model(
    entry: h5py.Group,
    by_kind: Callable[[str], type[Any]],
    attributes: set[str],
    datasets: set[str],
    where: str,
    size: int,
    rooms: Mapping[str, IntArray] | None = None,
) -> Any:
    """Build the neuron or synapse model of a group.

    rooms: (bytes,) int8 where the weights are to lie, by field.
    """
    model, stored, plain = fields_of(entry, by_kind, attributes, datasets, where)
    values: dict[str, Any] = {name: int(entry.attrs[name]) for name in plain}
    if rooms and model.rearranged:
        values["room"], rooms = rooms[model.weight_fields[0]], None
    for name in stored:
        values[name] = numbers(entry[name], where, size, None if rooms is None else rooms.get(name))
    return model(**values)


def fields_of(
    entry: h5py.Group, by_kind: Callable[[str], type[Any]], attributes: set[str], datasets: set[str], where: str
) -> tuple[type[Any], set[str], set[str]]:
    """The model of a group, and the names of its fields that are stored as datasets or groups, and as attributes.

    attributes, datasets: what else the group holds.
    raises: FormatError for a field too many or too few.
    """
    kind = str(entry.attrs["kind"])
    model = by_kind(kind)
    expected = {part.name for part in fields(model)}
    later = {part.name for part in fields(model) if part.metadata.get("later")}
    stored, plain = set(entry) - datasets, set(entry.attrs) - attributes
    if not expected - later <= stored | plain <= expected:
        raise FormatError(where, f"fields {sorted(stored | plain)}", f"{sorted(expected)} of {kind}")
    return model, stored, plain


def numbers(dataset: Any, where: str, size: int, room: IntArray | None = None) -> Any:
    """The array in a dataset. size: bytes of the file. room: (bytes,) int8 where it is to lie.

    raises: FormatError for no numbers, or more than fit.
    """
    _check_numeric(dataset, where, size)
    if room is None:
        return dataset[()]
    array = room.view(dataset.dtype).reshape(dataset.shape)
    if array.size:
        dataset.read_direct(array)
    return array


def _check_numeric(dataset: Any, where: str, size: int) -> None:
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf":
        raise FormatError(where, "something that is not a numeric dataset", "a numeric dataset")
    _check_size(dataset.nbytes, 1 if dataset.chunks is None else DEFLATE_LIMIT, where, size)


def _check_size(declared: int, limit: int, where: str, size: int) -> None:
    if declared > limit * size:
        raise FormatError(where, f"{declared} bytes declared in a file of {size}", "a size that a file can hold")
