"""Random models of transformers, and how far a float graph's logits are from theirs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snngen.converters.graph import Cache, Graph

TOLERANCE = 1e-4  # largest difference of a logit; they are float32 and reach about ten


def saved(folder: Path, kind: str, config: dict[str, Any], saving: dict[str, Any] | None = None) -> Any:
    """A random model of transformers, saved in `folder`, and read back by transformers in float32.

    kind: as in `{kind}Config`. saving: options of `save_pretrained`, and the `dtype` to save in.
    """
    torch = pytest.importorskip("torch", reason="parity with transformers needs torch (pip install snngen[parity])")
    transformers = pytest.importorskip("transformers", reason="pip install snngen[parity]")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{kind}Config")(**config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # biases begin at 0 and norms at 1: nothing would be tested
            parameter.normal_(1.0 if "norm" in name or "ln_" in name else 0.0, 0.25)
    saving = dict(saving or {})
    if dtype := saving.pop("dtype", None):
        model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, **saving)
    return type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def difference(graph: Graph, model: Any, tokens: np.ndarray) -> float:
    """Largest difference of a logit, on (batch, tokens) token numbers."""
    import torch

    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)).logits.numpy()
    assert expected.std() > 1  # so that the tolerance says something
    return float(np.abs(graph.run(tokens) - expected).max())


def difference_in_pieces(graph: Graph, tokens: np.ndarray, cuts: list[int]) -> float:
    """Largest difference between a sequence run whole and run in pieces with a cache."""
    cache: Cache = {}
    edges = [0, *sorted(cuts), tokens.shape[1]]
    pieces = [graph.run(tokens[:, a:b], a, cache) for a, b in pairwise(edges) if b > a]
    return float(np.abs(np.concatenate(pieces, axis=1) - graph.run(tokens)).max())
