"""State dicts of torch: tensors exactly, configuration beside them; no pickle is run, nothing is believed unseen."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch writes and reads its own files")

from snngen.converters import families, formats  # noqa: E402
from snngen.converters.formats import torch_state  # noqa: E402
from snngen.errors import FormatError, UnsupportedError  # noqa: E402

MNIST = Path(__file__).parents[3].parent / "shared/data/models/mnist"
EXECUTED: list[str] = []


def run(text: str) -> None:
    """What must never be called."""
    EXECUTED.append(text)


class Hostile:
    """An object whose pickle runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return run, ("ran",)


class Call:
    """An object whose pickle calls a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, generator=generator)
    return OrderedDict(
        a=values, b=values.T, c=values[1:, ::2], half=values.half(), brain=values.bfloat16(), d=values.double()
    )


def saved(value: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_every_tensor_is_exact(tmp_path: Path, legacy: bool, suffix: str) -> None:
    checkpoint = formats.read(write(tmp_path / f"m{suffix}", saved(state(), legacy)))
    assert checkpoint.format == "torch_state"
    assert checkpoint.config == {}
    for name, tensor in state().items():
        got = checkpoint.tensors[name]
        assert got.dtype == np.float32
        assert np.array_equal(got, tensor.float().numpy())


def test_tied_tensors_stay_one_array(tmp_path: Path) -> None:
    values = torch.ones(4, 3)
    checkpoint = formats.read(
        write(tmp_path / "m.pt", saved({"embedding": values, "head": values, "other": values * 2}))
    )
    assert checkpoint.tensors["embedding"] is checkpoint.tensors["head"]
    assert checkpoint.tensors["other"] is not checkpoint.tensors["head"]


def test_what_is_around_a_state_dict(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    inside = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    path = write(
        tmp_path / "m.ckpt", saved({"state_dict": inside, "epoch": 3, "rate": 0.1, "optimizer": {"steps": [1, (2, 3)]}})
    )
    checkpoint = formats.read(path)
    expected = {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    assert checkpoint.tensors.keys() == expected
    assert "left out: epoch, optimizer, rate" in checkpoint.notes[0]
    assert any("prefix module." in note for note in checkpoint.notes)
    assert any("1 counters" in note for note in checkpoint.notes)


def test_parameters_and_whole_buffers_of_modules(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    checkpoint = formats.read(write(tmp_path / "m.pt", saved(dict(module.named_parameters()))))
    assert np.array_equal(checkpoint.tensors["weight"], module.weight.detach().numpy())


@pytest.mark.parametrize("name", ["m.json", "config.json"])
def test_a_configuration_beside(tmp_path: Path, name: str) -> None:
    config = {"model_type": "llama", "vocab_size": 8, "bos_token_id": 1, "eos_token_id": 2}
    (tmp_path / name).write_text(json.dumps(config))
    checkpoint = formats.read(write(tmp_path / "m.pt", saved({"a": torch.ones(2)})))
    assert checkpoint.config["model_type"] == "llama"
    assert (checkpoint.begin, checkpoint.end) == (1, (2,))


def test_a_tokenizer_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    path, tokenizer = write(tmp_path / "model.pt", saved(state())), tmp_path / "tokenizer.json"
    tokenizer.write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match="no vocabulary is known"):
        formats.read(path, tokenizer)


def test_a_llama_as_a_state_dict(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers makes the model")
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=16, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    config.save_pretrained(tmp_path)
    graph = families.build(formats.read(write(tmp_path / "pytorch_model.bin", saved(model.state_dict()))))
    tokens = np.arange(10)[None]
    with torch.no_grad():
        expected = model(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(graph.run(tokens), expected, atol=1e-4)


@pytest.mark.skipif(not MNIST.is_dir(), reason="shared data is not here")
@pytest.mark.parametrize(("name", "latent"), [("vae_epoch_25.pth", 20), ("gan_mlp_G--300.ckpt", 64)])
def test_the_shared_decoders(name: str, latent: int) -> None:
    graph = families.build(formats.read(MNIST / name))
    assert (graph.channels, graph.picture) == (latent, (1, 28, 28))


# --- never run, never believed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Hostile(), "run"),
        (Call(bytearray, 2**40), "__builtin__.bytearray"),  # torch itself would let this through
        (Call(torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (2**40,), (1,), False), "_rebuild_meta"),
        (Call(eval, "1"), "eval"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_no_pickle_is_run(tmp_path: Path, value: Any, name: str, legacy: bool) -> None:
    EXECUTED.clear()
    path = write(tmp_path / "m.pt", saved({"a": torch.ones(2), "b": value}, legacy))
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedError, match=rf"names .*{name}"):
            formats.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert not EXECUTED


def test_a_bare_pickle_is_no_state_dict(tmp_path: Path) -> None:
    EXECUTED.clear()
    path = write(tmp_path / "m.pt", pickle.dumps(Hostile()))
    with pytest.raises(FormatError, match=r"a file of torch\.save"):
        formats.read(path)
    assert not EXECUTED


def rezipped(data: bytes, change: Any) -> bytes:
    """A torch archive with its members changed: change(name, content) -> (content, compression)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.infolist():
            content, compression = change(member.filename, old.read(member))
            new.writestr(zipfile.ZipInfo(member.filename), content, compress_type=compression)
    return buffer.getvalue()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    def bomb(name: str, content: bytes) -> tuple[bytes, int]:
        return (bytes(2**24), zipfile.ZIP_DEFLATED) if name.endswith("data/0") else (content, zipfile.ZIP_STORED)

    data = rezipped(saved({"a": torch.zeros(2**22)}), bomb)
    assert len(data) < 2**17
    with pytest.raises(FormatError, match="data/0 compressed"):
        formats.read(write(tmp_path / "m.pt", data))


