"""Lava equals the reference bit for bit, on every kind of population; a run that hangs or cannot start says so."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import dense, feed_forward, random_transformer

from snngen import reference
from snngen.codes.unary import Unary
from snngen.engines.ticked import TickedEngine
from snngen.errors import CapacityError, PromptError, SnngenError, UnsupportedError
from snngen.hardware.backends import lava
from snngen.hardware.backends.lava import LavaError, find_python, run_lava, stream_lava
from snngen.integers import IntArray
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne


@pytest.fixture(scope="module")
def lava_python() -> str:
    """A Python that has Lava."""
    try:
        return find_python()
    except UnsupportedError as error:
        pytest.skip(str(error))


def check_equal(network: Network, inputs: object, python: str, timeout: float | None = 120.0) -> None:
    expected = reference.run(network, inputs)  # type: ignore[arg-type]
    found = run_lava(network, inputs, timeout, python)  # type: ignore[arg-type]
    assert list(found) == list(expected)
    for name, codes in expected.items():
        assert found[name].dtype == np.int64
        assert np.array_equal(found[name], codes), name


@pytest.mark.parametrize(("low", "high"), [(-7, 7), (0, 127), (0, 1)])
def test_feed_forward_networks_equal_the_reference(lava_python: str, low: int, high: int) -> None:
    network = feed_forward(3, (5, 7, 3), low, high)
    codes = np.random.default_rng(4).integers(low, high + 1, (5, 5))
    codes[0], codes[1] = low, high
    check_equal(network, {"input": codes}, lava_python)


@pytest.mark.parametrize("seed", [1, 2])
def test_transformers_with_every_kind_of_population_equal_the_reference(lava_python: str, seed: int) -> None:
    network = random_transformer(seed, heads=2, groups=seed)
    check_equal(network, [3, 1, 4, 1, 5, 9, 2, 6, 5], lava_python)  # as many as the context holds


def mnist_decoder(path: Path) -> tuple[Network, Callable[[np.ndarray], np.ndarray]]:
    """The decoder of the shared MNIST VAE (20 -> 400 ReLU -> 784) in 8-bit integers, and the same in float."""
    torch = pytest.importorskip("torch", reason="torch reads the checkpoint; it is in the extra `parity`")
    state = {name: value.numpy() for name, value in torch.load(path, weights_only=True).items()}
    latents = np.random.default_rng(0).normal(size=(256, 20))

    def decode(z: np.ndarray) -> np.ndarray:
        return np.maximum(0, z @ state["fc3.weight"].T + state["fc3.bias"]) @ state["fc4.weight"].T + state["fc4.bias"]

    hidden = np.maximum(0, latents @ state["fc3.weight"].T + state["fc3.bias"])
    scales = [np.full(20, 4 / 127), hidden.max(axis=0) / 127 + 1e-9, np.abs(decode(latents)).max(axis=0) / 127]
    populations, projections = [Population("latent", Source(20, -127, 127), scales[0])], []
    for layer, (name, low) in enumerate((("fc3", 0), ("fc4", -127))):
        folded = state[f"{name}.weight"] * scales[layer]
        theta = np.maximum(1, np.floor(scales[layer + 1] * 127 / (np.abs(folded).max(axis=1) + 1e-9)))
        unit = scales[layer + 1] / theta
        matrix = np.clip(np.rint(folded / unit[:, None]), -127, 127).astype(np.int8)
        bias = np.rint(state[f"{name}.bias"] / unit).astype(np.int32)
        populations.append(Population(name, Threshold(theta.astype(np.int32), bias, low, 127), scales[layer + 1]))
        link = Dense(np.ascontiguousarray(matrix.T), np.ones(len(theta), dtype=np.int32))
        projections.append(Projection(populations[-2].name, name, link))
    return Network(tuple(populations), tuple(projections)), decode


def test_the_mnist_decoder_draws_the_same_digits(lava_python: str, shared: Path) -> None:
    network, decode = mnist_decoder(shared / "models" / "mnist" / "vae_epoch_25.pth")
    codes = np.clip(np.rint(np.random.default_rng(1).normal(size=(4, 20)) * 127 / 4), -127, 127).astype(np.int64)
    check_equal(network, {"latent": codes}, lava_python)
    pixels = 1 / (1 + np.exp(-reference.run(network, {"latent": codes})["fc4"] * network["fc4"].scale))
    real = 1 / (1 + np.exp(-decode(codes * network["latent"].scale)))
    assert 10 * np.log10(1 / np.mean((pixels - real) ** 2)) > 30  # dB: it is the decoder, not just any network


def test_extreme_weights_and_unconnected_parts_equal_the_reference(lava_python: str) -> None:
    matrix = np.array([[-128, 127, -1], [127, -128, 1]], dtype=np.int8)
    wide = Dense(np.full((2, 1), 127, dtype=np.int8), np.array([8_000_000], dtype=np.int32))  # drives near int32's end
    populations = (
        Population("a", Source(2, -127, 127)),
        Population("sum", Accumulator(np.array([1, -2, 3]))),
        Population("b", Source(2, 0, 1)),
        Population("wide", Accumulator(np.array([-5]))),
        Population("copy", Accumulator(np.array([7]))),
        Population("unread", Source(1)),
    )
    one = Dense(matrix, np.ones(3, dtype=np.int32))
    projections = (
        Projection("a", "sum", one), Projection("b", "wide", wide), Projection("wide", "copy", OneToOne(1)),
    )  # fmt: skip
    network = Network(populations, projections, output="sum")
    codes = np.array([[127, 127], [-127, 127], [-1, 1], [0, 0]])
    unread = (codes[:, :1] == 127).astype(np.int64)
    check_equal(network, {"a": codes, "b": np.abs(codes) // 127, "unread": unread}, lava_python)


@pytest.mark.slow
def test_whole_tokens_of_stories260k_equal_the_reference(lava_python: str, stories: Network) -> None:
    check_equal(stories, [1, 403, 407], lava_python, 400.0)


class Recorded:
    """Keeps the events that the ticked engine fires."""

    def __init__(self) -> None:
        self.events: list[IntArray] = []

    def record(self, events: IntArray) -> None:
        self.events.append(events)

    def token(self, number: int, ticks: int) -> None:
        """A stream is one."""

    def reset(self) -> None:
        """A stream starts afresh."""


def spiking_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    populations = (
        Population("input", Source(12)),
        Population("layer0", IntegrateAndFire(np.full(20, 300))),
        Population("layer1", IntegrateAndFire(rng.integers(200, 500, 20))),
        Population("output", IntegrateAndFire(np.full(8, 400))),
    )
    projections = (
        Projection("input", "layer0", dense(rng, 12, 20)),
        Projection("layer0", "layer1", dense(rng, 20, 20, 3)),
        Projection("input", "layer1", dense(rng, 12, 20)),
        Projection("layer1", "output", dense(rng, 20, 8)),
    )
    return Network(populations, projections)


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.5), (4, 0.8)])
def test_integrate_and_fire_spikes_equal_the_ticked_engine_tick_by_tick(
    lava_python: str, seed: int, rate: float
) -> None:
    network, ticks = spiking_network(seed), 25
    tick, neuron = np.nonzero(np.random.default_rng(seed).random((18, 12)) < rate)
    events = np.stack([tick, np.zeros_like(tick), neuron, np.ones_like(tick)], axis=1)
    recorded = Recorded()
    engine = TickedEngine(network, Unary(), "eager", recorder=recorded)
    engine.stream(events, ticks)
    expected = {p.name: np.zeros((ticks, p.size), dtype=np.int64) for p in network.populations}
    for at, population, fired, payload in np.concatenate(recorded.events):
        expected[network.populations[population].name][at, fired] += payload
    assert expected["output"].sum() > 10
    found = stream_lava(network, events, ticks, 120.0, lava_python)
    for name, spikes in expected.items():
        assert np.array_equal(found[name], spikes), name
        assert found[name].sum(axis=0).tolist() == engine.codes(name).tolist()


def test_a_run_without_end_is_ended_with_all_that_it_started(
    lava_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # its workers are known by the folder that they work in
    with pytest.raises(LavaError, match=r"no end within 2\.0 s.*timeout="):
        run_lava(random_transformer(1, layers=4), [1, 2, 3] * 3, 2.0, lava_python)
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if names(path, tmp_path)] == []


def names(path: Path, folder: Path) -> bool:
    """Whether a command line names a file of a folder."""
    try:
        return str(folder).encode() in path.read_bytes()
    except OSError:  # it ended meanwhile
        return False


def test_hardware_without_intels_extension_is_refused_in_one_line(lava_python: str) -> None:
    with pytest.raises(UnsupportedError, match="Intel's extension for Loihi") as caught:
        run_lava(feed_forward(1), {"input": np.zeros((1, 5), dtype=np.int64)}, 60.0, lava_python, hardware=True)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Lava and its libraries are not free of warnings
def test_in_this_process_where_this_python_has_lava() -> None:
    if sys.version_info[:2] != (3, 10) or importlib.util.find_spec("lava") is None:
        pytest.skip("this Python has no Lava")
    check_equal(feed_forward(5), {"input": np.full((2, 5), 3)}, sys.executable, timeout=None)


def test_a_python_without_lava_is_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named lava' >&2\nexit 1\n")
    fake.chmod(0o755)
    for python in (tmp_path / "absent", fake):
        with pytest.raises(UnsupportedError, match="pip install lava-nc"):
            find_python(python)
    monkeypatch.setenv(lava.PYTHON, str(fake))
    with pytest.raises(UnsupportedError, match=rf"{lava.PYTHON}.*No module named lava.*3\.10 that imports lava"):
        run_lava(feed_forward(1), {"input": np.zeros((1, 5), dtype=np.int64)})
    if sys.version_info[:2] == (3, 10):
        return
    monkeypatch.delenv(lava.PYTHON)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(UnsupportedError, match="no Python that imports lava"):
        find_python()
    fake.rename(tmp_path / "python3.10")
    with pytest.raises(UnsupportedError, match=r"tried .*python3\.10"):
        find_python()
    inner = tmp_path / "lava" / "bin" / "python"
    inner.parent.mkdir(parents=True)
    inner.write_text("#!/bin/sh\nexit 0\n")
    inner.chmod(0o755)
    assert find_python() == str(inner)


def test_a_worker_that_fails_shows_its_last_line(tmp_path: Path) -> None:
    failing = tmp_path / "python"
    failing.write_text('#!/bin/sh\n[ "$1" = -E ] && exit 0\necho ValueError: broken >&2\nexit 3\n')
    failing.chmod(0o755)
    with pytest.raises(LavaError, match=r"failed with 3; expected codes\. ValueError: broken"):
        run_lava(feed_forward(1), {"input": np.zeros((1, 5), dtype=np.int64)}, 30.0, failing)


SPIKING, FEED, FORMER = spiking_network(1), feed_forward(1), random_transformer(1)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (UnsupportedError, lambda: run_lava(SPIKING, {"input": np.zeros((1, 12), dtype=np.int64)})),
        (UnsupportedError, lambda: stream_lava(FEED, np.zeros((0, 4), dtype=np.int64), 5)),
        (PromptError, lambda: stream_lava(SPIKING, np.zeros((0, 4), dtype=np.int64), 0)),
        (PromptError, lambda: stream_lava(SPIKING, np.array([[0, 1, 0, 1]]), 5)),
        (PromptError, lambda: stream_lava(SPIKING, np.array([[0, 0, 12, 1]]), 5)),
        (PromptError, lambda: stream_lava(SPIKING, np.array([[0, 0, 0, 2]]), 5)),
        (PromptError, lambda: run_lava(FEED, {"input": np.full((1, 5), 8)})),
        (PromptError, lambda: run_lava(FEED, {"input": np.zeros((1, 5))})),
        (PromptError, lambda: run_lava(FEED, {"input": np.zeros((1, 4), dtype=np.int64)})),
        (PromptError, lambda: run_lava(FEED, {"other": np.zeros((1, 5), dtype=np.int64)})),
        (PromptError, lambda: run_lava(FORMER, [])),
        (PromptError, lambda: run_lava(FORMER, [11])),
        (CapacityError, lambda: run_lava(FORMER, [1] * 10)),
    ],
)
def test_what_cannot_run_is_refused_before_a_worker_starts(kind: type[SnngenError], call: object) -> None:
    with pytest.raises(kind) as caught:
        call()  # type: ignore[operator]
    assert "lava-nc" not in str(caught.value)
