"""Rows are added as the plain loops say, on every kind of processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.kernels import deliver, rows

PROCESSORS = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma"},
    "generic": {"NUMBA_CPU_NAME": "generic"},
}


def check(seed: int, sources: int, width: int, bits: int, tokens: int) -> None:
    """Sums of one random case, extremes included, against the plain loops."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, sources * width + rows.BLOCK).astype(np.int8)
    if seed % 3 == 0:
        weights[:] = rng.choice([-128, 127], weights.size)
    event = np.flatnonzero(rng.random(sources) < 0.7).astype(np.int32)
    if not event.size:
        return
    codes = rng.choice([-127, -1, 0, 1, 127, 50], (tokens, event.size)).astype(np.int32)
    whole, length = -(-event.size // rows.GROUP) * rows.GROUP, -(-width // rows.BLOCK) * rows.BLOCK
    chosen, packed = np.zeros(whole, np.int32), np.zeros((whole // rows.GROUP, tokens, rows.GROUP), np.int8)
    for token in range(tokens):
        one = np.zeros(whole, np.int8)
        rows.gather(event, codes[token], 0, chosen, one)
        packed[:, token] = one.reshape(-1, rows.GROUP)
    total = np.full(tokens * (8 // bits) * length, 12345, np.int32)
    rows.add(chosen, whole, weights, width, bits, 0, length, packed.reshape(-1), tokens, total)
    for token, sums in enumerate(total.reshape(tokens, 8 // bits, length)):
        expected = np.zeros(8 // bits * width, np.int32)
        rows.plain(event, codes[token], 0, weights, width, bits, expected)
        excess = rows.sum_of(packed.reshape(-1), whole, token, tokens) << (bits - 1)
        assert (sums[:, :width].reshape(-1) - excess).tolist() == expected.tolist()


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sources=st.integers(1, 40),
    width=st.integers(1, 200),
    bits=st.sampled_from([8, 4, 2]),
    tokens=st.integers(1, 5),
)
def test_sums_are_those_of_the_plain_loops(seed: int, sources: int, width: int, bits: int, tokens: int) -> None:
    check(seed, sources, width, bits, tokens)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("width", [rows.LONG - 65, rows.LONG, rows.LONG + 1, rows.WHOLE + 65])
def test_sums_of_long_rows(width: int, tokens: int, bits: int) -> None:
    check(width, 30, width, bits, tokens)
    check(3 * width, 9, width, bits, tokens)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), largest=st.sampled_from([1, 127, 128, 255, 256, 5000, 10**6]))
def test_payloads_of_any_size(seed: int, largest: int) -> None:
    """Beyond 127 they come in parts; where that would be many, by the plain loops."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, 30 * 70 + rows.BLOCK).astype(np.int8)
    event = np.flatnonzero(rng.random(30) < 0.6).astype(np.int32)
    payload = rng.integers(-largest, largest + 1, event.size).astype(np.int32)
    payload[::3] = rng.choice([-largest, 1, largest])
    drive, scratch = np.zeros(70, np.int32), np.zeros(rows.scratch_size(30, 70, 1), np.int32)
    deliver.dense(event, payload, 0, weights, 70, 8, np.zeros(0, np.int64), scratch, drive)
    assert drive.tolist() == (payload @ weights[:2100].reshape(30, 70)[event].astype(np.int64)).tolist()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_other_processors_add_the_same(processor: str, tmp_path: Path) -> None:
    """Their code runs here too: only instructions that this processor also has."""
    program = "import test_rows\nfor case in range(60): test_rows.check(case, 1 + case % 37, "
    program += "1 + case * 7 % 190 + case // 50 * 2000, (8, 4, 2)[case % 3], 1 + case % 4)\nprint(test_rows.rows.WIDTH)"
    environment = {**os.environ, **PROCESSORS[processor], "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == {"avx2": 32, "generic": 16}[processor]


@pytest.mark.parametrize(
    ("features", "width"),
    [("+avx512vnni,+avx512bw,+avx2", 64), ("+avx2,-avx512vnni", 32), ("+avx512vnni,-avx512bw,-avx2", 16), ("", 16)],
)
def test_vectors_are_as_wide_as_the_processor_allows(features: str, width: int) -> None:
    assert rows.vector_bytes(features) == width


def test_weights_without_padding_are_not_read_past_their_end() -> None:
    """The last rows cannot be read in whole blocks: the plain loops take over."""
    rng = np.random.default_rng(0)
    matrix, event = rng.integers(-127, 128, (9, 70)).astype(np.int8), np.arange(9, dtype=np.int32)
    payload = rng.integers(-127, 128, 9).astype(np.int32)
    drive, scratch = np.zeros(70, np.int32), np.zeros(rows.scratch_size(9, 70, 1), np.int32)
    assert not rows.fit(event, payload, 0, 70, 128, matrix.size)
    deliver.dense(event, payload, 0, matrix.reshape(-1), 70, 8, np.zeros(0, np.int64), scratch, drive)
    assert drive.tolist() == (payload @ matrix.astype(np.int64)).tolist()
