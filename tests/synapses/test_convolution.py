"""Convolution: the drive against torch, the synapses against a list of them, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import convolution

from snngen.converters.operations import Convolution as FloatConvolution
from snngen.errors import NetworkError
from snngen.synapses.convolution import Convolution

PAIRS = {
    "stride": np.array([1, 1]),
    "padding": np.array([0, 0]),
    "dilation": np.array([1, 1]),
    "output_padding": np.array([0, 0]),
}


@st.composite
def synapses(draw: Any) -> Convolution | None:
    """Any geometry; None where nothing is left of the picture."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups, transposed = draw(st.integers(1, 3)), draw(st.booleans())
    geometry = {"stride": draw(pair), "dilation": draw(pair), "padding": tuple(rng.integers(0, 4, 2).tolist())}
    if transposed:  # torch wants less than the stride or the dilation
        largest = np.maximum(geometry["stride"], geometry["dilation"])
        geometry["output_padding"] = tuple(rng.integers(0, largest).tolist())
    shape = (groups * int(rng.integers(1, 4)), int(rng.integers(1, 8)), int(rng.integers(1, 8)))
    sides = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    outputs, each = groups * int(rng.integers(1, 4)), draw(st.booleans())
    try:
        return convolution(rng, shape, outputs, sides, groups, transposed, 9, each, **geometry)
    except NetworkError:
        return None


@settings(max_examples=150, deadline=None)
@given(synapse=synapses(), seed=st.integers(0, 2**32 - 1))
def test_drive_equals_torch(synapse: Convolution | None, seed: int) -> None:
    torch = pytest.importorskip("torch", reason="the original framework")
    if synapse is None:
        return
    codes = np.random.default_rng(seed).integers(-255, 256, (3, synapse.source_size))
    pictures = torch.tensor(codes.reshape(3, *synapse.shape.tolist()), dtype=torch.float64)
    kernel = torch.tensor(synapse.kernel.astype(np.float64))
    options = {name: tuple(getattr(synapse, name).tolist()) for name in ("stride", "padding", "dilation")}
    if synapse.transposed:
        padding = tuple(synapse.output_padding.tolist())
        drawn = torch.nn.functional.conv_transpose2d(
            pictures, kernel, groups=synapse.groups, output_padding=padding, **options
        )
    else:
        drawn = torch.nn.functional.conv2d(pictures, kernel, groups=synapse.groups, **options)
    assert tuple(drawn.shape[1:]) == synapse.target_shape
    gain = np.repeat(synapse.gain.astype(np.int64), synapse.target_size // synapse.gain.size)
    assert np.array_equal(synapse.reference(codes, None), drawn.numpy().reshape(3, -1).astype(np.int64) * gain)


@settings(max_examples=150, deadline=None)
@given(synapse=synapses())
def test_synapses_are_those_of_the_float_operation(synapse: Convolution | None) -> None:
    if synapse is None:
        return
    pairs = {name: tuple(getattr(synapse, name).tolist()) for name in PAIRS}
    operation = FloatConvolution(
        synapse.kernel.astype(np.float32), None, tuple(synapse.shape.tolist()), groups=synapse.groups,
        transposed=synapse.transposed, **pairs,
    )  # fmt: skip
    source, target, index = operation.taps()
    assert operation.output_shape == synapse.target_shape
    assert np.array_equal(synapse.fan_out, np.bincount(source, minlength=synapse.source_size))
    assert synapse.count == len(source)
    assert synapse.weight_bytes == synapse.kernel.size
    weights = np.abs(synapse.kernel.reshape(-1)[index].astype(np.int64))
    gain = np.repeat(synapse.gain.astype(np.int64), synapse.target_size // synapse.gain.size)[target]
    heaviest = np.bincount(target, weights=weights * gain, minlength=synapse.target_size)
    assert synapse.bound(7, 0) == 7 * heaviest.max()
    assert synapse.bound_of_one(7) >= 7 * (weights * gain).max(initial=0)


def small(**changes: Any) -> Convolution:
    given = {"kernel": np.ones((2, 3, 2, 2), np.int8), "gain": np.ones(2, np.int32), "shape": np.array([3, 4, 4])}
    return Convolution(**{**given, **PAIRS, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": np.ones((2, 3, 2), np.int8)},
        {"kernel": np.ones((2, 3, 0, 2), np.int8)},
        {"kernel": np.full((2, 3, 2, 2), 128)},
        {"gain": np.zeros(2, np.int32)},
        {"gain": np.ones(3, np.int32)},
        {"shape": np.array([2, 4, 4])},
        {"shape": np.array([3, 4])},
        {"shape": np.array([3, 1, 4])},
        {"shape": np.array([3, -4, -4])},
        {"shape": np.array([3, 2**13, 2**13])},
        {"stride": np.array([0, 1])},
        {"stride": np.array([1.5, 1])},
        {"padding": np.array([-1, 0])},
        {"padding": np.array([2**13, 2**13])},
        {"dilation": np.array([4, 1])},
        {"groups": 2},
        {"groups": 0},
        {"output_padding": np.array([1, 0])},
        {"transposed": True},
    ],
)
def test_bad_geometry_is_refused(changes: dict[str, Any]) -> None:
    assert small().target_shape == (2, 3, 3)
    with pytest.raises(NetworkError, match="expected"):
        small(**changes)


def test_sums_beyond_int32_are_refused() -> None:
    kernel = np.full((1, 3, 2, 2), 127, np.int8)
    synapse = small(kernel=kernel, gain=np.ones(1, np.int32))
    assert synapse.bound(127, 0) == 12 * 127 * 127
    with pytest.raises(NetworkError, match="fewer bits"):
        synapse.bound(2**22, 0)
