"""ONNX files: float models run as in onnxruntime, QDQ models keep their integers, hostile files are refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snngen import reference
from snngen.converters import families, formats
from snngen.converters.convert import convert
from snngen.converters.formats import onnx as reader
from snngen.converters.graph import Codes, Graph
from snngen.converters.operations import Convolution, Linear, Pointwise
from snngen.errors import FormatError, SnngenError, UnsupportedError
from snngen.network import Network

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
helper, numpy_helper, FLOAT, INT64 = onnx.helper, onnx.numpy_helper, 1, 7
runtime.set_default_logger_severity(3)

Floats = npt.NDArray[np.float32]
Made = tuple[list[Any], dict[str, npt.NDArray[Any]]]  # operators and constants
CHANNELS = 12


def constants(generator: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    return {name: (generator.normal(size=shape) * 0.4).astype(np.float32) for name, shape in shapes.items()}


def model(
    made: Made, shape: list[Any], opset: int = 20, kind: int = FLOAT, metadata: dict[str, str] | None = None
) -> Any:
    """A model from `x` to `y`."""
    nodes, values = made
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    helper.set_model_props(whole, metadata or {})
    return whole


def run(path: Path, x: npt.NDArray[Any], optimized: bool = True) -> Floats:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    result: Floats = runtime.InferenceSession(str(path), options).run(None, {"x": x})[0]
    return result


def read(path: Path) -> Graph:
    return families.build(formats.read(path))


make = helper.make_node
G = np.random.default_rng(7)


def activated(*nodes: Any) -> Made:
    first = make("Gemm", ["x", "w", "b"], ["h"], transB=1, alpha=0.5, beta=2.0)
    last = make("MatMul", ["f", "v"], ["y"])
    return [first, *nodes, last], constants(G, w=(9, CHANNELS), b=(9,), v=(9, 4))


def normed(operator: str, **attributes: Any) -> Made:
    names = ["f", "n", "m"] if operator == "LayerNormalization" else ["f", "n"]
    nodes = [
        make("MatMul", ["x", "w"], ["h"]),
        make("Add", ["h", "b"], ["f"]),
        make(operator, names, ["y"], axis=-1, **attributes),
    ]
    return nodes, constants(G, w=(CHANNELS, 6), b=(6,), n=(6,), m=(6,))


VECTORS: dict[str, Made] = {
    "relu": activated(make("Relu", ["h"], ["f"])),
    "sigmoid": activated(make("Sigmoid", ["h"], ["f"])),
    "tanh": activated(make("Tanh", ["h"], ["f"])),
    "gelu": activated(make("Gelu", ["h"], ["f"])),
    "gelu_tanh": activated(make("Gelu", ["h"], ["f"], approximate="tanh")),
    "leaky": activated(make("LeakyRelu", ["h"], ["f"], alpha=0.2)),
    "silu": activated(make("Sigmoid", ["h"], ["s"]), make("Mul", ["h", "s"], ["f"])),
    "gate": activated(make("Gelu", ["h"], ["s"]), make("Mul", ["s", "h"], ["f"])),
    "identity": activated(make("Identity", ["h"], ["i"]), make("Dropout", ["i"], ["f"])),
    "square": activated(make("Mul", ["h", "h"], ["f"])),
    "neg": activated(make("Neg", ["h"], ["i"]), make("Sub", ["i", "h"], ["f"])),
    "constants": (
        [
            make("MatMul", ["x", "w"], ["h"]),
            make("Constant", [], ["two"], value_float=2.0),
            make("Div", ["h", "two"], ["d"]),
            make("Sub", ["b", "d"], ["e"]),
            make("Transpose", ["v"], ["vt"], perm=[1, 0]),
            make("Concat", ["e", "h"], ["c"], axis=-1),
            make("MatMul", ["c", "vt"], ["y"]),
        ],
        constants(G, w=(CHANNELS, 5), b=(5,), v=(3, 10)),
    ),
    "residual": (
        [make("MatMul", ["x", "w"], ["h"]), make("MatMul", ["h", "v"], ["k"]), make("Add", ["h", "k"], ["y"])],
        constants(G, w=(CHANNELS, 5), v=(5, 5)),
    ),
    "layer_norm": normed("LayerNormalization", epsilon=1e-3),
    "batch_norm": (
        [make("MatMul", ["x", "w"], ["h"]), make("BatchNormalization", ["h", "s", "b", "m", "v"], ["y"])],
        {**constants(G, w=(CHANNELS, 5), s=(5,), b=(5,), m=(5,)), "v": np.full(5, 0.3, np.float32)},
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_float_vectors_as_onnxruntime(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(VECTORS[name], ["batch", CHANNELS]), path)
    x = np.random.default_rng(1).normal(size=(7, CHANNELS)).astype(np.float32)
    expected = run(path, x)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(read(path).run(x[None])[0], expected, atol=2e-6 * max(1.0, np.abs(expected).max()))


def pictured(*nodes: Any, **shapes: tuple[int, ...]) -> Made:
    values: dict[str, npt.NDArray[Any]] = constants(G, **shapes)
    values["picture"] = np.array([0, 2, 4, 4])
    return [make("Reshape", ["x", "picture"], ["p"]), *nodes], values


PICTURES: dict[str, Made] = {
    "conv": pictured(
        make("Conv", ["p", "w", "b"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]), w=(3, 2, 3, 3), b=(3,)
    ),
    "same": pictured(make("Conv", ["p", "w"], ["y"], auto_pad="SAME_UPPER"), w=(3, 2, 3, 3)),
    "grouped": pictured(make("Conv", ["p", "w"], ["y"], group=2), w=(4, 1, 2, 2)),
    "transposed": pictured(
        make("ConvTranspose", ["p", "w", "b"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        make("BatchNormalization", ["h", "s", "t", "m", "v"], ["y"]),
        w=(2, 3, 3, 3), b=(3,), s=(3,), t=(3,), m=(3,), v=(3,),
    ),
    "pool": pictured(make("AveragePool", ["p"], ["h"], kernel_shape=[2, 2], strides=[2, 2]),
                     make("Flatten", ["h"], ["f"]), make("MatMul", ["f", "w"], ["y"]), w=(8, 3)),
    "global": pictured(make("GlobalAveragePool", ["p"], ["h"]), make("Conv", ["h", "w"], ["y"]), w=(3, 2, 1, 1)),
    "resize": pictured(make("Constant", [], ["by"], value_floats=[1.0, 1.0, 2.0, 2.0]),
                       make("Resize", ["p", "", "by"], ["h"]),
                       make("Conv", ["h", "w"], ["y"]), w=(3, 2, 3, 3)),
    "shuffle": pictured(make("Conv", ["p", "w"], ["h"]),
                        make("DepthToSpace", ["h"], ["y"], blocksize=2, mode="CRD"), w=(8, 2, 1, 1)),
    "instance": pictured(make("InstanceNormalization", ["p", "s", "b"], ["y"]), s=(2,), b=(2,)),
    "concat": pictured(make("Relu", ["p"], ["r"]), make("Concat", ["p", "r"], ["c"], axis=1),
                       make("Conv", ["c", "w"], ["y"]), w=(3, 4, 2, 2)),
}  # fmt: skip
PICTURES["transposed"][1]["v"] = np.full(3, 0.7, np.float32)


@pytest.mark.parametrize("name", PICTURES)
def test_float_pictures_as_onnxruntime(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(PICTURES[name], ["batch", 32]), path)
    x = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    expected = run(path, x)
    graph = read(path)
    assert graph.picture == (expected.shape[1:] if expected.ndim == 4 else None)
    np.testing.assert_allclose(graph.run(x[None])[0], expected.reshape(5, -1), atol=3e-6)


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_recurrence_as_onnxruntime(operator: str, tmp_path: Path) -> None:
    gates, width = {"LSTM": 4, "GRU": 3}[operator], 5
    values = constants(
        G, w=(1, gates * width, CHANNELS), r=(1, gates * width, width), b=(1, 2 * gates * width), v=(width, 3)
    )
    given = {"linear_before_reset": 1} if operator == "GRU" else {}
    nodes = [
        make(operator, ["x", "w", "r", "b"], ["h"], hidden_size=width, **given),
        make("Squeeze", ["h", "one"], ["s"]),
        make("MatMul", ["s", "v"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(model((nodes, {**values, "one": np.array([1])}), ["tokens", "batch", CHANNELS]), path)
    x = np.random.default_rng(1).normal(size=(9, 2, CHANNELS)).astype(np.float32)
    graph = read(path)
    assert graph.recurrent
    np.testing.assert_allclose(graph.run(x.swapaxes(0, 1)).swapaxes(0, 1), run(path, x), atol=2e-6)


def language_model(vocabulary: int = 11, width: int = 8, heads: int = 2, groups: int = 1, context: int = 16) -> Made:
    """One layer of a LLaMA in the operators of opset 23."""
    half = width // heads // 2
    angles = np.outer(np.arange(context), 10000.0 ** (-np.arange(half) / half))
    values: dict[str, npt.NDArray[Any]] = constants(
        G, e=(vocabulary, width), n=(width,), q=(width, width), k=(width, width // heads * groups),
        v=(width, width // heads * groups), o=(width, width), g=(width, 12), u=(width, 12), d=(12, width),
        h=(width, vocabulary),
    )  # fmt: skip
    values.update(cos=np.cos(angles).astype(np.float32), sin=np.sin(angles).astype(np.float32))
    values.update(zero=np.array(0), one=np.array(1), first=np.array(0))
    turn = {"cosine": "cos", "sine": "sin"}.values()
    nodes = [
        make("Gather", ["e", "x"], ["s0"]),
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "one"], ["count"]),
        make("Range", ["zero", "count", "one"], ["range"]),
        make("Expand", ["range", "shape"], ["places"]),
        make("RMSNormalization", ["s0", "n"], ["s1"], epsilon=1e-5),
        *(make("MatMul", ["s1", name], [f"{name}0"]) for name in "qkv"),
        make("RotaryEmbedding", ["q0", *turn, "places"], ["q1"], num_heads=heads),
        make("RotaryEmbedding", ["k0", *turn, "places"], ["k1"], num_heads=groups),
        make("Attention", ["q1", "k1", "v0"], ["a"], q_num_heads=heads, kv_num_heads=groups, is_causal=1),
        make("MatMul", ["a", "o"], ["o0"]),
        make("Add", ["s0", "o0"], ["s2"]),
        make("RMSNormalization", ["s2", "n"], ["s3"], epsilon=1e-5),
        *(make("MatMul", ["s3", name], [f"{name}0"]) for name in "gu"),
        make("Sigmoid", ["g0"], ["gs"]),
        make("Mul", ["g0", "gs"], ["g1"]),
        make("Mul", ["g1", "u0"], ["m"]),
        make("MatMul", ["m", "d"], ["d0"]),
        make("Add", ["s2", "d0"], ["s4"]),
        make("MatMul", ["s4", "h"], ["y"]),
    ]
    return nodes, values


def test_language_model_as_onnxruntime(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    metadata = {"snngen.begin": "1", "snngen.end": "2 3"}
    onnx.save(model(language_model(), ["batch", "tokens"], 23, INT64, metadata), path)
    tokens = np.random.default_rng(1).integers(11, size=(3, 16))
    graph = read(path)
    assert (graph.vocabulary, graph.context, graph.begin, graph.end) == (11, 16, 1, (2, 3))
    assert [type(node.operation).__name__ for node in graph.nodes].count("Gate") == 1
    np.testing.assert_allclose(graph.run(tokens), run(path, tokens), atol=2e-6)


# -- QDQ -----------------------------------------------------------------------------------------------------------


def float_mlp(function: str) -> Made:
    values = constants(G, w=(20, 40), b=(40,), v=(30, 40), c=(30,))
    nodes = [
        make("MatMul", ["x", "w"], ["m"]),
        make("Add", ["m", "b"], ["a"]),
        make("Relu", ["a"], ["r"]),
        make("Gemm", ["r", "v", "c"], ["g"], transB=1),
        make(function, ["g"], ["y"]),
    ]
    return nodes, values


def float_decoder() -> Made:
    values: dict[str, npt.NDArray[Any]] = constants(
        G, w=(20, 8 * 3 * 3), b=(8 * 3 * 3,), v=(8, 6, 4, 4), c=(6,), u=(6, 1, 4, 4), d=(1,), t=(2, 1, 3, 3), e=(2,)
    )
    values["shape"] = np.array([0, 8, 3, 3])
    nodes = [
        make("Gemm", ["x", "w", "b"], ["m"]),
        make("Relu", ["m"], ["r"]),
        make("Reshape", ["r", "shape"], ["p"]),
        make("ConvTranspose", ["p", "v", "c"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Relu", ["h"], ["k"]),
        make("ConvTranspose", ["k", "u", "d"], ["i"], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Tanh", ["i"], ["j"]),
        make("Conv", ["j", "t", "e"], ["l"], pads=[1, 1, 1, 1]),
        make("Sigmoid", ["l"], ["y"]),
    ]
    return nodes, values


def quantized(made: Made, folder: Path, symmetric: bool, unsigned: bool) -> Path:
    """A QDQ model as onnxruntime quantizes it."""
    quantization = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime without its quantizer")
    plain, path = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model(made, ["batch", 20], 17), plain)
    draws = np.random.default_rng(2)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.rest = [{"x": draws.normal(size=(8, 20)).astype(np.float32)} for _ in range(16)]

        def get_next(self) -> dict[str, Floats] | None:
            return self.rest.pop() if self.rest else None

    quantization.quantize_static(
        plain,
        path,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8 if unsigned else quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": symmetric},
    )
    return path


def runtime_codes(path: Path, x: Floats, optimized: bool) -> dict[str, npt.NDArray[np.int64]]:
    """Every code that onnxruntime computes, zero point taken off, by the name of the value that it rounds."""
    whole = onnx.load(path)
    rounding = [node for node in whole.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(node.output[0]) for node in rounding)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    results = runtime.InferenceSession(whole.SerializeToString(), options).run(None, {"x": x})
    return {
        node.input[0]: codes.reshape(len(x), -1).astype(np.int64) - int(zeros[node.input[2]])
        for node, codes in zip(rounding, results, strict=True)
    }


def codes_of(found: dict[str, npt.NDArray[np.int64]], network: Network, name: str) -> npt.NDArray[np.int64] | None:
    """What onnxruntime has where a population stands; None where it rounds nothing."""
    if f"{name}_relu" in network.order:
        return None
    return found.get("x" if name == "input" else name.removesuffix("_relu"))


def calibration(channels: int = 20) -> Floats:
    return np.random.default_rng(3).normal(size=(2, 8, channels)).astype(np.float32)


ULPS = 16 * 2.0**-17  # of float32 between 64 and 128, where the largest int8 codes are


def check_ties(network: Network, found: dict[str, npt.NDArray[np.int64]]) -> int:
    """Run every population on onnxruntime's codes: each that is unequal has to be a tie; returns how many are."""
    ties = 0
    for population in network.populations[1:]:
        (projection,) = network.into(population.name)
        right, given = (codes_of(found, network, name) for name in (population.name, projection.source))
        if right is None or given is None:
            continue
        drive = projection.synapse.reference(given, None)
        unequal = population.neuron.reference(drive) != right
        ties += int(unequal.sum())
        if population.neuron.kind == "threshold":
            real = ((drive + population.neuron.bias) / population.neuron.theta)[unequal]  # type: ignore[attr-defined]
            assert (np.abs(real - np.floor(real) - 0.5) < ULPS).all(), (population.name, real)
        else:
            assert not unequal.any(), population.name
    return ties


