"""GGUF out: exact where it is float, near where it is Q8_0, and read by gguf's own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from snngen import reference
from snngen.converters import exports, families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.dequantize import dequantize
from snngen.converters.exports import gguf as gguf_out
from snngen.converters.exports.gguf import interleave
from snngen.converters.formats.llama2c import half_split
from snngen.converters.gguf import vocabulary as gguf_vocabulary
from snngen.converters.graph import Graph
from snngen.converters.operations import Embedding, Floats, Gate, Linear, RMSNorm
from snngen.errors import FormatError, UnsupportedError
from snngen.network import Network
from snngen.text import Text

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

DIM, HIDDEN, HEADS, GROUPS, WIDTH, VOCABULARY = 64, 96, 4, 2, 16, 20
TEXTS = ("Enter KING RICHARD\n", "é 日本語 🙂", " two  spaces ", "", "\n\ttabs")


def graph_of(seed: int = 0, tied: bool = True, **changes: Any) -> Graph:
    """A LLaMA of two layers with random weights."""
    keys, generator = GROUPS * WIDTH, np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, DIM), "model.norm.weight": (DIM,)}
    shapes |= {} if tied else {"lm_head.weight": (VOCABULARY, DIM)}
    for layer in range(2):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.{name}_layernorm.weight": (DIM,) for name in ("input", "post_attention")}
        for name, rows in (("q", HEADS * WIDTH), ("k", keys), ("v", keys)):
            shapes |= {f"{at}.self_attn.{name}_proj.weight": (rows, DIM), f"{at}.self_attn.{name}_proj.bias": (rows,)}
        shapes |= {f"{at}.self_attn.o_proj.weight": (DIM, HEADS * WIDTH), f"{at}.self_attn.o_proj.bias": (DIM,)}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (HIDDEN, DIM) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (DIM, HIDDEN)}
    tensors = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    config = {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": DIM, "intermediate_size": HIDDEN,
        "num_hidden_layers": 2, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "head_dim": WIDTH,
        "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "rope_theta": 500000.0, "attention_bias": True,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    return families.build(Checkpoint("test", "test", "", config | changes, tensors))


def weights(graph: Graph) -> dict[str, Floats]:
    """Every array of every node, by the node's place among those that have any."""
    found = {}
    for number, node in enumerate(
        node for node in graph.nodes if isinstance(node.operation, Linear | Embedding | RMSNorm)
    ):
        for part in ("weight", "bias"):
            if isinstance(value := vars(node.operation).get(part), np.ndarray):
                found[f"{number}.{part}"] = value
    return found


