"""Packed weights: what is packed comes out again, takes the bytes that its bits say, and runs as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import compressed, random_recurrent, random_transformer

import snngen
from snngen.codes.bitwise import Bitwise
from snngen.codes.delta import Delta
from snngen.codes.unary import Unary
from snngen.engines.ticked import TickedEngine
from snngen.errors import NetworkError
from snngen.kernels import deliver, rows
from snngen.synapses.packed import Packed


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("targets", [1, 2, 3, 4, 5, 8, 9, 31])
def test_unpacks_to_what_was_packed(bits: int, targets: int) -> None:
    half = 2 ** (bits - 1)
    matrix = np.random.default_rng(targets).integers(-half, half, (7, targets))
    synapse = Packed.of(matrix, np.ones(targets, np.int32), bits)
    assert np.array_equal(synapse.matrix, matrix)
    assert synapse.weight_bytes == 7 * -(-targets * bits // 8)
    assert synapse.count == 7 * targets


def test_a_byte_holds_one_weight_of_every_stretch() -> None:
    """Three bytes of 4 bits: weights 0..2 lie low, 3..5 high; two's complement."""
    synapse = Packed.of(np.array([[1, 2, -3, 4, -8, 7]]), np.ones(6, np.int32), 4)
    assert synapse.packed.view(np.uint8).tolist() == [[0x41, 0x82, 0x7D]]
    ternary = Packed.of(np.array([[1, -1, 0, 1, -1]]), np.ones(5, np.int32), 2)
    assert ternary.packed.view(np.uint8).tolist() == [[0b00_11_00_01, 0b00_00_01_11]]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sources=st.integers(1, 20),
    targets=st.integers(1, 70),
    bits=st.sampled_from([4, 2]),
    largest=st.sampled_from([1, 2, 127, 511, 1023, 4095, 10**5]),
)
def test_kernel_is_the_reference(seed: int, sources: int, targets: int, bits: int, largest: int) -> None:
    """Whatever the lengths of rows and the sizes of payloads, extremes included."""
    rng, half = np.random.default_rng(seed), 2 ** (bits - 1)
    matrix = (
        rng.choice([-half, half - 1], (sources, targets)) if seed % 2 else rng.integers(-half, half, (sources, targets))
    )
    synapse = Packed.of(matrix, rng.integers(1, 9, targets), bits)
    codes = rng.choice([-largest, 0, largest, largest], sources)
    event = np.flatnonzero(codes).astype(np.int32)
    drive, scratch = np.ones(targets, np.int32), np.zeros(rows.scratch_size(sources, targets, 1), np.int32)
    weights, width = np.append(synapse.weights, np.zeros(rows.BLOCK, np.int8)), synapse.packed.shape[1]
    payload, gain = codes[event].astype(np.int32), synapse.gain.astype(np.int64)
    deliver.dense(event, payload, 0, weights, width, bits, gain, scratch, drive)
    assert np.array_equal(drive, 1 + synapse.reference(codes[None], None)[0])


@pytest.mark.parametrize("build", [random_transformer, random_recurrent])
@pytest.mark.parametrize("seed", range(4))
def test_certificates_are_clean(build, seed: int) -> None:
    """Packed and sparse weights, settled and ticked, under every kind of code."""
    network = compressed(build(seed), seed)
    kinds = {projection.synapse.kind for projection in network.projections}
    assert {"packed", "sparse"} & kinds
    assert "dense" not in kinds
    tokens = np.random.default_rng(seed).integers(0, network.vocabulary, 6).tolist()
    assert snngen.certify(network, tokens).clean
    for code, schedule in ((Unary(), "eager"), (Bitwise(), "layered"), (Delta(), "layered")):
        if build is random_recurrent and schedule == "eager":
            continue
        assert snngen.certify(network, tokens, TickedEngine(network, code, schedule)).clean


def test_bytes_read_are_the_bytes_of_the_rows() -> None:
    network = compressed(random_transformer(3), 1)
    engine = snngen.SettledEngine(network)
    ticked = TickedEngine(network)
    for token in (3, 1, 4):
        engine.step(token)
        ticked.step(token)
        for which in (engine, ticked):
            _, deliveries = which.counted()
            seen = 0
            for projection, counts in zip(network.projections, deliveries, strict=True):
                synapse = projection.synapse
                if isinstance(synapse, Packed):
                    events = np.count_nonzero(engine.codes(projection.source))
                    assert counts[0] == events * synapse.packed.shape[1]
                    assert counts[1] == events * synapse.target_size
                    seen += 1
            assert seen


@pytest.mark.parametrize(
    "build",
    [
        lambda: Packed(np.zeros((2, 1), np.int8), np.ones(2, np.int32), 3),
        lambda: Packed(np.zeros((2, 2), np.int8), np.ones(2, np.int32), 4),
        lambda: Packed(np.zeros((0, 1), np.int8), np.ones(2, np.int32), 4),
        lambda: Packed(np.zeros((2, 1), np.int8), np.zeros(2, np.int32), 4),
        lambda: Packed(np.full((2, 1), 0x10, np.int8), np.ones(1, np.int32), 4),
        lambda: Packed.of(np.full((2, 2), 8), np.ones(2, np.int32), 4),
        lambda: Packed.of(np.full((2, 2), -3), np.ones(2, np.int32), 2),
        lambda: Packed.of(np.zeros((2, 0), np.int8), np.ones(2, np.int32), 2),
        lambda: Packed.of(np.full((2**23, 1), -8), np.ones(1, np.int32), 4).bound(127, 0),
    ],
)
def test_bad_parameters_are_refused(build) -> None:
    with pytest.raises(NetworkError, match="expected"):
        build()