CASES = list(itertools.product(["Sigmoid", "Tanh", "decoder"], [(True, False), (False, False), (False, True)]))


@pytest.mark.parametrize(("what", "how"), CASES)
def test_quantized_model_is_the_integers_of_onnxruntime(what: str, how: tuple[bool, bool], tmp_path: Path) -> None:
    path = quantized(float_decoder() if what == "decoder" else float_mlp(what), tmp_path, *how)
    network = convert(path, calibrate=calibration()).network
    x = np.random.default_rng(5).normal(size=(200 if what == "decoder" else 3000, 20)).astype(np.float32)
    for optimized in (False, True):
        found = runtime_codes(path, x, optimized)
        codes = reference.run(network, {"input": found["x"]})
        ties = check_ties(network, found)
        compared = 0
        for population in network.populations[1:]:
            right = codes_of(found, network, population.name)
            if right is None:  # before a ReLU, or Tanh at the end, which onnxruntime does not quantize
                assert f"{population.name}_relu" in network.order or (what, population.name) == ("Tanh", "y")
                continue
            unequal = codes[population.name] != right
            assert unequal.mean() < 1e-3 if ties else not unequal.any(), population.name
            compared += unequal.size
        assert compared > 70 * len(x)


def test_scales_zero_points_and_integers_are_those_of_the_file(tmp_path: Path) -> None:
    path = quantized(float_mlp("Sigmoid"), tmp_path, symmetric=False, unsigned=True)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    graph = read(path)
    assert isinstance(graph.codes, Codes)
    zero = int(values["x_zero_point"])
    assert (graph.codes.low, graph.codes.high) == (-zero, 255 - zero)
    assert graph.codes.scale == values["x_scale"]
    first, second = (graph.node(name).operation for name in ("m", "g"))
    assert isinstance(first, Linear)
    assert isinstance(second, Linear)
    assert first.integers is not None
    assert second.integers is not None
    np.testing.assert_array_equal(first.integers.matrix, values["w_quantized"].T)
    np.testing.assert_array_equal(second.integers.matrix, values["v_quantized"])
    np.testing.assert_array_equal(second.integers.scale, values["v_scale"].astype(np.float64))


