"""What the ONNX operators of sequences mean in the float graph: embeddings, positions, attention, LSTM and GRU."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from snngen.converters import dequantize, recurrent
from snngen.converters.onnx import functions as onnx_functions
from snngen.converters.onnx.constants import BATCH, SYMBOLS, TOKEN, Constant
from snngen.converters.onnx.model import Array, Step
from snngen.converters.onnx.operators import taken
from snngen.converters.onnx.translation import Positions, Refusal, Signal, Translation, Value, operator
from snngen.converters.operations import (
    ACTIVATIONS,
    Attention,
    Embedding,
    Floats,
    Gate,
    Pointwise,
    Position,
    RMSNorm,
    Rotary,
)
from snngen.neurons.rms_norm import FRACTION_BITS
from snngen.neurons.softmax import SHIFT
from snngen.powers import TABLE_BITS
from snngen.synapses.rotary import UNIT

SEQUENCE = (BATCH, TOKEN)
CANCEL = 1e-2  # how far from 1 the product of factors of a query and a key may be: thresholds are whole numbers


@operator("Gather")
def _gather(t: Translation, step: Step) -> Value:
    if int(step.attributes.get("axis", 0)) != 0 or not isinstance(t.at(step, 0), Constant):
        raise Refusal("a choice among values that depend on the input; needed: rows of a constant table")
    table = t.required(step, 0, 2)
    index = t.at(step, 1)
    if isinstance(index, Positions):
        t.limit(len(table))
        return Signal((t.add(step, Position(table), t.entry),), (*SEQUENCE, table.shape[1]))
    signal = t.signal(step, 1, coded=True)
    if signal.names != ("tokens",) or t.entry != "tokens":
        raise Refusal("rows chosen by a computed value; needed: by the tokens or their positions")
    if t.vocabulary not in (0, len(table)):
        raise Refusal(f"{len(table)} rows after an embedding of {t.vocabulary}; needed: as many")
    t.vocabulary = len(table)
    _, integers = taken(t, step, 0, outputs=1, transpose=True)
    return Signal((t.add(step, Embedding(table, integers), "tokens"),), (*signal.axes, table.shape[1]))


@operator("Range")
def _range(t: Translation, step: Step) -> Value:
    arrays = [t.constant(step, index) for index in range(3)]
    values = [None if array is None else array.reshape(-1).tolist() for array in arrays]
    if values != [[0], [SYMBOLS[TOKEN]], [1]]:
        raise Refusal(f"a range of {values}; needed: 0 to the number of tokens by 1")
    return Positions()


# -- attention -----------------------------------------------------------------------------------------------------


def _heads(signal: Signal, heads: int) -> None:
    if signal.axes[:2] != SEQUENCE or len(signal.axes) != 3 or heads < 1 or signal.width % heads:
        raise Refusal(f"{heads} heads of {signal.axes}; needed: (batch, tokens, heads * width)")


@operator("Attention")
def _attention(t: Translation, step: Step) -> Value:
    given = step.attributes
    extra = [index for index in range(3, len(step.inputs)) if step.inputs[index]]
    softcap = float(given.get("softcap", 0.0))
    if extra or softcap or not given.get("is_causal", 0) or given.get("qk_matmul_output_mode", 0):
        got = f"inputs {extra}, softcap {softcap}, is_causal {given.get('is_causal', 0)}"
        raise Refusal(f"{got}; needed: causal attention without masks, past or softcap")
    return _attended(t, step, int(given.get("q_num_heads", 0)), int(given.get("kv_num_heads", 0)), given.get("scale"))


def _ours(t: Translation, step: Step) -> None:
    """Refuse a function of our name that is not ours."""
    if t.model.functions.get((step.domain, step.operator)) != onnx_functions.body(step.operator):
        raise Refusal("a function with another body; needed: the one that snngen writes")


@operator(onnx_functions.ATTENTION, domain=onnx_functions.DOMAIN)
def _coded_attention(t: Translation, step: Step) -> Value:
    _ours(t, step)
    heads, groups, width = (int(step.attributes[key]) for key in ("heads", "groups", "width"))
    if not 1 <= heads <= 2**16 or width < 1:
        raise ValueError(f"{heads} heads of {width}")
    grain, multiplier = (t.doubles(step, index, heads) for index in (3, 4))
    scale = multiplier / (np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS)) / grain
    usual = 1 / math.sqrt(width)
    slack = 1e-3 + 0.5 / max(1.0, float(multiplier.min()))  # a multiplier is rounded
    factor = None if np.allclose(scale, usual, rtol=slack, atol=0) else float(scale.mean())
    if factor is not None and not np.allclose(scale, factor, rtol=slack, atol=0):
        raise Refusal("heads whose scores have different scales; needed: one")
    return _attended(t, step, heads, groups, factor)


@operator(onnx_functions.RMS_NORM, domain=onnx_functions.DOMAIN)
def _coded_norm(t: Translation, step: Step) -> Value:
    _ours(t, step)
    signal = t.signal(step)
    unit = t.channelwise(step, t.required(step, 4), signal)
    gain = t.doubles(step, 1, signal.width)
    epsilon, grid = float(t.doubles(step, 2)), float(t.doubles(step, 3))
    if len(signal.sizes) != 1 or not 0 <= epsilon < 2.0**62 or not 0 < grid < 1e6:
        raise ValueError(f"epsilon {epsilon}, grid {grid}, axes {signal.axes}")
    t.grids.add(grid)
    weight = (gain * unit / 2**FRACTION_BITS).astype(np.float32)
    return t.make(step, RMSNorm(weight, epsilon * grid**2 / 4.0**FRACTION_BITS), signal)


@operator(onnx_functions.GATE, domain=onnx_functions.DOMAIN)
def _coded_gate(t: Translation, step: Step) -> Value:
    _ours(t, step)
    first, second = t.signal(step, 0), t.signal(step, 1)
    activation = str(step.attributes["activation"])
    if activation not in ACTIVATIONS or first.axes != second.axes:
        raise Refusal(f"{activation!r:.40} of {first.axes}, {second.axes}; needed: one of {', '.join(ACTIVATIONS)}")
    table = t.constant(step, 2)
    if table is None or table.ndim != 1 or table.dtype != np.float64 or not 2 <= table.size <= 2**20:
        raise ValueError("no table of the activation")
    points = (float(t.doubles(step, 3)) + np.arange(table.size)) * float(t.doubles(step, 5))
    values = ACTIVATIONS[activation](points)
    unit = float(np.abs(values).max()) / max(1.0, float(np.abs(table).max()))
    if not unit > 0 or np.abs(values / unit - table).max() > 1:
        raise Refusal(f"a table that is not of {activation}; needed: the one that snngen writes")
    return t.make(step, Gate(activation), first, second)


@operator(onnx_functions.POINTWISE, domain=onnx_functions.DOMAIN)
def _coded_pointwise(t: Translation, step: Step) -> Value:
    _ours(t, step)
    signal, activation = t.signal(step), str(step.attributes["activation"])
    table, worth = t.constant(step, 1), float(t.doubles(step, 4))
    if table is None or table.ndim != 1 or table.dtype != np.float64 or not 2 <= table.size <= 2**20:
        raise ValueError("no table of the activation")
    points = float(t.doubles(step, 2)) + np.arange(table.size)
    theta = t.constant(step, 3)
    unit = t.channelwise(step, t.required(step, 5), signal)
    if theta is None or theta.dtype != np.float64 or theta.shape != (signal.width,) or not (theta >= 1).all():
        raise ValueError("no thresholds")
    if activation not in ACTIVATIONS:
        raise Refusal(f"the function {activation!r:.40}; needed: one of {', '.join(ACTIVATIONS)}")
    codes = np.floor((table + theta[0] // 2) / theta[0])
    apart = np.abs(codes - np.asarray(ACTIVATIONS[activation](points * worth), np.float64) / unit[0])
    inside = np.abs(codes) < np.abs(codes).max()  # a table may be clipped at its ends
    if not (apart[inside] <= 1.5).all():
        raise Refusal(f"a table that is not of {activation}; needed: the one that snngen writes")
    return t.make(step, Pointwise(activation), signal)


@operator(onnx_functions.ROTARY, domain=onnx_functions.DOMAIN)
def _coded_rotary(t: Translation, step: Step) -> Value:
    _ours(t, step)
    signal, heads = t.signal(step), int(step.attributes["heads"])
    _heads(signal, heads)
    cosine, sine = (t.constant(step, index) for index in (1, 2))
    if cosine is None or sine is None or cosine.ndim != 2 or cosine.shape != sine.shape or not cosine.size:
        raise ValueError("no tables of cosines and sines")
    if 2 * cosine.shape[1] * heads != signal.width or max(np.abs(cosine).max(), np.abs(sine).max()) > UNIT:
        raise ValueError(f"tables {cosine.shape} for {heads} heads of {signal.width}")
    t.limit(len(cosine))
    return t.make(step, Rotary(heads, dequantize.frequencies(cosine, sine)), signal)


def _attended(t: Translation, step: Step, heads: int, groups: int, scale: float | None) -> Signal:
    query, key = (t.signal(step, index, factored=True) for index in range(2))
    value = t.signal(step, 2)
    for signal, count in ((query, heads), (key, groups), (value, groups)):
        _heads(signal, count)
    width = query.width // heads
    if heads % groups or key.width != groups * width or value.width != groups * width:
        raise Refusal(f"{heads} and {groups} heads of {query.width}, {key.width}, {value.width}; needed: equal widths")
    factor = None if scale is None else float(scale)
    if factor is not None and math.isclose(factor, 1 / math.sqrt(width), rel_tol=1e-6):
        factor = None
    ones = np.ones(1, np.float32)
    left = np.broadcast_to(ones if query.factor is None else query.factor, (query.width,)).reshape(heads, width)
    right = np.broadcast_to(ones if key.factor is None else key.factor, (key.width,)).reshape(groups, width)
    if np.abs(left * right.repeat(heads // groups, axis=0) - 1).max() > CANCEL:
        raise Refusal("scales of queries and keys after DequantizeLinear that do not cancel; needed: such, or the same")
    query, key = replace(query, factor=None), replace(key, factor=None)
    return t.make(step, Attention(heads, groups, factor), *t.turned(step, query, key), value)


@operator("RotaryEmbedding")
def _rotary(t: Translation, step: Step) -> Value:
    signal = t.signal(step)
    heads = int(step.attributes.get("num_heads", 0))
    _heads(signal, heads)
    cosine, sine = (t.required(step, index, 2) for index in (1, 2))
    if step.attributes.get("interleaved", 0) or not isinstance(t.at(step, 3), Positions):
        raise Refusal("interleaved channels or computed positions; needed: halves, and positions 0..tokens by 1")
    width, turning = signal.width // heads, int(step.attributes.get("rotary_embedding_dim", 0))
    half = (turning or width) // 2
    if cosine.shape != sine.shape or cosine.shape[1] != half or width % 2 or turning not in (0, width):
        raise Refusal(f"tables {cosine.shape}, {sine.shape} for width {width}; needed: all channels of a head turn")
    t.limit(len(cosine))
    return t.make(step, Rotary(heads, frequencies(cosine, sine)), signal)


def frequencies(cosine: Floats, sine: Floats) -> npt.NDArray[np.float64]:
    """(pairs,) radians per position that tables (positions, pairs) of cosines and sines were made with.

    The first position gives it roughly, and every doubling of the position to twice the precision.
    raises: Refusal where no frequency gives these tables.
    """
    whole_tables = [np.rint(table.astype(np.float64) * UNIT) for table in (cosine, sine)]
    if all(np.array_equal(table / UNIT, given) for table, given in zip(whole_tables, (cosine, sine), strict=True)):
        return dequantize.frequencies(*whole_tables)  # as our own networks have them
    angles = np.arctan2(sine.astype(np.float64), cosine.astype(np.float64))
    found = angles[1].copy() if len(angles) > 1 else np.zeros(angles.shape[1])
    position = 2
    while position < len(angles):
        whole = np.rint((position * found - angles[position]) / (2 * np.pi))
        found = (angles[position] + 2 * np.pi * whole) / position
        position = min(2 * position, len(angles) - 1) if position < len(angles) - 1 else len(angles)
    turned = np.outer(np.arange(len(angles)), found)
    if max(np.abs(np.cos(turned) - cosine).max(), np.abs(np.sin(turned) - sine).max()) > 1e-3:
        raise Refusal("tables that are no cosines and sines of position * frequency; needed: default rotary positions")
    return _usual(np.asarray(found), len(angles))


def _usual(found: npt.NDArray[np.float64], positions: int) -> npt.NDArray[np.float64]:
    """theta**(-i / pairs) for a whole theta, where that is what was found but for the rounding of the tables."""
    pairs = len(found)
    if pairs < 2 or not 0 < found[1] < 1:
        return found
    theta = np.rint(found[1] ** -pairs)
    usual: npt.NDArray[np.float64] = theta ** (-np.arange(0, 2 * pairs, 2) / (2 * pairs))
    return usual if np.abs(usual - found).max() * positions < 2.0**-12 else found


# -- recurrence ----------------------------------------------------------------------------------------------------


def _cell(t: Translation, step: Step, gates: int) -> tuple[Signal, int, Array, Array, Array]:
    """Input, width, and the weights of input and state and the two biases, each by gate."""
    given = step.attributes
    signal = t.signal(step)
    lead = (BATCH, TOKEN) if given.get("layout", 0) else (TOKEN, BATCH)
    if given.get("direction", "forward") != "forward" or signal.axes[:-1] != lead or len(signal.sizes) != 1:
        raise Refusal(f"direction {given.get('direction', 'forward')}, axes {signal.axes}; needed: forward, {lead}")
    if given.get("activations") or given.get("clip") or given.get("input_forget") or t.at(step, 4) is not None:
        raise Refusal("activations, clip, input_forget or lengths; needed: the defaults")
    if t.at(step, 7) is not None:
        raise Refusal("peepholes; needed: none")
    for index in (5, 6):
        start = t.weights(step, index)
        if start is not None and start.any():
            raise Refusal("a state that begins with other than zeros; needed: zeros")
    weight, state = t.required(step, 1, 3), t.required(step, 2, 3)
    width = state.shape[2]
    if weight.shape != (1, gates * width, signal.width) or state.shape != (1, gates * width, width) or width < 1:
        raise ValueError(f"weights {weight.shape} and {state.shape} for {signal.width} channels")
    bias = t.weights(step, 3, 2)
    bias = np.zeros((1, 2 * gates * width), np.float32) if bias is None else bias
    if given.get("hidden_size", width) != width or bias.shape != (1, 2 * gates * width):
        raise ValueError(f"hidden_size {given.get('hidden_size')}, biases {bias.shape} for width {width}")
    first, second = bias.reshape(2, gates, width)
    return (
        signal,
        width,
        weight.reshape(gates, width, -1),
        state.reshape(gates, width, width),
        np.stack((first, second)),
    )


def _unrolled(t: Translation, step: Step, signal: Signal, width: int, name: str) -> Signal:
    """The output Y, with its axis of directions."""
    return Signal((name,), (BATCH, TOKEN, 1, width) if step.attributes.get("layout", 0) else (TOKEN, 1, BATCH, width))


@operator("LSTM")
def _lstm(t: Translation, step: Step) -> Value:
    signal, width, weight, state, bias = _cell(t, step, 4)
    gates = {gate: (weight[k], state[k], bias[0, k] + bias[1, k]) for k, gate in enumerate("iofg")}
    build = partial(recurrent.lstm, name=t.name(step.name), inputs=signal.names, gates=gates)
    return _unrolled(t, step, signal, width, t.absorb(build))


@operator("GRU")
def _gru(t: Translation, step: Step) -> Value:
    if not step.attributes.get("linear_before_reset", 0):
        raise Refusal("linear_before_reset = 0; needed: 1, as torch exports it")
    signal, width, weight, state, bias = _cell(t, step, 3)
    gates = {gate: (weight[k], state[k], bias[0, k] + bias[1, k]) for k, gate in enumerate("zr")}
    gates["n"] = (weight[2], state[2], bias[0, 2])
    build = partial(recurrent.gru, name=t.name(step.name), inputs=signal.names, gates=gates, state_bias=bias[1, 2])
    return _unrolled(t, step, signal, width, t.absorb(build))
