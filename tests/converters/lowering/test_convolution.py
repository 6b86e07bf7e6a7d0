"""Convolutions become kernels and thresholds: close to float, exact in every engine, integers kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snngen
from snngen import codes, picture, reference
from snngen.converters.graph import Codes, Graph
from snngen.converters.operations import Add, Convolution, GroupNorm, Integers, Linear, Pointwise
from snngen.converters.quantize import Settings, quantize
from snngen.engines.ticked import TickedEngine
from snngen.network import Network

SHAPE = (4, 5, 6)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"padding": (1, 1)},
    "strided": {"stride": (2, 1), "dilation": (1, 2)},
    "grouped": {"groups": 2, "padding": (0, 1)},
    "transposed": {"transposed": True, "stride": (2, 2), "padding": (1, 0), "output_padding": (1, 0)},
    "transposed in groups": {"transposed": True, "groups": 2, "stride": (1, 2)},
}


def convolution(rng: np.random.Generator, shape: tuple[int, int, int], outputs: int, **options: Any) -> Convolution:
    groups = options.get("groups", 1)
    ends = (shape[0], outputs // groups) if options.get("transposed") else (outputs, shape[0] // groups)
    weight = rng.standard_normal((*ends, 3, 2)).astype(np.float32)
    weight *= rng.uniform(0.2, 3, (ends[0], 1, 1, 1)).astype(np.float32)
    return Convolution(weight, rng.standard_normal(outputs).astype(np.float32), shape, **options)


def entered(seed: int) -> tuple[Graph, np.random.Generator]:
    """A graph that begins with a linear map onto a picture."""
    rng, graph = np.random.default_rng(seed), Graph(0, None, channels=8)
    weight = rng.standard_normal((120, 8)).astype(np.float32)
    graph.add("enter", Linear(weight, rng.standard_normal(120).astype(np.float32)), "input")
    return graph, rng


def vectors(graph: Graph, seed: int, sequences: int = 3, length: int = 12) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((sequences, length, graph.channels))
    return draws.astype(np.float32)


def decibels(graph: Graph, network: Network, given: np.ndarray) -> float:
    """Signal to noise of the network's answers; every code of every engine is that of the reference."""
    sent = picture.encode(network, given)
    got = reference.run(network, {"input": sent})[network.output] * network[network.output].scale
    expected = graph.run(given[None].astype(np.float32))[0]
    for name, schedule in (("graded", "layered"), ("unary", "eager"), ("bitwise", "layered"), ("delta", "eager")):
        engine = TickedEngine(network, codes.by_name(name), schedule)  # type: ignore[arg-type]
        assert snngen.certify(network, sent[:3], engine).clean
    assert snngen.certify(network, sent).clean
    return float(10 * np.log10((expected**2).sum() / ((got - expected) ** 2).sum()))


