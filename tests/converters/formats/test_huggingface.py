"""Hugging Face folders: every tensor exactly, tokens and tokenizer checked, and whatever is damaged refused."""

from __future__ import annotations

import json
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from snngen.converters import formats
from snngen.converters.formats import huggingface
from snngen.errors import FormatError, UnsupportedError

Entries = dict[str, tuple[str, tuple[int, ...], bytes]]  # dtype, shape, bytes

VOCABULARY = 8
CONFIG: dict[str, Any] = {"model_type": "llama", "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
VALUES = np.array([0.0, -0.0, 1.0, -1.5, 3e-41, 65504.0, np.inf, np.nan], np.float32)


def f32(values: npt.ArrayLike) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(values, dtype="<f4")
    return "F32", array.shape, array.tobytes()


def packed(entries: Entries, header: dict[str, Any] | None = None) -> bytes:
    """A safetensors file; `header` adds to or replaces what its header says."""
    at, said = 0, {}
    for name, (dtype, shape, data) in entries.items():
        said[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps({**said, **(header or {})}).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in entries.values())


def words(count: int = VOCABULARY, begin: int | None = 1) -> Tokenizer:
    """A tokenizer of `count` words that begins a text with one of them."""
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(count)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if begin is not None:
        word = f"w{begin}"
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{word} $A", special_tokens=[(word, begin)])
    return tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder with one tensor."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(packed({"a": f32([1, 2, 3])}))
    words().save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files are written anew by each example of a property."""
    path = tmp_path_factory.mktemp("huggingface")
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def configure(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))


def shard(folder: Path, files: dict[str, Entries], weight_map: dict[str, Any] | None = None) -> None:
    """Replace the weights by shards and their index."""
    (folder / "model.safetensors").unlink()
    for file, entries in files.items():
        (folder / file).write_bytes(packed(entries))
    listed = {name: file for file, entries in files.items() for name in entries}
    index = {"metadata": {"total_size": 0}, "weight_map": listed if weight_map is None else weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def test_a_sound_folder(folder: Path) -> None:
    checkpoint = formats.read(folder)
    assert (checkpoint.format, checkpoint.source) == ("huggingface", str(folder))
    assert checkpoint.config == CONFIG
    assert (checkpoint.begin, checkpoint.end) == (1, (2,))
    assert checkpoint.tensors["a"].tolist() == [1, 2, 3]
    assert checkpoint.tokenizer is not None
    assert Tokenizer.from_str(checkpoint.tokenizer).encode("w3 w5").ids == [1, 3, 5]


def test_only_a_folder_with_a_configuration_is_recognized(folder: Path, tmp_path: Path) -> None:
    assert huggingface.recognizes(folder)
    assert not huggingface.recognizes(folder / "config.json")
    assert not huggingface.recognizes(tmp_path)
    with pytest.raises(FormatError, match=r"no config\.json"):
        huggingface.read(tmp_path)


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_every_float_type_becomes_the_same_number_in_float32(folder: Path, padding: int) -> None:
    with np.errstate(over="ignore"):
        half = VALUES.astype("<f2")
    brain = (VALUES.view(np.uint32) >> 16).astype("<u2")
    entries: Entries = {
        "F32": ("F32", (2, 4), VALUES.astype("<f4").tobytes()),
        "F16": ("F16", (8,), half.tobytes()),
        "BF16": ("BF16", (4, 2), brain.tobytes()),
        "scalar": ("BF16", (), brain[3:4].tobytes()),
        "empty": ("F16", (0, 3), b""),
    }
    data = packed(entries, {"__metadata__": {"format": "pt"}})
    length = struct.unpack("<Q", data[:8])[0]  # blanks after the header move the data off their natural alignment
    data = struct.pack("<Q", length + padding) + data[8 : 8 + length] + b" " * padding + data[8 + length :]
    (folder / "model.safetensors").write_bytes(data)
    tensors = huggingface.read(folder).tensors
    np.testing.assert_array_equal(tensors["F32"], VALUES.reshape(2, 4))
    np.testing.assert_array_equal(tensors["F16"], half.astype(np.float32))
    np.testing.assert_array_equal(tensors["BF16"], (brain.astype(np.uint32) << 16).view(np.float32).reshape(4, 2))
    assert tensors["scalar"] == -1.5
    assert tensors["empty"].shape == (0, 3)
    assert all(tensor.dtype == np.float32 and tensor.flags.aligned for tensor in tensors.values())


def test_all_bfloat16_numbers_are_exact(folder: Path) -> None:
    patterns = np.arange(2**16, dtype=np.uint16)
    (folder / "model.safetensors").write_bytes(packed({"a": ("BF16", (2**16,), patterns.astype("<u2").tobytes())}))
    got = huggingface.read(folder).tensors["a"]
    np.testing.assert_array_equal(got.view(np.uint32), patterns.astype(np.uint32) << 16)


@pytest.mark.parametrize(
    ("dtype", "size"), [("I8", 1), ("U8", 1), ("F8_E4M3", 1), ("I32", 4), ("I64", 8), ("F64", 8), ("BOOL", 1)]
)
def test_other_types_are_refused_by_name(folder: Path, dtype: str, size: int) -> None:
    (folder / "model.safetensors").write_bytes(packed({"a": f32([1]), "b.weight": (dtype, (2,), bytes(2 * size))}))
    with pytest.raises(UnsupportedError, match=rf"1 tensors of {dtype}, such as b\.weight"):
        huggingface.read(folder)


def test_shards_are_read_whole(folder: Path) -> None:
    whole = huggingface.read(folder)
    shard(folder, {A: {"a": f32([1, 2, 3]), "b": f32([[4]])}, B: {"c": f32([5, 6])}})
    checkpoint = huggingface.read(folder)
    assert {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()} == {
        "a": [1, 2, 3],
        "b": [[4]],
        "c": [5, 6],
    }
    assert checkpoint.digest != whole.digest


def test_the_digest_follows_every_file_that_was_read(folder: Path) -> None:
    shard(folder, {A: {"a": f32([1])}, B: {"b": f32([2])}})
    (folder / "generation_config.json").write_text("{}")
    digests = {huggingface.read(folder).digest}
    (folder / "README.md").write_text("not read")
    assert huggingface.read(folder).digest in digests
    changes: list[Callable[[], Any]] = [
        lambda: configure(folder, rms_norm_eps=1e-5),
        lambda: (folder / "generation_config.json").write_text("{ }"),
        lambda: (folder / A).write_bytes(packed({"a": f32([3])})),
        lambda: (folder / B).write_bytes(packed({"b": f32([3])})),
        lambda: words(VOCABULARY - 1).save(str(folder / "tokenizer.json")),
    ]
    for change in changes:
        change()
        digests.add(huggingface.read(folder).digest)
    assert len(digests) == 1 + len(changes)


@pytest.mark.parametrize(
    ("weight_map", "complaint"),
    [
        ({"a": A, "b": A, "c": B}, r"without \['b'\]"),  # it is in the other shard
        ({"a": A, "b": B, "c": B, "d": B}, r"without \['d'\]"),
        ({"a": A, "b": B}, r"with \['c'\]"),
        ({"a": A, "b": B, "c": "model-00003-of-00002.safetensors"}, "no model-00003"),
        ({"a": A, "b": B, "c": "../outside.safetensors"}, "outside.safetensors.*beside it"),
        ({"a": A, "b": B, "c": "/etc/outside.safetensors"}, "beside it"),
        ({"a": A, "b": B, "c": "sub/inside.safetensors"}, "beside it"),
        ({"a": A, "b": B, "c": "..\\outside.safetensors"}, "beside it"),
        ({"a": A, "b": B, "c": "nul\0.safetensors"}, "beside it"),
        ({"a": A, "b": B, "c": "pytorch_model.bin"}, "beside it"),
        ({"a": A, "b": B, "c": ".."}, "beside it"),
        ({"a": A, "b": B, "c": 3}, "beside it"),
        ({"a": A, "b": B, "c": None}, "beside it"),
        ({}, "tensor names with their shards"),
        ([A, B], "tensor names with their shards"),
        (None, "tensor names with their shards"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(folder: Path, weight_map: Any, complaint: str) -> None:
    shard(folder, {A: {"a": f32([1])}, B: {"b": f32([2]), "c": f32([3])}})
    (folder.parent / "outside.safetensors").write_bytes(packed({"c": f32([3])}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(FormatError, match=complaint):
        huggingface.read(folder)


def test_a_tensor_in_two_shards_is_refused(folder: Path) -> None:
    shard(folder, {A: {"a": f32([1])}, B: {"a": f32([2]), "b": f32([2])}}, {"a": A, "b": B})
    with pytest.raises(FormatError, match=r"with \['a'\]"):
        huggingface.read(folder)
    text = f'{{"weight_map": {{"a": "{A}", "a": "{B}", "b": "{B}"}}}}'
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(FormatError, match="'a' more than once"):
        huggingface.read(folder)


def test_a_tensor_twice_in_one_header_is_refused(folder: Path) -> None:
    one = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    text = f"{{{one}, {one}}}".encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(FormatError, match="'a' more than once"):
        huggingface.read(folder)


def test_links_as_in_the_cache_of_the_hub_are_followed(folder: Path) -> None:
    blob = folder.parent / "blob"
    (folder / "model.safetensors").rename(blob)
    try:
        (folder / "model.safetensors").symlink_to(blob)
    except OSError:
        pytest.skip("this system makes no links")
    assert huggingface.read(folder).tensors["a"].tolist() == [1, 2, 3]


def test_weights_in_one_file_and_in_an_index_are_ambiguous(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    with pytest.raises(FormatError, match="out of date"):
        huggingface.read(folder)


def test_pickles_are_never_loaded(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="no weights"):
        huggingface.read(folder)
    touched = folder / "touched"

    class Hostile:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (touched,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UnsupportedError, match=r"pytorch_model\.bin.*none is ever loaded.*safe_serialization=True"):
        huggingface.read(folder)
    assert not touched.exists()


def test_pickles_beside_safetensors_do_not_matter(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"")
    assert huggingface.read(folder).tensors.keys() == {"a"}


def test_rotary_buffers_are_dropped_with_a_note_and_nothing_else_is(folder: Path) -> None:
    names = [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq",
        "rotary_emb.inv_freq",
        "model.other_rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq.weight",
        "rotary_emb_inv_freq",
    ]
    (folder / "model.safetensors").write_bytes(packed({name: f32([1]) for name in names}))
    checkpoint = huggingface.read(folder)
    assert sorted(checkpoint.tensors) == sorted(names[3:])
    assert any("3 rotary_emb.inv_freq buffers" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("config.json", b"", "JSON"),
        ("config.json", b"{", "JSON"),
        ("config.json", b"[1]", "a JSON object"),
        ("config.json", b"null", "a JSON object"),
        ("config.json", b"\xff\xfe{}", "UTF-8"),
        ("config.json", b'{"a": NaN}', "the number NaN"),
        ("config.json", b'{"a": -Infinity}', "the number -Infinity"),
        ("config.json", b'{"a": 1, "a": 2}', "'a' more than once"),
        ("config.json", b'{"a": ' + b"1" * 5000 + b"}", "JSON"),
        ("config.json", b"[" * 2**20, "JSON"),
        ("config.json", b'{"a": ' * 2**17, "JSON"),
        ("config.json", b" " * 2**24, "16777216 bytes; expected at most 10485760"),
        ("generation_config.json", b"[]", "a JSON object"),
        ("generation_config.json", b"\xff", "UTF-8"),
        ("tokenizer.json", b"", "tokenizers"),
        ("tokenizer.json", b"{}", "tokenizers"),
        ("tokenizer.json", b"\xff", "UTF-8"),
        ("tokenizer.json", b'{"version": "1.0", "model": {"type": "Unheard", "vocab": {}}}', "tokenizers"),
        ("tokenizer.json", b"[" * 2**20, "tokenizers"),
        ("model.safetensors", b"", "safetensors"),
        ("model.safetensors", b"\2\0\0", "safetensors"),
        ("model.safetensors", b"\2\0\0\0\0\0\0\0[]", "safetensors"),
        ("model.safetensors", b"\2\0\0\0\0\0\0\0\xff\xff", "safetensors"),
        ("model.safetensors", b"\xff" * 8, "a header of 18446744073709551615 bytes"),
        ("model.safetensors", b"\0\0\0\0\0\0\0\x80{}", "a header of"),
        ("model.safetensors", b"\0\0\0\1\0\0\0\0{}", "a header of 16777216 bytes"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "a header of"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_by_name(folder: Path, file: str, content: bytes, complaint: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(FormatError, match=complaint) as caught:
        huggingface.read(folder)
    assert file in caught.value.where


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 2**62]},
        {"dtype": "F32", "shape": [-3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2**63, 2, 0], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": 3, "data_offsets": [0, 12]},
        {"dtype": "X32", "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3]},
        "F32",
    ],
)
def test_headers_that_lie_are_refused_in_little_memory(folder: Path, entry: Any) -> None:
    (folder / "model.safetensors").write_bytes(packed({"a": f32([1, 2, 3])}, {"a": entry}))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"model\.safetensors"):
            huggingface.read(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


WHOLE = packed({"a": f32([[1, 2], [3, 4]]), "b": ("BF16", (3,), bytes(6)), "c": ("F16", (1,), bytes(2))})


def test_every_truncation_is_refused(scratch: Path) -> None:
    for length in range(len(WHOLE)):
        (scratch / "model.safetensors").write_bytes(WHOLE[:length])
        with pytest.raises(FormatError, match=r"model\.safetensors"):
            huggingface.read(scratch)


@settings(max_examples=300, deadline=None)
@given(flips=st.dictionaries(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), min_size=1, max_size=4))
@example(flips={7: 0x80})
def test_flipped_bytes_never_surprise(scratch: Path, flips: dict[int, int]) -> None:
    data = bytearray(WHOLE)
    for at, mask in flips.items():
        data[at] ^= mask
    (scratch / "model.safetensors").write_bytes(data)
    try:
        tensors = huggingface.read(scratch).tensors
    except (FormatError, UnsupportedError):
        return
    assert sum(tensor.size for tensor in tensors.values()) <= 12  # all that the bytes can hold


@settings(max_examples=200, deadline=None)
@given(file=st.sampled_from(["model.safetensors", "generation_config.json", "tokenizer.json"]), data=st.binary())
def test_foreign_bytes_never_surprise(scratch: Path, file: str, data: bytes) -> None:
    (scratch / "model.safetensors").write_bytes(WHOLE)
    (scratch / file).write_bytes(data)
    with suppress(FormatError):
        huggingface.read(scratch)
    for optional in ("generation_config.json", "tokenizer.json"):
        (scratch / optional).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("config", "generation", "begin", "end"),
    [
        ({}, None, 1, (2,)),
        ({"bos_token_id": None, "eos_token_id": None}, None, None, ()),
        ({"bos_token_id": [3], "eos_token_id": [4, 5, 4]}, None, 3, (4, 5)),
        ({"bos_token_id": [], "eos_token_id": []}, None, None, ()),
        ({}, {"eos_token_id": [2, 6]}, 1, (2, 6)),
        ({}, {"eos_token_id": 6}, 1, (6,)),
        ({}, {"eos_token_id": None}, 1, (2,)),
        ({}, {"temperature": 0.6}, 1, (2,)),
        ({"bos_token_id": 0, "eos_token_id": VOCABULARY - 1}, None, 0, (VOCABULARY - 1,)),
    ],
)
def test_tokens_that_begin_and_end_a_text(
    folder: Path, config: dict[str, Any], generation: dict[str, Any] | None, begin: int | None, end: tuple[int, ...]
) -> None:
    configure(folder, **config)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    words(begin=begin).save(str(folder / "tokenizer.json"))
    checkpoint = huggingface.read(folder)
    assert (checkpoint.begin, checkpoint.end) == (begin, end)


@pytest.mark.parametrize(
    ("file", "changes", "complaint"),
    [
        ("config.json", {"bos_token_id": VOCABULARY}, "bos_token_id: got 8; expected tokens of 0..7"),
        ("config.json", {"bos_token_id": -1}, "bos_token_id: got -1"),
        ("config.json", {"bos_token_id": [1, 2]}, "at most one token"),
        ("config.json", {"eos_token_id": [2, 8]}, "eos_token_id: got 8"),
        ("config.json", {"eos_token_id": "2"}, "eos_token_id: got '2'"),
        ("config.json", {"eos_token_id": True}, "eos_token_id: got True"),
        ("config.json", {"eos_token_id": [[2]]}, r"eos_token_id: got \[2\]"),
        ("config.json", {"eos_token_id": 2.0}, r"eos_token_id: got 2\.0"),
        ("generation_config.json", {"eos_token_id": 8}, "generation_config.json: eos_token_id: got 8"),
        ("config.json", {"vocab_size": None}, "vocab_size: got None"),
        ("config.json", {"vocab_size": "8"}, "vocab_size: got '8'"),
        ("config.json", {"vocab_size": 0}, "vocab_size: got 0"),
        ("config.json", {"vocab_size": True}, "vocab_size: got True"),
    ],
)
def test_tokens_outside_the_vocabulary_are_refused(
    folder: Path, file: str, changes: dict[str, Any], complaint: str
) -> None:
    (folder / file).write_text(json.dumps({**CONFIG, **changes}))
    with pytest.raises(FormatError, match=complaint):
        huggingface.read(folder)


def test_quantized_models_are_refused(folder: Path) -> None:
    configure(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(UnsupportedError, match="quantization_config"):
        huggingface.read(folder)
    configure(folder, quantization_config=None)
    assert huggingface.read(folder).config == CONFIG


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(folder: Path) -> None:
    words(VOCABULARY + 1).save(str(folder / "tokenizer.json"))
    with pytest.raises(FormatError, match=r"9 tokens; expected 1\.\.8"):
        huggingface.read(folder)
    tokenizer = words(VOCABULARY)
    tokenizer.add_special_tokens(["<end>"])  # numbered after the model's own
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(FormatError, match="9 tokens"):
        huggingface.read(folder)


def test_the_largest_number_counts_not_how_many_there_are(folder: Path) -> None:
    Tokenizer(models.WordLevel({"a": 0, "b": VOCABULARY}, unk_token="a")).save(str(folder / "tokenizer.json"))
    with pytest.raises(FormatError, match="9 tokens"):
        huggingface.read(folder)


def test_a_tokenizer_without_tokens_is_refused(folder: Path) -> None:
    Tokenizer(models.WordLevel({}, unk_token="a")).save(str(folder / "tokenizer.json"))
    with pytest.raises(FormatError, match="0 tokens"):
        huggingface.read(folder)


def test_a_padded_vocabulary_is_noted(folder: Path) -> None:
    assert not any("padded" in note for note in huggingface.read(folder).notes)
    words(VOCABULARY - 2).save(str(folder / "tokenizer.json"))
    assert any("knows 6 of the 8 tokens" in note for note in huggingface.read(folder).notes)


def test_a_folder_without_a_tokenizer_is_noted(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    checkpoint = huggingface.read(folder)
    assert checkpoint.tokenizer is None
    assert any("no tokenizer.json" in note for note in checkpoint.notes)


def test_a_begin_token_that_the_tokenizer_does_not_put_itself_is_not_used(folder: Path) -> None:
    assert not huggingface.read(folder).notes
    words(begin=None).save(str(folder / "tokenizer.json"))
    checkpoint = huggingface.read(folder)
    assert checkpoint.begin is None
    assert any("do not begin with bos_token_id 1" in note for note in checkpoint.notes)


@pytest.mark.parametrize("inside_a_folder", [True, False])
def test_a_given_tokenizer_replaces_that_of_the_folder(folder: Path, tmp_path: Path, inside_a_folder: bool) -> None:
    other = tmp_path / "tokenizer.json"
    words(5).save(str(other))
    (folder / "tokenizer.json").write_text("damaged, and not read")
    checkpoint = huggingface.read(folder, tmp_path if inside_a_folder else other)
    assert checkpoint.tokenizer is not None
    assert Tokenizer.from_str(checkpoint.tokenizer).get_vocab_size() == 5
    with pytest.raises(FormatError, match="no such file"):
        huggingface.read(folder, tmp_path / "absent.json")


def test_settings_of_training_do_not_cut_or_pad_a_prompt(folder: Path) -> None:
    tokenizer = words()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=6)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = huggingface.read(folder).tokenizer
    assert text is not None
    assert Tokenizer.from_str(text).encode("w1 w2 w3").ids == [1, 1, 2, 3]
