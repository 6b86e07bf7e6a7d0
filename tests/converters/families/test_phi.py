"""Phi and Phi-3: logits equal to those of transformers, and a refusal of all that would change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import TOLERANCE, difference, difference_in_pieces, saved

from snngen.converters import families, formats, rotary
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.operations import Rotary
from snngen.errors import CapacityError, FormatError, UnsupportedError

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
WINDOW = 12


def rope(share: float, theta: float = 10000.0) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": share}}


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "phi": ("Phi", {}),
    "phi as many key heads, tied": ("Phi", {"num_key_value_heads": None, "tie_word_embeddings": True}),
    "phi turns a quarter": ("Phi", rope(0.25, 300.0)),
    "phi turns three quarters": ("Phi", rope(0.75)),
    "phi turns all": ("Phi", rope(1.0)),
    "phi norms its heads, other epsilon": ("Phi", {"qk_layernorm": True, "layer_norm_eps": 0.1}),
    "phi relu": ("Phi", {"hidden_act": "relu"}),
    "phi3": ("Phi3", {}),
    "phi3 tied": ("Phi3", {"tie_word_embeddings": True, "rms_norm_eps": 0.1}),
    "phi3 turns three quarters": ("Phi3", rope(0.75, 300.0)),
    "phi3 window": ("Phi3", {"sliding_window": WINDOW}),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(tmp_path: Path, case: str) -> None:
    kind, changes = CASES[case]
    model = saved(tmp_path, kind, {**SIZES, **changes})
    graph = families.build(formats.read(tmp_path))
    assert graph.context == (WINDOW if "window" in case else 40)
    tokens = np.random.default_rng(0).integers(61, size=(4, graph.context))
    assert difference(graph, model, tokens) < TOLERANCE
    assert difference_in_pieces(graph, tokens, [1, 4, 5, 11]) < TOLERANCE
    with pytest.raises(CapacityError, match="the context"):
        graph.run(tokens[:, :1], start=graph.context)


def test_a_configuration_of_older_transformers_is_understood(tmp_path: Path) -> None:
    model = saved(tmp_path, "Phi", {**SIZES, **rope(0.25, 777.0)})
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"], config["dtype"]
    config |= {"rope_theta": 777.0, "rope_scaling": None, "partial_rotary_factor": 0.25, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    graph = families.build(formats.read(tmp_path))
    assert difference(graph, model, np.random.default_rng(0).integers(61, size=(2, 40))) < TOLERANCE


def checkpoint(model_type: str = "phi", **changes: Any) -> Checkpoint:
    """A small checkpoint in memory."""
    config = {**SIZES, "model_type": model_type, **changes}
    dim, hidden = SIZES["hidden_size"], SIZES["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (61, dim), "lm_head.weight": (61, dim)}
    biased: dict[str, tuple[int, ...]] = {}
    for layer in range(SIZES["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        if model_type == "phi":
            biased |= {f"{at}.self_attn.{name}": (dim, dim) for name in ("q_proj", "dense")}
            biased |= {f"{at}.self_attn.{name}_proj": (dim // 2, dim) for name in "kv"}
            biased |= {f"{at}.mlp.fc1": (hidden, dim), f"{at}.mlp.fc2": (dim, hidden), f"{at}.input_layernorm": (dim,)}
        else:
            shapes |= {f"{at}.self_attn.qkv_proj.weight": (2 * dim, dim), f"{at}.self_attn.o_proj.weight": (dim, dim)}
            shapes |= {f"{at}.mlp.gate_up_proj.weight": (2 * hidden, dim), f"{at}.mlp.down_proj.weight": (dim, hidden)}
            shapes |= {f"{at}.{name}.weight": (dim,) for name in ("input_layernorm", "post_attention_layernorm")}
    if model_type == "phi":
        shapes["lm_head.bias"] = (61,)
        biased["model.final_layernorm"] = (dim,)
    else:
        shapes["model.norm.weight"] = (dim,)
    shapes |= {f"{name}.weight": shape for name, shape in biased.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in biased.items()}
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


def test_the_checkpoints_of_these_tests_are_sound() -> None:
    for model_type in ("phi", "phi3"):
        assert np.isfinite(families.build(checkpoint(model_type)).run(np.zeros((1, 2), np.int64))).all()


@given(turning=st.integers(1, 8), still=st.integers(0, 8), position=st.integers(0, 50))
def test_channels_that_do_not_turn_are_left_alone(turning: int, still: int, position: int) -> None:
    width = 2 * (turning + still)
    config = {**SIZES, "partial_rotary_factor": (2 * turning + 0.5) / width if still else 1.0}
    layout = rotary.layout(Checkpoint("somewhere", "test", "", config, {}), width, 0.5)
    values = np.random.default_rng(0).normal(size=2 * width).astype(np.float32)
    turned = Rotary(2, layout.frequencies).run([layout.arrange(values)[None, None]], position, {})[0, 0]
    back = np.empty_like(turned).reshape(2, width)
    back[:, layout.order] = turned.reshape(2, width)
    source = values.reshape(2, width)
    np.testing.assert_array_equal(back[:, 2 * turning :], source[:, 2 * turning :])
    first, second = source[:, :turning], source[:, turning : 2 * turning]
    angles = position * 10000.0 ** (-np.arange(turning) / turning)
    expected = np.concatenate(
        (np.cos(angles) * first - np.sin(angles) * second, np.cos(angles) * second + np.sin(angles) * first), axis=1
    )
    np.testing.assert_allclose(back[:, : 2 * turning], expected, atol=1e-5)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "an_unheard_of_key": ("phi", {"an_unheard_of_key": 1}),
    "another_unheard_of_key": ("phi3", {"another_unheard_of_key": 1}),
    "hidden_act = 'mish'": ("phi", {"hidden_act": "mish"}),
    "hidden_act = 'gelu'": ("phi3", {"hidden_act": "gelu"}),
    "rope_scaling .*'longrope'": ("phi3", {"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4}}),
    "rope_parameters .*'linear'": ("phi", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}),
    "sliding_window = 12": ("phi", {"sliding_window": 12}),
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    model_type, changes = REFUSED[complaint]
    with pytest.raises(UnsupportedError, match=complaint):
        families.build(checkpoint(model_type, **changes))


@pytest.mark.parametrize("model_type", ["phi", "phi3"])
def test_everything_unsupported_stands_in_one_message(model_type: str) -> None:
    bad = checkpoint(model_type, hidden_act="mish", surprise=1, rope_scaling={"type": "longrope"})
    with pytest.raises(UnsupportedError) as caught:
        families.build(bad)
    for part in ("mish", "surprise", "longrope"):
        assert part in caught.value.got


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "9 of 8 channels .*even": ("phi", {"partial_rotary_factor": 1.125}),
    "3 of 8 channels": ("phi", {"partial_rotary_factor": 0.4}),
    "0 of 8 channels": ("phi3", {"partial_rotary_factor": 0.1}),
    "partial_rotary_factor: got -1": ("phi", {"partial_rotary_factor": -1}),
    r"partial_rotary_factor: got \[0.25, 0.5\]": ("phi", {**rope(0.5), "partial_rotary_factor": 0.25}),
    "even divisions": ("phi", {"num_key_value_heads": 3}),
    "3 heads": ("phi", {"num_attention_heads": 3, "num_key_value_heads": 3}),
    "qkv_proj.*expected .80, 32.": ("phi3", {"num_key_value_heads": 3}),
    r"qkv_proj\.weight: got shape": ("phi3", {"num_key_value_heads": 4}),
    r"gate_up_proj\.weight: got shape": ("phi3", {"intermediate_size": 47}),
    r"q_layernorm\.weight: got no such tensor": ("phi", {"qk_layernorm": True}),
    "lm_head.weight unlike the embedding": ("phi", {"tie_word_embeddings": True}),
    "left over.*layers": ("phi", {"num_hidden_layers": 2}),
    "left over.*layers.2": ("phi3", {"num_hidden_layers": 2}),
    r"layers\.3\..*no such tensor": ("phi", {"num_hidden_layers": 4}),
    r"layers\.3\..*: got no such tensor": ("phi3", {"num_hidden_layers": 4}),
    "sliding_window: got 0": ("phi3", {"sliding_window": 0}),
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    model_type, changes = WRONG[complaint]
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(model_type, **changes))
