"""World Models' memory: the sizes of its input and output, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snngen.converters import families
from snngen.converters.checkpoint import Checkpoint
from snngen.errors import FormatError, UnsupportedError

LATENTS, ACTIONS, HIDDEN, MIXTURES = 4, 2, 8, 3


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
