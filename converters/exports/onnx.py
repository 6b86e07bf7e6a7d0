"""ONNX out: a network as a QDQ model, which onnxruntime runs with the codes of our engines.

Every code is a QuantizeLinear and a DequantizeLinear at the scale of its population, every weight its int8 matrix with
a DequantizeLinear; in between stand the float operators (opset 23: RMSNormalization, RotaryEmbedding, Swish as
x * Sigmoid(x)), which onnxruntime 1.23, the last one for Python 3.10, does not run. Attention is a function of the
file, so that its probabilities are codes too.
To carry a further model, register how it is written: a neuron with `emit`, a synapse with `deliver`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen import neurons, synapses
from snngen.aside import written_aside
from snngen.converters.onnx import functions as onnx_functions
from snngen.converters.onnx.model import LARGEST_FILE
from snngen.converters.operations import ACTIVATIONS
from snngen.errors import UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.group_norm import GroupNorm
from snngen.neurons.pointwise import Pointwise
from snngen.neurons.product_sum import ProductSum
from snngen.neurons.rms_norm import FRACTION_BITS, RMSNorm
from snngen.neurons.softmax import SHIFT, Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS
from snngen.synapses.convolution import Convolution
from snngen.synapses.dense import Dense
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.position import Position
from snngen.synapses.rotary import UNIT, Rotary
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory

Doubles = npt.NDArray[np.float64]

IR_VERSION = 11
TIE = 0.25  # units of drive: our thresholds round a half up, ONNX to even; no integer drive is this far from one
OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
NAMED = {
    "MatMul",
    "Gather",
    "Conv",
    "ConvTranspose",
    "RMSNormalization",
    "LayerNormalization",
    "Attention",
    "RotaryEmbedding",
}  # operators that bear the name of their population
TYPES = ((np.int8, -128, 127), (np.uint8, 0, 255), (np.int16, -(2**15), 2**15 - 1))


def write(network: Network, path: Path, exact: bool = True) -> list[str]:
    """Write a network as ONNX.

    A token model has the input `input_ids` (batch, tokens) int64 and the output `logits` (batch, tokens, vocabulary);
    it keeps nothing between calls. A vector model has `input` (batch, channels) and `output`, both float32.
    exact: norms and attention are functions of the file that compute the network's integers; else they are the
    operators of opset 23, which any runtime knows, and which round otherwise now and then.
    returns: notes: what differs from the network.
    raises: UnsupportedError with everything that is not carried; FormatError for a path that cannot be written.
    """
    writing = Writing(network, exact)
    model = writing.model()
    if not exact:
        writing.notes.append("norms, functions and attention are computed in floats: a code may differ by a rounding")
    if model.ByteSize() > LARGEST_FILE:
        raise UnsupportedError("export to ONNX", f"{model.ByteSize()} bytes", f"at most {LARGEST_FILE} in one file")
    with written_aside(path) as aside:
        aside.write_bytes(model.SerializeToString())
    return writing.notes


@dataclass(eq=False)
class Writing:
    """An ONNX graph that grows population by population.

    values: population -> ONNX value. units: population -> (size,) what a unit of its code is worth in that value.
    """

    network: Network
    exact: bool = True
    values: dict[str, str] = field(default_factory=dict)
    units: dict[str, Doubles] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    positions: str = ""
    count: int = 0
    functions: dict[str, None] = field(default_factory=dict)

    def model(self) -> Any:
        """The whole as an onnx.ModelProto. raises: UnsupportedError with everything that is not carried."""
        try:
            import onnx  # noqa: F401
        except ImportError as error:
            raise UnsupportedError("export", "no onnx package", "onnx", "pip install onnx") from error
        failed: set[str] = set()
        for population in self.network.populations:
            into = self.network.into(population.name)
            if failed & {name for projection in into for name in (projection.source, projection.writer)}:
                failed.add(population.name)
                continue
            try:
                if any(projection.delayed for projection in into):
                    raise refusal("delayed projections (no state between calls)")
                emit(population.neuron, population, self)
            except UnsupportedError as error:
                self.wrong.append(f"{population.name}: {error.got}")
                failed.add(population.name)
        if self.wrong:
            raise UnsupportedError("export to ONNX", "; ".join(self.wrong), "populations and synapses that are carried")
        return self._assembled()

    def _assembled(self) -> Any:
        from onnx import TensorProto, helper

        network, value = self.network, self.values[self.network.output]
        tokens = self.tokens
        entry = network.sources[0]
        name = "logits" if tokens else "output"
        shape: list[Any] = ["batch", "tokens", network[network.output].size] if tokens else ["batch"]
        if not tokens:
            picture = network.picture
            shape += list(picture) if picture else [network[network.output].size]
            value = self.reshape(value, [0, *shape[1:]]) if picture else value
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        if tokens:
            given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
        else:
            given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", entry.size])
        made = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "snngen", [given], [made], self.constants)
        opsets = [helper.make_opsetid("", onnx_functions.OPSET)]
        if self.functions:
            opsets.append(helper.make_opsetid(onnx_functions.DOMAIN, 1))
        functions = [onnx_functions.FUNCTIONS[name]() for name in self.functions]
        model = helper.make_model(
            graph, opset_imports=opsets, functions=functions, ir_version=IR_VERSION, producer_name="snngen"
        )
        helper.set_model_props(model, self._metadata())
        return model

    def _metadata(self) -> dict[str, str]:
        network = self.network
        texts = {"network_sha256": network.digest, "end": " ".join(str(token) for token in network.end)}
        if network.tokenizer is not None:
            texts["tokenizer"] = network.tokenizer
        if network.begin is not None:
            texts["begin"] = str(network.begin)
        return {f"snngen.{key}": text for key, text in texts.items()}

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> bool:
        """True for a model of tokens."""
        neuron = self.network.sources[0].neuron
        return isinstance(neuron, Source) and neuron.range == (0, 1)

    def constant(self, array: npt.NDArray[Any], name: str) -> str:
        """A constant; returns its name."""
        from onnx import numpy_helper

        self.count += 1
        unique = f"{name}_{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), unique))
        return unique

    def floats(self, values: npt.ArrayLike, name: str) -> str:
        """A float32 constant; one number where all are equal."""
        array = np.asarray(values, dtype=np.float32).reshape(-1)
        equal = bool((array == array[0]).all())
        return self.constant(array[0].reshape(()) if equal else array, name)

    def node(self, operator: str, inputs: list[str], name: str, domain: str = "", **attributes: Any) -> str:
        """An operator; returns its output."""
        from onnx import helper

        self.count += 1
        output = f"{name}_{operator}_{self.count}"
        label = name if operator in NAMED or domain else output
        label = output if label in self.labels else label
        self.labels.add(label)
        self.nodes.append(helper.make_node(operator, inputs, [output], label, domain=domain, **attributes))
        return output

    def call(self, function: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """A function of the file; returns its output."""
        self.functions[function] = None
        return self.node(function, inputs, name, domain=onnx_functions.DOMAIN, **attributes)

    def doubles(self, population: Population, **values: npt.ArrayLike) -> list[str]:
        """float64 constants by name."""
        return [
            self.constant(np.asarray(value, np.float64), f"{population.name}_{name}") for name, value in values.items()
        ]

    def unit(self, population: Population, scale: Doubles) -> str:
        """What a code is worth, as QuantizeLinear is to take it apart again."""
        return self.floats(scale, f"{population.name}_unit")

    def reshape(self, value: str, shape: list[int]) -> str:
        """A value under another shape."""
        return self.node("Reshape", [value, self.constant(np.array(shape, np.int64), "shape")], value)

    def weight(self, matrix: npt.NDArray[Any], scale: Doubles, axis: int, name: str) -> str:
        """Constant int8 weights with their scales, dequantized."""
        names = [self.constant(matrix, f"{name}_weight"), self.constant(scale.astype(np.float32), f"{name}_scale")]
        zero = self.constant(np.zeros(scale.shape, np.int8), f"{name}_zero")
        return self.node("DequantizeLinear", [*names, zero], name, axis=axis)

    def sum(self, values: list[str], name: str) -> str:
        """Values added up."""
        total = values[0]
        for value in values[1:]:
            total = self.node("Add", [total, value], name)
        return total

    def code(self, population: Population, value: str, scale: Doubles) -> None:
        """Round a value to the codes of a population, worth `scale` each, and note what they are worth from then on.

        Codes that weights read are worth the same in all channels; queries and keys the same in all of a head.
        """
        name, (low, high) = population.name, population.neuron.range
        scale = np.broadcast_to(np.asarray(scale, np.float64), (population.size,))
        unit = self.wanted(population, scale)
        kinds = [kind for kind in TYPES if kind[1] <= low and high <= kind[2]]
        if not kinds:
            raise refusal(f"codes {low}..{high}, beyond 16 bits")
        kind, lowest, highest = kinds[0]
        if (low, high) != (lowest, highest):
            limits = [np.asarray(limit * scale.astype(np.float32)) for limit in (low, high)]
            value = self.node("Max", [value, self.floats(limits[0], f"{name}_low")], name)
            value = self.node("Min", [value, self.floats(limits[1], f"{name}_high")], name)
        codes = self._linear("QuantizeLinear", value, scale, kind, name)
        self.values[name] = self._linear("DequantizeLinear", codes, unit, kind, name)
        self.units[name] = unit

    def _linear(self, operator: str, value: str, scale: Doubles, kind: Any, name: str) -> str:
        worth = scale.astype(np.float32)
        equal = bool((worth == worth[0]).all())
        given = worth[0].reshape(()) if equal else worth
        names = [self.constant(given, f"{name}_scale"), self.constant(np.zeros(given.shape, kind), f"{name}_zero")]
        attributes: dict[str, Any] = {} if equal else {"axis": -1}
        return self.node(operator, [value, *names], name, **attributes)

    def wanted(self, population: Population, scale: Doubles | None = None) -> Doubles:
        """(size,) what a unit of code is to be worth; scale: what it is where nothing speaks for another.

        The same in all channels where weights read or attention keeps the codes; for queries so that query * key /
        sqrt(width) is a score as the softmax takes it.
        """
        given = np.broadcast_to(np.abs(population.scale), (population.size,))
        leaving = [p for p in self.network.projections if p.source == population.name]
        for projection in leaving:
            if isinstance(projection.synapse, KeyMemory):
                return self._query_unit(projection)
        kept = any(p.writer == population.name for p in self.network.projections)
        if kept or any(not isinstance(p.synapse, OneToOne | Rotary) for p in leaving):
            return np.full(population.size, np.exp(np.log(np.maximum(given, 1e-30)).mean()))
        return np.maximum(given, 1e-30) if scale is None else scale

    def _query_unit(self, projection: Projection) -> Doubles:
        neuron, synapse = self.network[projection.target].neuron, projection.synapse
        if not isinstance(neuron, Softmax) or not isinstance(synapse, KeyMemory) or projection.writer is None:
            raise refusal("keys read by something else than a softmax")
        worth = neuron.multiplier / (np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS)) * math.sqrt(synapse.width)
        key = self.wanted(self.network[projection.writer])
        return np.repeat(worth / key[0], synapse.width)

    def fixed(self, population: Population) -> Doubles | None:
        """(size,) what a unit of drive is worth where a projection without weights of its own says it, else None."""
        found = [
            unit for p in self.network.into(population.name) if (unit := drive_unit(p.synapse, p, self)) is not None
        ]
        if any(not np.allclose(unit, found[0], rtol=1e-6, atol=0) for unit in found):
            raise refusal("projections whose units differ")
        return found[0] if found else None

    def drive(self, population: Population, unit: Doubles, bias: Doubles | None = None, operand: str = "drive") -> str:
        """The value of an operand, unit: (size,) what a unit of drive is worth; bias: (size,) floats to be added."""
        into = [p for p in self.network.into(population.name) if p.operand == operand]
        terms = [deliver(p.synapse, p, unit, self) for p in into]
        if bias is not None and bias.any():  # on a map, where there is one, so that it is the map's own
            at = next((index for index, p in enumerate(into) if not isinstance(p.synapse, OneToOne)), 0)
            terms[at] = self.node("Add", [terms[at], self.floats(bias, f"{population.name}_bias")], population.name)
        return self.sum(terms, population.name)

    def direct(self, population: Population, operand: str = "drive") -> str:
        """The population that alone drives an operand, neuron to neuron."""
        into = [p for p in self.network.into(population.name) if p.operand == operand]
        if len(into) != 1 or not isinstance(into[0].synapse, OneToOne):
            raise refusal(f"{operand} by {', '.join(p.synapse.kind for p in into)}")
        return into[0].source

    def uniform(self, name: str) -> float:
        """What a unit of a population is worth, the same in all channels."""
        unit = self.units[name]
        if not np.allclose(unit, unit[0], rtol=1e-9, atol=0):
            raise refusal(f"{name} with a unit for each channel, read where one is needed")
        return float(unit[0])

    def turned_positions(self) -> str:
        """(batch, tokens) int64: the number of every token."""
        if not self.positions:
            shape = self.node("Shape", ["input_ids"], "positions")
            count = self.node("Gather", [shape, self.constant(np.array(1, np.int64), "axis")], "positions")
            ends = [self.constant(np.array(x, np.int64), "end") for x in (0, 1)]
            numbers = self.node("Range", [ends[0], count, ends[1]], "positions")
            self.positions = self.node("Expand", [numbers, shape], "positions")
        return self.positions


def refusal(what: str) -> UnsupportedError:
    """The complaint that a population is not carried."""
    return UnsupportedError("export to ONNX", what, "something that ONNX expresses")


# -- neurons -------------------------------------------------------------------------------------------------------


@singledispatch
def emit(neuron: neurons.Neuron, population: Population, writing: Writing) -> None:
    """Append what a population computes. raises: UnsupportedError for a model that is not carried."""
    raise refusal(f"{neuron.kind} neurons")


@emit.register
def _(neuron: Source, population: Population, writing: Writing) -> None:
    if population is not writing.network.sources[0]:
        raise refusal("a second source")
    if writing.tokens:
        writing.values[population.name], writing.units[population.name] = "input_ids", np.ones(population.size)
    else:
        writing.code(population, "input", writing.wanted(population))


@emit.register
def _(neuron: Accumulator, population: Population, writing: Writing) -> None:
    unit = writing.fixed(population)
    unit = np.broadcast_to(np.abs(population.scale), (population.size,)) if unit is None else unit
    writing.values[population.name] = writing.drive(population, unit, neuron.bias * unit)
    writing.units[population.name] = unit


@emit.register
def _(neuron: Threshold, population: Population, writing: Writing) -> None:
    into = writing.network.into(population.name)
    if writing.exact and any(isinstance(p.synapse, Rotary | ValueMemory) for p in into):
        if len(into) > 1 or neuron.bias.any():
            raise refusal("a turn or an attention that is not alone")
        coded(into[0].synapse, into[0], neuron, writing)
        return
    unit = writing.fixed(population)
    unit = writing.wanted(population) / neuron.theta if unit is None else unit
    ties = np.where(neuron.theta % 2 == 0, TIE, 0.0) if writing.exact else 0.0
    if not np.any(ties) or neuron.range not in [(low, high) for _, low, high in TYPES]:
        value = writing.drive(population, unit, (neuron.bias + ties) * unit)
    else:  # no limits follow, so onnxruntime would round the bias to whole units of drive: it knows Add, not Sub
        value = writing.drive(population, unit, neuron.bias * unit)
        name = population.name
        value = writing.node("Sub", [value, writing.floats(-ties * unit, f"{name}_ties")], name)
    writing.code(population, value, neuron.theta * unit)


@emit.register
def _(neuron: RMSNorm, population: Population, writing: Writing) -> None:
    source = writing.direct(population)
    grid, scale = writing.uniform(source), writing.wanted(population)
    name = population.name
    if writing.exact:
        numbers = writing.doubles(population, gain=neuron.gain, epsilon=neuron.epsilon, grid=np.float32(grid))
        inputs = [writing.values[source], *numbers, writing.unit(population, scale)]
        writing.code(population, writing.call(onnx_functions.RMS_NORM, inputs, name), scale)
        return
    weight = writing.constant((neuron.gain * scale / 2**FRACTION_BITS).astype(np.float32), f"{name}_gain")
    epsilon = neuron.epsilon * grid**2 / 4.0**FRACTION_BITS
    inputs = [writing.values[source], weight]
    writing.code(population, writing.node("RMSNormalization", inputs, population.name, epsilon=epsilon, axis=-1), scale)


@emit.register
def _(neuron: GroupNorm, population: Population, writing: Writing) -> None:
    source = writing.direct(population)
    grid, scale = writing.uniform(source), writing.wanted(population)
    if neuron.blocks != 1:
        raise refusal(f"a norm of {neuron.blocks} blocks")
    gain, bias = ((values * scale / 2**FRACTION_BITS).astype(np.float32) for values in (neuron.gain, neuron.bias))
    inputs = [writing.values[source], writing.constant(gain, f"{population.name}_gain")]
    epsilon = neuron.epsilon * grid**2 / 4.0**FRACTION_BITS
    if neuron.centred:
        inputs.append(writing.constant(bias, f"{population.name}_bias"))
    operator = "LayerNormalization" if neuron.centred else "RMSNormalization"
    value = writing.node(operator, inputs, population.name, epsilon=epsilon, axis=-1)
    if bias.any() and not neuron.centred:
        value = writing.node("Add", [value, writing.constant(bias, f"{population.name}_bias")], population.name)
    writing.code(population, value, scale)


@emit.register
def _(neuron: Softmax, population: Population, writing: Writing) -> None:
    """Part of an attention, which is written where its values are mixed."""
    into = writing.network.into(population.name)
    leaving = [p for p in writing.network.projections if p.source == population.name]
    if len(into) != 1 or not all(isinstance(p.synapse, ValueMemory) for p in leaving) or not leaving:
        raise refusal("a softmax that is no attention")


@emit.register
def _(neuron: Gate, population: Population, writing: Writing) -> None:
    gate, value = (writing.direct(population, operand) for operand in neuron.operands)
    function, unit = function_of(neuron.table, neuron.first, writing.uniform(gate))
    name, scale = population.name, neuron.theta * unit * writing.units[value]
    if writing.exact:
        numbers = writing.doubles(
            population,
            table=neuron.table,
            first=neuron.first,
            theta=neuron.theta,
            worth=np.float32(writing.uniform(gate)),
            grain=writing.units[value].astype(np.float32),
        )
        inputs = [writing.values[gate], writing.values[value], *numbers, writing.unit(population, scale)]
        product = writing.call(onnx_functions.GATE, inputs, name, activation=function)
    else:
        squashed = apply(function, writing.values[gate], name, writing)
        product = writing.node("Mul", [squashed, writing.values[value]], name)
    writing.code(population, product, scale)


@emit.register
def _(neuron: Pointwise, population: Population, writing: Writing) -> None:
    source = writing.direct(population)
    worth, scale = writing.uniform(source), writing.wanted(population)
    codes = np.arange(neuron.first, neuron.first + neuron.table.size)
    right = neuron.reference(np.broadcast_to(codes[:, None], (len(codes), neuron.size)))
    for name, function in ACTIVATIONS.items():
        floats = np.asarray(function(codes * worth), np.float64)[:, None] / scale
        if np.abs(np.clip(np.rint(floats), neuron.low, neuron.high) - right).max() > 1:
            continue
        if writing.exact:
            given = {"table": neuron.table, "first": neuron.first, "theta": neuron.theta, "worth": np.float32(worth)}
            inputs = [writing.values[source], *writing.doubles(population, **given), writing.unit(population, scale)]
            value = writing.call(onnx_functions.POINTWISE, inputs, population.name, activation=name)
        else:
            value = apply(name, writing.values[source], population.name, writing)
        writing.code(population, value, scale)
        return
    raise refusal("a table of no known function")


@emit.register
def _(neuron: ProductSum, population: Population, writing: Writing) -> None:
    if neuron.state:
        raise refusal("a state that is kept from token to token")
    scale, terms = writing.wanted(population), []
    for row, first, second in zip(neuron.multiplier, neuron.operands[::2], neuron.operands[1::2], strict=True):
        sides = [writing.direct(population, operand) for operand in (first, second)]
        factor = row * scale / neuron.theta / (writing.units[sides[0]] * writing.units[sides[1]])
        product = writing.node("Mul", [writing.values[side] for side in sides], population.name)
        terms.append(writing.node("Mul", [product, writing.floats(factor, "factor")], population.name))
    writing.code(population, writing.sum(terms, population.name), scale)


def apply(function: str, value: str, name: str, writing: Writing) -> str:
    """An activation as ONNX operators."""
    if function in OPERATORS:
        return writing.node(OPERATORS[function], [value], name)
    if function == "silu":
        return writing.node("Mul", [value, writing.node("Sigmoid", [value], name)], name)
    if function in ("gelu", "gelu_tanh"):
        return writing.node("Gelu", [value], name, approximate="tanh" if function == "gelu_tanh" else "none")
    if function == "identity":
        return value
    raise refusal(f"the function {function}")


def function_of(table: npt.NDArray[np.integer[Any]], first: int, worth: float) -> tuple[str, float]:
    """The activation whose values a table holds, and what a unit of the table is worth.

    raises: UnsupportedError where no activation gives this very table.
    """
    points = np.arange(first, first + table.size) * worth
    for name, function in ACTIVATIONS.items():
        values = np.asarray(function(points), dtype=np.float64)
        unit = float(np.abs(values).max()) / max(1, int(np.abs(table).max()))
        if unit > 0 and np.abs(np.rint(values / unit) - table).max() <= 1:
            return name, unit
    raise refusal("a table of no known function")


# -- synapses ------------------------------------------------------------------------------------------------------


@singledispatch
def drive_unit(synapse: synapses.Synapse, projection: Projection, writing: Writing) -> Doubles | None:
    """(size,) what a unit of the target's drive is worth, where the synapse leaves no choice."""
    return None