def test_a_relu_that_the_quantizer_folded_is_there_again(tmp_path: Path) -> None:
    graph = read(quantized(float_decoder(), tmp_path, symmetric=False, unsigned=False))
    relus = [
        node for node in graph.nodes if isinstance(node.operation, Pointwise) and node.operation.function == "relu"
    ]
    assert [node.codes is not None and (node.codes.low, node.codes.high) == (0, 255) for node in relus] == [True, True]
    assert sum(isinstance(node.operation, Convolution) for node in graph.nodes) == 3


# -- refused -------------------------------------------------------------------------------------------------------


def test_everything_that_is_not_carried_is_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [
        make("Sin", ["x"], ["a"], name="first/sine"),
        make("MatMul", ["x", "w"], ["h"], name="map"),
        make("MatMul", ["h", "h"], ["b"], name="square"),
        make("Softmax", ["h"], ["c"], name="soft"),
        make("Cos", ["a"], ["d"], name="after an unknown value"),
        make("Add", ["c", "b"], ["y"], name="sum"),
    ]
    onnx.save(model((nodes, constants(G, w=(CHANNELS, 4))), ["batch", CHANNELS]), path)
    with pytest.raises(UnsupportedError) as error:
        formats.read(path)
    for name in ("first/sine (Sin)", "square (MatMul)", "soft (Softmax)", "after an unknown value (Cos)", "needed"):
        assert name in str(error.value)
    assert "map (" not in str(error.value)
    assert "sum (" not in str(error.value)  # is carried, once its inputs are


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([make("LSTM", ["x", "w", "w"], ["y"], direction="reverse")], "forward"),
        ([make("Gemm", ["x", "w"], ["y"], transA=1)], "transA"),
        (
            [
                make("Constant", [], ["low"], value_float=-1.0),
                make("Clip", ["x", "low"], ["c"]),
                make("MatMul", ["c", "w"], ["y"]),
            ],
            "QuantizeLinear",
        ),
        (
            [make("Constant", [], ["low"], value_float=-1.0), make("Clip", ["x", "low"], ["y"])],
            "no QuantizeLinear follows",
        ),
        ([make("Relu", ["x"], ["a"]), make("Concat", ["a", "x"], ["y"], axis=1)], "the input itself"),
        ([make("Transpose", ["x"], ["t"], perm=[1, 0]), make("MatMul", ["t", "w"], ["y"])], "channel axis"),
        ([make("Foo", ["x"], ["y"], domain="com.example")], "com.example.Foo"),
        ([make("CodedRMSNorm", ["x", "w", "w", "w", "w"], ["y"], domain="snngen")], "another body"),
    ],
)
def test_what_is_refused_says_what_would_be_needed(nodes: list[Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model((nodes, constants(G, w=(CHANNELS, 4))), ["batch", CHANNELS]), path)
    with pytest.raises(UnsupportedError, match=words):
        read(path)


# -- hostile -------------------------------------------------------------------------------------------------------


def simple() -> Any:
    nodes = [make("MatMul", ["x", "w"], ["h"]), make("Relu", ["h"], ["y"])]
    return model((nodes, constants(np.random.default_rng(0), w=(CHANNELS, 4))), ["batch", CHANNELS])


def huge(whole: Any) -> None:
    whole.graph.initializer[0].dims[:] = [2**40, 2**40]


def negative(whole: Any) -> None:
    whole.graph.initializer[0].dims[:] = [-12, -4]


def huge_input(whole: Any) -> None:
    whole.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**50


def negative_input(whole: Any) -> None:
    whole.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -12


def cycle(whole: Any) -> None:
    whole.graph.node[0].input[0] = "y"


def missing(whole: Any) -> None:
    del whole.graph.initializer[:]


def twice(whole: Any) -> None:
    whole.graph.node[1].output[0] = "h"


def wrong_type(whole: Any) -> None:
    whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((CHANNELS, 4), np.int64), "w"))


