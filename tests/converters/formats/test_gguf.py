"""GGUF files as gguf's own writer makes them: what was written is what is read, and whatever is damaged is refused."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from snngen.converters import families, formats, gguf_container
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import convert
from snngen.converters.formats.gguf import ARCHITECTURES, GPT2_NAMES, LLAMA_NAMES
from snngen.converters.graph import Graph
from snngen.converters.operations import Floats
from snngen.converters.tokenizer import SPACE, SPECIAL
from snngen.errors import FormatError, SnngenError, UnsupportedError
from snngen.likelihood import perplexity

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

DIM, HIDDEN, LAYERS, HEADS, GROUPS, VOCABULARY, CONTEXT = 64, 96, 2, 4, 2, 40, 16
WIDTH = DIM // HEADS
KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_1")
Tensors = dict[str, Floats]
Changes = dict[str, Any]


def interleaved(weight: Floats, width: int) -> Floats:
    """llama.cpp's order of the channels of queries and keys: the two of a pair side by side."""
    return weight.reshape(-1, 2, width // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def named(name: str, names: dict[str, str]) -> str:
    """GGUF's name of one of Hugging Face's tensors."""
    stem, ending = name.rsplit(".", 1)
    layer = next((part for part in stem.split(".") if part.isdigit()), "")
    general = ".".join("#" if part.isdigit() else part for part in stem.split("."))
    (short,) = (short for short, long in names.items() if long == general)
    return f"{short.replace('#', layer)}.{ending}"


def llama_tensors(seed: int = 0, shared_head: bool = True) -> Tensors:
    """Random weights under Hugging Face's names."""
    keys = GROUPS * WIDTH
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (VOCABULARY, DIM), "model.norm": (DIM,)}
    if not shared_head:
        shapes["lm_head"] = (VOCABULARY, DIM)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.input_layernorm": (DIM,), f"{at}.post_attention_layernorm": (DIM,)}
        shapes |= {f"{at}.self_attn.q_proj": (DIM, DIM), f"{at}.self_attn.k_proj": (keys, DIM)}
        shapes |= {f"{at}.self_attn.v_proj": (keys, DIM), f"{at}.self_attn.o_proj": (DIM, DIM)}
        shapes |= {f"{at}.mlp.gate_proj": (HIDDEN, DIM), f"{at}.mlp.up_proj": (HIDDEN, DIM)}
        shapes |= {f"{at}.mlp.down_proj": (DIM, HIDDEN)}
    generator = np.random.default_rng(seed)
    return {f"{name}.weight": generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def llama_keys(**changes: Any) -> Changes:
    """Metadata of the model of `llama_tensors`; a key that is changed to None is left out."""
    keys = {
        "general.architecture": "llama",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": DIM,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": GROUPS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH,
    }
    keys |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in keys.items() if value is not None}