@drive_unit.register
def _(synapse: OneToOne, projection: Projection, writing: Writing) -> Doubles | None:
    return writing.units[projection.source]


@drive_unit.register
def _(synapse: Rotary, projection: Projection, writing: Writing) -> Doubles | None:
    unit = writing.units[projection.source]
    pairs = unit.reshape(synapse.heads, 2, -1)
    if not np.allclose(pairs[:, 0], pairs[:, 1], rtol=1e-9, atol=0):
        raise refusal("pairs of channels that turn with different units")
    return unit / UNIT


@drive_unit.register
def _(synapse: ValueMemory, projection: Projection, writing: Writing) -> Doubles | None:
    neuron = writing.network[projection.source].neuron
    if not isinstance(neuron, Softmax) or projection.writer is None:
        raise refusal("values mixed by something else than a softmax")
    return np.full(synapse.target_size, writing.uniform(projection.writer) / neuron.high)


@singledispatch
def deliver(synapse: synapses.Synapse, projection: Projection, unit: Doubles, writing: Writing) -> str:
    """Append what a projection adds to its target; returns its value. raises: UnsupportedError for an unknown one."""
    raise refusal(f"{synapse.kind} synapses")


@deliver.register
def _(synapse: Packed, projection: Projection, unit: Doubles, writing: Writing) -> str:
    note = f"weights of {synapse.bits} bits take 8 there"
    writing.notes += [] if note in writing.notes else [note]
    return _weighed(synapse, projection, unit, writing)


