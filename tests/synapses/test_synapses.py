"""Laws that hold for every synapse model in the folder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import convolution, dense

from snngen import synapses
from snngen.errors import NetworkError, UnsupportedError
from snngen.synapses import Synapse, wide_matmul
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.broadcast import Broadcast
from snngen.synapses.dense import Dense
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.position import Position
from snngen.synapses.rotary import UNIT, Rotary
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory

TOKENS = 5
ANGLES = np.outer(np.arange(TOKENS), [1.0, 0.3])
EXAMPLES: dict[str, Synapse] = {
    "convolution": convolution(np.random.default_rng(4), (2, 3, 4), 4, groups=2, stride=(2, 1), padding=(1, 1)),
    "bilinear": Bilinear(2, 3, 4),
    "broadcast": Broadcast(2, 5, 3),
    "dense": dense(np.random.default_rng(0), 6, 4, 9),
    "diagonal": Diagonal(np.array([3, -700, 0, 9])),
    "key_memory": KeyMemory(4, 2, 3, TOKENS),
    "one_to_one": OneToOne(6),
    "packed": Packed.of(np.random.default_rng(1).integers(-8, 8, (6, 5)), np.arange(1, 6), 4),
    "position": Position(7, np.arange(-60, 60).reshape(TOKENS, 24), np.arange(1, 25)),
    "rotary": Rotary(
        3, np.rint(np.cos(ANGLES) * UNIT).astype(np.int32), np.rint(np.sin(ANGLES) * UNIT).astype(np.int32)
    ),
    "sparse": Sparse.of(np.diag([3, 0, -90, 7, 0])[:, :4].astype(np.int8), np.array([1, 5, 2, 1])),
    "value_memory": ValueMemory(4, 2, 3, TOKENS),
}


def test_every_file_has_an_example() -> None:
    assert sorted(EXAMPLES) == synapses.kinds()


def codes(synapse: Synapse, seed: int, largest: int = 9) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    sent = rng.integers(-largest, largest + 1, (TOKENS, synapse.source_size))
    written = rng.integers(-127, 128, (TOKENS, synapse.writer_size)) if synapse.writer_size else None
    return sent, written


@pytest.mark.parametrize("kind", synapses.kinds())
def test_is_found_by_its_file_name(kind: str) -> None:
    assert synapses.by_kind(kind) is type(EXAMPLES[kind])
    assert EXAMPLES[kind].kind == kind


@pytest.mark.parametrize("kind", synapses.kinds())
@pytest.mark.parametrize("seed", range(3))
def test_drive_is_linear_in_the_codes(kind: str, seed: int) -> None:
    synapse = EXAMPLES[kind]
    (first, written), (second, _) = codes(synapse, seed), codes(synapse, seed + 100)
    together = synapse.reference(first + 3 * second, written)
    assert np.array_equal(together, synapse.reference(first, written) + 3 * synapse.reference(second, written))
    assert together.shape == (TOKENS, synapse.target_size)


@pytest.mark.parametrize("kind", synapses.kinds())
@pytest.mark.parametrize("seed", range(3))
def test_drive_stays_in_its_bound(kind: str, seed: int) -> None:
    synapse = EXAMPLES[kind]
    sent, written = codes(synapse, seed)
    assert np.abs(synapse.reference(sent, written)).max() <= synapse.bound(9, 127)


def test_dense_is_a_matrix_product() -> None:
    synapse = EXAMPLES["dense"]
    assert isinstance(synapse, Dense)
    sent, _ = codes(synapse, 1)
    expected = [
        [int(synapse.gain[j]) * sum(int(row[i]) * int(synapse.matrix[i, j]) for i in range(6)) for j in range(4)]
        for row in sent
    ]
    assert synapse.reference(sent, None).tolist() == expected


def test_memories_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    query, key = rng.integers(-9, 10, (TOKENS, 12)), rng.integers(-9, 10, (TOKENS, 6))
    share, value = rng.integers(0, 9, (TOKENS, 4 * TOKENS)), rng.integers(-9, 10, (TOKENS, 6))
    scores = EXAMPLES["key_memory"].reference(query, key).reshape(TOKENS, 4, TOKENS)
    mixed = EXAMPLES["value_memory"].reference(share, value).reshape(TOKENS, 4, 3)
    for now in range(TOKENS):
        for head in range(4):
            group = head // 2
            for then in range(TOKENS):
                drive = sum(query[now, head * 3 + d] * key[then, group * 3 + d] for d in range(3))
                assert scores[now, head, then] == (drive if then <= now else 0)
            for d in range(3):
                drive = sum(share[now, head * TOKENS + then] * value[then, group * 3 + d] for then in range(now + 1))
                assert mixed[now, head, d] == drive


def test_broadcast_copies_along_an_axis() -> None:
    (row,) = EXAMPLES["broadcast"].reference(np.array([[1, 2, 3, 4, 5, 6]]), None)
    assert row.tolist() == [1, 2, 3] * 5 + [4, 5, 6] * 5


def test_bilinear_by_brute_force() -> None:
    sent, written = codes(EXAMPLES["bilinear"], 4)
    drive = EXAMPLES["bilinear"].reference(sent, written).reshape(TOKENS, 2, 3)
    for token in range(TOKENS):
        for head in range(2):
            for i in range(3):
                weights = written[token, head * 12 + i * 4 : head * 12 + i * 4 + 4]
                assert drive[token, head, i] == int((weights * sent[token, head * 4 : head * 4 + 4]).sum())


def test_rotary_keeps_lengths() -> None:
    sent, _ = codes(EXAMPLES["rotary"], 1, 100)
    turned = EXAMPLES["rotary"].reference(sent, None) / UNIT
    assert np.allclose((turned**2).sum(axis=1), (sent**2).sum(axis=1), rtol=1e-3)


def test_wide_matmul_is_exact_beyond_float64() -> None:
    left, right = np.full((1, 2), 2**40 + 1), np.full((2, 1), 2**20 + 1)
    assert wide_matmul(left, right)[0, 0] == 2 * (2**40 + 1) * (2**20 + 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Dense(np.zeros((0, 2), np.int8), np.ones(2, np.int32)),
        lambda: Dense(np.zeros((2, 2), np.int8), np.zeros(2, np.int32)),
        lambda: Dense(np.full((2, 2), 200), np.ones(2, np.int32)),
        lambda: OneToOne(0),
        lambda: Diagonal(np.zeros(0, np.int32)),
        lambda: Broadcast(1, 0, 1),
        lambda: Bilinear(1, 0, 1),
        lambda: Position(1, np.zeros((1, 2), np.int8), np.zeros(2, np.int32)),
        lambda: Rotary(0, np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32)),
        lambda: Rotary(1, np.full((1, 1), 2**15), np.zeros((1, 1), np.int32)),
        lambda: KeyMemory(3, 2, 1, 1),
        lambda: ValueMemory(2, 2, 0, 1),
        lambda: Dense(np.full((2**20, 1), 127, np.int8), np.ones(1, np.int32)).bound(127, 0),
    ],
)
def test_bad_parameters_are_refused(build) -> None:
    with pytest.raises(NetworkError, match="expected"):
        build()


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="dense"):
        synapses.by_kind("gap_junction")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)),
    bits=st.sampled_from([1, 8, 31, 46]),
    density=st.floats(0, 1),
)
def test_wide_products_are_exact(seed: int, shape: tuple[int, int, int], bits: int, density: float) -> None:
    """Beyond what float64 carries, too, and where few rows are read."""
    rng, (tokens, sources, targets) = np.random.default_rng(seed), shape
    codes = rng.integers(-(2**bits), 2**bits + 1, (tokens, sources)) * (rng.random((tokens, sources)) < density)
    weights = rng.integers(-128, 128, (sources, targets)).astype(np.int8)
    assert np.array_equal(wide_matmul(codes, weights), (codes.astype(object) @ weights.astype(object)).astype(np.int64))


def test_wide_products_of_many_blocks() -> None:
    rng = np.random.default_rng(0)
    codes, weights = rng.integers(-127, 128, (2, 700)), rng.integers(-128, 128, (700, 4000)).astype(np.int8)
    assert np.array_equal(wide_matmul(codes, weights), codes @ weights.astype(np.int64))
