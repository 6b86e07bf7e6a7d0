"""GPT-2: logits equal to those of transformers, and a refusal of all that would change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import TOLERANCE, difference, difference_in_pieces, saved

from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.errors import CapacityError, FormatError, UnsupportedError

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "n_positions": 40,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "bos_token_id": None,
    "eos_token_id": None,
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "untied": ({"tie_word_embeddings": False}, {}),
    "narrow feed-forward, other epsilon": ({"n_inner": 40, "layer_norm_epsilon": 0.1}, {}),
    "one head": ({"n_head": 1}, {}),
    "relu": ({"activation_function": "relu"}, {}),
    "exact gelu": ({"activation_function": "gelu"}, {}),
    "scores as they are": ({"scale_attn_weights": False}, {}),
    "scores divided by the layer": ({"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}, {}),
    "bfloat16 in shards": ({}, {"dtype": "bfloat16", "max_shard_size": "20KB"}),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(tmp_path: Path, case: str) -> None:
    changes, saving = CASES[case]
    model = saved(tmp_path, "GPT2", {**SIZES, **changes}, saving)
    graph = families.build(formats.read(tmp_path))
    tokens = np.random.default_rng(0).integers(61, size=(4, 40))
    assert difference(graph, model, tokens) < TOLERANCE
    assert difference_in_pieces(graph, tokens, [1, 4, 5, 11]) < TOLERANCE
    with pytest.raises(CapacityError, match="at most 40"):
        graph.run(tokens[:, :1], start=40)


def test_a_checkpoint_without_prefix_and_with_buffers_is_understood(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = saved(tmp_path, "GPT2", SIZES)
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 40, 40), np.float32))
        tensors[f"h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
    save_file(tensors, file)
    settings_path = tmp_path / "config.json"
    config = json.loads(settings_path.read_text())
    settings_path.write_text(json.dumps({**config, "n_ctx": 40, "task_specific_params": {"text-generation": {}}}))
    graph = families.build(formats.read(tmp_path))
    assert any("6 attn.bias and attn.masked_bias buffers were dropped" in note for note in graph.notes)
    tokens = np.random.default_rng(0).integers(61, size=(2, 40))
    assert difference(graph, model, tokens) < TOLERANCE


def checkpoint(**changes: Any) -> Checkpoint:
    """A small checkpoint in memory; a change to ... removes the key."""
    config = {**SIZES, "model_type": "gpt2", **changes}
    config = {key: value for key, value in config.items() if value is not ...}
    dim = SIZES["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (61, dim),
        "transformer.wpe.weight": (40, dim),
        "transformer.ln_f.weight": (dim,),
        "transformer.ln_f.bias": (dim,),
    }
    for layer in range(SIZES["n_layer"]):
        at = f"transformer.h.{layer}"
        linears = {"attn.c_attn": (dim, 3 * dim), "attn.c_proj": (dim, dim)}
        linears |= {"mlp.c_fc": (dim, 4 * dim), "mlp.c_proj": (4 * dim, dim)}
        shapes |= {f"{at}.{name}.weight": shape for name, shape in linears.items()}
        shapes |= {f"{at}.{name}.bias": shape[1:] for name, shape in linears.items()}
        shapes |= {f"{at}.{name}.{kind}": (dim,) for name in ("ln_1", "ln_2") for kind in ("weight", "bias")}
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


def test_the_checkpoint_of_these_tests_is_sound() -> None:
    assert np.isfinite(families.build(checkpoint()).run(np.zeros((1, 2), np.int64))).all()


def test_queries_and_keys_pass_a_code_stage() -> None:
    graph = families.build(checkpoint())
    for layer in range(3):
        query, key, value = graph.node(f"layer{layer}.attention").inputs
        for name in (query, key):
            (ones,) = graph.node(name).operation.weights  # type: ignore[attr-defined]
            assert (ones == 1).all()
        assert value == f"layer{layer}.value"


def test_a_tied_head_is_the_embedding_itself() -> None:
    graph = families.build(checkpoint())
    embedding, logits = graph.node("embedding").operation, graph.node("logits").operation
    assert logits.weight is embedding.weight  # type: ignore[attr-defined]
    beside = checkpoint()
    beside.tensors["lm_head.weight"] = beside.tensors["transformer.wte.weight"].copy()
    families.build(beside)
    unlike = checkpoint()
    unlike.tensors["lm_head.weight"] = unlike.tensors["transformer.wte.weight"] * np.float32(1.001)
    with pytest.raises(FormatError, match=r"lm_head\.weight unlike the embedding"):
        families.build(unlike)


REFUSED: dict[str, dict[str, Any]] = {
    "an_unheard_of_key": {"an_unheard_of_key": 1},
    "activation_function = 'mish'": {"activation_function": "mish"},
    r"activation_function = \['gelu'\]": {"activation_function": ["gelu"]},
    "add_cross_attention = True": {"add_cross_attention": True},
    "is_encoder_decoder = True": {"is_encoder_decoder": True},
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        families.build(checkpoint(**REFUSED[complaint]))


def test_everything_unsupported_stands_in_one_message() -> None:
    bad = checkpoint(activation_function="mish", surprise=1, add_cross_attention=True)
    with pytest.raises(UnsupportedError) as caught:
        families.build(bad)
    for part in ("mish", "surprise", "add_cross_attention"):
        assert part in caught.value.got


WRONG: dict[str, dict[str, Any]] = {
    "n_embd: got None": {"n_embd": ...},
    "n_layer: got '3'": {"n_layer": "3"},
    "n_positions: got 0": {"n_positions": 0},
    "n_inner: got -1": {"n_inner": -1},
    "n_head: got 10000000000": {"n_head": 10**10},
    "even division": {"n_head": 5},
    "layer_norm_epsilon: got 0": {"layer_norm_epsilon": 0},
    "tie_word_embeddings: got 'false'": {"tie_word_embeddings": "false"},
    "scale_attn_weights: got 1": {"scale_attn_weights": 1},
    r"lm_head\.weight: got no such tensor": {"tie_word_embeddings": False},
    r"c_fc\.weight: got shape": {"n_inner": 32},
    "left over": {"n_layer": 2},
    "no such tensor": {"n_layer": 4},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(**WRONG[complaint]))


def test_a_tensor_with_and_without_its_prefix_is_refused() -> None:
    twice = checkpoint()
    twice.tensors["wte.weight"] = twice.tensors["transformer.wte.weight"]
    with pytest.raises(FormatError, match=r"wte\.weight and transformer\.wte\.weight"):
        families.build(twice)


@settings(max_examples=20, deadline=None)
@given(tokens=st.lists(st.integers(0, 60), min_size=2, max_size=40), data=st.data())
def test_a_sequence_in_pieces_equals_the_whole_and_never_looks_ahead(tokens: list[int], data: st.DataObject) -> None:
    graph = families.build(checkpoint())
    whole = np.array([tokens])
    cuts = data.draw(st.lists(st.integers(1, len(tokens) - 1), unique=True, max_size=4))
    assert difference_in_pieces(graph, whole, cuts) < 1e-3  # its weights are larger than a model's
    seen = data.draw(st.integers(1, len(tokens) - 1))
    changed = whole.copy()
    changed[:, seen:] = (changed[:, seen:] + 1) % 61
    np.testing.assert_allclose(graph.run(changed)[:, :seen], graph.run(whole)[:, :seen], atol=1e-3)