@deliver.register
def _(synapse: Sparse, projection: Projection, unit: Doubles, writing: Writing) -> str:
    note = "synapses that were pruned are zeros there"
    writing.notes += [] if note in writing.notes else [note]
    return _weighed(synapse, projection, unit, writing)


@deliver.register
def _(synapse: Dense, projection: Projection, unit: Doubles, writing: Writing) -> str:
    return _weighed(synapse, projection, unit, writing)


def _weighed(synapse: Dense | Packed | Sparse, projection: Projection, unit: Doubles, writing: Writing) -> str:
    scale = synapse.gain * unit / writing.uniform(projection.source)
    weight = writing.weight(synapse.matrix, scale, 1, projection.target)
    if projection.source == writing.network.sources[0].name and writing.tokens:
        return writing.node("Gather", [weight, writing.values[projection.source]], projection.target)
    return writing.node("MatMul", [writing.values[projection.source], weight], projection.target)


@deliver.register
def _(synapse: OneToOne, projection: Projection, unit: Doubles, writing: Writing) -> str:
    return writing.values[projection.source]


@deliver.register
def _(synapse: Diagonal, projection: Projection, unit: Doubles, writing: Writing) -> str:
    factor = synapse.weight * unit / writing.units[projection.source]
    return writing.node("Mul", [writing.values[projection.source], writing.floats(factor, "factor")], projection.target)