def write(path: Path, tensors: Tensors, keys: Changes, kind: str = "F32") -> Path:
    """A file by gguf's own writer. tensors: under GGUF's names; vectors stay F32, as llama.cpp keeps them."""
    writer = gguf.GGUFWriter(path, keys["general.architecture"])
    for name, value in keys.items():
        if name == "general.architecture":
            continue
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        else:
            {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)](name, value)
    for name, values in tensors.items():
        number = gguf.GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        if values.ndim > 1 and values.shape[-1] % gguf.GGML_QUANT_SIZES[number][0]:
            number = gguf.GGMLQuantizationType.F16  # as llama.cpp falls back
        writer.add_tensor(name, gguf.quantize(values, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_file(path: Path, tensors: Tensors | None = None, kind: str = "F32", **changes: Any) -> Path:
    """A LLaMA by gguf's writer, from tensors under Hugging Face's names."""
    stored = {}
    for name, values in (llama_tensors() if tensors is None else tensors).items():
        turned = "q_proj" in name or "k_proj" in name
        stored[named(name, LLAMA_NAMES)] = interleaved(values, WIDTH) if turned else values
    return write(path, stored, llama_keys(**changes), kind)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is written anew by each example of a property."""
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file with a vocabulary of each part that is read."""
    path = tmp_path_factory.mktemp("sound") / "model.gguf"
    return llama_file(path, kind="Q8_0", **words_with_scores()).read_bytes()


def words_with_scores() -> Changes:
    """A SentencePiece vocabulary of VOCABULARY pieces."""
    pieces = [*SPECIAL, SPACE, "a", "b", "c", "ab", f"{SPACE}a", "abc", "<0x0A>", "<|go|>", "[MASK]"]
    pieces += [f"unused{number}" for number in range(VOCABULARY - len(pieces))]
    kinds = [2, 3, 3, *[1] * 7, 6, 4, 3, *[5] * (VOCABULARY - 13)]
    at = "tokenizer__ggml__"
    scores = [0.0] * 7 + [-1.0, -2.0, -3.0] + [0.0] * (VOCABULARY - 10)
    return {f"{at}model": "llama", f"{at}tokens": pieces, f"{at}token_type": kinds, f"{at}scores": scores}


def words_with_merges(pre: str | None = "gpt-2") -> Changes:
    """A byte-level BPE vocabulary of VOCABULARY tokens."""
    letters = [*"abcdefgh123", "Ġ", "Ċ"]
    pieces = [*letters, "ab", "abc", "Ġab", "12", "<|end|>", "<tool>"]
    pieces += [f"unused{number}" for number in range(VOCABULARY - len(pieces))]
    kinds = [1] * (len(letters) + 4) + [3, 4] + [5] * (VOCABULARY - len(letters) - 6)
    at = "tokenizer__ggml__"
    words = {f"{at}model": "gpt2", f"{at}tokens": pieces, f"{at}token_type": kinds, f"{at}pre": pre}
    return words | {f"{at}merges": ["a b", "ab c", "Ġ ab", "1 2"], f"{at}eos_token_id": pieces.index("<|end|>")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared_head", [True, False])
def test_every_weight_arrives_under_its_name(model: Path, kind: str, shared_head: bool) -> None:
    tensors = llama_tensors(shared_head=shared_head)
    checkpoint = formats.read(llama_file(model, tensors, kind))
    assert (checkpoint.format, checkpoint.config["tie_word_embeddings"]) == ("gguf", shared_head)
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, values in tensors.items():
        number = gguf.GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        expected = gguf.dequantize(gguf.quantize(values, number), number)
        np.testing.assert_array_equal(checkpoint.tensors[name], expected, err_msg=name)
    assert len(checkpoint.notes) == 1 + kind.startswith("Q")  # and that there is no vocabulary


@pytest.mark.parametrize(("kind", "low", "high"), [("Q8_0", -48, -38), ("Q4_0", -50, -38)])
def test_the_note_says_what_one_scale_per_row_costs(model: Path, kind: str, low: float, high: float) -> None:
    checkpoint = formats.read(llama_file(model, kind=kind))
    (note,) = (note for note in checkpoint.notes if "blocks" in note)
    signal = error = 0.0
    for values in checkpoint.tensors.values():
        if values.ndim > 1:
            unit = np.abs(values).max(axis=1, keepdims=True) / 127
            error += float(((np.rint(values / unit) * unit - values).astype(np.float64) ** 2).sum())
            signal += float((values.astype(np.float64) ** 2).sum())
    decibels = 10 * np.log10(error / signal)
    assert low < decibels < high
    assert kind in note
    assert f"costs {decibels:.1f} dB" in note


def test_plain_weights_need_no_note(model: Path) -> None:
    for kind in ("F32", "F16", "BF16"):
        assert formats.read(llama_file(model, kind=kind, **words_with_scores())).notes == []


@pytest.mark.parametrize("biased", [("q", "k", "v"), ("q", "k", "v", "o")])
def test_biases_of_attention_arrive_and_a_missing_one_is_zero(model: Path, biased: tuple[str, ...]) -> None:
    tensors = llama_tensors()
    sizes = {"q": DIM, "k": GROUPS * WIDTH, "v": GROUPS * WIDTH, "o": DIM}
    generator = np.random.default_rng(1)
    for layer in range(LAYERS):
        for part in biased:
            name = f"model.layers.{layer}.self_attn.{part}_proj.bias"
            tensors[name] = generator.normal(size=sizes[part]).astype(np.float32)
    checkpoint = formats.read(llama_file(model, tensors))
    for name, values in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], values, err_msg=name)
    assert checkpoint.config["attention_bias"] is True
    graph = families.build(checkpoint)
    out = vars(graph.node("layer0.attention_out").operation)["bias"]
    assert bool(np.any(out)) is ("o" in biased)


# The real model, through every type.


@pytest.fixture(scope="session")
def stories_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """stories260K by gguf's writer, in a type of weights."""
    folder = tmp_path_factory.mktemp("stories")
    source = shared / "models" / "stories260K"
    checkpoint = formats.read(source / "stories260K.bin", source / "tok512.bin")
    config, width = checkpoint.config, checkpoint.config["hidden_size"] // checkpoint.config["num_attention_heads"]
    stored = {}
    for name, values in checkpoint.tensors.items():
        turned = "q_proj" in name or "k_proj" in name
        stored[named(name, LLAMA_NAMES)] = interleaved(values, width) if turned else np.asarray(values)
    sizes = {
        f"llama__{short.replace('.', '__')}": config[long]
        for short, long in ARCHITECTURES["llama"].keys.items()
        if long in config
    }
    words = stories_words(source / "tok512.bin")
    keys = llama_keys(**sizes, llama__rope__dimension_count=width, **words)

    def file(kind: str) -> Path:
        path = folder / f"{kind}.gguf"
        return path if path.exists() else write(path, stored, keys, kind)

    return file


def stories_words(path: Path) -> Changes:
    """llama2.c's tokenizer as llama.cpp's converter of it writes it."""
    data, at, pieces, scores = path.read_bytes(), 4, [], []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length].decode().replace(" ", SPACE))
        scores.append(score)
        at += 8 + length
    pieces[:3] = SPECIAL
    kinds = [2, 3, 3] + [6 if piece.startswith("<0x") else 1 for piece in pieces[3:]]
    at_key = "tokenizer__ggml__"
    words = {f"{at_key}model": "llama", f"{at_key}tokens": pieces, f"{at_key}scores": scores}
    return words | {f"{at_key}token_type": kinds, f"{at_key}bos_token_id": 1, f"{at_key}eos_token_id": 2}


