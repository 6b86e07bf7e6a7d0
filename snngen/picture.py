"""Pictures: a latent vector in, a picture out, with the ledger of what it took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snngen.aside import written_aside
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.errors import PromptError, UnsupportedError
from snngen.integers import FloatArray, IntArray
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network

Pixels = npt.NDArray[np.uint8]

GREY, COLOUR = 1, 3  # channels of a picture that can be shown
SMALLEST = 96  # points on a side of a picture in a grid: smaller ones are enlarged by a whole number
GAP = 4  # points between pictures of a grid
PAPER = 128


@dataclass(frozen=True, eq=False)
class Drawing:
    """Pictures that a network drew.

    network: what drew. codes: (n, sources) integers that went in. values: (n, channels, height, width) float64, in
    the units of the float model. ledger: what each took, as generated tokens. seconds: time spent in the engine.
    """

    network: Network
    codes: IntArray
    values: FloatArray
    ledger: Ledger
    seconds: float

    @property
    def pixels(self) -> Pixels:
        """(n, height, width), or (n, height, width, 3) in colour: 0 is the bottom of the range, 255 the top."""
        low, high = self.network.picture_range
        bright = np.clip(np.rint((self.values - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
        return bright[:, 0] if bright.shape[1] == GREY else np.ascontiguousarray(bright.transpose(0, 2, 3, 1))

    def grid(self, columns: int | None = None) -> Pixels:
        """All pictures side by side, (height, width, 3); as many columns as rows, or a few more, where None.

        raises: PromptError for less than one column.
        """
        pixels = self.pixels
        count, tall, wide = pixels.shape[:3]
        across = math.ceil(math.sqrt(count)) if columns is None else columns
        if across < 1:
            raise PromptError("columns", str(across), "1 or more")
        down = math.ceil(count / across)
        colour = pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3)
        zoom = max(1, SMALLEST // max(tall, wide))
        large = colour.repeat(zoom, axis=1).repeat(zoom, axis=2)
        step_y, step_x = tall * zoom + GAP, wide * zoom + GAP
        sheet = np.full((down * step_y + GAP, across * step_x + GAP, 3), PAPER, dtype=np.uint8)
        for index, picture in enumerate(large):
            y, x = GAP + index // across * step_y, GAP + index % across * step_x
            sheet[y : y + tall * zoom, x : x + wide * zoom] = picture
        return sheet

    def save(self, path: str | Path, columns: int | None = None) -> None:
        """Write the grid as PNG, whole or not at all.

        raises: FormatError where the path cannot be written; UnsupportedError for a name that ends otherwise.
        """
        from matplotlib.image import imsave

        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UnsupportedError(str(path), f"a picture as {path.suffix or 'nothing'}", ".png")
        sheet = self.grid(columns)
        with written_aside(path) as aside:
            imsave(aside, sheet, format="png")


def draw(
    network: Network,
    latents: npt.ArrayLike | None = None,
    count: int = 1,
    seed: int = 0,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Drawing:
    """Draw pictures from latent vectors.

    network: whose output is a picture and whose only source takes a vector. latents: (n, sources) numbers in the
    units of the float model, or None: `count` of N(0, 1), by `seed`. engine: that runs it; a new settled one
    otherwise. progress: is told (pictures done, pictures in all).
    raises: UnsupportedError for a network that draws none; PromptError for latents of another shape.
    """
    check(network)
    codes = encode(network, latent_vectors(network, count, seed) if latents is None else latents)
    engine = SettledEngine(network) if engine is None else engine
    source, output = network.sources[0].name, network[network.output]
    ledger, drawn, seconds = Ledger(network, engine.spikes), [], 0.0
    engine.warm()
    engine.reset()
    for index, row in enumerate(codes):
        started = time.perf_counter()
        if index and looks_back(network):  # a picture does not depend on the one before
            engine.reset()
        engine.step(codes={source: row})
        seconds += time.perf_counter() - started
        ledger.record(GENERATE, *engine.counted(), engine.ticks)
        drawn.append(engine.output * output.scale)
        if progress is not None:
            progress(index + 1, len(codes))
    values = np.stack(drawn).reshape(len(drawn), *(network.picture or ()))
    return Drawing(network, codes, values, ledger, seconds)


def check(network: Network) -> None:
    """Refuse a network that does not turn a vector into a picture that can be shown.

    raises: UnsupportedError.
    """
    if network.picture is None:
        raise UnsupportedError("picture", f"an output of {network[network.output].size} values", "a picture")
    if network.picture[0] not in (GREY, COLOUR):
        raise UnsupportedError("picture", f"{network.picture[0]} channels", "1 (grey) or 3 (colour)")
    if len(network.sources) != 1:
        raise UnsupportedError("picture", f"{len(network.sources)} sources", "one, of a latent vector")


def looks_back(network: Network) -> bool:
    """True where what is drawn depends on what was drawn before."""
    return network.recurrent or network.context is not None


def latent_vectors(network: Network, count: int, seed: int) -> FloatArray:
    """(count, sources) of N(0, 1); the first ones are the same for every count.

    raises: PromptError for no pictures at all.
    """
    if count < 1 or seed < 0:
        raise PromptError("pictures", f"count {count}, seed {seed}", "a count of 1 or more, a seed of 0 or more")
    return np.random.default_rng(seed).standard_normal((count, network.sources[0].size))


def encode(network: Network, latents: npt.ArrayLike) -> IntArray:
    """(n, sources) int64 codes of latents in the units of the float model: clip(round(x / scale), low, high).

    raises: PromptError for another shape, or numbers that are not finite.
    """
    source = network.sources[0]
    given = np.asarray(latents, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != source.size or not len(given) or not np.isfinite(given).all():
        raise PromptError("latents", f"shape {given.shape}", f"(n, {source.size}) finite numbers")
    low, high = source.neuron.range
    return np.clip(np.rint(given / source.scale), low, high).astype(np.int64)


def psnr(pictures: npt.ArrayLike, target: npt.ArrayLike, span: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(span**2 / mean((pictures - target)**2)); infinite where equal.

    span: brightest minus darkest value.
    """
    error = np.asarray(pictures, dtype=np.float64) - np.asarray(target, dtype=np.float64)
    mean = float((error**2).mean())
    return 10 * math.log10(span**2 / mean) if mean else math.inf