@deliver.register
def _(synapse: Position, projection: Projection, unit: Doubles, writing: Writing) -> str:
    weight = writing.weight(synapse.table, synapse.gain * unit, 1, projection.target)
    return writing.node("Gather", [weight, writing.turned_positions()], projection.target)


@deliver.register
def _(synapse: Rotary, projection: Projection, unit: Doubles, writing: Writing) -> str:
    tables = [
        writing.constant((table / UNIT).astype(np.float32), name)
        for table, name in ((synapse.cosine, "cosine"), (synapse.sine, "sine"))
    ]
    inputs = [writing.values[projection.source], *tables, writing.turned_positions()]
    return writing.node("RotaryEmbedding", inputs, projection.target, num_heads=synapse.heads)


@deliver.register
def _(synapse: ValueMemory, projection: Projection, unit: Doubles, writing: Writing) -> str:
    scores = _scores(projection, writing)
    values = [writing.values[str(name)] for name in (scores.source, scores.writer, projection.writer)]
    given: dict[str, Any] = {"q_num_heads": synapse.heads, "kv_num_heads": synapse.groups, "is_causal": 1}
    return writing.node("Attention", values, projection.target, **given)


def _scores(projection: Projection, writing: Writing) -> Projection:
    """The projection that drives the softmax whose probabilities mix the values."""
    into = writing.network.into(projection.source)
    if len(into) != 1 or not isinstance(into[0].synapse, KeyMemory):
        raise refusal("values mixed by something else than attention")
    return into[0]


