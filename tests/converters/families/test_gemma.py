"""Gemma: logits equal to those of transformers, and a refusal of all that would change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity import TOLERANCE, difference, difference_in_pieces, saved

from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.errors import FormatError, UnsupportedError

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 40,
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "untied": ({"tie_word_embeddings": False}, {}),
    "one key head of LLaMA's width": ({"num_key_value_heads": 1, "head_dim": 8}, {}),
    "biases, other epsilon": ({"attention_bias": True, "rms_norm_eps": 0.1}, {}),
    "other theta": ({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, {}),
    "bfloat16": ({}, {"dtype": "bfloat16"}),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(tmp_path: Path, case: str) -> None:
    changes, saving = CASES[case]
    model = saved(tmp_path, "Gemma", {**SIZES, **changes}, saving)
    graph = families.build(formats.read(tmp_path))
    tokens = np.random.default_rng(0).integers(61, size=(4, 40))
    assert difference(graph, model, tokens) < TOLERANCE
    assert difference_in_pieces(graph, tokens, [1, 4, 5, 11]) < TOLERANCE


def test_a_configuration_of_the_first_release_is_understood(tmp_path: Path) -> None:
    model = saved(tmp_path, "Gemma", SIZES)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("rope_parameters", "tie_word_embeddings", "dtype", "use_bidirectional_attention"):
        config.pop(key, None)
    config |= {"hidden_act": "gelu", "hidden_activation": None, "rope_theta": 10000.0, "rope_scaling": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    graph = families.build(formats.read(tmp_path))
    assert difference(graph, model, np.random.default_rng(0).integers(61, size=(2, 40))) < TOLERANCE


def checkpoint(**changes: Any) -> Checkpoint:
    """A small checkpoint in memory."""
    config = {**SIZES, "model_type": "gemma", **changes}
    dim, hidden, wide = SIZES["hidden_size"], SIZES["intermediate_size"], 4 * SIZES["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (61, dim), "model.norm.weight": (dim,)}
    for layer in range(SIZES["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.{name}.weight": (dim,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{at}.self_attn.q_proj.weight": (wide, dim), f"{at}.self_attn.o_proj.weight": (dim, wide)}
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (wide // 2, dim) for name in "kv"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (hidden, dim) for name in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (dim, hidden)
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


def test_the_embedding_is_scaled_and_the_tied_head_is_not() -> None:
    source = checkpoint()
    weight = source.tensors["model.embed_tokens.weight"]
    graph = families.build(source)
    embedding, head = graph.node("embedding").operation, graph.node("logits").operation
    np.testing.assert_array_equal(head.weight, weight)  # type: ignore[attr-defined]
    np.testing.assert_allclose(embedding.weight, weight * np.sqrt(32), rtol=1e-6)  # type: ignore[attr-defined]


def test_norms_weigh_by_one_plus_their_weight() -> None:
    source = checkpoint()
    weight = source.tensors["model.norm.weight"]
    norm = families.build(source).node("norm").operation
    np.testing.assert_array_equal(norm.weight, weight + np.float32(1))  # type: ignore[attr-defined]


REFUSED: dict[str, dict[str, Any]] = {
    "an_unheard_of_key": {"an_unheard_of_key": 1},
    "hidden_act = 'silu'": {"hidden_act": "silu"},
    "hidden_activation = 'relu'": {"hidden_act": "gelu", "hidden_activation": "relu"},
    "use_bidirectional_attention = True": {"use_bidirectional_attention": True},
    "rope_scaling .*'linear'": {"rope_scaling": {"type": "linear", "factor": 2.0}},
    "sliding_window = 12": {"sliding_window": 12},
    "attn_logit_softcapping = 50.0": {"attn_logit_softcapping": 50.0},
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        families.build(checkpoint(**REFUSED[complaint]))


def test_everything_unsupported_stands_in_one_message() -> None:
    bad = checkpoint(hidden_act="silu", surprise=1, sliding_window=4, rope_scaling={"type": "yarn"})
    with pytest.raises(UnsupportedError) as caught:
        families.build(bad)
    for part in ("silu", "surprise", "sliding_window", "yarn"):
        assert part in caught.value.got


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text", "gemma3"])
def test_later_generations_are_refused(model_type: str) -> None:
    with pytest.raises(UnsupportedError, match="gemma, "):
        families.build(checkpoint(model_type=model_type))


WRONG: dict[str, dict[str, Any]] = {
    "head_dim: got 8.0": {"head_dim": 8.0},
    r"q_proj\.weight: got shape": {"head_dim": 8},
    r"q_proj\.bias: got no such tensor": {"attention_bias": True},
    r"lm_head\.weight: got no such tensor": {"tie_word_embeddings": False},
    "left over": {"num_hidden_layers": 2},
    "no such tensor": {"num_hidden_layers": 4},
    "rms_norm_eps: got 0": {"rms_norm_eps": 0},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(**WRONG[complaint]))


def test_a_tied_head_unlike_the_embedding_is_refused() -> None:
    unlike = checkpoint()
    unlike.tensors["lm_head.weight"] = unlike.tensors["model.embed_tokens.weight"] * np.float32(32**0.5)
    with pytest.raises(FormatError, match=r"lm_head\.weight unlike the embedding"):
        families.build(unlike)
