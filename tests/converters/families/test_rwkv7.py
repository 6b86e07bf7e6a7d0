"""RWKV-7: the graph says what rwkv.cpp says, and what the paper's equations say on random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from snngen.certificate import certify
from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Cache, Graph
from snngen.converters.noise import layer_noise
from snngen.converters.operations import Floats
from snngen.converters.quantize import quantize
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, UnsupportedError
from snngen.generation import generate
from snngen.network import Network

Doubles = npt.NDArray[np.float64]

HEADS, WIDTH, HIDDEN, LAYERS, VOCABULARY = 2, 4, 12, 3, 11
DIM = HEADS * WIDTH
MIXES = ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g")


def tensors(rank: int, seed: int = 0) -> dict[str, Floats]:
    """Random weights under the names and in the shapes of RWKV-LM."""
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (VOCABULARY, DIM), "head.weight": (VOCABULARY, DIM)}
    shapes |= {f"{name}.{part}": (DIM,) for name in ("blocks.0.ln0", "ln_out") for part in ("weight", "bias")}
    for layer in range(LAYERS):
        at = f"blocks.{layer}"
        shapes |= {f"{at}.{name}.{part}": (DIM,) for name in ("ln1", "ln2", "att.ln_x") for part in ("weight", "bias")}
        shapes |= {f"{at}.att.{name}": (1, 1, DIM) for name in ("w0", "a0", "v0", "k_k", "k_a", *MIXES)}
        for name in "wavg":
            shapes |= {f"{at}.att.{name}1": (DIM, rank), f"{at}.att.{name}2": (rank, DIM)}
        shapes |= {f"{at}.att.{name}.weight": (DIM, DIM) for name in ("receptance", "key", "value", "output")}
        shapes |= {f"{at}.att.r_k": (HEADS, WIDTH), f"{at}.ffn.x_k": (1, 1, DIM)}
        shapes |= {f"{at}.ffn.key.weight": (HIDDEN, DIM), f"{at}.ffn.value.weight": (DIM, HIDDEN)}
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def checkpoint(weights: dict[str, Floats], **config: object) -> Checkpoint:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": DIM, "num_hidden_layers": LAYERS}
    return Checkpoint("test", "memory", "", {"model_type": "rwkv7", **sizes, **config}, dict(weights))


def sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-x)))


def norm(x: Doubles, weight: Doubles, bias: Doubles, epsilon: float) -> Doubles:
    return np.asarray((x - x.mean()) / np.sqrt(x.var() + epsilon) * weight + bias)


def equations(weights: dict[str, Floats], tokens: list[int]) -> Doubles:
    """The logits after the last token, by the equations of the paper, one token and one head at a time, in float64."""
    p = {name: weight.astype(np.float64).squeeze() for name, weight in weights.items()}
    before: dict[str, Doubles] = {}
    state = np.zeros((LAYERS, HEADS, WIDTH, WIDTH))

    def shift(name: str, x: Doubles, mu: Doubles) -> Doubles:
        return np.asarray(x + (before.get(name, np.zeros(DIM)) - x) * mu)

    for token in tokens:
        x = norm(p["emb.weight"][token], p["blocks.0.ln0.weight"], p["blocks.0.ln0.bias"], 1e-5)
        first = np.zeros(DIM)
        for layer in range(LAYERS):
            b = f"blocks.{layer}"
            a = {name.removeprefix(f"{b}.att."): value for name, value in p.items() if name.startswith(f"{b}.att.")}
            normed = norm(x, p[f"{b}.ln1.weight"], p[f"{b}.ln1.bias"], 1e-5)
            xr, xw, xk, xv, xa, xg = (shift(f"{b}.att", normed, a[mix]) for mix in MIXES)
            before[f"{b}.att"] = normed
            r, k, v = (a[f"{name}.weight"] @ xx for name, xx in (("receptance", xr), ("key", xk), ("value", xv)))
            if layer == 0:
                first = v
            else:
                v = v + (first - v) * sigmoid(a["v0"] + xv @ a["v1"] @ a["v2"])
            w = np.exp(-0.606531 * sigmoid(a["w0"] + np.tanh(xw @ a["w1"]) @ a["w2"]))
            rate = sigmoid(a["a0"] + xa @ a["a1"] @ a["a2"])
            gate = sigmoid(xg @ a["g1"]) @ a["g2"]
            kk = (k * a["k_k"]).reshape(HEADS, WIDTH)
            kk = (kk / np.linalg.norm(kk, axis=1, keepdims=True)).reshape(-1)
            k = k * (1 + (rate - 1) * a["k_a"])
            y = np.zeros(DIM)
            for head in range(HEADS):
                h = slice(head * WIDTH, (head + 1) * WIDTH)
                s = state[layer, head]
                s = s * w[h] + np.outer(s @ -kk[h], kk[h] * rate[h]) + np.outer(v[h], k[h])
                state[layer, head] = s
                y[h] = norm(s @ r[h], a["ln_x.weight"][h], a["ln_x.bias"][h], 64e-5)
                y[h] += (r[h] * k[h] * a["r_k"][head]).sum() * v[h]
            x = x + a["output.weight"] @ (y * gate)
            normed = norm(x, p[f"{b}.ln2.weight"], p[f"{b}.ln2.bias"], 1e-5)
            xk = shift(f"{b}.ffn", normed, p[f"{b}.ffn.x_k"])
            before[f"{b}.ffn"] = normed
            x = x + p[f"{b}.ffn.value.weight"] @ np.maximum(p[f"{b}.ffn.key.weight"] @ xk, 0) ** 2
    return np.asarray(p["head.weight"] @ norm(x, p["ln_out.weight"], p["ln_out.bias"], 1e-5))


@pytest.mark.parametrize("rank", [2, 6], ids=["low-rank maps in two", "low-rank maps in one"])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_weights_follow_the_equations(rank: int, seed: int) -> None:
    weights = tensors(rank, seed)
    graph = families.build(checkpoint(weights))
    names = {node.name for node in graph.nodes}
    assert ("layer1.share_down" in names) is (rank == 2)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    got = graph.run(np.array([tokens]))[0]
    for count in (1, 2, len(tokens)):
        np.testing.assert_allclose(got[count - 1], equations(weights, tokens[:count]), rtol=1e-4, atol=1e-4)


def test_the_real_model_says_what_rwkv_cpp_says(shared: Path) -> None:
    folder = shared / "models" / "rwkv"
    graph = families.build(formats.read(folder / "tiny-rwkv-7v0-834K-FP32.bin"))
    expected = np.fromfile(folder / "expected-logits-7v0-834K.bin", "<f4")
    got = graph.run(np.array([list(b'"in')]))[0, -1]
    assert np.abs(expected).max() > 2
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def graph_of(rank: int = 6) -> Graph:
    return families.build(checkpoint(tensors(rank)))


def test_a_sequence_can_be_run_in_pieces_and_has_no_last_position() -> None:
    graph = graph_of()
    assert graph.context is None
    tokens = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]])
    cache: Cache = {}
    pieces = [graph.run(tokens[:, :3], 0, cache), graph.run(tokens[:, 3:], 3, cache)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), graph.run(tokens))


def test_the_embedding_is_normed_once_and_for_all() -> None:
    graph = graph_of()
    first = graph.nodes[0]
    assert first.name == "embedding"
    assert "layer0.norm" in {reader.name for reader in graph.consumers("embedding")}


def test_unknown_settings_are_refused_in_one_message() -> None:
    with pytest.raises(UnsupportedError, match=r"decay_low_rank = 8.*head_size = 4"):
        families.build(checkpoint(tensors(6), decay_low_rank=8, head_size=4))


@pytest.mark.parametrize("name", ["blocks.1.att.r_k", "blocks.0.att.r_k", "blocks.2.att.w1", "blocks.1.ffn.key.weight"])
def test_missing_and_misshapen_tensors_are_refused_by_name(name: str) -> None:
    weights = tensors(6)
    weight = weights.pop(name)
    with pytest.raises(FormatError, match=rf"{name}.*no such tensor"):
        families.build(checkpoint(weights))
    weights[name] = weight[:, :-1] if name.endswith("r_k") else weight[..., None]
    with pytest.raises(FormatError, match=rf"{name}.*shape"):
        families.build(checkpoint(weights))


def test_tensors_left_over_are_refused() -> None:
    weights = tensors(6)
    weights["blocks.3.ln1.weight"] = np.ones(DIM, np.float32)
    with pytest.raises(FormatError, match=r"blocks\.3\.ln1\.weight"):
        families.build(checkpoint(weights))


def test_weights_that_are_no_numbers_are_refused() -> None:
    weights = tensors(6)
    weights["blocks.2.att.k_a"][0, 0, 1] = np.nan
    with pytest.raises(FormatError, match=r"blocks\.2\.att\.k_a.*1 values that are NaN"):
        families.build(checkpoint(weights))


def nats(logits: Floats, tokens: npt.NDArray[np.int64]) -> float:
    """Mean of -log p(token | tokens before it). logits: (tokens, vocabulary)."""
    wide = logits[:-1].astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return float(-np.take_along_axis(wide, tokens[1:, None], axis=-1).mean())


@pytest.mark.parametrize("engine", [SettledEngine, TickedEngine])
def test_random_networks_compute_what_the_reference_says(engine: type[SettledEngine] | type[TickedEngine]) -> None:
    graph = graph_of()
    calibration = np.random.default_rng(0).integers(VOCABULARY, size=(2, 16))
    network = quantize(graph, calibration)
    assert network.context is None
    assert {p.name for p in network.populations if p.neuron.wide} >= {"layer0.state", "layer2.state", "layer2.fed"}
    assert certify(network, calibration[0], engine(network)).clean
    noise = {layer.population: layer.decibels for layer in layer_noise(graph, network, list(calibration))}
    assert min(noise.values()) > 12, noise  # random weights of variance 1 amplify every error, layer by layer
    assert noise["layer0.state"] > 30


@pytest.fixture(scope="module")
def tiny(shared: Path) -> tuple[Graph, Network, npt.NDArray[np.int64]]:
    """rwkv.cpp's model, its network calibrated on Shakespeare, and Shakespeare that was held out."""
    text = np.frombuffer((shared / "text" / "tinyshakespeare.txt").read_bytes(), np.uint8).astype(np.int64)
    graph = families.build(formats.read(shared / "models" / "rwkv" / "tiny-rwkv-7v0-834K-FP32.bin"))
    calibration = np.stack([text[start : start + 48] for start in (0, 300_000, 600_000)])
    return graph, quantize(graph, calibration), text[-300:]


def test_the_real_network_predicts_as_well_as_the_float_model(
    tiny: tuple[Graph, Network, npt.NDArray[np.int64]],
) -> None:
    graph, network, text = tiny
    engine, logits = SettledEngine(network), []
    for token in text:
        engine.step(int(token))
        logits.append(engine.output * network[network.output].scale)
    exact = nats(graph.run(text[None])[0], text)
    assert exact < 4.2
    assert abs(np.exp(nats(np.array(logits), text) - exact) - 1) < 0.005


@pytest.mark.parametrize("engine", [SettledEngine, TickedEngine])
def test_the_real_network_computes_what_the_reference_says(
    tiny: tuple[Graph, Network, npt.NDArray[np.int64]], engine: type[SettledEngine] | type[TickedEngine]
) -> None:
    _, network, _ = tiny
    assert certify(network, list(b'"in the'), engine(network)).clean


def test_the_real_network_writes(tiny: tuple[Graph, Network, npt.NDArray[np.int64]]) -> None:
    _, network, _ = tiny
    first, again = (list(generate(network, "First Citizen:", 8, temperature=1.0, seed=3)) for _ in range(2))
    assert first == again
    assert len(first) == 8
    assert len(set(first)) > 1
