"""Transformers that the project trains: what the conversion costs, the certificate, the price, the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trained

import snngen
from snngen.converters.convert import convert
from snngen.engines.ticked import TickedEngine
from snngen.hardware.chips import chips
from snngen.hardware.price import price

# family: steps of training, and the loss (nats per byte) that they reach
FAMILIES = {"gpt2": (300, 2.1), "gemma": (150, 2.5), "phi": (150, 2.5), "phi3": (150, 2.5), "qwen3": (150, 2.5)}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_model_keeps_its_perplexity_and_speaks(family: str, shared: Path, tmp_path: Path) -> None:
    corpus, (steps, loss) = shared / "text" / "tinyshakespeare.txt", FAMILIES[family]
    folder = trained.train(family, corpus, steps)
    assert json.loads((folder / "training.json").read_text())["validation_nats_per_byte"] < loss
    conversion = convert(folder, calibrate=trained.sequences(corpus, 8, 128, held_out=False))
    held_out = trained.sequences(corpus, 24, 129, held_out=True)
    assert abs(trained.perplexity_over_float(conversion, held_out)) < 0.01
    network, tokens = conversion.network, held_out[0].tolist()
    for engine, length in ((snngen.SettledEngine(network), 64), (TickedEngine(network), 12)):
        certificate = snngen.certify(network, tokens[:length], engine)
        assert certificate.clean, str(certificate)
    ledger = snngen.generate(network, "ROMEO:", 4).finish().ledger
    for chip in chips().values():
        breakdown = price(ledger, chip)
        assert all(phase.total.value > 0 for phase in breakdown.phases)
        assert breakdown.phases or breakdown.unpriced or breakdown.cited, chip.name  # a price, or why there is none
    said = trained.spoken(folder, corpus, tmp_path, "ROMEO:", 40)
    assert said.startswith("ROMEO:")
    assert len(said) > 46
