"""Networks of continuous time in HDF5, sealed with a checksum like those of `snngen/store.py`.

Layout, version 1:
    /                   format, version, inputs, outputs, metadata (JSON)
    /populations/0000   name, kind, and the fields of the neuron model
    /projections/0000   source, target, kind, delay_us, and the fields of the synapse model

A field that holds several models or arrays is a group with the attribute `count` and the members 0000, 0001, ...
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snngen.dynamics import neurons, synapses
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.synapses import DynamicSynapse
from snngen.errors import FormatError, NetworkError
from snngen.integers import FloatArray
from snngen.store import fields_of, numbers, read_sealed, write_sealed

FORMAT, VERSION = "snngen continuous network", 1
MOST_MEMBERS = 1000


def save(network: DynamicNetwork, path: str | Path) -> None:
    """Write a network; an existing file is replaced only once the new one is whole.

    raises: FormatError where the path cannot be written; NetworkError for metadata that is not plain.
    """
    write_sealed(path, FORMAT, lambda file: write(network, file))


def load(path: str | Path) -> DynamicNetwork:
    """Read a network.

    raises: FormatError for a file that is absent, foreign, damaged or of another version; NetworkError where what it
    describes does not hold.
    """
    return read_sealed(path, FORMAT, "a network written by snngen.dynamics.store.save", read)


def write(network: DynamicNetwork, file: h5py.Group) -> None:
    """Write a network into an empty group, or the root of a file.

    raises: NetworkError for metadata that JSON does not hold.
    """
    try:
        metadata = json.dumps(dict(network.metadata), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise NetworkError("DynamicNetwork.metadata", str(error), "numbers, texts, lists and dicts of them") from error
    file.attrs.update(
        format=FORMAT, version=VERSION, inputs=json.dumps(list(network.inputs)),
        outputs=json.dumps(list(network.outputs)), metadata=metadata,
    )  # fmt: skip
    group = file.create_group("populations")
    for index, population in enumerate(network.populations):
        entry = group.create_group(f"{index:04d}")
        entry.attrs["name"] = population.name
        _write_model(entry, population.neuron)
    group = file.create_group("projections")
    for index, projection in enumerate(network.projections):
        entry = group.create_group(f"{index:04d}")
        entry.attrs.update(source=projection.source, target=projection.target)
        entry["delay_us"] = projection.delays_us
        _write_model(entry, projection.synapse)


def read(file: h5py.Group, where: str, size: int) -> DynamicNetwork:
    """The network in a group. where: for messages. size: bytes of the file, beyond which it cannot hold anything.

    raises: FormatError for another version or fields that do not belong.
    """
    if (file.attrs.get("format"), int(file.attrs.get("version", 0))) != (FORMAT, VERSION):
        got = f"{file.attrs.get('format')!r}, version {file.attrs.get('version')}"
        raise FormatError(where, got, f"{FORMAT!r}, version {VERSION}", "Use the snngen that wrote it")
    populations = []
    for key, entry in sorted(file["populations"].items()):
        neuron = _model(entry, neurons.by_kind, {"name", "kind"}, set(), f"{where}:/populations/{key}", size)
        populations.append(DynamicPopulation(str(entry.attrs["name"]), neuron))
    projections = []
    for key, entry in sorted(file["projections"].items()):
        at, known = f"{where}:/projections/{key}", {"source", "target", "kind"}
        synapse = _model(entry, synapses.by_kind, known, {"delay_us"}, at, size)
        delays = numbers(entry["delay_us"], at, size)
        delay = int(delays[0]) if delays.size == 1 else delays
        projections.append(DynamicProjection(str(entry.attrs["source"]), str(entry.attrs["target"]), synapse, delay))
    inputs, outputs, metadata = (json.loads(file.attrs[name]) for name in ("inputs", "outputs", "metadata"))
    return DynamicNetwork(tuple(populations), tuple(projections), tuple(inputs), tuple(outputs), metadata)


def _write_model(entry: h5py.Group, model: DynamicNeuron | DynamicSynapse) -> None:
    """Write the kind and the fields of a model."""
    entry.attrs["kind"] = model.kind
    for part in fields(model):  # type: ignore[arg-type]
        value = getattr(model, part.name)
        if isinstance(value, np.ndarray):
            packed = {"compression": "gzip", "shuffle": True} if value.size > 64 else {}
            entry.create_dataset(part.name, data=value, **packed)
        elif isinstance(value, tuple) and not all(isinstance(each, int) for each in value):
            _write_members(entry.create_group(part.name), value)
        else:
            entry.attrs[part.name] = value


def _write_members(group: h5py.Group, members: tuple[DynamicSynapse | FloatArray | None, ...]) -> None:
    group.attrs["count"] = len(members)
    for index, member in enumerate(members):
        if isinstance(member, DynamicSynapse):
            _write_model(group.create_group(f"{index:04d}"), member)
        elif member is not None:
            group[f"{index:04d}"] = member


def _members(group: h5py.Group, where: str, size: int) -> tuple[DynamicSynapse | FloatArray | None, ...]:
    """What `_write_members` wrote."""
    count = int(group.attrs["count"])
    if not len(group) <= count <= MOST_MEMBERS:
        raise FormatError(where, f"{len(group)} members of {count}", f"at most {MOST_MEMBERS}, and no others")
    found: list[DynamicSynapse | FloatArray | None] = []
    for index in range(count):
        member = group.get(f"{index:04d}")
        if isinstance(member, h5py.Group):
            found.append(_model(member, synapses.by_kind, {"kind"}, set(), where, size))
        else:
            found.append(None if member is None else numbers(member, where, size))
    return tuple(found)


def _model(
    entry: h5py.Group,
    by_kind: Callable[[str], type[Any]],
    attributes: set[str],
    datasets: set[str],
    where: str,
    size: int,
) -> Any:
    """Build the neuron or synapse model of a group."""
    model, stored, plain = fields_of(entry, by_kind, attributes, datasets, where)
    values: dict[str, Any] = {name: _plain(entry.attrs[name]) for name in plain}
    for name in stored:
        held = entry[name]
        values[name] = (_members if isinstance(held, h5py.Group) else numbers)(held, where, size)
    return model(**values)


def _plain(value: Any) -> int | str | tuple[int, ...]:
    """An attribute as the number, word or shape that was written."""
    if isinstance(value, str):
        return value
    return tuple(int(each) for each in value) if np.ndim(value) else int(value)
