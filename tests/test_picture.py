"""Pictures: latents in, pixels out, counted and certified, by every engine."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from networks import convolution, dense, random_transformer, threshold

import snngen
from snngen import codes, picture, reference
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, NetworkError, PromptError, UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.source import Source

EXACT = ("graded", "unary", "bitwise", "ttfs", "delta")


def decoder(channels: int = 1, seed: int = 3) -> Network:
    """Five latents to pictures of 4 x 6, by a transposed convolution."""
    rng = np.random.default_rng(seed)
    up = convolution(rng, (4, 2, 3), channels, (2, 2), transposed=True, stride=(2, 2))
    populations = (
        Population("input", Source(5, -127, 127), np.full(5, 0.03)),
        Population("hidden", threshold(rng, 24, 127 * 127 * 2, 127, 0)),
        Population("drawn", threshold(rng, up.target_size, 127 * 127 * 2, 255, 0), np.full(1, 2 / 255)),
    )
    projections = (Projection("input", "hidden", dense(rng, 5, 24)), Projection("hidden", "drawn", up))
    return Network(populations, projections, picture=(channels, 4, 6), picture_range=(0.0, 2.0))


def test_pictures_are_what_the_reference_draws() -> None:
    network = decoder()
    drawing = picture.draw(network, count=6, seed=2)
    latents = np.random.default_rng(2).standard_normal((6, 5))
    assert drawing.codes.tolist() == np.clip(np.rint(latents / 0.03), -127, 127).astype(int).tolist()
    expected = reference.run(network, {"input": drawing.codes})["drawn"]
    assert drawing.values.shape == (6, 1, 4, 6)
    assert np.array_equal(drawing.values.reshape(6, 24), expected * (2 / 255))
    assert np.array_equal(drawing.pixels.reshape(6, 24), expected)
    assert len({row.tobytes() for row in drawing.pixels}) > 3
    assert drawing.ledger.tokens("generate") == 6
    assert drawing.ledger.per_token()["events"] > 0
    certificate = snngen.certify(network, drawing.codes)
    assert certificate.clean
    assert certificate.codes == 6 * (5 + 24 + 24)


def test_more_pictures_begin_with_the_same() -> None:
    network = decoder()
    few, many = (picture.draw(network, count=count, seed=4).pixels for count in (2, 5))
    assert np.array_equal(few, many[:2])
    assert not np.array_equal(few, picture.draw(network, count=2, seed=5).pixels)


@pytest.mark.parametrize("schedule", ["layered", "eager"])
@pytest.mark.parametrize("name", EXACT)
def test_real_spikes_draw_the_same(name: str, schedule: Any) -> None:
    network = decoder(3)
    engine = TickedEngine(network, codes.by_name(name), schedule)
    settled, ticked = picture.draw(network, count=4), picture.draw(network, count=4, engine=engine)
    assert np.array_equal(settled.values, ticked.values)
    assert snngen.certify(network, settled.codes, engine).clean
    assert ticked.ledger.code == name
    if schedule == "layered":
        assert np.array_equal(ticked.ledger.events(), settled.ledger.events(name))
        assert np.array_equal(ticked.ledger.synaptic_operations(), settled.ledger.synaptic_operations(name))


def test_a_wrong_engine_is_not_certified() -> None:
    network = decoder()
    other = SettledEngine(decoder(seed=4))
    certificate = snngen.certify(network, picture.draw(network, count=2).codes, other)
    assert not certificate.clean


def test_a_network_that_looks_back_begins_every_picture_anew() -> None:
    network = decoder()
    again = convolution(np.random.default_rng(0), (1, 4, 6), 1, padding=(1, 1))
    network = replace(network, projections=(*network.projections, Projection("drawn", "drawn", again, delayed=True)))
    latents = np.tile(np.linspace(-2, 2, 5), (3, 1))
    drawn = picture.draw(network, latents).pixels
    assert np.array_equal(drawn[0], drawn[2])
    run = reference.run(network, {"input": picture.encode(network, latents)})["drawn"]
    assert not np.array_equal(run[0], run[2])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_written_whole(tmp_path: Path, channels: int) -> None:
    drawing = picture.draw(decoder(channels), count=5)
    path = tmp_path / "digits.png"
    drawing.save(path)
    shown = np.rint(imread(path)[..., :3] * 255).astype(np.uint8)
    assert np.array_equal(shown, drawing.grid())
    zoom = picture.SMALLEST // 6
    assert shown.shape == (2 * (4 * zoom + picture.GAP) + picture.GAP, 3 * (6 * zoom + picture.GAP) + picture.GAP, 3)
    first = drawing.pixels[0] if channels == 3 else np.repeat(drawing.pixels[0, ..., None], 3, axis=2)
    inside = shown[picture.GAP : picture.GAP + 4 * zoom : zoom, picture.GAP : picture.GAP + 6 * zoom : zoom]
    assert np.array_equal(inside, first)
    assert drawing.grid(columns=5).shape[0] == 4 * zoom + 2 * picture.GAP
    assert [file.name for file in tmp_path.iterdir()] == ["digits.png"]
    with pytest.raises(UnsupportedError, match="png"):
        drawing.save(tmp_path / "digits.gif")
    with pytest.raises(FormatError, match="No such file"):
        drawing.save(tmp_path / "nowhere" / "digits.png")
    with pytest.raises(PromptError, match="columns"):
        drawing.grid(0)


def test_the_range_decides_what_is_dark_and_bright() -> None:
    network = replace(decoder(), picture_range=(-1.0, 1.0))
    drawing = picture.draw(network, count=3)
    expected = np.clip(np.rint((drawing.values + 1) * 127.5), 0, 255)
    assert np.array_equal(drawing.pixels, expected[:, 0])
    assert drawing.pixels.min() >= 127


@pytest.mark.parametrize(
    "latents",
    [np.zeros(5), np.zeros((1, 4)), np.zeros((0, 5)), np.full((1, 5), np.nan), np.full((1, 5), np.inf)],
)
def test_bad_latents_are_refused(latents: np.ndarray) -> None:
    with pytest.raises(PromptError, match="latents"):
        picture.draw(decoder(), latents)


def test_latents_far_out_are_held_to_the_range() -> None:
    assert picture.encode(decoder(), np.full((1, 5), 1e9)).tolist() == [[127] * 5]


def test_networks_that_draw_nothing_are_refused() -> None:
    for network in (random_transformer(1), decoder(2)):
        with pytest.raises(UnsupportedError, match="picture"):
            picture.draw(network)
    with pytest.raises(PromptError, match="count"):
        picture.draw(decoder(), count=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"picture": (1, 4, 5)},
        {"picture": (1, 24)},
        {"picture": (-1, -4, 6)},
        {"picture_range": (1.0, 1.0)},
        {"picture_range": (0.0, math.inf)},
    ],
)
def test_pictures_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NetworkError, match="picture"):
        replace(decoder(), **changes)


def test_pictures_are_stored_and_sealed(tmp_path: Path) -> None:
    network, path = decoder(3), tmp_path / "decoder.h5"
    snngen.save(network, path)
    loaded = snngen.load(path)
    assert (loaded.picture, loaded.picture_range) == ((3, 4, 6), (0.0, 2.0))
    assert loaded.digest == network.digest
    assert np.array_equal(picture.draw(loaded, count=3).pixels, picture.draw(network, count=3).pixels)
    assert replace(network, picture_range=(0.0, 1.0)).digest != network.digest
    assert replace(network, picture=None).digest != network.digest
    snngen.save(replace(network, picture=None), path)
    assert snngen.load(path).picture is None


def test_psnr() -> None:
    assert picture.psnr([0, 1], [0, 1], 1.0) == math.inf
    assert picture.psnr([0.0, 1.0], [0.1, 0.9], 1.0) == pytest.approx(20)
    assert picture.psnr([0, 10], [1, 11], 10.0) == pytest.approx(20)