def wrong_rank(whole: Any) -> None:
    whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((2, CHANNELS, 4), np.float32), "w"))


def not_finite(whole: Any) -> None:
    whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((CHANNELS, 4), np.nan, np.float32), "w"))


def text_tensor(whole: Any) -> None:
    whole.graph.initializer[0].CopyFrom(helper.make_tensor("w", onnx.TensorProto.STRING, [1], [b"x"]))


def mountain(whole: Any) -> None:
    """A constant of 2**60 numbers from a few bytes."""
    whole.graph.initializer.append(numpy_helper.from_array(np.array([2**30, 2**30]), "shape"))
    whole.graph.node.insert(0, make("ConstantOfShape", ["shape"], ["z"]))


def ladder(whole: Any) -> None:
    """A constant that doubles forty times."""
    whole.graph.initializer.append(numpy_helper.from_array(np.ones((1, 64), np.float32), "c0"))
    for step in range(40):
        whole.graph.node.insert(step, make("Concat", [f"c{step}", f"c{step}"], [f"c{step + 1}"], axis=0))


def outer(whole: Any) -> None:
    """A sum that broadcasts two vectors to a square beyond memory."""
    for name, shape in (("a", (2**20, 1)), ("b", (1, 2**20))):
        whole.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    whole.graph.node.insert(0, make("Add", ["a", "b"], ["z"]))


