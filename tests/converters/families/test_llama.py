"""Llama, Mistral, Qwen2, Qwen3: logits equal to those of transformers, and a refusal of all that would change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity import TOLERANCE, difference, difference_in_pieces, saved

from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.families import llama
from snngen.errors import CapacityError, FormatError, UnsupportedError

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
}
WINDOW = 12

# name: class of the model, what its configuration adds to SIZES, how it is saved
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("Llama", {}, {}),
    "llama tied": ("Llama", {"tie_word_embeddings": True}, {}),
    "llama one key head, other theta and epsilon": (
        "Llama",
        {
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
            "rms_norm_eps": 0.1,
        },
        {},
    ),
    "llama as many key heads": ("Llama", {"num_key_value_heads": None}, {}),
    "llama biases": ("Llama", {"attention_bias": True, "mlp_bias": True}, {}),
    "llama attention biases": ("Llama", {"attention_bias": True}, {}),
    "llama wide heads": ("Llama", {"head_dim": 16}, {}),
    "llama in shards": ("Llama", {}, {"max_shard_size": "9KB"}),
    "llama bfloat16": ("Llama", {}, {"dtype": "bfloat16"}),
    "llama bfloat16 tied in shards": (
        "Llama",
        {"tie_word_embeddings": True},
        {"dtype": "bfloat16", "max_shard_size": "5KB"},
    ),
    "llama float16": ("Llama", {}, {"dtype": "float16"}),
    "mistral": ("Mistral", {"sliding_window": None}, {}),
    "mistral wide heads": ("Mistral", {"sliding_window": None, "head_dim": 14}, {}),
    "mistral window": ("Mistral", {"sliding_window": WINDOW, "head_dim": 6}, {}),
    "qwen2": ("Qwen2", {}, {}),
    "qwen2 tied": ("Qwen2", {"tie_word_embeddings": True}, {}),
    "qwen2 window": ("Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}, {}),
    "qwen2 window never opened": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3},
        {},
    ),
    "qwen2 bfloat16 in shards": ("Qwen2", {}, {"dtype": "bfloat16", "max_shard_size": "5KB"}),
    "qwen3": ("Qwen3", {"head_dim": 8}, {}),
    "qwen3 wide heads tied": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True, "rms_norm_eps": 0.1}, {}),
    "qwen3 biases": ("Qwen3", {"head_dim": 8, "attention_bias": True}, {}),
    "qwen3 window": (
        "Qwen3",
        {"head_dim": 8, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
        {},
    ),
}
WINDOWED = {"mistral window", "qwen2 window", "qwen3 window"}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(tmp_path: Path, case: str) -> None:
    kind, changes, saving = CASES[case]
    model = saved(tmp_path, kind, {**SIZES, **changes}, saving)
    graph = families.build(formats.read(tmp_path))
    assert graph.context == (WINDOW if case in WINDOWED else SIZES["max_position_embeddings"])
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or "shards" not in case
    tokens = np.random.default_rng(0).integers(SIZES["vocab_size"], size=(4, graph.context))
    assert difference(graph, model, tokens) < TOLERANCE
    assert difference_in_pieces(graph, tokens, [1, 4, 5, 11]) < TOLERANCE


@pytest.mark.parametrize("case", sorted(WINDOWED))
def test_beyond_the_sliding_window_nothing_is_computed(tmp_path: Path, case: str) -> None:
    kind, changes, saving = CASES[case]
    model = saved(tmp_path, kind, {**SIZES, **changes}, saving)
    checkpoint = formats.read(tmp_path)
    graph = families.build(checkpoint)
    assert any("sliding window of 12 tokens" in note for note in graph.notes)
    tokens = np.random.default_rng(0).integers(SIZES["vocab_size"], size=(1, WINDOW + 4))
    with pytest.raises(CapacityError, match="at most 12"):
        graph.run(tokens)
    graph.context = WINDOW + 4  # had it been computed, it would have been wrong
    assert difference(graph, model, tokens) > 100 * TOLERANCE


def test_a_configuration_of_older_transformers_is_understood(tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 777.0}
    model = saved(tmp_path, "Llama", {**SIZES, "rope_parameters": rope})
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"], config["head_dim"], config["dtype"], config["attention_bias"], config["mlp_bias"]
    config |= {"rope_theta": 777.0, "rope_scaling": None, "torch_dtype": "float32", "_name_or_path": "somewhere"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    graph = families.build(formats.read(tmp_path))
    tokens = np.random.default_rng(0).integers(SIZES["vocab_size"], size=(2, graph.context))
    assert difference(graph, model, tokens) < TOLERANCE


def checkpoint(model_type: str = "llama", biased: tuple[str, ...] = (), **changes: Any) -> Checkpoint:
    """A small checkpoint in memory; a change to ... removes the key."""
    config = {**SIZES, "model_type": model_type, **changes}
    config = {key: value for key, value in config.items() if value is not ...}
    dim, hidden, vocabulary = SIZES["hidden_size"], SIZES["intermediate_size"], SIZES["vocab_size"]
    shapes = {
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (dim // 2, dim),
        "self_attn.v_proj": (dim // 2, dim),
        "self_attn.o_proj": (dim, dim),
        "mlp.gate_proj": (hidden, dim),
        "mlp.up_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
    }
    generator = np.random.default_rng(0)
    tensors: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, dim),
        "lm_head.weight": (vocabulary, dim),
        "model.norm.weight": (dim,),
    }
    for layer in range(SIZES["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        tensors |= {f"{at}.{name}.weight": (dim,) for name in ("input_layernorm", "post_attention_layernorm")}
        tensors |= {f"{at}.{name}.weight": shape for name, shape in shapes.items()}
        tensors |= {f"{at}.{name}.bias": shape[:1] for name, shape in shapes.items() if name.split(".")[1] in biased}
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in tensors.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


QKV = ("q_proj", "k_proj", "v_proj")


def test_the_checkpoint_of_these_tests_is_sound() -> None:
    for model_type, biased in (("llama", ()), ("mistral", ()), ("qwen2", QKV)):
        graph = families.build(checkpoint(model_type, biased))
        assert np.isfinite(graph.run(np.zeros((1, 2), np.int64))).all()


ACCEPTED: dict[str, dict[str, Any]] = {
    "as published for SmolLM2": {
        "is_llama_config": True,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
    },
    "rope_scaling that says default": {"rope_scaling": {"type": "default"}, "rope_theta": 500.0},
    "the same theta twice": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 500000},
    "swish is another name of silu": {"hidden_act": "swish"},
    "full attention throughout": {"layer_types": ["full_attention"] * 3},
    "switches that are off": {"is_encoder_decoder": False, "use_mrope": False, "add_cross_attention": False},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_changes_nothing_is_accepted(case: str) -> None:
    graph = families.build(checkpoint(**ACCEPTED[case]))
    assert graph.context == SIZES["max_position_embeddings"]


REFUSED: dict[str, dict[str, Any]] = {
    "an_unheard_of_key": {"an_unheard_of_key": 1},
    "hidden_act = 'gelu'": {"hidden_act": "gelu"},
    "hidden_act = \\['silu'\\]": {"hidden_act": ["silu"]},
    "rope_scaling .*'linear'": {"rope_scaling": {"type": "linear", "factor": 2.0}},
    "rope_scaling .*'dynamic'": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "rope_parameters .*'llama3'": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}},
    "rope_parameters .*partial_rotary_factor": {"rope_parameters": {"partial_rotary_factor": 0.5}},
    "rope_parameters .*full_attention": {"rope_parameters": {"full_attention": {"rope_theta": 1e4}}},
    "rope_parameters .*\\[1\\]": {"rope_parameters": [1]},
    "rope_scaling .*\\{\\}": {"rope_scaling": {"rope_type": {}}},
    "rope_interleaved = True": {"rope_interleaved": True},
    "is_encoder_decoder = True": {"is_encoder_decoder": True},
    "use_mrope = True": {"model_type": "qwen2", "use_mrope": True},
    "attention_bias = True": {"model_type": "mistral", "attention_bias": True},
    "mlp_bias = True": {"model_type": "qwen2", "mlp_bias": True},
    "mlp_bias = True \\(not a choice of qwen3": {"model_type": "qwen3", "mlp_bias": True},
    "layer_types .*chunked_attention": {"layer_types": ["chunked_attention"] * 3},
    "layer_types = 'sliding_attention'": {"layer_types": "sliding_attention"},
    "layer_types = \\[\\[\\]": {"layer_types": [[], [], []]},
    "layer_types of 2 layers": {"layer_types": ["full_attention"] * 2},
    "no sliding_window": {"layer_types": ["sliding_attention"] * 3},
    "quantization_config": {"quantization_config": {"bits": 4}},
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        llama.build(checkpoint(**REFUSED[complaint]))


def test_everything_unsupported_stands_in_one_message() -> None:
    bad = checkpoint(
        hidden_act="relu2", rope_scaling={"type": "yarn"}, surprise=1, rope_interleaved=True, layer_types=["mamba"]
    )
    with pytest.raises(UnsupportedError) as caught:
        families.build(bad)
    for part in ("relu2", "yarn", "surprise", "rope_interleaved", "mamba"):
        assert part in caught.value.got


def test_an_unknown_architecture_is_refused() -> None:
    for model_type in ("bert", None, ["llama"]):
        with pytest.raises(UnsupportedError, match=r"llama, .*mistral, .*qwen2, qwen3"):
            families.build(checkpoint(model_type=model_type))  # type: ignore[arg-type]


WRONG: dict[str, dict[str, Any]] = {
    "hidden_size: got None": {"hidden_size": ...},
    "num_hidden_layers: got '3'": {"num_hidden_layers": "3"},
    "num_hidden_layers: got True": {"num_hidden_layers": True},
    "max_position_embeddings: got 0": {"max_position_embeddings": 0},
    "vocab_size: got -5": {"vocab_size": -5},
    "head_dim: got 8.0": {"head_dim": 8.0},
    "head_dim: got 1000000000000": {"head_dim": 10**12},
    "num_key_value_heads: got 'two'": {"num_key_value_heads": "two"},
    "even divisions": {"num_key_value_heads": 3},
    "width 7": {"head_dim": 7},
    "width 0": {"num_attention_heads": 64, "num_key_value_heads": 64},
    "sliding_window: got 0": {"sliding_window": 0},
    "sliding_window: got 'long'": {"sliding_window": "long"},
    "rms_norm_eps: got 0": {"rms_norm_eps": 0},
    "rms_norm_eps: got 'small'": {"rms_norm_eps": "small"},
    "rope_theta: got -1.0": {"rope_theta": -1.0},
    "rope_theta: got None": {"rope_parameters": {"rope_theta": None}},
    r"rope_theta: got 10{59}": {"rope_theta": 10**400},
    r"rope_theta: got \[100.0, 200.0\]": {"rope_parameters": {"rope_theta": 100.0}, "rope_theta": 200.0},
    "tie_word_embeddings: got 'false'": {"tie_word_embeddings": "false"},
    "attention_bias: got 1": {"attention_bias": 1},
    "q_proj.bias: got no such tensor": {"attention_bias": True},
    "q_proj.weight: got shape": {"head_dim": 16},
    "lm_head.weight unlike the embedding": {"tie_word_embeddings": True},
    "left over": {"num_hidden_layers": 2},
    "no such tensor": {"num_hidden_layers": 4},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(**WRONG[complaint]))


def test_a_bias_that_the_configuration_does_not_know_is_refused() -> None:
    with pytest.raises(FormatError, match=r"left over.*q_proj\.bias"):
        families.build(checkpoint(biased=("q_proj",)))
    with pytest.raises(FormatError, match=r"left over.*o_proj\.bias"):
        families.build(checkpoint("qwen2", (*QKV, "o_proj")))
    with pytest.raises(FormatError, match=r"q_proj\.bias: got no such tensor"):
        families.build(checkpoint("qwen2"))


@pytest.mark.parametrize(
    ("model_type", "changes", "context"),
    [
        ("mistral", {"sliding_window": 12}, 12),
        ("mistral", {"sliding_window": 12, "layer_types": ["full_attention"] * 3}, 12),
        ("mistral", {"sliding_window": 41}, 40),
        ("mistral", {"sliding_window": None}, 40),
        ("llama", {"sliding_window": 12, "layer_types": ["full_attention", "sliding_attention", "full_attention"]}, 12),
        ("qwen2", {"sliding_window": 12}, 40),
        ("qwen2", {"sliding_window": 12, "use_sliding_window": False, "max_window_layers": 0}, 40),
        ("qwen2", {"sliding_window": 12, "use_sliding_window": True}, 40),  # opens at layer 28, there are 3
        ("qwen2", {"sliding_window": 12, "use_sliding_window": True, "max_window_layers": 3}, 40),
        ("qwen2", {"sliding_window": 12, "use_sliding_window": True, "max_window_layers": 2}, 12),
        ("qwen2", {"sliding_window": 12, "use_sliding_window": True, "max_window_layers": None}, 12),
        ("qwen2", {"sliding_window": None, "use_sliding_window": True, "max_window_layers": 0}, 40),
        ("qwen2", {"sliding_window": 12, "use_sliding_window": True, "layer_types": ["full_attention"] * 3}, 40),
        ("qwen2", {"sliding_window": 12, "layer_types": ["sliding_attention"] * 3}, 12),
    ],
)
def test_the_context_is_held_to_the_window_where_one_is_used(
    model_type: str, changes: dict[str, Any], context: int
) -> None:
    graph = families.build(checkpoint(model_type, QKV if model_type == "qwen2" else (), **changes))
    assert graph.context == context
    assert any("sliding window" in note for note in graph.notes) is (context == 12)