@pytest.mark.parametrize("end", ["relu", "sigmoid", "silu", "potential", "norm", "linear", "sum"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stays_close_to_float(kind: str, end: str) -> None:
    graph, rng = entered(1)
    first = convolution(rng, SHAPE, 6, **KINDS[kind])
    graph.add("first", first, graph.add("act", Pointwise("relu"), "enter"))
    size = first.width([])
    if end in ("relu", "sigmoid", "silu"):
        graph.add("last", Pointwise(end), "first")
    elif end == "norm":
        graph.add("last", GroupNorm(np.ones(size, np.float32), None, 1e-5, 2), "first")
    elif end == "linear":
        graph.add("last", Linear(rng.standard_normal((5, size)).astype(np.float32)), "first")
    elif end == "sum":
        graph.add("second", convolution(rng, SHAPE, 6, **KINDS[kind]), "act")
        graph.add("last", Add(), "first", "second")
    network = quantize(graph, vectors(graph, 2))
    synapses = [p.synapse for p in network.projections if p.synapse.kind == "convolution"]
    assert len(synapses) == (2 if end == "sum" else 1)
    assert synapses[0].weight_bytes == first.weight.size
    assert decibels(graph, network, vectors(graph, 3)[0]) > 26


@pytest.mark.parametrize("groups", [1, 2])
def test_inputs_beside_one_another(groups: int) -> None:
    """A skip: the convolution reads two pictures, each through its own share of the kernel, or of the groups."""
    graph, rng = entered(4)
    down = convolution(rng, SHAPE, 3, padding=(1, 1))
    graph.add("left", Pointwise("silu"), graph.add("a", down, "enter"))
    graph.add("right", Pointwise("relu"), graph.add("b", down, "enter"))
    shape = (6, *down.output_shape[1:])
    graph.add("last", convolution(rng, shape, 4, padding=(1, 1), groups=groups), "left", "right")
    network = quantize(graph, vectors(graph, 5))
    joined = network.into("last")
    assert [p.source for p in joined] == ["left", "right"]
    if groups == 1:
        assert [int(p.synapse.shape[0]) for p in joined] == [3, 3]  # type: ignore[attr-defined]
    else:
        assert [p.synapse.kind for p in joined] == ["sparse", "sparse"]
    assert decibels(graph, network, vectors(graph, 6)[0]) > 26


def test_units_that_differ_within_a_map_are_made_one() -> None:
    rng = np.random.default_rng(7)
    graph = Graph(0, None, channels=120)
    graph.codes = Codes(rng.uniform(0.01, 0.05, 120), -127, 127)
    graph.add("last", convolution(rng, SHAPE, 3), "input")
    network = quantize(graph, vectors(graph, 8, length=6))
    assert "input.maps" in network.order
    maps = network["input.maps"].scale.reshape(4, 30)
    assert (np.ptp(maps, axis=1) == 0).all()
    assert decibels(graph, network, np.clip(vectors(graph, 9)[0], -1.2, 1.2)) > 26


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_fewer_bits_are_fewer_values(bits: int) -> None:
    graph, rng = entered(10)
    graph.add("last", convolution(rng, SHAPE, 6), "enter")
    network = quantize(graph, vectors(graph, 11), Settings(bits={"last": bits}))
    (kernel,) = (p.synapse.kernel for p in network.projections if p.synapse.kind == "convolution")  # type: ignore[attr-defined]
    assert np.abs(kernel.astype(int)).max() == 2 ** (bits - 1) - 1


def quantized(rng: np.random.Generator, transposed: bool, groups: int) -> Convolution:
    """A convolution that came with integers, whose scales are powers of two."""
    ends = (4, 6 // groups) if transposed else (6, 4 // groups)
    matrix = rng.integers(-127, 128, (*ends, 3, 2)).astype(np.int8)
    scale = 2.0 ** rng.integers(-9, -6, 6)
    if transposed:
        within = scale.reshape(groups, 1, -1).repeat(4 // groups, axis=1).reshape(4, -1)[:, :, None, None]
    else:
        within = scale[:, None, None, None]
    bias = (rng.integers(-90, 90, 6) / 16).astype(np.float32)
    weight = (matrix * within).astype(np.float32)
    return Convolution(
        weight, bias, SHAPE, (1, 2), (1, 0), groups=groups, transposed=transposed, integers=Integers(matrix, scale)
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("end", ["codes", "relu", "potential", "sum"])
def test_integers_of_the_source_are_kept(transposed: bool, groups: int, end: str) -> None:
    rng = np.random.default_rng(12)
    operation = quantized(rng, transposed, groups)
    graph = Graph(0, None, channels=120, codes=Codes(np.array([0.125]), -100, 90))
    last = Codes(np.array([0.5]), -128, 127)
    graph.add("first", operation, "input", codes=last if end == "codes" else None)
    if end == "relu":
        graph.add("last", Pointwise("relu"), "first", codes=Codes(np.array([0.5]), 0, 255))
    elif end == "sum":
        graph.add("last", Add(), "first", graph.add("second", operation, "input"))
    sent = rng.integers(-100, 91, (5, 120))
    network = quantize(graph, (sent * 0.125).astype(np.float32)[None])
    (kernel, *_) = (p.synapse.kernel for p in network.projections)  # type: ignore[attr-defined]
    assert operation.integers is not None
    assert np.array_equal(kernel, operation.integers.matrix) == (end != "sum")
    exact = graph.run((sent * 0.125).astype(np.float32)[None])[0].astype(np.float64)  # exact: powers of two
    got = reference.run(network, {"input": sent})[network.output]
    if end in ("codes", "relu"):
        low, high = (-128, 127) if end == "codes" else (0, 255)
        assert np.array_equal(got, np.clip(np.floor(exact / 0.5 + 0.5), low, high))
    elif end == "potential":
        assert np.array_equal(got * network[network.output].scale, exact)
    else:  # the stream's grid is no fraction of their scales: rounded anew, and said
        error = got * network[network.output].scale - exact
        assert (error**2).mean() <= 1e-4 * (exact**2).mean()
        assert any("rounded again" in note for note in network.provenance["notes"])


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_relu_stays_one_where_its_source_gave_it_signed_codes(kind: str) -> None:
    """int8 activations after a ReLU, as torchao has them: the threshold that takes the ReLU in has no code below 0."""
    graph, rng = entered(4)
    linear = Linear(rng.standard_normal((48, 120)).astype(np.float32))
    operation = convolution(rng, SHAPE, 6) if kind == "convolution" else linear
    graph.add("map", operation, "enter")
    peak = np.abs(graph.run(vectors(graph, 1))).max()
    graph.add("relu", Pointwise("relu"), "map", codes=Codes(np.array([peak / 100]), -128, 127))
    outputs = graph.width("relu")
    graph.add("head", Linear(rng.standard_normal((5, outputs)).astype(np.float32)), "relu")
    network = quantize(graph, vectors(graph, 1))
    assert network["relu"].neuron.range == (0, 127)
    assert decibels(graph, network, vectors(graph, 2)[0]) > 20


def test_what_a_setting_does_not_do_to_kernels_is_said() -> None:
    graph, rng = entered(4)
    graph.add("map", convolution(rng, SHAPE, 6), "enter")
    given = vectors(graph, 1)
    assert quantize(graph, given).provenance["notes"] == []
    notes = quantize(graph, given, Settings(weight_bits=4, rounding="compensated")).provenance["notes"]
    assert notes == [
        "rounded to fewer bits, but stored in 8 each (convolutions, positions): map",
        "rounded to the nearest, not compensated (convolutions, positions): map",
    ]
