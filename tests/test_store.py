"""Network files: whole or absent, verified when read, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import random_transformer

import snngen
from snngen.errors import FormatError, SnngenError
from snngen.network import Network
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_weight, "checksum"),
        (resize, "a file can hold"),
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), value=st.integers(1, 255))
def test_any_damaged_byte_is_refused(saved: Path, tmp_path: Path, place: float, value: int) -> None:
    data = bytearray(saved.read_bytes())
    data[int(place * (len(data) - 1))] ^= value
    path = tmp_path / "damaged.h5"
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError):
        snngen.load(path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_truncated_files_are_refused(saved: Path, tmp_path: Path, share: float) -> None:
    data = saved.read_bytes()
    path = tmp_path / "short.h5"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError):
        snngen.load(path)