def test_float_weights_give_the_very_logits_of_the_original(
    stories_files: Callable[[str], Path], stories_graph: Graph
) -> None:
    graph = families.build(formats.read(stories_files("F32")))
    tokens = stories_graph.sample(2, 64, seed=3)
    np.testing.assert_array_equal(graph.run(tokens), stories_graph.run(tokens))
    assert (graph.begin, graph.end) == (1, (2,))


def test_the_vocabulary_of_the_file_tokenizes_as_the_original(
    stories_files: Callable[[str], Path], stories_graph: Graph
) -> None:
    ours = Tokenizer.from_str(str(formats.read(stories_files("F32")).tokenizer))
    theirs = Tokenizer.from_str(str(stories_graph.tokenizer))
    for text in (
        "Once upon a time, there was a girl named Lily.",
        " two  spaces ",
        "é 日本語 🙂",
        "",
        "\n\ttabs",
        "<0x41>",
    ):
        assert ours.encode(text).ids == theirs.encode(text).ids
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def greedy_share(graph: Graph, other: Graph, tokens: Any) -> float:
    """Share of positions at which two models say the same token."""
    return float((graph.run(tokens).argmax(-1) == other.run(tokens).argmax(-1)).mean())


@pytest.mark.parametrize(("kind", "share"), [("F16", 0.995), ("Q8_0", 0.97), ("Q4_0", 0.75)])
def test_quantized_weights_say_nearly_the_same(
    stories_files: Callable[[str], Path], stories_graph: Graph, kind: str, share: float
) -> None:
    graph = families.build(formats.read(stories_files(kind)))
    assert greedy_share(graph, stories_graph, stories_graph.sample(4, 128, seed=4)) > share


@pytest.mark.slow
def test_the_network_of_a_q8_0_file_predicts_as_well_as_that_of_the_original(
    stories_files: Callable[[str], Path], stories_graph: Graph, stories: Any
) -> None:
    tokens = stories_graph.sample(1, 400, seed=5)[0].tolist()
    network = convert(stories_files("Q8_0")).network
    assert any("Q8_0" in note for note in network.provenance["notes"])
    assert perplexity(network, tokens) == pytest.approx(perplexity(stories, tokens), rel=0.02)
