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

from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import convert
from snngen.converters.formats.gguf import ARCHITECTURES, GPT2_NAMES, LLAMA_NAMES
from snngen.converters.gguf import container as gguf_container
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


# Other architectures.


def gpt2_tensors() -> Tensors:
    """Random weights under Hugging Face's names; matrices inputs first."""
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (VOCABULARY, DIM), "wpe.weight": (CONTEXT, DIM)}
    shapes |= {"ln_f.weight": (DIM,), "ln_f.bias": (DIM,)}
    for layer in range(LAYERS):
        at = f"h.{layer}"
        shapes |= {f"{at}.{norm}.{part}": (DIM,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        for name, inputs, outputs in (
            ("attn.c_attn", DIM, 3 * DIM),
            ("attn.c_proj", DIM, DIM),
            ("mlp.c_fc", DIM, HIDDEN),
            ("mlp.c_proj", HIDDEN, DIM),
        ):
            shapes |= {f"{at}.{name}.weight": (inputs, outputs), f"{at}.{name}.bias": (outputs,)}
    generator = np.random.default_rng(2)
    return {f"transformer.{name}": generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


GPT2_CONFIG = {
    "model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": DIM, "n_layer": LAYERS,
    "n_head": HEADS, "n_inner": HIDDEN, "layer_norm_epsilon": 1e-5,
}  # fmt: skip


def gpt2_file(path: Path, **changes: Any) -> Path:
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    stored = {
        named(name, GPT2_NAMES): values.T if name.endswith(turned) else values
        for name, values in gpt2_tensors().items()
    }
    keys = {"general.architecture": "gpt2", "gpt2.context_length": CONTEXT, "gpt2.embedding_length": DIM}
    keys |= {"gpt2.block_count": LAYERS, "gpt2.attention.head_count": HEADS, "gpt2.feed_forward_length": HIDDEN}
    keys |= {"gpt2.attention.layer_norm_epsilon": 1e-5}
    keys |= {name.replace("__", "."): value for name, value in changes.items()}
    return write(path, stored, {name: value for name, value in keys.items() if value is not None})


def logits_of(checkpoint: Checkpoint) -> Floats:
    return families.build(checkpoint).run(np.arange(CONTEXT)[None] % VOCABULARY)


def test_gpt2_says_what_its_tensors_say(model: Path) -> None:
    checkpoint = formats.read(gpt2_file(model, **words_with_merges(None)))
    expected = Checkpoint("test", "test", "", dict(GPT2_CONFIG), gpt2_tensors())
    np.testing.assert_array_equal(logits_of(checkpoint), logits_of(expected))
    assert checkpoint.begin is None
    assert checkpoint.end == (17,)


@pytest.mark.parametrize(("name", "extra"), [("qwen2", "bias"), ("qwen3", "norms"), ("gemma", "offset")])
def test_relatives_of_llama_say_what_their_tensors_say(model: Path, name: str, extra: str) -> None:
    tensors, generator = llama_tensors(), np.random.default_rng(4)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn"
        if extra == "bias":
            sizes = {"q": DIM, "k": GROUPS * WIDTH, "v": GROUPS * WIDTH}
            tensors |= {f"{at}.{x}_proj.bias": generator.normal(size=n).astype(np.float32) for x, n in sizes.items()}
        if extra == "norms":
            tensors |= {f"{at}.{x}_norm.weight": generator.normal(size=WIDTH).astype(np.float32) for x in "qk"}
    architecture = ARCHITECTURES[name]
    stored = {  # llama.cpp's Gemma has the one in the weights of its norms
        named(key, dict(architecture.names)): values + np.float32("norm" in key and extra == "offset")
        for key, values in tensors.items()
    }
    keys = {key.replace("llama", name): value for key, value in llama_keys().items()}
    checkpoint = formats.read(write(model, stored, keys | {"general.architecture": name}))
    config = {
        "model_type": name, "vocab_size": VOCABULARY, "hidden_size": DIM, "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "head_dim": WIDTH,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": float(np.float32(1e-5)), "tie_word_embeddings": True,
    } | dict(architecture.config)  # fmt: skip
    expected = Checkpoint("test", "test", "", config, tensors)
    np.testing.assert_allclose(logits_of(checkpoint), logits_of(expected), rtol=1e-4, atol=1e-4)


def test_phi3_says_what_its_tensors_say(model: Path) -> None:
    plain = llama_tensors(shared_head=False)
    config = {
        "model_type": "phi3", "vocab_size": VOCABULARY, "hidden_size": DIM, "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": float(np.float32(1e-5)), "tie_word_embeddings": False,
    }  # fmt: skip
    tensors = {name: values for name, values in plain.items() if name.split(".")[-2][0] not in "qkvgu"}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        attention = [plain[f"{at}.self_attn.{part}_proj.weight"] for part in "qkv"]
        tensors[f"{at}.self_attn.qkv_proj.weight"] = np.concatenate(attention)
        tensors[f"{at}.mlp.gate_up_proj.weight"] = np.concatenate(
            [plain[f"{at}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        )
    stored = {named(name, dict(ARCHITECTURES["phi3"].names)): values for name, values in tensors.items()}
    keys = {key.replace("llama", "phi3"): value for key, value in llama_keys().items()}
    checkpoint = formats.read(write(model, stored, keys | {"general.architecture": "phi3"}))
    np.testing.assert_array_equal(logits_of(checkpoint), logits_of(Checkpoint("test", "test", "", config, tensors)))


# Vocabularies.


def test_pieces_with_scores_become_a_tokenizer(model: Path) -> None:
    checkpoint = formats.read(llama_file(model, **words_with_scores()))
    tokenizer = Tokenizer.from_str(str(checkpoint.tokenizer))
    assert tokenizer.encode("abc a").ids == [3, 9, 8]
    assert tokenizer.encode("\n").ids == [3, 10]  # a byte
    assert tokenizer.encode("z").ids == [3, 0]
    assert tokenizer.encode("ab<|go|>").ids == [3, 7, 11]  # a token of its own
    assert tokenizer.decode([3, 9, 8, 10], skip_special_tokens=False) == "abc a\n"
    assert (checkpoint.begin, checkpoint.end) == (1, (2,))  # llama.cpp's defaults


def test_no_space_is_put_first_where_the_file_says_so(model: Path) -> None:
    words = words_with_scores() | {
        "tokenizer__ggml__add_space_prefix": False,
        "tokenizer__ggml__add_bos_token": False,
        "tokenizer__ggml__eot_token_id": 12,
    }
    checkpoint = formats.read(llama_file(model, **words))
    tokenizer = Tokenizer.from_str(str(checkpoint.tokenizer))
    assert tokenizer.encode("ab").ids == [7]
    assert tokenizer.decode([3, 7], skip_special_tokens=False) == " ab"
    assert (checkpoint.begin, checkpoint.end) == (None, (2, 12))


@pytest.mark.parametrize(
    ("pre", "digits"), [("gpt-2", [16, 10]), ("smollm", [8, 9, 10]), ("qwen2", [8, 9, 10]), ("llama-bpe", [16, 10])]
)
def test_merges_become_a_tokenizer(model: Path, pre: str, digits: list[int]) -> None:
    checkpoint = formats.read(llama_file(model, **words_with_merges(pre)))
    tokenizer = Tokenizer.from_str(str(checkpoint.tokenizer))
    assert tokenizer.encode("abc ab").ids == [14, 15]
    assert tokenizer.encode("123").ids == digits
    assert tokenizer.encode("a<|end|>b<tool>").ids == [0, 17, 1, 18]
    assert tokenizer.decode([14, 15, 12], skip_special_tokens=False) == "abc ab\n"
    assert (checkpoint.begin, checkpoint.end) == (None, (17,))


def test_a_tokenizer_given_apart_takes_the_place_of_the_files_own(model: Path, tmp_path: Path) -> None:
    words = words_with_merges("nobody knows")
    with pytest.raises(UnsupportedError, match=r"tokenizer\.ggml\.pre"):
        formats.read(llama_file(model, **words))
    own = str(formats.read(llama_file(tmp_path / "other.gguf", **words_with_merges())).tokenizer)
    (tmp_path / "tokenizer.json").write_text(own, encoding="utf-8")
    checkpoint = formats.read(llama_file(model, **words), tmp_path / "tokenizer.json")
    assert (checkpoint.begin, checkpoint.end) == (None, (17,))
    assert Tokenizer.from_str(str(checkpoint.tokenizer)).encode("abc").ids == [14]


AT = "tokenizer__ggml__"
WORDS = words_with_scores()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({f"{AT}tokens": WORDS[f"{AT}tokens"][:-1]}, "39 tokens"),
        ({f"{AT}tokens": [*WORDS[f"{AT}tokens"], "more"]}, "41 tokens"),
        ({f"{AT}tokens": [*WORDS[f"{AT}tokens"][:-1], "a"]}, "the same token twice"),
        ({f"{AT}tokens": "a text"}, "a text"),
        ({f"{AT}scores": [0.0] * 39}, "scores"),
        ({f"{AT}scores": [float("nan")] * 40}, "NaN"),
        ({f"{AT}token_type": [1] * 41}, "token_type"),
        ({f"{AT}bos_token_id": 40}, "bos_token_id"),
        ({f"{AT}eos_token_id": "two"}, "eos_token_id"),
        ({f"{AT}unknown_token_id": 2**31}, "unknown_token_id"),
        ({f"{AT}add_bos_token": 1}, "true or false"),
        (words_with_merges() | {f"{AT}merges": ["ab"]}, "merges"),
        (words_with_merges() | {f"{AT}merges": ["a b c"]}, "merges"),
        (words_with_merges() | {f"{AT}merges": ["a z"]}, "vocabulary"),
        (words_with_merges() | {f"{AT}merges": ["b a"]}, "vocabulary"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(model: Path, changes: Changes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        formats.read(llama_file(model, **(WORDS | changes)))


# Refusals.


def test_everything_that_is_not_carried_is_in_one_message(model: Path) -> None:
    tensors = llama_tensors() | {"model.layers.0.mlp.experts.weight": np.zeros((2, DIM), np.float32)}
    names = LLAMA_NAMES | {"blk.#.ffn_gate_exps": "model.layers.#.mlp.experts"}
    stored = {named(name, names): values for name, values in tensors.items()}
    keys = llama_keys(
        llama__expert_count=8,
        llama__rope__scaling__type="yarn",
        llama__rope__dimension_count=8,
        general__type="adapter",
    )
    keys |= {"tokenizer.ggml.model": "bert", "split.count": 3, "llama.attention.value_length": 3}
    with pytest.raises(UnsupportedError) as caught:
        formats.read(write(model, stored, keys))
    for part in (
        "llama.expert_count = 8",
        "llama.rope.scaling.type = 'yarn'",
        "blk.0.ffn_gate_exps",
        "dimension_count = 8",
        "value_length = 3",
        "general.type",
        "'bert'",
        "llama-gguf-split",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"llama__attention__head_count": 0}, FormatError, "head_count"),
        ({"llama__attention__head_count": None}, FormatError, "head_count"),
        ({"llama__attention__head_count": 3}, FormatError, "heads of 21 channels"),
        ({"llama__attention__head_count": 64}, FormatError, "heads of 1 channels"),
        ({"llama__attention__head_count": "4"}, FormatError, "head_count"),
        ({"llama__attention__head_count": [4, 4]}, UnsupportedError, "one for all layers"),
        ({"llama__feed_forward_length": HIDDEN + 32}, FormatError, "gate_proj"),
        ({"llama__block_count": LAYERS + 1}, FormatError, r"layers\.2"),
        ({"llama__block_count": LAYERS - 1}, FormatError, "left over"),
        ({"llama__block_count": 2**31}, FormatError, "num_hidden_layers"),
        ({"llama__context_length": -1.5}, FormatError, "max_position_embeddings"),
        ({"llama__context_length": None}, FormatError, "max_position_embeddings"),
        ({"llama__attention__layer_norm_rms_epsilon": -1.0}, FormatError, "rms_norm_eps"),
        ({"llama__rope__freq_base": float("nan")}, FormatError, "rope_theta"),
        ({"llama__unheard_of": 1}, UnsupportedError, "unheard_of"),
        ({"general__architecture": "mamba"}, UnsupportedError, "mamba"),
    ],
)
def test_wrong_keys_are_refused_by_name(
    model: Path, changes: Changes, error: type[SnngenError], complaint: str
) -> None:
    llama_file(model, **({"llama__rope__dimension_count": None} | changes))
    with pytest.raises(error, match=complaint):
        families.build(formats.read(model))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_weights_that_are_no_numbers_are_refused_by_name(model: Path, value: float, kind: str) -> None:
    data = bytearray(llama_file(model, kind=kind).read_bytes())
    container = gguf_container.read(model)
    entry = next(entry for entry in container.tensors if entry.name == "blk.1.ffn_up.weight")
    at = data.index(entry.raw.tobytes())
    struct.pack_into("<f" if kind == "F32" else "<e", data, at, value)
    model.write_bytes(data)
    with pytest.raises(FormatError, match=r"model\.layers\.1\.mlp\.up_proj.*NaN or infinite"):
        families.build(formats.read(model))


# Hostile files.


def header(tensors: int = 0, keys: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return struct.pack("<4sIQQ", magic, version, tensors, keys)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    start = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape))
    return start + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)


HOSTILE = {
    "magic": (header(magic=b"FUGG"), "FUGG"),
    "version 1": (header(version=1), "version 1"),
    "big-endian": (header(version=3 << 24), "little-endian"),
    "many tensors": (header(2**63), "tensors"),
    "many keys": (header(0, 2**64 - 1), "keys"),
    "more keys than there are": (header(0, 2**16), "truncated"),
    "a long text": (header(0, 1) + struct.pack("<Q", 2**63) + b"a", "truncated"),
    "a long value": (header(0, 1) + key(b"a", 8, struct.pack("<Q", 2**40)), "truncated"),
    "a long array": (header(0, 1) + key(b"a", 9, struct.pack("<IQ", 4, 2**60)), "at most"),
    "an array beyond the file": (header(0, 1) + key(b"a", 9, struct.pack("<IQ", 4, 2**24)), "truncated"),
    "texts beyond the file": (header(0, 1) + key(b"a", 9, struct.pack("<IQ", 8, 2**24)), "truncated"),
    "arrays in arrays": (header(0, 1) + key(b"a", 9, struct.pack("<IQ", 9, 1)), "type 9"),
    "no such type": (header(0, 1) + key(b"a", 13, b""), "type 13"),
    "bad UTF-8": (header(0, 1) + key(b"\xff\xfe", 4, bytes(4)), "UTF-8"),
    "bad UTF-8 in a value": (header(0, 1) + key(b"a", 8, struct.pack("<Q", 2) + b"\xc3\x28"), "UTF-8"),
    "a key twice": (header(0, 2) + 2 * key(b"a", 4, bytes(4)), "more than once"),
    "no axes": (header(1) + tensor(b"a", ()), "0 axes"),
    "many axes": (header(1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 2**31), "axes"),
    "an axis of zero": (header(1) + tensor(b"a", (0, 4)), "shape"),
    "a negative axis": (header(1) + tensor(b"a", (2**64 - 1,)), "shape"),
    "a product beyond 64 bits": (header(1) + tensor(b"a", (2**24, 2**24, 2**24)), "truncated"),
    "a tensor beyond the file": (header(1) + tensor(b"a", (2**24,)), "truncated"),
    "an offset beyond the file": (header(1) + tensor(b"a", (1,), 0, 2**64 - 32) + bytes(64), "truncated"),
    "a crooked offset": (header(1) + tensor(b"a", (1,), 0, 4) + bytes(64), "multiples of 32"),
    "no such tensor type": (header(1) + tensor(b"a", (1,), 5) + bytes(64), "type 5"),
    "half a block": (header(1) + tensor(b"a", (16,), 8) + bytes(64), "Q8_0"),
    "a tensor twice": (header(2) + tensor(b"a", (1,)) + tensor(b"a", (1,), 0, 32) + bytes(96), "more than once"),
    "a crooked alignment": (header(0, 1) + key(b"general.alignment", 4, struct.pack("<I", 48)), "power of two"),
    "no alignment": (header(0, 1) + key(b"general.alignment", 4, bytes(4)), "power of two"),
    "the same bytes": (header(2) + tensor(b"a", (9,)) + tensor(b"b", (9,), 0, 32) + bytes(160), "do not overlap"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_within_bounded_memory(model: Path, name: str) -> None:
    data, complaint = HOSTILE[name]
    model.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=complaint):
            gguf_container.read(model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_every_truncation_is_refused(model: Path, sound: bytes) -> None:
    model.write_bytes(sound)
    start = sound.index(b"token_embd.weight")
    for length in [*range(0, start + 2000, 7), len(sound) - 1]:
        os.truncate(model, 0)
        model.write_bytes(sound[:length])
        with pytest.raises(FormatError):
            formats.read(model)


def read_or_refuse(path: Path) -> None:
    """Whatever is in a file, it becomes a graph that runs, or an error of ours."""
    try:
        graph = families.build(formats.read(path))
    except (FormatError, UnsupportedError):
        return
    with np.errstate(all="ignore"):  # a weight of 3e38 is a number, and overflows when it is used
        graph.run(np.zeros((1, 1), np.int64))


@settings(max_examples=300, deadline=None)
@given(flips=st.dictionaries(st.integers(0, 2**13), st.integers(1, 255), min_size=1, max_size=4))
@example(flips={4: 1})
def test_flipped_bytes_never_surprise(scratch: Path, sound: bytes, flips: dict[int, int]) -> None:
    data, last = bytearray(sound), sound.rindex(b"blk.") + 100
    for at, mask in flips.items():
        data[at % last] ^= mask
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(
    at=st.integers(0, 2**13),
    number=st.sampled_from([0, 1, 2, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]),
)
def test_any_number_anywhere_never_surprises(scratch: Path, sound: bytes, at: int, number: int) -> None:
    data = bytearray(sound)
    struct.pack_into("<Q", data, 8 + at % (sound.rindex(b"blk.") + 100), number)
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_foreign_bytes_are_refused(scratch: Path, data: bytes) -> None:
    scratch.write_bytes(b"GGUF\x03\0\0\0" + data)
    with pytest.raises((FormatError, UnsupportedError)):
        formats.read(scratch)