def tower(whole: Any) -> None:
    """A picture that is enlarged sixty-four times, again and again."""
    whole.graph.node.insert(1, make("Reshape", ["h", "shape"], ["p0"]))
    whole.graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 2, 2]), "shape"))
    whole.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 64, 64], np.float32), "by"))
    for step in range(8):
        whole.graph.node.insert(2 + step, make("Resize", [f"p{step}", "", "by"], [f"p{step + 1}"]))
    whole.graph.node[-1].input[0] = "p8"


def repeated_axes(whole: Any) -> None:
    whole.graph.initializer.append(numpy_helper.from_array(np.array([1, 1]), "axes"))
    whole.graph.node.insert(1, make("Unsqueeze", ["h", "axes"], ["u"]))


def text_for_a_tensor(whole: Any) -> None:
    whole.graph.initializer.append(numpy_helper.from_array(np.array([3]), "shape"))
    whole.graph.node.insert(0, make("ConstantOfShape", ["shape"], ["z"], value="text"))


HOSTILE = [repeated_axes, text_for_a_tensor, huge,
           negative, huge_input, negative_input, cycle, missing, twice, wrong_type, wrong_rank, not_finite,
           text_tensor, mountain, ladder, outer, tower]  # fmt: skip


@pytest.mark.parametrize("spoil", HOSTILE)
def test_hostile_models_are_refused(spoil: Callable[[Any], None], tmp_path: Path) -> None:
    whole = simple()
    spoil(whole)
    path = tmp_path / "model.onnx"
    path.write_bytes(whole.SerializeToString())
    with pytest.raises((FormatError, UnsupportedError)):
        formats.read(path)