def said(network: Network, tokens: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(tokens,) the most likely next token after each."""
    return np.asarray(reference.run(network, np.asarray(tokens))[network.output].argmax(-1))


@pytest.mark.parametrize("tied", [True, False])
def test_float_weights_come_back_exactly(tmp_path: Path, tied: bool) -> None:
    graph = graph_of(tied=tied)
    assert gguf_out.write(graph, tmp_path / "model.gguf", precision="F32") == []
    checkpoint = formats.read(tmp_path / "model.gguf")
    assert checkpoint.config["tie_word_embeddings"] is tied
    again = families.build(checkpoint)
    expected, found = weights(graph), weights(again)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    tokens = np.arange(VOCABULARY)[None]
    np.testing.assert_allclose(again.run(tokens), graph.run(tokens), rtol=1e-4, atol=1e-4)  # epsilon is float32 there
    assert (again.context, again.vocabulary) == (graph.context, VOCABULARY)


def test_the_shipped_model_comes_back_exactly_in_floats(tmp_path: Path, shakespeare: Network) -> None:
    exports.write(shakespeare, tmp_path / "model.gguf", "gguf", precision="F32")
    again = families.build(formats.read(tmp_path / "model.gguf"))
    expected, found = weights(dequantize(shakespeare)), weights(again)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_shipped_model_in_q8_0_says_the_same(tmp_path: Path, shakespeare: Network) -> None:
    path = tmp_path / "model.gguf"
    notes = exports.write(shakespeare, path, "gguf")
    assert any("one matrix, quantized twice" in note for note in notes)
    assert path.stat().st_size < 2.8e6
    graph = families.build(formats.read(path))
    text = (
        "First Murderer:\nHow dost thou feel thyself now?\n\nSecond Murderer:\nFaith, some certain dregs of conscience "
    )
    tokens = Text(shakespeare).encode(text)
    assert Text.of(str(graph.tokenizer), graph.vocabulary).encode(text) == tokens
    agree = graph.run(np.array([tokens]))[0].argmax(-1) == said(shakespeare, tokens)
    assert agree.mean() > 0.92  # 0.96 of 255 positions of Shakespeare


@pytest.mark.slow
def test_stories_in_q8_0_say_the_same_and_tokenize_alike(
    tmp_path: Path, stories: Network, stories_graph: Graph
) -> None:
    path = tmp_path / "model.gguf"
    notes = exports.write(stories, path, "gguf")
    assert any("F16 for 5 matrices" in note for note in notes)  # 172 channels are no multiple of 32
    checkpoint = formats.read(path)
    assert (checkpoint.begin, checkpoint.end) == (stories.begin, stories.end)
    ours, theirs = (Text.of(str(text), 512) for text in (checkpoint.tokenizer, stories.tokenizer))
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
    tokens = stories_graph.sample(1, 255, seed=9)
    agree = families.build(checkpoint).run(tokens)[0].argmax(-1) == said(stories, tokens[0])
    assert agree.mean() > 0.93


def test_gguf_itself_reads_the_file(tmp_path: Path, shakespeare: Network) -> None:
    exports.write(shakespeare, tmp_path / "model.gguf", "gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds.pop("token_embd.weight") == "Q8_0"
    assert "output.weight" not in kinds  # tied
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {"Q8_0"}
    values = {name: field.contents() for name, field in reader.fields.items()}
    expected = {
        "general.architecture": "llama", "llama.context_length": 256, "llama.embedding_length": 192,
        "llama.block_count": 6, "llama.feed_forward_length": 512, "llama.attention.head_count": 6,
        "llama.attention.head_count_kv": 3, "llama.rope.dimension_count": 32, "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.add_bos_token": False,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected
    assert values["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert len(values["tokenizer.ggml.tokens"]) == 256
    embedding = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    found = gguf.dequantize(embedding.data, embedding.tensor_type)
    expected_embedding = vars(dequantize(shakespeare).node("embedding").operation)["weight"]
    assert ((found - expected_embedding) ** 2).sum() < 1e-4 * (expected_embedding**2).sum()


@pytest.mark.parametrize("width", [2, 4, 8])
def test_interleaving_is_undone_by_half_splitting(width: int) -> None:
    weight = np.random.default_rng(width).normal(size=(3 * width, 5)).astype(np.float32)
    np.testing.assert_array_equal(half_split(interleave(weight, width), width), weight)


def test_another_family_is_refused_by_what_is_foreign(tmp_path: Path, shakespeare: Network) -> None:
    graph = graph_of()
    at = next(index for index, node in enumerate(graph.nodes) if isinstance(node.operation, Gate))
    graph.nodes[at] = replace(graph.nodes[at], operation=Gate("gelu"))
    with pytest.raises(UnsupportedError, match=r"layer0\.gated.*gelu.*LLaMA family"):
        gguf_out.write(graph, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnsupportedError, match="precision"):
        exports.write(shakespeare, tmp_path / "model.gguf", "gguf", precision="Q2_K")
    with pytest.raises(UnsupportedError, match=r"'gguff'.*gguf"):
        exports.write(shakespeare, tmp_path / "model.gguf", "gguff")


@pytest.mark.parametrize("start", [1, 2, 3, 8])
def test_a_graph_that_is_cut_short_is_refused(tmp_path: Path, start: int) -> None:
    graph = graph_of()
    cut = Graph(graph.vocabulary, graph.context, nodes=graph.nodes[:-start])
    with pytest.raises(UnsupportedError, match="LLaMA"):
        gguf_out.write(cut, tmp_path / "model.gguf")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="can be written"):
        gguf_out.write(graph_of(), tmp_path / "absent" / "model.gguf")


def test_a_tokenizer_that_gguf_cannot_express_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with pytest.raises(UnsupportedError, match="WordLevel"):
        gguf_vocabulary.write(words.to_str(), None, (), 2)
    odd = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    odd.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UnsupportedError, match="a cut"):
        gguf_vocabulary.write(odd.to_str(), None, (), 3)
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "aba": 3, "ab": 4, "ba": 5}
    unscored = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("ab", "a")], byte_fallback=True, unk_token="<unk>"))
    with pytest.raises(UnsupportedError, match=r"normalizer|scores"):
        gguf_vocabulary.write(unscored.to_str(), None, (), 6)
    with pytest.raises(UnsupportedError, match="end tokens"):
        gguf_vocabulary.write(None, None, (0, 1, 2, 3), 6)
