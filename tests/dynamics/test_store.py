"""Networks of continuous time in files: read as they were written, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from dynamic_networks import FIRING, SILENT, random_neuron, random_synapse

from snngen import store as integers
from snngen.dynamics import neurons, store, synapses
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.composite import Composite
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.errors import FormatError, NetworkError


def every_model() -> DynamicNetwork:
    """A population of every neuron model, a projection of every synapse model, delays of both kinds."""
    rng = np.random.default_rng(0)
    size = 16
    populations = [DynamicPopulation("in", Input(size))]
    populations += [DynamicPopulation(kind, random_neuron(rng, kind, size, bias=True)) for kind in (*FIRING, *SILENT)]
    convolution = Convolution(rng.normal(size=(1, 1, 3, 3)), (1, 4, 4), padding=(1, 1))
    composite = Composite((convolution, Dense(rng.normal(size=(size, size)))), (None, rng.normal(size=size)))
    clocked = ClockedLeaky(np.full(size, 0.01), np.ones(size), reset="subtract", reset_delay=False)
    populations.append(DynamicPopulation("clocked", clocked))
    projections = [
        DynamicProjection("in", "clocked", composite),
        DynamicProjection("in", FIRING[0], random_synapse(rng, "dense", size, size)),
        DynamicProjection("in", FIRING[1], random_synapse(rng, "sparse", size, size), 7),
        DynamicProjection(FIRING[0], FIRING[2], random_synapse(rng, "one_to_one", size, size)),
        DynamicProjection(FIRING[1], FIRING[0], convolution, rng.integers(1, 9, size)),
        *(DynamicProjection("in", kind, random_synapse(rng, "dense", size, size)) for kind in SILENT),
    ]
    return DynamicNetwork(
        tuple(populations),
        tuple(projections),
        outputs=(FIRING[2], SILENT[0]),
        metadata={"unit": "seconds", "n": [1, 2.5]},
    )


def same(one: Any, other: Any) -> bool:
    assert type(one) is type(other)
    for part in fields(one):
        values = getattr(one, part.name), getattr(other, part.name)
        if isinstance(one, Composite):
            for first, second in zip(*values, strict=True):
                assert same(first, second) if isinstance(first, DynamicSynapse) else np.array_equal(first, second)
        else:
            assert np.array_equal(*values)
            assert np.asarray(values[0]).dtype == np.asarray(values[1]).dtype
    return True


def test_every_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    network = every_model()
    assert {p.synapse.kind for p in network.projections} >= {
        "dense",
        "sparse",
        "one_to_one",
        "convolution",
        "composite",
    }
    store.save(network, tmp_path / "network.h5")
    again = store.load(tmp_path / "network.h5")
    assert (again.inputs, again.outputs, again.metadata) == (network.inputs, network.outputs, network.metadata)
    assert [p.name for p in again.populations] == [p.name for p in network.populations]
    assert all(same(a.neuron, b.neuron) for a, b in zip(network.populations, again.populations, strict=True))
    for one, other in zip(network.projections, again.projections, strict=True):
        assert (one.source, one.target) == (other.source, other.target)
        assert np.array_equal(one.delays_us, other.delays_us)
        assert same(one.synapse, other.synapse)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "network.h5"
    store.save(every_model(), path)
    whole = bytearray(path.read_bytes())
    for at in range(0, len(whole), len(whole) // 23):
        damaged = whole.copy()
        damaged[at] ^= 4
        path.write_bytes(bytes(damaged))
        with pytest.raises(FormatError, match=r"foreign|checksum"):
            store.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["populations/0001"].attrs.update(colour=3), "fields"),
        (lambda file: file["populations/0001"].__delitem__("v_reset"), "fields"),
        (lambda file: file.attrs.update(version=9), "version 9"),
        (lambda file: file.attrs.update(metadata="{"), "damaged"),
        (lambda file: file["populations/0001"].attrs.update(kind="nothing"), "nothing"),
        (lambda file: file["projections/0000"].__delitem__("delay_us"), "damaged"),
        (lambda file: file.attrs.update(format="snngen network"), "snngen continuous network"),
    ],
)
def test_a_sealed_file_with_other_contents_is_refused(
    change: Callable[[h5py.File], None], said: str, tmp_path: Path
) -> None:
    from snngen.errors import SnngenError

    def fill(file: h5py.File) -> None:
        store.write(every_model(), file)
        change(file)

    integers.write_sealed(tmp_path / "network.h5", store.FORMAT, fill)
    with pytest.raises(SnngenError, match=said):
        store.load(tmp_path / "network.h5")


def test_more_than_a_file_can_hold_is_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        store.write(every_model(), file)
        entry = file["populations/0001"]
        del entry["v_threshold"]
        entry.create_dataset("v_threshold", shape=(2**40,), dtype="f8", chunks=(2**10,), fillvalue=1.0)

    integers.write_sealed(tmp_path / "network.h5", store.FORMAT, fill)
    with pytest.raises(FormatError, match="declared"):
        store.load(tmp_path / "network.h5")


def test_absent_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        store.load(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FormatError, match="foreign"):
        store.load(tmp_path / "text.h5")
    store.save(every_model(), tmp_path / "network.h5")
    with pytest.raises(FormatError, match="foreign"):  # a network of integers is another thing
        integers.load(tmp_path / "network.h5")


def test_metadata_that_are_not_plain_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="metadata"):
        store.save(replace(every_model(), metadata={"what": object()}), tmp_path / "network.h5")
    assert not (tmp_path / "network.h5").exists()


def test_the_kinds_that_are_stored_are_those_that_exist() -> None:
    network = every_model()
    tested = {p.neuron.kind for p in network.populations} | {p.synapse.kind for p in network.projections}
    assert tested <= {*neurons.kinds(), *synapses.kinds()}
    assert len(tested) == 13
