"""Settings and sources that are quantized already: what a setting cannot reach is refused, or said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import CONTEXT, DIM, VOCABULARY, random_llama, random_tokens

import snngen
from snngen.converters.dequantize import dequantize
from snngen.converters.graph import Graph
from snngen.converters.operations import Convolution, Embedding, Integers, Linear, Pointwise, RMSNorm
from snngen.converters.quantize import quantize
from snngen.converters.rounding import nearest
from snngen.converters.settings import Settings
from snngen.errors import UnsupportedError

TOKENS = random_tokens(2)


def coded() -> Graph:
    """A model all of whose codes are those of its source, 8 and 12 bits."""
    return dequantize(quantize(random_llama(0, layers=1), TOKENS))


def whole(*names: str) -> Graph:
    """A model some of whose linear maps came as integers of 8 bits."""
    graph = random_llama(1, layers=1)
    for index, node in enumerate(graph.nodes):
        if isinstance(node.operation, Linear) and node.name in names:
            rounded = nearest(node.operation.weight.astype(np.float64), 8)
            integers = Integers(rounded.matrix, rounded.unit)
            taken = replace(node.operation, weight=rounded.weight.astype(np.float32), integers=integers)
            graph.nodes[index] = replace(node, operation=taken)
    return graph


def said(graph: Graph, settings: Settings) -> list[str]:
    network = quantize(graph, TOKENS, settings)
    assert snngen.certify(network, TOKENS[0].tolist()).clean
    return list(network.provenance["notes"])


@pytest.mark.parametrize(("name", "bits"), [("activation_bits", 5), ("wide_bits", 9)])
def test_bits_of_codes_that_are_all_the_sources_are_refused(name: str, bits: int) -> None:
    with pytest.raises(UnsupportedError, match=rf"{name}: got {bits} for codes that are all the source's") as caught:
        quantize(coded(), TOKENS, Settings(**{name: bits}))
    assert "unquantized" in caught.value.mend


def test_the_mend_is_one() -> None:
    """Left to calibration again, the codes have the bits that are asked for."""
    network = quantize(coded().unquantized(), TOKENS, Settings(activation_bits=5, wide_bits=9))
    assert network["layer0.norm"].neuron.range == (-15, 15)
    assert network["layer0.up"].neuron.range == (-255, 255)
    assert network.provenance["notes"] == ["codes and integers of the source were not taken over, but chosen anew"]
    assert snngen.certify(network, TOKENS[0].tolist()).clean


def test_codes_that_have_the_bits_asked_for_are_no_complaint() -> None:
    graph = dequantize(quantize(random_llama(0, layers=1), TOKENS, Settings(activation_bits=6)))
    assert said(graph, Settings(activation_bits=6)) == []


def test_codes_that_a_setting_reaches_in_part_are_said() -> None:
    graph = coded()
    graph.nodes = [replace(n, codes=None) if n.name == "layer0.gated" else n for n in graph.nodes]
    (note,) = said(graph, Settings(activation_bits=5))
    assert note.startswith("codes of the source, kept as they are whatever activation_bits: layer0.norm, ")
    assert "gated" not in note
    assert said(graph, Settings()) == []


def test_bits_and_compensation_of_integers_are_said() -> None:
    names = ("layer0.up", "layer0.value")
    note = "integers of the source, kept as they are whatever the settings: layer0.value, layer0.up"
    assert said(whole(*names), Settings(weight_bits=4)) == [note]
    assert said(whole(*names), Settings(rounding="compensated")) == [note]
    assert said(whole(*names), Settings()) == []


@pytest.mark.parametrize(
    ("settings", "where"),
    [(Settings(weight_bits=4), "weight_bits"), (Settings(rounding="compensated"), "rounding")],
)
def test_settings_of_weights_that_are_all_integers_are_refused(settings: Settings, where: str) -> None:
    rng, graph = np.random.default_rng(0), Graph(VOCABULARY, CONTEXT)
    table, head = (nearest(rng.normal(size=shape), 8) for shape in ((DIM, VOCABULARY), (VOCABULARY, DIM)))
    integers = [Integers(rounded.matrix, rounded.unit) for rounded in (table, head)]
    graph.add("embedding", Embedding(table.weight.T.astype(np.float32), integers[0]), "tokens")
    graph.add("norm", RMSNorm(np.ones(DIM, np.float32), 1e-5), "embedding")
    graph.add("logits", Linear(head.weight.astype(np.float32), integers=integers[1]), "norm")
    assert said(graph, Settings()) == []
    with pytest.raises(UnsupportedError, match=f"Settings.{where}") as caught:
        quantize(graph, TOKENS, settings)
    assert "unquantized" in caught.value.mend
    assert snngen.certify(quantize(graph.unquantized(), TOKENS, settings), TOKENS[0].tolist()).clean


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"no_such_layer": 4}, "got no_such_layer; expected names of nodes that have weights: embedding"),
        ({"layer0.norm": 4, "layer0.up": 4}, "got layer0.norm; expected"),  # a norm has none
        ({"layer0.value": 4}, "layer0.value, whose integers are the source's own"),
    ],
)
def test_bits_of_nodes_that_take_none_are_refused(bits: dict[str, int], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        quantize(whole("layer0.value"), TOKENS, Settings(bits=bits))
    assert caught.value.mend
    assert said(whole("layer0.value"), Settings(bits={"layer0.value": 8})) == []


def test_settings_of_parts_that_are_not_there_are_said() -> None:
    graph = Graph(0, None, channels=16)
    kernel = np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    graph.add("kernel", Convolution(kernel, None, (1, 4, 4)), "input")
    given = np.random.default_rng(1).normal(size=(2, 3, 16)).astype(np.float32)
    settings = Settings(wide_bits=9, probability_bits=6, sparse_below=0.5)
    assert quantize(graph, given, settings).provenance["notes"] == [
        "wide_bits: every code of this model passes weights",
        "probability_bits: this model has no attention",
        "sparse_below: this model has no linear map",
    ]
    with pytest.raises(UnsupportedError, match="without a linear map"):
        quantize(graph, given, Settings(rounding="compensated"))


def test_a_vector_input_counts_among_the_codes() -> None:
    graph = Graph(0, None, channels=4)
    graph.add("map", Linear(np.eye(4, dtype=np.float32)), "input")
    graph.add("rectified", Pointwise("relu"), "map")
    given = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    restored = quantize(graph, given, Settings(activation_bits=5))
    assert restored["input"].neuron.range == (-15, 15)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight_bits": 4.5}, {"weight_bits": "4"}, {"weight_bits": None}, {"activation_bits": 7.5},
        {"probability_bits": 3.3}, {"bits": {"logits": 2.5}}, {"bits": {"logits": "4"}}, {"bits": [("logits", 4)]},
        {"bits": None}, {"sparse_below": "a"}, {"sparse_below": float("nan")}, {"rounding": ["nearest"]},
    ],
)  # fmt: skip
def test_settings_of_another_kind_are_refused(wrong: dict[str, object]) -> None:
    """Bits that are no whole numbers made thresholds that were none, and engines that disagreed."""
    with pytest.raises(UnsupportedError, match=rf"Settings\.{next(iter(wrong))}") as caught:
        Settings(**wrong)  # type: ignore[arg-type]
    assert caught.value.mend
