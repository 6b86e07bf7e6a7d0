"""Small models trained by `examples/train_small.py` on Shakespeare, what the conversion of one costs, what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snngen.converters.convert import Conversion
from snngen.engines.settled import SettledEngine
from snngen.likelihood import nats, nats_per_token

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import trained_models

SHARE = 0.9  # of the text; the rest was not trained on


def train(family: str, corpus: Path, steps: int) -> Path:
    """The folder of a model of the family, trained once for all runs and for the tables of the docs.

    A test that asks for it is skipped where torch or transformers is absent.
    """
    for library in ("torch", "transformers"):
        pytest.importorskip(library, reason="training needs torch and transformers (pip install snngen[parity])")
    folder = trained_models.trained(family, steps, corpus)
    # a model that has learned nothing loses nothing either; the frequencies of bytes alone give 3.3 nats
    assert json.loads((folder / "training.json").read_text())["validation_nats_per_byte"] < 2.6
    return folder


def sequences(corpus: Path, count: int, length: int, held_out: bool) -> np.ndarray:
    """(count, length) bytes from all over the text that was trained on, or from the rest."""
    text = np.frombuffer(corpus.read_bytes(), dtype=np.uint8).astype(np.int64)
    border = int(SHARE * len(text))
    part = text[border:] if held_out else text[:border]
    starts = np.linspace(0, len(part) - length, count).astype(np.int64)
    return np.stack([part[start : start + length] for start in starts])


def perplexity_over_float(conversion: Conversion, tokens: np.ndarray) -> float:
    """Perplexity of the network over that of the float graph, less one; tokens: (sequences, tokens)."""
    logits = conversion.graph.run(tokens[:, :-1]).astype(np.float64)
    exact = np.mean(
        [[nats(*pair) for pair in zip(*row, strict=True)] for row in zip(logits, tokens[:, 1:], strict=True)]
    )
    network = conversion.network
    rounded = nats_per_token(network, [(row.tolist(), 1) for row in tokens], SettledEngine(network))
    return float(np.exp(rounded - exact) - 1)


def spoken(model: Path, corpus: Path, folder: Path, prompt: str, tokens: int) -> str:
    """What `snngen convert` and `snngen generate` make of a model in processes of their own; folder: to work in."""
    snngen = Path(sys.executable).parent / "snngen"
    text, network = folder / "training.txt", folder / "network.h5"
    text.write_bytes(corpus.read_bytes()[:20_000])
    said = ""
    for options in (
        ("convert", model, network, "--calibrate", text),
        ("generate", network, prompt, "--tokens", tokens, "--seed", 1),
    ):
        done = subprocess.run([snngen, *map(str, options)], capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        said = done.stdout.decode()
    return said
