"""The roofline: what is delivered and read is what NumPy adds up, in every kind of weights, on one thread and two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snngen import machine, roofline
from snngen.errors import MismatchError, PromptError
from snngen.kernels import bandwidth
from snngen.network import Network
from snngen.roofline import Buffer, Times
from snngen.synthetic import Shape, llama

SIZE = 1 << 16


@pytest.fixture(scope="module")
def network() -> Network:
    return llama(Shape(32, 64, 2, 2, 1, 96), share=0.5, context=8)


@pytest.fixture(scope="module")
def buffer() -> Buffer:
    return Buffer.of("L2", SIZE)


def test_read_meets_every_word(buffer: Buffer) -> None:
    words = buffer.data.view(np.int64)
    mixed = int(np.bitwise_xor.reduce(words))
    assert bandwidth.read(words, 1) == mixed
    total = mixed + (mixed ^ 1) + (mixed ^ 2)
    assert bandwidth.read(words, 3) == (total + 2**63) % 2**64 - 2**63
    for at in (0, words.size // 2, words.size - 1):
        changed = words.copy()
        changed[at] ^= 1
        assert bandwidth.read(changed, 1) == mixed ^ 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (8, 1), (4, 127), (4, 1), (2, 127), (2, 1)])
def test_deliveries_are_what_numpy_adds(buffer: Buffer, bits: int, largest: int, threads: int) -> None:
    point = roofline.measure(buffer, bits, largest, density=0.4, threads=threads, repeats=2)
    rows = round(0.4 * SIZE / buffer.row)
    assert point.rows_read == rows * buffer.row
    assert point.operations == point.rows_read * 8 // bits
    assert point.share == pytest.approx(point.rate * bits / 8 / point.limit)
    assert (threads > 1) or point.speedup == 1
    found = point.as_dict()
    assert found["operations/s median"] <= found["operations/s best"]
    assert found["threads"] == threads


def test_points_share_the_fastest_reading(buffer: Buffer) -> None:
    first, second = (roofline.measure(buffer, largest=largest, repeats=2) for largest in (127, 1))
    slow, fast = replace(first, reading=Times([3.0, 4.0])), replace(second, reading=Times([1.0, 5.0]))
    other = replace(first, threads=2, reading=Times([0.5]))
    raised = roofline.under_one_roof([slow, fast, other])
    assert [point.reading.best for point in raised] == [1.0, 1.0, 0.5]
    assert raised[0].delivery == first.delivery
    assert raised[0].share == pytest.approx(slow.share / 3)


def test_a_wrong_kernel_is_found(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = bandwidth.dense

    def one_too_many(*arguments: Any) -> None:
        right(*arguments)
        drive = arguments[-2]
        drive[7] += 1

    monkeypatch.setattr(bandwidth, "dense", one_too_many)
    with pytest.raises(MismatchError, match="8-bit weights in L2, target 7"):
        roofline.measure(buffer, repeats=1)


@pytest.mark.parametrize(
    "setting",
    [{"bits": 3}, {"largest": 0}, {"largest": 128}, {"density": 0.0}, {"density": 1.1}, {"threads": 0}, {"repeats": 0}],
)
def test_settings_out_of_range_are_refused(buffer: Buffer, setting: dict[str, int]) -> None:
    with pytest.raises(PromptError):
        roofline.measure(buffer, **setting)  # type: ignore[arg-type]


def test_buffers_begin_at_a_line_and_hold_rows() -> None:
    for size in (2048, 24 << 10, 100_000, 1 << 20):
        buffer = Buffer.of("L1", size)
        assert buffer.data.ctypes.data % 64 == 0
        assert 0 <= size - buffer.data.size < 64
        assert buffer.data.size // buffer.row >= 32
        assert buffer.row <= 4096
    with pytest.raises(PromptError):
        Buffer.of("L1", 2000)


def test_sizes_rise_and_fit_their_caches() -> None:
    sizes = roofline.sizes()
    assert list(sizes.values()) == sorted(sizes.values())
    assert set(sizes) <= set(roofline.LEVELS)
    for level, size in sizes.items():
        known = None if level == "DRAM" else machine.cache(int(level[1]))
        assert known is None or size < known
    assert roofline.sizes(123 << 20)["DRAM"] == 123 << 20


def test_unknown_caches_are_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cache", lambda level: None)
    assert list(roofline.sizes()) == ["L1", "L2", "L3", "DRAM"]
    monkeypatch.setattr(machine, "cache", {1: 64 << 10, 2: 4 << 20, 3: None}.get)
    assert roofline.sizes() == {"L1": 32 << 10, "L2": 2 << 20, "DRAM": 128 << 20}


def test_a_network_is_certified_and_counted(network: Network) -> None:
    point = roofline.measure_network("tiny", network, tokens=4, repeats=2, compared=3)
    weights = sum(p.synapse.count for p in network.projections if p.synapse.weights is not None)
    assert 0 <= point.size - weights < 64 * len(network.projections)
    assert 0 < point.rows_read < weights
    assert point.operations >= point.rows_read
    assert point.compared == 3
    assert len(point.token.seconds) == len(point.reading.seconds) == 2
    assert point.as_dict()["tokens/s best"] >= point.as_dict()["tokens/s median"] > 0


def test_a_network_is_run_no_further_than_its_context(network: Network) -> None:
    assert roofline.measure_network("tiny", network, tokens=100, repeats=1).token.best > 0


def test_times() -> None:
    times = Times([3.0, 1.0, 2.5])
    assert (times.best, times.median) == (1.0, 2.5)


def test_machine_says_what_it_knows() -> None:
    found = machine.describe()
    assert found["processor"]
    assert found["cores"] >= 1
    for level in ("L1", "L2", "L3", "memory"):
        assert found[level] is None or found[level] > 1 << 10
    assert set(found["simd"]) <= set(machine.FLAGS)