def outside(whole: Any, location: str, length: int = CHANNELS * 4 * 4, offset: int = 0) -> bytes:
    """The model with its weights in another file."""
    tensor = whole.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", str(length)), ("offset", str(offset))):
        tensor.external_data.add(key=key, value=value)
    data: bytes = whole.SerializeToString()
    return data


def test_external_data_inside_the_folder_are_read(tmp_path: Path) -> None:
    weights = numpy_helper.to_array(simple().graph.initializer[0])
    (tmp_path / "w.bin").write_bytes(b"four" + weights.tobytes())
    (tmp_path / "model.onnx").write_bytes(outside(simple(), "w.bin", offset=4))
    graph = read(tmp_path / "model.onnx")
    np.testing.assert_array_equal(graph.nodes[0].operation.weight, weights.T)  # type: ignore[attr-defined]
    (tmp_path / "w.bin").write_bytes(b"five" + weights[::-1].tobytes())
    assert read(tmp_path / "model.onnx").provenance["source_sha256"] != graph.provenance["source_sha256"]


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/hostname", "sub/../../w.bin", "link.bin", "", "missing.bin", "."]
)
def test_external_data_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(CHANNELS * 16))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "model.onnx").write_bytes(outside(simple(), location))
    with pytest.raises(FormatError, match="external data"):
        formats.read(folder / "model.onnx")