def test_a_storage_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """torch reads beyond the member's end where a pickle declares more than it holds."""

    def shorten(name: str, content: bytes) -> tuple[bytes, int]:
        return content[:4] if name.endswith("data/0") else content, zipfile.ZIP_STORED

    with pytest.raises(FormatError, match="the file holds 4"):
        formats.read(write(tmp_path / "m.pt", rezipped(saved({"a": torch.ones(64)}), shorten)))


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    grown = torch.ones(1).expand(2**20, 2**10)  # 4 GiB of one number
    with pytest.raises(FormatError, match="no number twice"):
        formats.read(write(tmp_path / "m.pt", saved({"a": grown})))


def test_many_views_of_the_same_numbers_are_refused(tmp_path: Path) -> None:
    values = torch.ones(1000, dtype=torch.float16)
    views = {f"v{at}": values[at:] for at in range(200)}
    with pytest.raises(FormatError, match="tensors that overlap"):
        formats.read(write(tmp_path / "m.pt", saved(views)))


@pytest.mark.parametrize("tail", [b"x", bytes(22), b"PK\x05\x06" + bytes(18)])
def test_bytes_behind_an_archive_are_refused(tmp_path: Path, tail: bytes) -> None:
    with pytest.raises(FormatError, match=r"m\.pt: got"):
        formats.read(write(tmp_path / "m.pt", saved(state()) + tail))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(2)], "a list"),
        ({"a": torch.ones(2), "b": 3}, "a dict of"),
        ({"a": torch.ones(2, dtype=torch.int32)}, "float tensors"),
        ({"model": {"a": torch.ones(2)}, "generator": {"b": torch.ones(2)}}, "a dict of"),
        ({}, "a dict of"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        formats.read(write(tmp_path / "m.pt", saved(value)))


def test_a_declared_count_is_held_against_an_old_file(tmp_path: Path) -> None:
    data = saved({"a": torch.ones(64)}, legacy=True)
    at = data.rindex(struct.pack("<q", 64) + struct.pack("<f", 1.0))
    for count in (2**40, -1, 63, 65):
        with pytest.raises(FormatError, match="declared as 64"):
            formats.read(write(tmp_path / "m.pt", data[:at] + struct.pack("<q", count) + data[at + 8 :]))


SAMPLES = [saved({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2).half()}, legacy) for legacy in (False, True)]


def read_or_refuse(path: Path) -> None:
    """Read; what is read is finite in size, what is refused is refused as it should be."""
    try:
        checkpoint = torch_state.read(path)
    except (FormatError, UnsupportedError):
        return
    assert sum(tensor.nbytes for tensor in checkpoint.tensors.values()) <= 2 * path.stat().st_size


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch") / "m.pt"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_truncated_files_are_refused(scratch: Path, sample: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(sample) - 1))
    with pytest.raises((FormatError, UnsupportedError)):
        torch_state.read(write(scratch, sample[:length]))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
)
def test_mutated_files_are_read_or_refused(scratch: Path, sample: bytes, changes: list[tuple[int, bytes]]) -> None:
    mutated = bytearray(sample)
    for at, new in changes:
        at %= len(mutated)
        mutated[at : at + len(new)] = new
    read_or_refuse(write(scratch, bytes(mutated)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_pickle_after_the_magic_is_read_or_refused(scratch: Path, tail: bytes) -> None:
    legacy = SAMPLES[1]
    start = legacy.index(b"\x80\x02}q\x00(X\x01\x00\x00\x00a")  # where the object begins
    read_or_refuse(write(scratch, legacy[:start] + b"\x80\x02" + tail))
