"""MatMul-free language models: logits equal to those of the original's equations in torch, ternary weights kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trained

import snngen
from snngen import codes
from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import Conversion, convert, convert_graph
from snngen.converters.families.matmulfree import ternary
from snngen.converters.operations import Floats, Linear
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, UnsupportedError
from snngen.network import Network
from snngen.synapses.packed import Packed

EXACT = [name for name in codes.kinds() if codes.by_name(name).exact]
TOLERANCE = 1e-4
VOCABULARY, DIM, HIDDEN, LAYERS, TOKENS = 23, 32, 48, 3, 20


def checkpoint(stored_ternary: bool = False, **changes: Any) -> Checkpoint:
    """A random checkpoint in memory under the names of ridger/MMfreeLM; a change to ... removes the key."""
    config = {
        "model_type": "hgrn_bit",
        "vocab_size": VOCABULARY,
        "hidden_size": DIM,
        "num_hidden_layers": LAYERS,
        "num_heads": 1,
        "expand_ratio": 1,
        "intermediate_size": HIDDEN,
        "use_lower_bound": False,
        **changes,
    }
    config = {key: value for key, value in config.items() if value is not ...}
    inner = DIM * (config["expand_ratio"] if isinstance(config["expand_ratio"], int) else 1)
    maps = {f"model.layers.{n}.attn.{x}_proj": (inner, DIM) for n in range(LAYERS) for x in "ifg"}
    maps |= {f"model.layers.{n}.attn.o_proj": (DIM, inner) for n in range(LAYERS)}
    maps |= {f"model.layers.{n}.mlp.gate_proj": (2 * HIDDEN, DIM) for n in range(LAYERS)}
    maps |= {f"model.layers.{n}.mlp.down_proj": (DIM, HIDDEN) for n in range(LAYERS)}
    maps["lm_head"] = (VOCABULARY, DIM)
    norms = {f"{name}.norm": shape[1] for name, shape in maps.items()} | {"model.norm": DIM}
    norms |= {f"model.layers.{n}.{name}": DIM for n in range(LAYERS) for name in ("attn_norm", "mlp_norm")}
    norms |= {f"model.layers.{n}.attn.g_norm": inner for n in range(LAYERS)}
    generator = np.random.default_rng(0)
    tensors = {f"{name}.weight": generator.normal(0, 0.1, shape) for name, shape in maps.items()}
    if stored_ternary:
        tensors = {name: np.clip(np.rint(tensor / 0.08), -1, 1) * 0.08 for name, tensor in tensors.items()}
    tensors |= {f"{name}.weight": generator.uniform(0.5, 2, size) for name, size in norms.items()}
    tensors["lm_head.norm.weight"] *= 4  # so that logits are not small
    tensors["model.embeddings.weight"] = generator.normal(0, 1, (VOCABULARY, DIM))
    if config.get("use_lower_bound", True):
        tensors["model.lower_bounds"] = generator.normal(0, 1, (LAYERS, DIM))
    if config.get("tie_word_embeddings") is True:
        del tensors["lm_head.weight"]
    weights = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


def torch_logits(source: Checkpoint, tokens: np.ndarray, rounded: bool = False, again: bool = True) -> Floats:
    """The original's equations, token by token.

    rounded: with what enters a linear map rounded to 8 bits per token, as the original does.
    again: round weights to ternary, as the original does to whatever it has loaded.
    """
    torch = pytest.importorskip("torch", reason="parity needs torch (pip install snngen[parity])")
    from torch.nn import functional as F

    w = {name.removesuffix(".weight"): torch.from_numpy(value) for name, value in source.tensors.items()}

    def rms(x: Any, name: str, epsilon: float) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * w[name]

    def bit_linear(x: Any, name: str) -> Any:
        x = rms(x, f"{name}.norm", 1e-6)
        if rounded:
            step = 127 / x.abs().max(dim=-1, keepdim=True).values.clamp(min=1e-5)
            x = (x * step).round().clamp(-128, 127) / step
        weight = w[name] if name in w else w["model.embeddings"]
        if again:
            step = 1 / weight.abs().mean().clamp(min=1e-5)
            weight = (weight * step).round().clamp(-1, 1) / step
        return F.linear(x, weight)

    bounds = None
    if "model.lower_bounds" in w:
        shares = w["model.lower_bounds"].softmax(0)
        bounds = shares.cumsum(0) - shares[0]
    epsilon = source.config.get("rms_norm_eps", 1e-6)
    x = w["model.embeddings"][torch.from_numpy(tokens)]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        normed = rms(x, f"{at}.attn_norm", epsilon)
        i, f, g = (bit_linear(normed, f"{at}.attn.{name}_proj") for name in "ifg")
        f = f.sigmoid()
        if bounds is not None and layer > 0:
            f = bounds[layer] + (1 - bounds[layer]) * f
        i = F.silu(i) * (1 - f)
        state, states = torch.zeros_like(i[:, 0]), []
        for token in range(tokens.shape[1]):
            state = f[:, token] * state + i[:, token]
            states.append(state)
        h = torch.stack(states, dim=1)
        x = x + bit_linear(rms(g, f"{at}.attn.g_norm", 1e-5) * h * h.sigmoid(), f"{at}.attn.o_proj")
        gate, up = bit_linear(rms(x, f"{at}.mlp_norm", epsilon), f"{at}.mlp.gate_proj").chunk(2, dim=-1)
        x = x + bit_linear(F.silu(gate) * up, f"{at}.mlp.down_proj")
    return np.asarray(bit_linear(rms(x, "model.norm", epsilon), "lm_head").numpy())


def random_tokens(batch: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(VOCABULARY, size=(batch, TOKENS))


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "lower bounds": {"use_lower_bound": True},
    "lower bounds by default": {"use_lower_bound": ...},
    "heads": {"num_heads": 4},
    "wide recurrence": {"expand_ratio": 2},
    "another epsilon": {"rms_norm_eps": 0.1},
    "tied": {"tie_word_embeddings": True},
    "as published": {
        "attn_mode": "fused_recurrent",
        "conv_size": 4,
        "share_conv_kernel": True,
        "use_short_conv": False,
        "hidden_act": "swish",
        "max_position_embeddings": 2048,
        "fuse_cross_entropy": True,
        "hidden_ratio": 4,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_the_equations(case: str) -> None:
    tokens = random_tokens()
    expected = torch_logits(checkpoint(**CASES[case]), tokens)
    assert expected.std() > 1  # so that the tolerance says something
    graph = families.build(checkpoint(**CASES[case]))
    assert np.abs(graph.run(tokens) - expected).max() < TOLERANCE


def test_the_original_rounds_what_enters_a_map_and_the_notes_say_so() -> None:
    tokens = random_tokens()
    exact, rounded = torch_logits(checkpoint(), tokens), torch_logits(checkpoint(), tokens, rounded=True)
    graph = families.build(checkpoint())
    assert 1e-3 < np.sqrt(((graph.run(tokens) - rounded) ** 2).mean()) / exact.std() < 0.05
    assert any("8 bits of the largest magnitude of the token" in note for note in graph.notes)


def test_weights_that_came_ternary_are_not_rounded_again() -> None:
    tokens = random_tokens()
    expected = torch_logits(checkpoint(stored_ternary=True), tokens, again=False)
    graph = families.build(checkpoint(stored_ternary=True))
    assert np.abs(graph.run(tokens) - expected).max() < TOLERANCE
    twice = torch_logits(checkpoint(stored_ternary=True), tokens)
    assert np.abs(twice - expected).max() > 100 * TOLERANCE  # had they been, the result would be another
    assert any(note.startswith(f"{6 * LAYERS + 1} matrices came ternary") for note in graph.notes)


def test_every_map_carries_its_integers() -> None:
    graph = families.build(checkpoint())
    maps = [node.operation for node in graph.nodes if isinstance(node.operation, Linear)]
    assert len(maps) == 7 * LAYERS + 1  # gate and up are halves of one matrix
    for operation in maps:
        assert operation.bias is None
        assert operation.integers is not None
        assert operation.integers.bits == 2
        assert set(np.unique(operation.integers.matrix)) == {-1, 0, 1}
        assert np.ptp(operation.integers.scale) == 0
        made = operation.integers.matrix * operation.integers.scale[:, None]
        np.testing.assert_array_equal(made.astype(np.float32), operation.weight)


def test_halves_of_one_matrix_share_its_scale() -> None:
    source = checkpoint()
    source.tensors["model.layers.0.mlp.gate_proj.weight"][:HIDDEN] *= 3
    tokens, expected = random_tokens(), torch_logits(source, random_tokens())
    graph = families.build(source)
    gate, up = (graph.node(f"layer0.{name}").operation for name in ("gate", "up"))
    assert isinstance(gate, Linear)
    assert isinstance(up, Linear)
    assert gate.integers is not None
    assert up.integers is not None
    assert gate.integers.scale[0] == up.integers.scale[0]
    assert (gate.integers.matrix == 0).mean() < 0.3 < (up.integers.matrix == 0).mean()
    assert np.abs(graph.run(tokens) - expected).max() < TOLERANCE


def test_ternary_rounds_by_the_mean_magnitude() -> None:
    weight = np.array([[0.3, -0.1], [0.9, -0.7]], dtype=np.float32)  # mean magnitude 0.5
    integers, kept = ternary(weight)
    assert not kept
    np.testing.assert_array_equal(integers.matrix, [[1, 0], [1, -1]])
    np.testing.assert_allclose(integers.scale, 0.5, rtol=1e-6)
    again, kept = ternary((integers.matrix * integers.scale[:, None]).astype(np.float32))
    assert kept
    np.testing.assert_array_equal(again.matrix, integers.matrix)
    np.testing.assert_allclose(again.scale, 0.5, rtol=1e-6)
    nothing, kept = ternary(np.zeros((2, 3), np.float32))
    assert not kept
    assert not nothing.matrix.any()
    np.testing.assert_allclose(nothing.scale, 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_folder_is_read(tmp_path: Path, dtype: str) -> None:
    from safetensors.numpy import save_file

    source = checkpoint(stored_ternary=True)
    save_file({name: tensor.astype(dtype) for name, tensor in source.tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(source.config))
    graph = families.build(formats.read(tmp_path))
    assert any(note.startswith("19 matrices came ternary") for note in graph.notes)
    got, expected = graph.run(random_tokens()), families.build(source).run(random_tokens())
    assert np.abs(got - expected).max() < (TOLERANCE if dtype == "float32" else 0.1)


def test_the_width_of_the_feed_forward_follows_from_the_ratio() -> None:
    source = checkpoint(intermediate_size=None, hidden_ratio=40)
    with pytest.raises(FormatError, match=r"gate_proj\.weight: got shape \(96, 32\); expected \(2048, 32\)"):
        families.build(source)  # 32 * 40 * 2 / 3 = 853, up to 1024


REFUSED: dict[str, dict[str, Any]] = {
    "use_short_conv = True": {"use_short_conv": True},
    "use_moe = True": {"use_moe": True},
    "hidden_act = 'gelu'": {"hidden_act": "gelu"},
    "surprise = 1": {"surprise": 1},
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        families.build(checkpoint(**REFUSED[complaint]))


def test_everything_unsupported_stands_in_one_message() -> None:
    changes: dict[str, Any] = {key: value for part in REFUSED.values() for key, value in part.items()}
    with pytest.raises(UnsupportedError) as caught:
        families.build(checkpoint(**changes))
    for complaint in REFUSED:
        assert complaint in caught.value.got


WRONG: dict[str, dict[str, Any]] = {
    "hidden_size: got None": {"hidden_size": ...},
    "expand_ratio: got 0.5": {"expand_ratio": 0.5},
    "rms_norm_eps: got -1": {"rms_norm_eps": -1},
    "use_lower_bound: got 'yes'": {"use_lower_bound": "yes"},
    "expand_ratio 1": {"use_lower_bound": True, "expand_ratio": 2},
    r"model\.lower_bounds: got shape": {"use_lower_bound": True, "num_hidden_layers": 2},
    "left over": {"num_hidden_layers": 2},
    "no such tensor": {"num_hidden_layers": 4},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(**WRONG[complaint]))


def matrices(network: Network) -> list[np.ndarray]:
    """The weights of 2 bits behind the norms."""
    behind = [p.synapse for p in network.projections if p.source.endswith("_norm")]
    return [synapse.matrix for synapse in behind if isinstance(synapse, Packed) and synapse.bits == 2]


@pytest.fixture(scope="module", params=("plain", "lower bounds"))
def converted(request: pytest.FixtureRequest) -> Conversion:
    return convert_graph(families.build(checkpoint(**CASES[request.param])), random_tokens(4))


def test_weights_stay_ternary_in_the_network(converted: Conversion) -> None:
    """They are the integers of the source, 2 bits each, not others that are ternary, too."""
    for node in converted.graph.nodes:
        if isinstance(node.operation, Linear):
            assert node.operation.integers is not None
            behind = [p.synapse for p in converted.network.projections if p.source == node.inputs[0]]
            kept = [s.matrix.T for s in behind if isinstance(s, Packed)]
            assert any(np.array_equal(matrix, node.operation.integers.matrix) for matrix in kept)
    assert len(matrices(converted.network)) == 7 * LAYERS + 1
    assert all(set(np.unique(matrix)) == {-1, 0, 1} for matrix in matrices(converted.network))


def test_the_settled_engine_equals_the_reference(converted: Conversion) -> None:
    certificate = snngen.certify(converted.network, converted.calibration[0].tolist())
    assert certificate.clean, str(certificate)


@pytest.mark.parametrize(("code", "schedule"), list(product(EXACT, ("layered", "eager"))))
def test_the_ticked_engine_equals_the_reference(converted: Conversion, code: str, schedule: str) -> None:
    tokens = converted.calibration[0, :3].tolist()
    engine = TickedEngine(converted.network, codes.by_name(code), schedule)
    certificate = snngen.certify(converted.network, tokens, engine)
    assert certificate.clean, str(certificate)


def test_the_network_follows_the_float_graph(converted: Conversion) -> None:
    decibels = {layer.population: layer.decibels for layer in converted.layers}
    assert {f"layer{layer}.state" for layer in range(LAYERS)} < decibels.keys()
    assert decibels["logits"] > 20


@pytest.mark.slow
def test_a_trained_model_keeps_its_perplexity_and_speaks(
    learned: Callable[[str], Path], shared: Path, tmp_path: Path
) -> None:
    corpus, folder = shared / "text" / "tinyshakespeare.txt", learned("matmulfree")
    conversion = convert(folder, calibrate=trained.sequences(corpus, 8, 128, held_out=False))
    assert any(note.startswith("13 matrices came ternary") for note in conversion.graph.notes)
    assert all(set(np.unique(matrix)) == {-1, 0, 1} for matrix in matrices(conversion.network))
    held_out = trained.sequences(corpus, 8, 200, held_out=True)
    assert abs(trained.perplexity_over_float(conversion, held_out)) < 0.01
    certificate = snngen.certify(conversion.network, held_out[0, :64].tolist())
    assert certificate.clean, str(certificate)
    said = trained.spoken(folder, corpus, tmp_path, "ROMEO:", 40)
    assert said.startswith("ROMEO:")
    assert len(said) > 46