@pytest.mark.parametrize(
    ("length", "offset"), [(CHANNELS * 16, 1), (1, 0), (2**60, 0), (CHANNELS * 16, 2**60), (-1, 0)]
)
def test_external_data_of_another_length_are_refused(length: int, offset: int, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(CHANNELS * 16))
    (tmp_path / "model.onnx").write_bytes(outside(simple(), "w.bin", length, offset))
    with pytest.raises(FormatError):
        formats.read(tmp_path / "model.onnx")


def test_names_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    data = simple().SerializeToString().replace(b"MatMul", b"Mat\xff\xfel")
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises((FormatError, UnsupportedError)):
        formats.read(tmp_path / "model.onnx")


def test_a_tokenizer_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    metadata = {"snngen.tokenizer": "{}"}
    path = tmp_path / "model.onnx"
    onnx.save(model(language_model(), ["batch", "tokens"], 23, INT64, metadata), path)
    with pytest.raises(FormatError, match="tokenizer"):
        formats.read(path)
    onnx.save(model(language_model(), ["batch", "tokens"], 23, INT64, {"snngen.end": "11"}), path)
    with pytest.raises(FormatError, match="end"):
        formats.read(path)


def test_a_tokenizer_for_vectors_is_refused(tmp_path: Path) -> None:
    onnx.save(simple(), tmp_path / "model.onnx")
    with pytest.raises(FormatError, match="vectors, not text"):
        formats.read(tmp_path / "model.onnx", tmp_path / "tokenizer.json")


BYTES = [simple().SerializeToString(), model(language_model(), ["batch", "tokens"], 23, INT64).SerializeToString(),
         model(PICTURES["transposed"], ["batch", 32]).SerializeToString()]  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_files_raise_our_errors_or_are_read(data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(data.draw(st.sampled_from(BYTES)))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if whole:
            # most of a file is weights; what lies around them is what matters
            place = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, min(len(whole), 400) - 1))
            whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(whole))
    try:
        graph = reader.read(path).graph
    except SnngenError:
        return
    assert graph is not None
    assert graph.nodes
