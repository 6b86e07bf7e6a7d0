"""Networks as ONNX: onnxruntime computes the codes of our engines, and what is read back is the same integers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import random_llama, random_tokens

from snngen import generate, reference
from snngen.converters import families, formats
from snngen.converters.convert import convert, convert_graph
from snngen.converters.exports import onnx as writer
from snngen.converters.exports import write
from snngen.converters.graph import Graph
from snngen.converters.onnx import functions as onnx_functions
from snngen.converters.operations import Add, Convolution, GroupNorm, Linear, Pointwise
from snngen.converters.quantize import quantize
from snngen.converters.settings import Settings
from snngen.errors import UnsupportedError
from snngen.network import Network

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
runtime.set_default_logger_severity(3)

PROMPTS, LENGTH = 5, 40


@cache
def runs_opset_23() -> bool:
    """Whether this onnxruntime rounds by the operators of opset 23; the last one for Python 3.10 does not."""
    make = onnx.helper.make_tensor_value_info
    entry, result = make("x", onnx.TensorProto.FLOAT, [1]), make("y", onnx.TensorProto.UINT8, [1])
    scale = onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [1.0])
    node = onnx.helper.make_node("QuantizeLinear", ["x", "scale"], ["y"])
    graph = onnx.helper.make_graph([node], "rounds", [entry], [result], [scale])
    opset = [onnx.helper.make_opsetid("", onnx_functions.OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=writer.IR_VERSION)
    try:
        runtime.InferenceSession(model.SerializeToString())
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented:
        return False
    return True


def session(path: Path, extra: list[str] | None = None) -> Any:
    """onnxruntime with its usual optimizations; extra: values to give beside the outputs."""
    if not runs_opset_23():
        pytest.skip(f"onnxruntime {runtime.__version__} does not run opset {onnx_functions.OPSET}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    if not extra:
        return runtime.InferenceSession(str(path), options)
    whole = onnx.load(path)
    whole.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in extra)
    return runtime.InferenceSession(whole.SerializeToString(), options)


def rounding(path: Path) -> dict[str, str]:
    """By population the value of the file that has its codes."""
    nodes = onnx.load(path).graph.node
    return {n.output[0].rsplit("_QuantizeLinear", 1)[0]: n.output[0] for n in nodes if n.op_type == "QuantizeLinear"}


def check_codes(network: Network, path: Path, given: npt.NDArray[Any], codes: dict[str, Any]) -> int:
    """Every code that onnxruntime rounds is that of the reference; returns how many there are."""
    names = rounding(path)
    (entry,) = (value.name for value in session(path).get_inputs())
    found = session(path, list(names.values())).run(list(names.values()), {entry: given})
    count = 0
    for name, values in zip(names, found, strict=True):
        right = codes[name]
        assert np.array_equal(values.reshape(right.shape), right), name
        count += right.size
    assert set(names) >= {p.name for p in network.populations if p.neuron.kind == "threshold"}
    return count


def greedy(path: Path, prompt: list[int], count: int) -> list[int]:
    runs, tokens = session(path), list(prompt)
    for _ in range(count):
        logits = runs.run(None, {"input_ids": np.array([tokens])})[0][0, -1]
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]


def prompts(network: Network) -> list[list[int]]:
    """Five beginnings, the first the one of every text."""
    draws = np.random.default_rng(11).integers(network.vocabulary, size=(PROMPTS, 6)).tolist()
    begin = [] if network.begin is None else [network.begin]
    return [[*begin, *draw] for draw in draws]


@pytest.mark.parametrize("name", ["shakespeare", "stories"])
def test_language_models_say_the_same_in_onnxruntime(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    network: Network = request.getfixturevalue(name)
    path = tmp_path / "model.onnx"
    assert write(network, path, "onnx") == []
    onnx.checker.check_model(str(path))
    tokens = np.random.default_rng(0).integers(network.vocabulary, size=120)
    codes = reference.run(network, tokens)
    assert check_codes(network, path, tokens[None], codes) > 120 * 4000
    logits = session(path).run(None, {"input_ids": tokens[None]})[0][0]
    worth = codes[network.output] * network[network.output].scale
    np.testing.assert_allclose(logits, worth, atol=1e-4)
    for prompt in prompts(network):
        run = generate(network, prompt, LENGTH)
        said = list(run.finish().tokens)[len(prompt) :]
        assert len(said) == LENGTH or run.stopped == "end"
        assert greedy(path, prompt, len(said)) == said


@pytest.mark.parametrize("name", ["shakespeare", "stories"])
def test_what_is_read_back_is_the_same_integers(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    network: Network = request.getfixturevalue(name)
    path = tmp_path / "model.onnx"
    write(network, path, "onnx")
    graph = families.build(formats.read(path))
    assert (graph.vocabulary, graph.context, graph.begin, graph.end, graph.tokenizer) == (
        network.vocabulary, network.context, network.begin, network.end, network.tokenizer,
    )  # fmt: skip
    assert graph.notes == []
    again = quantize(graph, graph.sample(1, 24, 0))
    for first, second in zip(network.populations, again.populations, strict=True):
        assert first.neuron.kind == second.neuron.kind
        for one, other in zip(first.neuron.constants(), second.neuron.constants(), strict=True):
            # float32 scales give a softmax its multipliers to seven digits
            assert (
                np.allclose(one, other, rtol=2e-7, atol=0)
                if first.neuron.kind == "softmax"
                else np.array_equal(one, other)
            )
    for left, right in zip(network.projections, again.projections, strict=True):
        assert left.synapse.kind == right.synapse.kind
        if left.synapse.weights is not None and right.synapse.weights is not None:
            assert np.array_equal(left.synapse.weights, right.synapse.weights)
        for one, other in zip(left.synapse.constants(), right.synapse.constants(), strict=True):
            assert np.array_equal(one, other)
    tokens = np.random.default_rng(0).integers(network.vocabulary, size=100)
    assert np.array_equal(reference.run(network, tokens)[network.output], reference.run(again, tokens)[again.output])


def test_plain_operators_say_nearly_the_same(shakespeare: Network, tmp_path: Path) -> None:
    """RMSNormalization, RotaryEmbedding and Attention of opset 23: any runtime's, but other roundings."""
    path = tmp_path / "model.onnx"
    notes = write(shakespeare, path, "onnx", exact=False)
    assert len(notes) == 1
    whole = onnx.load(path)
    kinds = {node.op_type for node in whole.graph.node}
    assert {"RMSNormalization", "RotaryEmbedding", "Attention"} <= kinds
    assert not whole.functions
    tokens = np.random.default_rng(0).integers(shakespeare.vocabulary, size=100)
    logits = session(path).run(None, {"input_ids": tokens[None]})[0][0]
    right = reference.run(shakespeare, tokens)[shakespeare.output]
    assert (logits.argmax(axis=-1) == right.argmax(axis=-1)).mean() > 0.85
    assert np.corrcoef(logits.reshape(-1), right.reshape(-1))[0, 1] > 0.995
    graph = families.build(formats.read(path))
    assert len(graph.nodes) == len([p for p in shakespeare.populations if "probability" not in p.name]) - 1 + 12
    np.testing.assert_allclose(
        np.corrcoef(graph.run(tokens[None])[0].reshape(-1), right.reshape(-1))[0, 1], 1, atol=0.01
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits_and_biases_in_onnxruntime(bits: int, tmp_path: Path) -> None:
    network = quantize(random_llama(), random_tokens(3), Settings(weight_bits=bits, activation_bits=6))
    path = tmp_path / "model.onnx"
    assert write(network, path, "onnx") == (["weights of 4 bits take 8 there"] if bits == 4 else [])
    tokens = random_tokens(1, seed=5)[0]
    codes = reference.run(network, tokens)
    assert check_codes(network, path, tokens[None], codes) > 24 * 400
    again = quantize(families.build(formats.read(path)), random_tokens(1), Settings(activation_bits=6))
    assert np.array_equal(reference.run(again, tokens)[again.output].argmax(-1), codes[network.output].argmax(-1))


def vectors(kind: str) -> Graph:
    draws = np.random.default_rng(4)

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        return (draws.normal(size=shape) * 0.3).astype(np.float32)

    graph = Graph(0, None, channels=10)
    first = graph.add("first", Linear(floats(24, 10), floats(24)), "input")
    if kind == "decoder":
        value = graph.add("relu", Pointwise("relu"), first)
        up = Convolution(floats(6, 4, 4, 4), floats(4), (6, 2, 2), (2, 2), (1, 1), transposed=True)
        value = graph.add("up_relu", Pointwise("relu"), graph.add("up", up, value))
        graph.add("picture", Convolution(floats(1, 4, 3, 3), floats(1), (4, 4, 4), (1, 1), (1, 1)), value)
        graph.picture = (1, 4, 4)
    elif kind == "tables":
        value = graph.add("tanh", Pointwise("tanh"), first)
        value = graph.add("second", Linear(floats(12, 24)), value)
        value = graph.add("sigmoid", Pointwise("sigmoid"), value)
        graph.add("third", Linear(floats(5, 12), floats(5)), value)
    return graph


@pytest.mark.parametrize("kind", ["decoder", "tables"])
def test_vectors_and_pictures_in_onnxruntime(kind: str, tmp_path: Path) -> None:
    graph = vectors(kind)
    draws = np.random.default_rng(5).normal(size=(4, 16, 10)).astype(np.float32)
    network = convert_graph(graph, draws).network
    path = tmp_path / "model.onnx"
    write(network, path, "onnx")
    onnx.checker.check_model(str(path))
    x = np.random.default_rng(6).normal(size=(300, 10)).astype(np.float32)
    source = network.sources[0]
    (name,) = (value for key, value in rounding(path).items() if key == source.name)
    entered = session(path, [name]).run([name], {"input": x})[0].astype(np.int64)
    codes = reference.run(network, {source.name: entered})
    assert check_codes(network, path, x, codes) > 300 * 40
    result = session(path).run(None, {"input": x})[0]
    assert result.shape[1:] == (network.picture or (network[network.output].size,))
    worth = codes[network.output] * network[network.output].scale
    np.testing.assert_allclose(result.reshape(len(x), -1), worth, atol=1e-5 * np.abs(worth).max())
    again = convert(path, calibrate=draws).network
    assert again.picture == network.picture
    back = reference.run(again, {again.sources[0].name: entered})[again.output] * again[again.output].scale
    np.testing.assert_allclose(back, worth, atol=1e-3 * np.abs(worth).max())


def test_everything_that_cannot_be_written_is_in_one_message(tmp_path: Path) -> None:
    graph = Graph(0, None, channels=8)
    weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    value = graph.add("map", Linear(np.concatenate((weight, weight), axis=1)), "input", "~cell")
    cell = graph.add("cell", Pointwise("sigmoid"), value)
    other = graph.add("second", Linear(weight), "input")
    total = graph.add("total", Add(), other, other)
    graph.add("blocks", GroupNorm(np.ones(8, np.float32), None, 1e-5, groups=2), total)
    network = convert_graph(graph, np.random.default_rng(1).normal(size=(2, 6, 8)).astype(np.float32)).network
    path = tmp_path / "model.onnx"
    with pytest.raises(UnsupportedError) as error:
        write(network, path, "onnx")
    assert "delayed projections" in str(error.value)
    assert "a norm of 2 blocks" in str(error.value)
    assert cell in network.order
    assert not path.exists()


def test_a_table_of_no_function_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no known function"):
        writer.function_of(np.array([3, -1, 4, 1, -5], np.int32), -2, 1.0)
