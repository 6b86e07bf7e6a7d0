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
from collections.abc import Callable
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py
import numpy as np

from snngen import neurons, synapses
from snngen.aside import written_aside
from snngen.errors import FormatError, SnngenError
from snngen.network import Network, Population, Projection

T = TypeVar("T")

FORMAT, VERSION = "snngen network", 1
SEAL_BYTES = 512
SHIPPED = "shakespeare.h5"
DEFLATE_LIMIT = 1100  # deflate never packs better than 1032 to 1, so a larger claim is a lie


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
    _check_seal(path, kind, made_by)
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


def _check_seal(path: Path, kind: str, made_by: str) -> None:
    with path.open("rb") as file:
        expected = _seal_of(file, kind)
        found = file.read(SEAL_BYTES).rstrip(b"\0")
    if not found.startswith(kind.encode()):
        raise FormatError(str(path), "a foreign or damaged file", made_by)
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
            packed = {"compression": "gzip", "shuffle": True} if value.size > 64 else {}
            entry.create_dataset(part.name, data=value, **packed)
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
    projections = []
    for key, entry in sorted(file["projections"].items()):
        at, known = f"{where}:/projections/{key}", {"source", "target", "operand", "writer", "kind", "delayed"}
        synapse = _model(entry, synapses.by_kind, known, set(), at, size)
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
) -> Any:
    """Build the neuron or synapse model of a group; a field too many or too few is an error."""
    kind = str(entry.attrs["kind"])
    model = by_kind(kind)
    expected = {part.name for part in fields(model)}
    later = {part.name for part in fields(model) if part.metadata.get("later")}
    found = (set(entry) - datasets) | (set(entry.attrs) - attributes)
    if not expected - later <= found <= expected:
        raise FormatError(where, f"fields {sorted(found)}", f"{sorted(expected)} of {kind}")
    values: dict[str, Any] = {}
    for name in found:
        values[name] = numbers(entry[name], where, size) if name in entry else int(entry.attrs[name])
    return model(**values)


def numbers(dataset: Any, where: str, size: int) -> Any:
    """The array in a dataset. size: bytes of the file. raises: FormatError for no numbers, or more than fit."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf":
        raise FormatError(where, "something that is not a numeric dataset", "a numeric dataset")
    if dataset.nbytes > DEFLATE_LIMIT * size:
        raise FormatError(where, f"{dataset.nbytes} bytes declared in a file of {size}", "a size that a file can hold")
    return dataset[()]
