"""Functions that our ONNX files carry: neurons whose integers float operators miss by a rounding now and then.

Runtimes run their bodies, which compute the network's integers in float64; a reader knows them by their names, and by
their bodies, which have to be these.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from snngen.neurons.rms_norm import FRACTION_BITS, INPUT_LIMIT
from snngen.neurons.softmax import POWER_BITS, SHIFT
from snngen.powers import TABLE_BITS, power_table

DOMAIN, OPSET = "snngen", 23
POINTWISE = "CodedPointwise"
ATTENTION, GATE, RMS_NORM, ROTARY = "CodedAttention", "CodedGate", "CodedRMSNorm", "CodedRotary"
DOUBLE, LAST = 11, -1  # ONNX's number of float64; the last axis


class _Body:
    """Collects the operators of a function; every method returns the name of its value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def given(self, attribute: str) -> str:
        """An integer attribute of the function, as a value."""
        from onnx import AttributeProto

        name = self("Constant")
        kind = AttributeProto.INT
        self.nodes[-1].attribute.append(AttributeProto(name="value_int", ref_attr_name=attribute, type=kind))
        return name

    def number(self, value: float) -> str:
        """A float64 constant."""
        from onnx import helper

        return self("Constant", value=helper.make_tensor("", DOUBLE, [], [float(value)]))

    def ints(self, *values: int) -> str:
        """An int64 constant with one axis."""
        return self("Constant", value_ints=list(values))

    def function(self, name: str, inputs: list[str], result: str, attributes: list[str]) -> Any:
        """The function whose result is a value."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [result], ["result"]))
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_function(DOMAIN, name, inputs, ["result"], self.nodes, opsets, attributes)


def attention() -> Any:
    """The codes of causal attention, before they are clipped: probabilities as `snngen.neurons.softmax` has them,
    values mixed by them, then a threshold; groups of heads share a key.

    inputs: Q (batch, tokens, heads * width), K and V (batch, tokens, groups * width) floats; grain (heads,) what a unit
    of query * key is worth, multiplier (heads,) of the softmax, worth () of a unit of V, theta (channels,), float64;
    unit (channels,) what a code is worth, float32. attributes: heads, groups, width; high: the code of probability 1.
    """
    f = _Body()
    sizes = {name: f("Reshape", f.given(name), f.ints(1)) for name in ("heads", "groups", "width")}
    keep, one, last = f.ints(0, 0), f.ints(1), f.ints(LAST)
    share = f("Div", sizes["heads"], sizes["groups"])
    queries = f("Concat", keep, sizes["groups"], share, sizes["width"], axis=0)
    keys = f("Concat", keep, sizes["groups"], one, sizes["width"], axis=0)
    per_head = f("Concat", sizes["groups"], share, one, one, axis=0)
    wide = {name: f("Cast", name, to=DOUBLE) for name in "QKV"}
    q = f("Transpose", f("Reshape", wide["Q"], queries), perm=[0, 2, 3, 1, 4])  # (batch, groups, share, tokens, width)
    k = f("Transpose", f("Reshape", wide["K"], keys), perm=[0, 2, 3, 4, 1])
    values = f("Round", f("Div", wide["V"], "worth"))
    v = f("Transpose", f("Reshape", values, keys), perm=[0, 2, 3, 1, 4])
    scores = f("Round", f("Div", f("MatMul", q, k), f("Reshape", "grain", per_head)))
    tokens = f("Shape", "Q", start=1, end=2)
    square = f("Concat", tokens, tokens, axis=0)
    seen = f("Cast", f("Trilu", f("Expand", f("Constant", value_int=1), square), upper=0), to=9)
    masked = f("Where", seen, scores, f.number(-(2.0**40)))
    below = f("Sub", f("ReduceMax", masked, last, keepdims=1), masked)
    finer = f("Mul", below, f("Reshape", "multiplier", per_head))
    deepest = f.number((POWER_BITS + 2) * 2**TABLE_BITS - 1)
    steps = f("Min", f("Floor", f("Mul", finer, f.number(2.0**-SHIFT))), deepest)
    octave = f.number(2.0**TABLE_BITS)
    octaves = f("Floor", f("Div", steps, octave))
    place = f("Cast", f("Sub", steps, f("Mul", octaves, octave)), to=7)
    table = f("Constant", value=_doubles([float(entry) for entry in power_table(POWER_BITS)]))
    power = f("Floor", f("Mul", f("Gather", table, place), f("Pow", f.number(0.5), octaves)))
    total = f("ReduceSum", power, last, keepdims=1)
    high = f("Cast", f.given("high"), to=DOUBLE)
    half = f("Floor", f("Mul", total, f.number(0.5)))
    codes = f("Floor", f("Div", f("Add", f("Mul", power, high), half), total))
    mixed = f("Transpose", f("MatMul", codes, v), perm=[0, 3, 1, 2, 4])
    drive = f("Reshape", mixed, f("Concat", keep, f("Mul", sizes["heads"], sizes["width"]), axis=0))
    names = ["Q", "K", "V", "grain", "multiplier", "worth", "theta", "unit"]
    return f.function(ATTENTION, names, _threshold(f, drive), ["heads", "groups", "width", "high"])


def _threshold(f: _Body, drive: str) -> str:
    """floor((drive + theta // 2) / theta) * unit, as float32."""
    half = f("Floor", f("Mul", "theta", f.number(0.5)))
    codes = f("Floor", f("Div", f("Add", drive, half), "theta"))
    return f("Mul", f("Cast", codes, to=1), "unit")


def gate() -> Any:
    """The codes of `snngen.neurons.gate`, before they are clipped.

    inputs: X (the gate) and Y (the value), (batch, tokens, channels) floats; table (entries,), first () and theta
    (channels,) of the neuron, worth () of a unit of x and grain (channels,) of y, float64; unit (channels,) what a code
    is worth, float32. attributes: activation, the name of the table's function, for readers.
    """
    f = _Body()
    x = f("Round", f("Div", f("Cast", "X", to=DOUBLE), "worth"))
    values = f("Gather", "table", f("Cast", f("Sub", x, "first"), to=7))
    y = f("Round", f("Div", f("Cast", "Y", to=DOUBLE), "grain"))
    result = _threshold(f, f("Mul", values, y))
    names = ["X", "Y", "table", "first", "theta", "worth", "grain", "unit"]
    return f.function(GATE, names, result, ["activation"])


def pointwise() -> Any:
    """The codes of `snngen.neurons.pointwise`, before they are clipped.

    inputs: X (batch, tokens, channels) floats; table (entries,), first () and theta (channels,) of the neuron and
    worth () of a unit of x, float64; unit (channels,) what a code is worth, float32. attributes: activation, the name
    of the table's function, for readers.
    """
    f = _Body()
    x = f("Round", f("Div", f("Cast", "X", to=DOUBLE), "worth"))
    values = f("Gather", "table", f("Cast", f("Sub", x, "first"), to=7))
    names = ["X", "table", "first", "theta", "worth", "unit"]
    return f.function(POINTWISE, names, _threshold(f, values), ["activation"])


def rotary() -> Any:
    """The codes of `snngen.synapses.rotary` and a threshold: halves of every head turned, before they are clipped.

    inputs: X (batch, tokens, heads * width) floats; cosine, sine (context, width / 2) whole numbers and grain
    (channels,), theta (channels,), float64; unit (channels,) what a code is worth, float32. attributes: heads.
    """
    f = _Body()
    heads, last = f("Reshape", f.given("heads"), f.ints(1)), f.ints(LAST)
    x = f("Round", f("Div", f("Cast", "X", to=DOUBLE), "grain"))
    pairs = f("Reshape", x, f("Concat", f.ints(0, 0), heads, f.ints(2, -1), axis=0))
    first, second = (f("Gather", pairs, f("Constant", value_int=half), axis=3) for half in (0, 1))
    tokens, one = f("Shape", "X", start=1, end=2), f.ints(1)
    tables = [f("Slice", name, f.ints(0), tokens, f.ints(0)) for name in ("cosine", "sine")]
    cosine, sine = (f("Unsqueeze", table, one) for table in tables)
    low = f("Sub", f("Mul", cosine, first), f("Mul", sine, second))
    high = f("Add", f("Mul", cosine, second), f("Mul", sine, first))
    turned = f("Concat", f("Unsqueeze", low, f.ints(3)), f("Unsqueeze", high, f.ints(3)), axis=3)
    drive = f("Reshape", turned, f("Concat", f.ints(0, 0), last, axis=0))
    names = ["X", "cosine", "sine", "grain", "theta", "unit"]
    return f.function(ROTARY, names, _threshold(f, drive), ["heads"])


def rms_norm() -> Any:
    """The codes of `snngen.neurons.rms_norm`, before they are clipped.

    inputs: X (batch, tokens, channels) floats; gain (channels,), epsilon () and grid () of the neuron, float64; unit
    (): what a code is worth, float32.
    """
    f = _Body()
    last = f.ints(LAST)
    x = f("Round", f("Div", f("Cast", "X", to=DOUBLE), "grid"))
    x = f("Max", f("Min", x, f.number(INPUT_LIMIT)), f.number(-INPUT_LIMIT))
    mean = f("Floor", f("Mul", f("ReduceMean", f("Mul", x, x), last, keepdims=1), f.number(4.0**FRACTION_BITS)))
    theta = f("Max", f("Floor", f("Sqrt", f("Add", mean, "epsilon"))), f.number(1))
    half = f("Floor", f("Mul", theta, f.number(0.5)))
    codes = f("Floor", f("Div", f("Add", f("Mul", x, "gain"), half), theta))
    result = f("Mul", f("Cast", codes, to=1), "unit")
    return f.function(RMS_NORM, ["X", "gain", "epsilon", "grid", "unit"], result, [])


def _doubles(values: list[float]) -> Any:
    from onnx import helper

    return helper.make_tensor("", DOUBLE, [len(values)], values)


FUNCTIONS = {ATTENTION: attention, GATE: gate, POINTWISE: pointwise, RMS_NORM: rms_norm, ROTARY: rotary}


@lru_cache(maxsize=len(FUNCTIONS))
def body(name: str) -> bytes:
    """A function as bytes, to compare with that of a file."""
    data: bytes = FUNCTIONS[name]().SerializeToString(deterministic=True)
    return data