@deliver.register
def _(synapse: Convolution, projection: Projection, unit: Doubles, writing: Writing) -> str:
    outputs = synapse.target_shape[0]
    gain = synapse.gain if synapse.gain.size == unit.size else np.repeat(synapse.gain, unit.size // outputs)
    scale = (gain * unit / writing.uniform(projection.source)).reshape(outputs, -1)
    if not np.allclose(scale, scale[:, :1], rtol=1e-6, atol=0):
        raise refusal("thresholds that differ within a map")
    if synapse.transposed and synapse.groups > 1:
        raise refusal("a transposed convolution in groups")
    weight = writing.weight(synapse.kernel, scale[:, 0], 1 if synapse.transposed else 0, projection.target)
    picture = writing.reshape(writing.values[projection.source], [0, *(int(size) for size in synapse.shape)])
    two = {
        name: [int(x) for x in getattr(synapse, name)] for name in ("stride", "dilation", "output_padding", "padding")
    }
    given: dict[str, Any] = {"strides": two["stride"], "dilations": two["dilation"], "pads": 2 * two["padding"]}
    if synapse.transposed:
        given["output_padding"] = two["output_padding"]
    operator = "ConvTranspose" if synapse.transposed else "Conv"
    made = writing.node(operator, [picture, weight], projection.target, group=synapse.groups, **given)
    return writing.reshape(made, [0, -1])


# -- functions of the file ------------------------------------------------------------------------------------------


@singledispatch
def coded(synapse: synapses.Synapse, projection: Projection, neuron: Threshold, writing: Writing) -> None:
    """Append what a synapse and the threshold behind it compute, by a function that keeps the drive whole."""
    raise refusal(f"{synapse.kind} synapses")


@coded.register
def _(synapse: Rotary, projection: Projection, neuron: Threshold, writing: Writing) -> None:
    population = writing.network[projection.target]
    unit = drive_unit(synapse, projection, writing)
    if unit is None:
        raise refusal("a turn without units")
    scale = neuron.theta * unit
    grain = writing.units[projection.source].astype(np.float32)
    numbers = writing.doubles(population, cosine=synapse.cosine, sine=synapse.sine, grain=grain, theta=neuron.theta)
    inputs = [writing.values[projection.source], *numbers, writing.unit(population, scale)]
    value = writing.call(onnx_functions.ROTARY, inputs, population.name, heads=synapse.heads)
    writing.code(population, value, scale)


@coded.register
def _(synapse: ValueMemory, projection: Projection, neuron: Threshold, writing: Writing) -> None:
    population, scores = writing.network[projection.target], _scores(projection, writing)
    softmax, unit = writing.network[projection.source].neuron, drive_unit(synapse, projection, writing)
    if not isinstance(softmax, Softmax) or unit is None:
        raise refusal("values mixed by something else than a softmax")
    names = [str(name) for name in (scores.source, scores.writer, projection.writer)]
    grain = writing.units[names[0]].reshape(synapse.heads, -1)[:, 0] * writing.uniform(names[1])
    numbers = writing.doubles(
        population,
        grain=grain,
        multiplier=softmax.multiplier,
        worth=np.float32(writing.uniform(names[2])),
        theta=neuron.theta,
    )
    scale = neuron.theta * unit
    inputs = [*(writing.values[name] for name in names), *numbers, writing.unit(population, scale)]
    sizes = {"heads": synapse.heads, "groups": synapse.groups, "width": synapse.width, "high": softmax.high}
    writing.code(population, writing.call(onnx_functions.ATTENTION, inputs, population.name, **sizes), scale)
