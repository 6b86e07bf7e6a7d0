"""Picture generators from file to pixels: near to float, certified by every engine, priced on every chip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snngen
from snngen import codes, picture
from snngen.converters.convert import Conversion, convert
from snngen.engines.ticked import TickedEngine
from snngen.hardware.chips import chips
from snngen.hardware.price import price

ROOT = Path(__file__).parents[2]
MNIST = ROOT.parent / "shared/data/models/mnist"
EXAMPLES = ROOT / "examples"
SCHEDULES = ("layered", "eager")


@pytest.fixture(scope="module", params=["vae_epoch_25.pth", "gan_mlp_G--300.ckpt"])
def conversion(request: pytest.FixtureRequest) -> Conversion:
    pytest.importorskip("torch", reason="state dicts are read by torch")
    if not (MNIST / request.param).is_file():
        pytest.skip(f"{MNIST / request.param} is not there: it is no part of the project")
    return convert(MNIST / request.param)


def test_pictures_are_near_to_those_of_float(conversion: Conversion) -> None:
    network = conversion.network
    latents = picture.latent_vectors(network, 64, 1)
    drawing = picture.draw(network, latents)
    floats = conversion.graph.run(latents[None].astype(np.float32))[0].reshape(drawing.values.shape)
    low, high = network.picture_range
    assert picture.psnr(drawing.values, floats, high - low) > 35
    assert drawing.pixels.shape == (64, 28, 28)
    assert 10 < drawing.pixels.mean() < 80  # ink on a dark ground
    assert len({pixels.tobytes() for pixels in drawing.pixels}) == 64


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["graded", "unary", "bitwise", "ttfs", "delta"])
def test_every_engine_is_certified(conversion: Conversion, name: str, schedule: Any) -> None:
    network = conversion.network
    sent = picture.draw(network, count=2, seed=3).codes
    assert snngen.certify(network, sent).clean
    assert snngen.certify(network, sent, TickedEngine(network, codes.by_name(name), schedule)).clean


def test_pictures_are_priced_on_every_chip(conversion: Conversion) -> None:
    ledger = picture.draw(conversion.network, count=2).ledger
    priced = 0
    for chip in chips().values():
        breakdown = price(ledger, chip)
        if breakdown.phases:
            assert breakdown["generate"].total.value > 0, chip.name
            priced += 1
        else:  # others' figures, or the reason why there are none
            assert breakdown.cited or breakdown.unpriced, chip.name
    assert priced >= 6


def run(script: str, *options: str) -> dict[str, Any]:
    """The report of an example, run in a process of its own."""
    for library in ("torch", "sklearn"):
        pytest.importorskip(library, reason="training on digits needs torch and scikit-learn")
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *options], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.slow
def test_a_convolutional_vae_draws_held_out_digits_as_well_as_float(tmp_path: Path) -> None:
    report = run("train_digits_vae.py", "--out", str(tmp_path / "digits"), "--epochs", "20", "--measure")
    assert report["float against digits, dB"] > 13  # the mean digit gives 11.3
    assert report["network against digits, dB"] > report["float against digits, dB"] - 0.5
    assert report["network against float, dB"] > 35
    conversion = convert(tmp_path / "digits")
    assert any("encoder.0.weight" in note for note in conversion.network.provenance["notes"])
    network = conversion.network
    assert sum(p.synapse.kind == "convolution" for p in network.projections) == 2
    sent = picture.draw(network, count=3).codes
    for schedule in SCHEDULES:
        engine = TickedEngine(network, codes.by_name("unary"), schedule)  # type: ignore[arg-type]
        assert snngen.certify(network, sent, engine).clean
    snngen.save(network, tmp_path / "digits.h5")
    again = picture.draw(snngen.load(tmp_path / "digits.h5"), count=3)
    assert np.array_equal(again.pixels, picture.draw(network, count=3).pixels)


@pytest.mark.slow
def test_a_diffusion_step_of_a_unet_draws_with_spikes(tmp_path: Path) -> None:
    report = run("train_digits_diffusion.py", "--out", str(tmp_path), "--steps", "300", "--count", "4")
    assert report["error by hundred steps"][-1] < 0.3  # of noise of variance 1
    assert report["network against float, dB"] > 24
    assert all(certificate.startswith("equal") for certificate in report["certificates"])
    assert {file.name for file in tmp_path.iterdir()} == {"network.png", "float.png", "report.json", "step.h5"}
