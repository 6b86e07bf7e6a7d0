"""Network files: whole or absent, verified when read, refused when damaged."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import compressed, dense, random_decoder, random_recurrent, random_transformer

import snngen
from snngen import store
from snngen.errors import FormatError, SnngenError
from snngen.integers import offset
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.store import seal


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "network.h5"
    snngen.save(random_transformer(1, layers=2), path)
    return path


def test_a_network_comes_back_as_it_was(saved: Path) -> None:
    network, loaded = random_transformer(1, layers=2), snngen.load(saved)
    assert loaded.digest == network.digest
    assert [p.name for p in loaded.populations] == [p.name for p in network.populations]
    assert all(np.array_equal(a.scale, b.scale) for a, b in zip(loaded.populations, network.populations, strict=True))
    assert snngen.generate(loaded, [1], 5).tokens == snngen.generate(network, [1], 5).tokens


def test_text_and_provenance_come_back(stories: Network, tmp_path: Path) -> None:
    snngen.save(stories, tmp_path / "s.h5")
    loaded = snngen.load(tmp_path / "s.h5")
    assert loaded.tokenizer == stories.tokenizer
    assert loaded.provenance == stories.provenance
    assert (loaded.begin, loaded.end) == (1, (1, 2))
    assert len(loaded.provenance["source_sha256"]) == 64


def weights_in_their_buffer(network: Network) -> list[np.ndarray]:
    """The weights of each projection that has some; fails where they do not lie in one buffer as the kernels want."""
    weights = [p.synapse.weights for p in network.projections if p.synapse.weights is not None]
    buffer = weights[0].base
    assert all(part.base is buffer and not part.flags.writeable for part in weights)
    assert (buffer.dtype, buffer.ndim, buffer.flags.writeable, buffer.ctypes.data % 64) == (np.int8, 1, True, 0)
    ends = 0
    for start, part in ((offset(part, buffer), part) for part in weights):
        assert start % 64 == 0
        assert 0 <= start - ends < 64
        assert not buffer[ends:start].any()
        ends = start + part.nbytes
    assert buffer[ends:].size >= 64
    assert not buffer[ends:].any()
    return weights


@pytest.mark.parametrize("plain", [0, 2**20], ids=["stored as they are", "packed"])
@pytest.mark.parametrize(
    "build",
    [
        random_transformer,
        random_recurrent,
        random_decoder,
        lambda seed: compressed(random_transformer(seed), seed),
    ],
    ids=["dense", "position", "convolution", "packed and sparse"],
)
def test_all_weights_are_views_of_one_buffer(build, plain: int, tmp_path: Path, monkeypatch) -> None:
    """Read once, where the kernels use them; whether the file packs them or not."""
    monkeypatch.setattr(store, "PLAIN_BYTES", plain)
    network, path = build(3), tmp_path / "n.h5"
    snngen.save(network, path)
    loaded = snngen.load(path)
    expected = [p.synapse.weights for p in network.projections if p.synapse.weights is not None]
    for part, original in zip(weights_in_their_buffer(loaded), expected, strict=True):
        assert np.array_equal(part, original)
    assert loaded.digest == network.digest
    assert snngen.certify(loaded, [1, 4, 2]).clean


def test_the_shipped_network_has_one_buffer(shakespeare: Network) -> None:
    """Its file is one of the first version of packing: all of it compressed."""
    assert sum(part.nbytes for part in weights_in_their_buffer(shakespeare)) > 2_000_000


def test_weights_of_another_type_are_read_too(saved: Path, tmp_path: Path) -> None:
    def widen(file: h5py.File) -> None:
        for key in ("0000", "0001"):
            entry = file["projections"][key]
            if "matrix" in entry:
                matrix = entry["matrix"][()]
                del entry["matrix"]
                entry["matrix"] = matrix.astype(">i8")

    assert snngen.load(edit(saved, tmp_path, widen)).digest == random_transformer(1, layers=2).digest


def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    rng, size = np.random.default_rng(0), 2048
    populations = [Population("input", Source(size, -127, 127))]
    projections = []
    for index in range(5):
        populations.append(Population(f"layer{index}", Accumulator(np.zeros(size, np.int32))))
        projections.append(Projection("input", f"layer{index}", dense(rng, size, size)))
    snngen.save(Network(tuple(populations), tuple(projections)), tmp_path / "n.h5")
    del projections[:]
    tracemalloc.start()
    loaded = snngen.load(tmp_path / "n.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    weights = sum(part.nbytes for part in weights_in_their_buffer(loaded))
    assert weights == 5 * size * size
    assert peak < 1.1 * weights + 4 * 2**20


def test_nothing_is_left_beside_the_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["network.h5"]


def test_a_failed_write_leaves_the_old_file(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.h5"
    snngen.save(random_transformer(1), path)
    before = path.read_bytes()
    network = random_transformer(2)
    object.__setattr__(network, "provenance", {"unserializable": object()})
    with pytest.raises(TypeError):
        snngen.save(network, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["n.h5"]


def test_unwritable_paths_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "n.h5", tmp_path):
        with pytest.raises(FormatError, match="expected"):
            snngen.save(random_transformer(1), path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    text, foreign = tmp_path / "a.h5", tmp_path / "b.h5"
    text.write_text("hello")
    with h5py.File(foreign, "w") as file:
        file["data"] = np.arange(3)
    for path in (text, foreign, tmp_path / "absent.h5"):
        with pytest.raises(FormatError, match=str(path)):
            snngen.load(path)


def edit(saved: Path, tmp_path: Path, change) -> Path:
    path = tmp_path / "edited.h5"
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path)  # or the first check would stop it before the others
    return path


def test_an_edited_file_does_not_match_its_seal(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "edited.h5"
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        set_weight(file)
    with pytest.raises(FormatError, match="do not match their checksum"):
        snngen.load(path)


def set_weight(file: h5py.File) -> None:
    dataset = file["projections/0000/matrix"]
    dataset[0, 0] = dataset[0, 0] ^ 1


def resize(file: h5py.File) -> None:
    del file["projections/0000/matrix"]
    file["projections/0000"].create_dataset("matrix", shape=(2**30, 2**10), dtype="i1", chunks=(1024, 1024))


def declare(file: h5py.File) -> None:
    """More than the file has, not packed."""
    del file["projections/0000/matrix"]
    file["projections/0000"].create_dataset("matrix", shape=(2**12, 2**12), dtype="i1")


def declare_twice(file: h5py.File) -> None:
    """Twice the same dataset, which the file could hold once."""
    del file["projections/0000/matrix"], file["projections/0003/matrix"]
    size = 700 * file.id.get_filesize()
    file["projections/0000"].create_dataset("matrix", shape=(size, 1), dtype="i1", chunks=(2**16, 1))
    file["projections/0003/matrix"] = file["projections/0000/matrix"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_weight, "checksum"),
        (resize, "a file can hold"),
        (declare, "a file can hold"),
        (declare_twice, "a file can hold"),
        (lambda file: file.attrs.update(version=99), "version 99"),
        (lambda file: file.attrs.update(provenance="{"), "damaged"),
        (lambda file: file["populations/0001"].attrs.update(kind="perceptron"), "perceptron"),
        (lambda file: file["populations/0001"].attrs.update(surplus=1), "surplus"),
        (lambda file: file["populations/0001"].__delitem__("bias"), "fields"),
        (lambda file: file["populations/0001"].__delitem__("scale"), "damaged"),
        (lambda file: file.__delitem__("projections"), "damaged"),
        (lambda file: file["projections/0000"].attrs.update(source="nobody"), "nobody"),
    ],
)
def test_edited_files_are_refused(saved: Path, tmp_path: Path, change, message: str) -> None:
    with pytest.raises(SnngenError, match=message):
        snngen.load(edit(saved, tmp_path, change))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1), value=st.integers(1, 255))
def test_any_damaged_byte_is_refused(saved: Path, tmp_path: Path, place: float, value: int) -> None:
    data = bytearray(saved.read_bytes())
    data[int(place * (len(data) - 1))] ^= value
    path = tmp_path / "damaged.h5"
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError):
        snngen.load(path)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 0.999))
def test_truncated_files_are_refused(saved: Path, tmp_path: Path, share: float) -> None:
    data = saved.read_bytes()
    path = tmp_path / "short.h5"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError):
        snngen.load(path)
