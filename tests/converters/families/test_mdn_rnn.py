"""World Models' memory: float graph against torch, and how well the network predicts what the float model dreams."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snngen
from snngen import codes
from snngen.converters import families, formats, mixture
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import Conversion, convert_graph
from snngen.converters.graph import Graph
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, UnsupportedError
from snngen.network import Network
from snngen.picture import encode

LATENTS, ACTIONS, HIDDEN, MIXTURES = 4, 2, 8, 3
EXACT = [name for name in codes.kinds() if codes.by_name(name).exact]


def checkpoint(tokenizer: str | None = None, **changes: Any) -> Checkpoint:
    config = {
        "model_type": "mdn_rnn",
        "latent_size": LATENTS,
        "action_size": ACTIONS,
        "hidden_size": HIDDEN,
        "mixtures": MIXTURES,
        **changes,
    }
    shapes: dict[str, tuple[int, ...]] = {
        "rnn.weight_ih_l0": (4 * HIDDEN, LATENTS + ACTIONS),
        "rnn.weight_hh_l0": (4 * HIDDEN, HIDDEN),
        "rnn.bias_ih_l0": (4 * HIDDEN,),
        "rnn.bias_hh_l0": (4 * HIDDEN,),
        "head.weight": (3 * MIXTURES * LATENTS, HIDDEN),
        "head.bias": (3 * MIXTURES * LATENTS,),
    }
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights, tokenizer)


def test_latents_and_actions_become_a_mixture() -> None:
    torch = pytest.importorskip("torch", reason="parity needs torch (pip install snngen[parity])")
    source = checkpoint()
    rnn = torch.nn.LSTM(LATENTS + ACTIONS, HIDDEN, batch_first=True)
    rnn.load_state_dict(
        {name[4:]: torch.from_numpy(value) for name, value in source.tensors.items() if name.startswith("rnn")}
    )
    inputs = np.random.default_rng(1).normal(size=(3, 12, LATENTS + ACTIONS)).astype(np.float32)
    with torch.no_grad():
        hidden, _ = rnn(torch.from_numpy(inputs))
    expected = hidden.numpy() @ source.tensors["head.weight"].T + source.tensors["head.bias"]
    graph = families.build(source)
    assert (graph.channels, graph.entry, graph.vocabulary, graph.context) == (LATENTS + ACTIONS, "input", 0, None)
    assert np.abs(graph.run(inputs) - expected).max() < 1e-4


def test_what_would_change_the_result_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="surprise = 1"):
        families.build(checkpoint(surprise=1))
    with pytest.raises(FormatError, match="latent_size: got 0"):
        families.build(checkpoint(latent_size=0))
    with pytest.raises(FormatError, match="mixtures: got None"):
        families.build(checkpoint(mixtures=None))
    with pytest.raises(FormatError, match=r"head\.weight: got shape"):
        families.build(checkpoint(mixtures=5))
    with pytest.raises(FormatError, match="reads vectors"):
        families.build(checkpoint(tokenizer="{}"))
    source = checkpoint()
    source.tensors["rnn.weight_ih_l1"] = source.tensors["rnn.weight_hh_l0"]
    with pytest.raises(FormatError, match="left over"):
        families.build(source)


def steered(graph: Graph, actions: int, mixtures: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Inputs that the float model dreams while actions walk at random between -1 and 1: steps that turn at the ends."""
    generator = np.random.default_rng(seed)
    walk = np.cumsum(generator.normal(0, 0.1, (*shape, actions)), axis=1)
    return mixture.dream(graph, mixtures, np.abs((walk + 1) % 4 - 2) - 1, generator)


def outputs(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What the network says of (batch, tokens, channels) numbers, in the units of the float model."""
    engine, source, rows = snngen.SettledEngine(network), network.sources[0].name, []
    for sequence in inputs:
        engine.reset()
        for row in encode(network, sequence):
            engine.step(codes={source: row})
            rows.append(engine.output * network[network.output].scale)
    return np.array(rows).reshape(*inputs.shape[:2], -1)


@pytest.fixture(scope="module")
def converted() -> Conversion:
    graph = families.build(checkpoint())
    return convert_graph(graph, steered(graph, ACTIONS, MIXTURES, (4, 30), seed=0))


def test_the_settled_engine_equals_the_reference(converted: Conversion) -> None:
    certificate = snngen.certify(converted.network, encode(converted.network, converted.calibration[0]))
    assert certificate.clean, str(certificate)


@pytest.mark.parametrize(("code", "schedule"), list(product(EXACT, ("layered", "eager"))))
def test_the_ticked_engine_equals_the_reference(converted: Conversion, code: str, schedule: str) -> None:
    engine = TickedEngine(converted.network, codes.by_name(code), schedule)
    certificate = snngen.certify(converted.network, encode(converted.network, converted.calibration[0, :4]), engine)
    assert certificate.clean, str(certificate)


def test_the_real_model_predicts_as_well_as_in_float(shared: Path) -> None:
    """Nats per latent of the next latent, on dreams that it was not calibrated on."""
    graph = families.build(formats.read(shared / "models" / "carracing_rnn.json"))
    conversion = convert_graph(graph, steered(graph, 3, 5, (8, 128), seed=1))
    inputs = steered(graph, 3, 5, (8, 200), seed=2)
    latents = inputs[:, 1:, :32]
    assert latents.std() == pytest.approx(1, abs=0.2)  # as the latents of a variational autoencoder are
    exact, rounded = graph.run(inputs), outputs(conversion.network, inputs)
    float_nats, network_nats = (mixture.nats(x[:, :-1], latents, 5).mean() for x in (exact, rounded))
    assert float_nats < 1.0  # N(0, 1) gives 1.42
    assert abs(network_nats - float_nats) < min(0.01, 0.01 * float_nats)
    decibels = 10 * np.log10((exact**2).sum() / ((exact - rounded) ** 2).sum())
    assert decibels > 30
    certificate = snngen.certify(conversion.network, encode(conversion.network, inputs[0, :20]))
    assert certificate.clean, str(certificate)
