"""rwkv.cpp files: what was written is what is read, the real model speaks, and whatever is damaged is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from snngen.converters import families, formats
from snngen.converters.formats import ggmf, llama2c
from snngen.converters.operations import Floats
from snngen.errors import FormatError, SnngenError, UnsupportedError

HEADS, WIDTH, HIDDEN, LAYERS, VOCABULARY, RANK = 2, 16, 64, 2, 256, 8
DIM = HEADS * WIDTH
FLOAT32, FLOAT16 = 0, 1
TYPES = {2: "Q4_0", 3: "Q4_1", 7: "Q5_0", 8: "Q5_1", 9: "Q8_0"}
HEADER_BYTES = 24


def tensors(seed: int = 0) -> dict[str, Floats]:
    """Random weights under the names and in the shapes of RWKV-LM."""
    vectors = ("ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias", "att.ln_x.weight", "att.ln_x.bias")
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (VOCABULARY, DIM)}
    shapes |= {f"blocks.0.ln0.{part}": (DIM,) for part in ("weight", "bias")}
    for layer in range(LAYERS):
        at = f"blocks.{layer}"
        shapes |= {f"{at}.{name}": (DIM,) for name in vectors}
        singles = ["w0", "a0", "k_k", "k_a", *ggmf.MIXES, *(["v0"] if layer else [])]
        shapes |= {f"{at}.att.{name}": (1, 1, DIM) for name in singles}
        for name in "wavg" if layer else "wag":
            shapes |= {f"{at}.att.{name}1": (DIM, RANK), f"{at}.att.{name}2": (RANK, DIM)}
        shapes |= {f"{at}.att.{name}.weight": (DIM, DIM) for name in ("receptance", "key", "value", "output")}
        shapes |= {f"{at}.att.r_k": (HEADS, WIDTH), f"{at}.ffn.x_k": (1, 1, DIM)}
        shapes |= {f"{at}.ffn.key.weight": (HIDDEN, DIM), f"{at}.ffn.value.weight": (DIM, HIDDEN)}
    shapes |= {"ln_out.weight": (DIM,), "ln_out.bias": (DIM,), "head.weight": (VOCABULARY, DIM)}
    generator = np.random.default_rng(seed)
    return {name: (generator.normal(size=shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}


def encoded(tensor: Floats, kind: int) -> bytes:
    if kind == FLOAT32:
        return tensor.astype("<f4").tobytes()
    if kind == FLOAT16:
        return tensor.astype("<f2").tobytes()
    quants = pytest.importorskip("gguf.quants", reason="blocks are written with the package gguf")
    blocks: npt.NDArray[np.uint8] = quants.quantize(tensor, quants.GGMLQuantizationType[TYPES[kind]])
    return blocks.tobytes()


def written(weights: dict[str, Floats], kind: int = FLOAT32, version: int = 101) -> bytes:
    """A file as rwkv.cpp's converter writes it: mixes in one tensor, low-rank maps turned, matrices in `kind`."""
    parts = [struct.pack("<4s5i", b"fmgg", version, VOCABULARY, DIM, LAYERS, kind)]
    stored: dict[str, Floats] = {}
    for name, tensor in weights.items():
        head, _, last = name.rpartition(".")
        if last in ggmf.MIXES and head.endswith(".att"):
            mixes = [weights[f"{head}.{mix}"] for mix in ggmf.MIXES]
            stored[f"{head}.x_rwkvag"] = np.concatenate(mixes)
        else:
            stored[name] = tensor.T if last in ggmf.TURNED else tensor
    for name, tensor in stored.items():
        plain = name.endswith(".weight") and tensor.ndim == 2 and name not in ("emb.weight", "head.weight")
        chosen = kind if plain else FLOAT32
        shape = struct.pack(f"<{tensor.ndim}i", *reversed(tensor.shape))
        parts += [struct.pack("<3i", tensor.ndim, len(name), chosen), shape, name.encode(), encoded(tensor, chosen)]
    return b"".join(parts)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is written anew by each example of a property."""
    return tmp_path_factory.mktemp("ggmf") / "model.bin"


def test_every_weight_arrives_under_its_name(model: Path) -> None:
    weights = tensors()
    model.write_bytes(written(weights))
    checkpoint = formats.read(model)
    assert checkpoint.format == "ggmf"
    assert checkpoint.tensors.keys() == weights.keys()
    for name, weight in weights.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], weight, err_msg=name)
    assert checkpoint.config == {
        "model_type": "rwkv7",
        "vocab_size": VOCABULARY,
        "hidden_size": DIM,
        "num_hidden_layers": LAYERS,
    }
    assert not checkpoint.notes


@pytest.mark.parametrize(
    ("kind", "error"), [(FLOAT16, 2**-10), (2, 0.2), (3, 0.1), (7, 0.1), (8, 0.05), (9, 0.01)], ids=str
)
def test_smaller_types_arrive_as_near_as_they_can(model: Path, kind: int, error: float) -> None:
    weights = tensors()
    model.write_bytes(written(weights, kind))
    checkpoint = ggmf.read(model)
    name = "blocks.1.ffn.key.weight"
    far = np.abs(checkpoint.tensors[name] - weights[name]).max()
    assert 0 < far < error
    assert bool(checkpoint.notes) is (kind in TYPES)
    assert all(TYPES[kind] in note for note in checkpoint.notes)
    assert np.isfinite(families.build(checkpoint).run(np.array([[1, 2, 3]]))).all()


def test_blocks_of_the_first_version_are_refused(model: Path) -> None:
    model.write_bytes(written(tensors(), 9, version=100))
    with pytest.raises(FormatError, match=r"receptance\.weight.*Q8_0 in version 100"):
        ggmf.read(model)
    model.write_bytes(written(tensors(), FLOAT16, version=100))
    assert ggmf.read(model).config["model_type"] == "rwkv7"


@pytest.mark.parametrize(
    ("name", "generation"), [("time_maa_x", "rwkv6"), ("ln_x.weight", "rwkv5"), ("time_mix_k", "rwkv4")]
)
def test_other_generations_are_named_and_refused(model: Path, name: str, generation: str) -> None:
    weights = {"emb.weight": tensors()["emb.weight"], f"blocks.0.att.{name}": np.ones((1, 1, DIM), np.float32)}
    model.write_bytes(written(weights))
    with pytest.raises(UnsupportedError, match=generation):
        families.build(formats.read(model))


def test_readers_do_not_mistake_each_others_files(model: Path, shared: Path) -> None:
    model.write_bytes(written(tensors()))
    assert ggmf.recognizes(model)
    assert not llama2c.recognizes(model)
    assert not ggmf.recognizes(shared / "models" / "stories260K" / "stories260K.bin")
    assert not ggmf.recognizes(shared / "models" / "rwkv")
    other = model.rename(model.with_suffix(".txt"))
    assert not ggmf.recognizes(other)


def test_every_truncation_is_refused(model: Path) -> None:
    whole = written(tensors())
    model.write_bytes(whole)
    generator = np.random.default_rng(0)
    lengths = [*range(HEADER_BYTES + 64), *generator.integers(0, len(whole), 300), len(whole) - 1]
    for length in sorted({int(length) for length in lengths}, reverse=True):
        os.truncate(model, length)
        with pytest.raises(FormatError, match=r"model\.bin"):
            families.build(ggmf.read(model))


def read_or_refuse(path: Path) -> None:
    """Whatever is in a file, it becomes a graph that runs, or is refused."""
    try:
        graph = families.build(ggmf.read(path))
    except SnngenError:
        return
    with np.errstate(all="ignore"):  # a weight of 3e38 is a number, and overflows when it is used
        graph.run(np.zeros((1, 1), np.int64))


@settings(max_examples=200, deadline=None)
@given(
    tensor=st.integers(0, 10**6),
    flips=st.dictionaries(st.integers(0, 40), st.integers(1, 255), min_size=1, max_size=4),
)
def test_flipped_bytes_in_a_header_never_surprise(scratch: Path, tensor: int, flips: dict[int, int]) -> None:
    data = bytearray(written(tensors()))
    scratch.write_bytes(data)
    starts = [0, *(p.start for p in ggmf._parameters(np.frombuffer(bytes(data), np.uint8), "test"))]
    start = starts[tensor % len(starts)]
    for at, mask in flips.items():  # the bytes before a tensor's values: its name, its shape, its type
        data[abs(start - 1 - at) if start else at] ^= mask
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(sizes=st.tuples(*[st.sampled_from([-(2**31), -1, 0, 1, 2, 32, 256, 2**16, 2**23, 2**31 - 1])] * 5))
def test_any_sizes_never_surprise(scratch: Path, sizes: tuple[int, ...]) -> None:
    data = bytearray(written(tensors()))
    struct.pack_into("<5i", data, 4, *sizes)
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(
    rank=st.integers(-1, 5),
    length=st.sampled_from([-1, 0, 1, 10, 257, 2**31 - 1]),
    kind=st.integers(-1, 10),
    shape=st.lists(st.sampled_from([-(2**31), -1, 0, 1, 32, 2**23, 2**31 - 1]), max_size=5),
    rest=st.binary(max_size=200),
)
def test_any_tensor_that_a_file_declares_never_surprises(
    scratch: Path, rank: int, length: int, kind: int, shape: list[int], rest: bytes
) -> None:
    declared = struct.pack(f"<3i{len(shape)}i", rank, length, kind, *shape)
    scratch.write_bytes(written(tensors()) + declared + rest)
    with pytest.raises(FormatError):
        families.build(ggmf.read(scratch))


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 2**20), value=st.sampled_from([np.nan, np.inf, -np.inf, 3e38]))
def test_any_number_in_the_weights_never_surprises(scratch: Path, at: int, value: float) -> None:
    data = bytearray(written(tensors()))
    place = at % (len(data) - HEADER_BYTES - 4)
    struct.pack_into("<f", data, HEADER_BYTES + place, value)
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_foreign_bytes_are_refused(scratch: Path, data: bytes) -> None:
    for content in (data, b"fmgg" + data):
        scratch.write_bytes(content)
        with pytest.raises(FormatError):
            ggmf.read(scratch)


@pytest.mark.parametrize(
    ("offset", "value", "complaint"),
    [
        (4, 99, "version 99"),
        (8, 0, "vocabulary 0"),
        (8, 255, r"emb\.weight"),
        (12, DIM + 1, r"emb\.weight"),
        (16, -1, "-1 layers"),
        (20, 5, "data type 5"),
        (24, 5, "5 dimensions"),
        (28, 0, "a name of 0 bytes"),
        (32, 4, "data type 4"),
        (36, 2**25, r"emb\.weight.*shape"),
        (36, 2**23, "Is the file truncated"),
    ],
)
def test_a_wrong_header_is_refused_by_what_is_wrong(model: Path, offset: int, value: int, complaint: str) -> None:
    data = bytearray(written(tensors()))
    struct.pack_into("<i", data, offset, value)
    model.write_bytes(data)
    with pytest.raises(FormatError, match=complaint):
        ggmf.read(model)


def test_a_second_tensor_of_a_name_is_refused(model: Path) -> None:
    whole = written(tensors())
    again = written({"ln_out.bias": np.ones(DIM, np.float32)})[HEADER_BYTES:]
    model.write_bytes(whole + again)
    with pytest.raises(FormatError, match=r"ln_out\.bias.*twice"):
        ggmf.read(model)
    apart = written({"blocks.1.ffn.x_r": np.ones((1, 1, DIM), np.float32)})[HEADER_BYTES:]
    model.write_bytes(whole + apart.replace(b"blocks.1.ffn.x_r", b"blocks.1.att.x_r"))
    with pytest.raises(FormatError, match=r"x_r'\] a second time"):
        ggmf.read(model)


def test_names_that_are_not_text_are_refused(model: Path) -> None:
    model.write_bytes(written(tensors()).replace(b"ln_out.bias", b"ln_out.\xff\xfe\xfd\xfc"))
    with pytest.raises(FormatError, match="not UTF-8"):
        ggmf.read(model)


def test_256_tokens_are_bytes(model: Path) -> None:
    model.write_bytes(written(tensors()))
    text = ggmf.read(model).tokenizer
    assert text is not None
    tokenizer = Tokenizer.from_str(text)
    for example in ('"in', " two  spaces\n\ttab\0", "grüß dich, 世界 🙂", "".join(map(chr, range(256)))):
        assert tokenizer.encode(example).ids == list(example.encode())
        assert tokenizer.decode(list(example.encode()), skip_special_tokens=False) == example
    stream = DecodeStream(skip_special_tokens=False)
    assert "".join(stream.step(tokenizer, byte) or "" for byte in "世界".encode()) == "世界"


def test_a_tokenizer_that_is_given_is_taken_where_it_fits(model: Path, tmp_path: Path) -> None:
    model.write_bytes(written(tensors()))
    given_path = tmp_path / "tokenizer.json"
    text = ggmf.read(model).tokenizer
    assert text is not None
    given_path.write_text(text, encoding="utf-8")
    assert ggmf.read(model, given_path).tokenizer == text
    tokenizer = Tokenizer.from_str(text)
    tokenizer.add_tokens(["one too many"])
    given_path.write_text(tokenizer.to_str(), encoding="utf-8")
    with pytest.raises(FormatError, match="257 tokens"):
        ggmf.read(model, given_path)
    given_path.write_bytes(b"\xff{")
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        ggmf.read(model, given_path)
    with pytest.raises(FormatError, match="no file"):
        ggmf.read(model, tmp_path / "absent.json")
