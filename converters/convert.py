"""Convert: a model's file becomes a network, with a report of what that cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from snngen import __version__
from snngen.converters import families, formats
from snngen.converters.calibrate import require_calibration
from snngen.converters.graph import Graph
from snngen.converters.noise import LayerNoise, layer_noise
from snngen.converters.precision import choose_bits, sensitivities
from snngen.converters.pruning import Pruning
from snngen.converters.quantize import quantize
from snngen.converters.settings import Settings, require_whole
from snngen.errors import FormatError, PromptError, UnsupportedError
from snngen.network import Network
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed
from snngen.synapses.sparse import Sparse
from snngen.text import Text

SEQUENCES, LENGTH = 8, 256  # calibration taken from a text
SAMPLED_SEQUENCES = 5  # calibration sampled from the model itself
FITTED_SEQUENCES = 24  # where weights are fitted to it: with fewer they fit the sample, not the model
LATENTS = 16  # per sequence, where a decoder is calibrated on N(0, 1)
THREADED_FROM = 100_000_000  # parameters


@dataclass(frozen=True, eq=False)
class Conversion:
    """A network and how it came about.

    graph: the float model. calibration: (sequences, tokens), or (sequences, tokens, channels) of a model that takes
    vectors: what the scales were chosen on.
    layers: signal-to-noise ratio of every population on the calibration tokens.
    """

    network: Network
    graph: Graph
    calibration: npt.NDArray[Any]
    layers: Sequence[LayerNoise]


def convert(
    source: str | Path,
    tokenizer: str | Path | None = None,
    calibrate: str | Path | npt.NDArray[Any] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    context: int | None = None,
    pruning: Pruning | None = None,
    weight_budget: int | None = None,
) -> Conversion:
    """Convert a model into a spiking network.

    source: a file or folder in any known format. tokenizer: its tokenizer, where the format keeps it apart.
    calibrate: a text file, (sequences, tokens) numbers, or None: sequences sampled from the float model itself, or
    latents of a decoder; for a model that takes vectors see `convert_graph`.
    settings: bits. seed: of the sampled calibration. progress: is told (trials done, trials in all).
    context: hold the network to fewer tokens than the model has learned; tables and memories shrink with it.
    pruning: what is taken out first. weight_budget: bytes of linear maps and embeddings; each then gets 8, 4 or 2 bits
    by what that costs the predictions, integers of the source aside.
    raises: FormatError, UnsupportedError, NetworkError, PromptError as the parts do.
    """
    checkpoint = formats.read(Path(source), None if tokenizer is None else Path(tokenizer))
    graph = families.build(checkpoint)
    return convert_graph(graph, calibrate, settings, seed, progress, context, pruning, weight_budget)


def convert_graph(
    graph: Graph,
    calibrate: str | Path | npt.NDArray[Any] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    context: int | None = None,
    pruning: Pruning | None = None,
    weight_budget: int | None = None,
) -> Conversion:
    """Convert a float graph into a spiking network: the road of every source, files and modules alike.

    graph: as a family, `from_torch` or a format that stores operations builds it. The rest as in `convert`; a graph
    whose input is a vector is calibrated on (sequences, tokens, channels) numbers, or on a ``.npy`` file of them.
    raises: UnsupportedError, NetworkError, PromptError, FormatError as the parts do.
    """
    settings = _checked(settings, pruning, weight_budget, seed)
    if context is not None:
        require_whole("context", context, 1, graph.context)
        graph = replace(graph, context=context)
    # Threads of the linear algebra library slow small products down, by far on a busy machine, and round otherwise.
    with threadpool_limits(limits=1 if graph.parameters < THREADED_FROM else None):
        take = calibration_vectors if graph.channels else calibration_tokens
        fitted = pruning is not None or settings.rounding == "compensated"
        count = FITTED_SEQUENCES if fitted and not graph.channels else None
        tokens = require_calibration(graph, take(graph, calibrate, seed, count))
        if pruning is not None:
            graph = pruning.apply(graph, tokens)
        if weight_budget is not None:
            settings = replace(settings, bits=choose_bits(sensitivities(graph, tokens), weight_budget))
        network = quantize(graph, tokens, settings, progress)
        if weight_budget is not None:
            _require_within(network, weight_budget)
        layers = layer_noise(graph, network, list(tokens[:3]))
    sampled = "latents drawn from N(0, 1)" if graph.channels else "sampled from the float model"
    provenance = {
        **network.provenance,
        "snngen": __version__,
        "calibration": sampled if calibrate is None else "given",
        "signal_to_noise": {layer.population: _plain(layer.decibels) for layer in layers},
    }
    if context is not None and network.context is None:
        note = f"context: nothing in this network counts tokens, so {context} held the calibration alone"
        provenance["notes"] = [*provenance["notes"], note]
    if seed and calibrate is not None:
        provenance["notes"] = [*provenance["notes"], f"seed: nothing was sampled by {seed}, the calibration was given"]
    return Conversion(replace(network, provenance=provenance), graph, tokens, layers)


def _checked(settings: Settings | None, pruning: Pruning | None, weight_budget: int | None, seed: int) -> Settings:
    """The settings, once the options are known to be what they should be and not to contradict each other."""
    for name, value, kind in (("settings", settings, Settings), ("pruning", pruning, Pruning)):
        if value is not None and not isinstance(value, kind):
            raise UnsupportedError(
                name, f"a {type(value).__name__}", f"a {kind.__name__}", f"{name}={kind.__name__}(...)"
            )
    require_whole("seed", seed, 0)
    settings = settings or Settings()
    if weight_budget is None:
        return settings
    require_whole("weight_budget", weight_budget, 1)
    if settings.bits or settings.weight_bits != Settings.weight_bits:
        got = f"{weight_budget} bytes, and {settings.bits or settings.weight_bits} bits per weight"
        raise UnsupportedError("weight_budget", got, "a budget that chooses the bits, or bits", "Leave one of them out")
    return settings


def _require_within(network: Network, budget: int) -> None:
    """Refuse maps and embeddings that take more bytes than they may."""
    maps = [p.synapse for p in network.projections if isinstance(p.synapse, Dense | Packed | Sparse)]
    spent = sum(synapse.weight_bytes for synapse in maps)
    if spent > budget:
        mend = f"Leave sparse_below out (few synapses are stored so where it pays), or allow {spent} bytes"
        raise UnsupportedError("weight_budget", f"{spent} bytes as they are stored", f"at most {budget}", mend)


def calibration_tokens(
    graph: Graph, calibrate: str | Path | npt.NDArray[Any] | None, seed: int = 0, count: int | None = None
) -> npt.NDArray[np.integer[Any]]:
    """(sequences, tokens) token numbers to calibrate on: given, cut evenly from a text file, or sampled.

    count: sequences, of a text as many as it has, at most.
    raises: FormatError for a file that is not such a text; PromptError for a text without a tokenizer, or too short.
    """
    length = LENGTH if graph.context is None else min(LENGTH, graph.context)
    if calibrate is None:
        return graph.sample(count or SAMPLED_SEQUENCES, length, seed)
    if isinstance(calibrate, np.ndarray):
        return calibrate
    path = _path(calibrate)
    if graph.tokenizer is None:
        raise PromptError(
            "calibrate", "a text for a model without a tokenizer", "--tokenizer too, or tokens",
            "Pass its tokenizer, leave calibrate out, or calibrate=np.array(sequences)",
        )  # fmt: skip
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(str(path), str(error), "a UTF-8 text file", "Leave it out: the model is sampled") from error
    tokens = Text.of(graph.tokenizer, graph.vocabulary).encode(text)
    opening = [] if graph.begin is None else [graph.begin]
    body = max(1, length - len(opening))
    if len(tokens) < body:
        raise PromptError(str(path), f"{len(tokens)} tokens", f"at least {body} to calibrate on", "Take a longer text")
    count = min(count or SEQUENCES, len(tokens) // body)
    starts = np.linspace(0, len(tokens) - body, count).astype(np.int64)
    cut = [[*opening, *tokens[start : start + body]][:length] for start in starts]
    return np.array(cut, dtype=np.int64)


def calibration_vectors(
    graph: Graph, calibrate: str | Path | npt.NDArray[Any] | None, seed: int = 0, count: int | None = None
) -> npt.NDArray[np.float32]:
    """(sequences, tokens, channels) float32 to calibrate on: given, of a ``.npy`` file, or latents of a decoder.

    Only a model that makes a picture of fewer numbers than it has is a decoder, whose latents are N(0, 1).
    raises: PromptError where they are missing or of another shape; FormatError for a file that is no array.
    """
    expected = f"(sequences, tokens, {graph.channels}) finite numbers, such as the model meets"
    if calibrate is None:
        if graph.picture is None or graph.recurrent or graph.channels >= math.prod(graph.picture):
            raise PromptError(
                "calibrate",
                "nothing for a model that takes vectors",
                expected,
                "Pass calibrate=array, or --calibrate FILE.npy",
            )
        tokens = LATENTS if graph.context is None else min(LATENTS, graph.context)
        shape = (count or SEQUENCES, tokens, graph.channels)
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    if not isinstance(calibrate, np.ndarray):
        try:
            calibrate = np.load(_path(calibrate), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FormatError(
                str(calibrate), f"{error!s:.200}", "a .npy file of numbers", "np.save(path, array) writes one"
            ) from error
        if not isinstance(calibrate, np.ndarray):
            raise FormatError("calibrate", "an archive of arrays", "a .npy file of numbers")
    wrong = calibrate.ndim != 3 or calibrate.shape[-1] != graph.channels or calibrate.size == 0
    if wrong or calibrate.dtype.kind not in "fiu" or not np.isfinite(calibrate).all():
        raise PromptError("calibrate", f"shape {calibrate.shape} of {calibrate.dtype}", expected)
    return np.asarray(calibrate, dtype=np.float32)


def _path(calibrate: Any) -> Path:
    if not isinstance(calibrate, str | Path):
        got = f"a {type(calibrate).__name__}"
        raise PromptError("calibrate", got, "a file, or an array of NumPy", "calibrate=np.array(sequences)")
    return Path(calibrate)


def _plain(decibels: float) -> float | None:
    return round(decibels, 2) if np.isfinite(decibels) else None  # JSON has no infinities
