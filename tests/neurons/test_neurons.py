"""Laws that hold for every neuron model in the folder."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from snngen import neurons, reference
from snngen.engines.settled import SettledEngine
from snngen.errors import NetworkError, UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.group_norm import GroupNorm
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.pointwise import Pointwise
from snngen.neurons.product_sum import ProductSum
from snngen.neurons.rms_norm import RMSNorm
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.one_to_one import OneToOne

SIZE = 6
EXAMPLES: dict[str, Neuron] = {
    "accumulator": Accumulator(np.arange(SIZE, dtype=np.int32) - 2),
    "gate": Gate(np.arange(-300, 301).astype(np.int32), -300, np.arange(1, SIZE + 1) * 70, -127, 127),
    "group_norm": GroupNorm(np.arange(1, SIZE + 1) * 4000, np.arange(SIZE) * 999 - 2000, 17, 2, 1, -127, 127),
    "integrate_and_fire": IntegrateAndFire(np.arange(1, SIZE + 1) * 11),
    "pointwise": Pointwise(np.arange(-300, 301) ** 2, -300, np.arange(1, SIZE + 1) * 70, -5, 255),
    "product_sum": ProductSum(np.array([[3] * SIZE, [-1] * SIZE]), np.arange(1, SIZE + 1) * 900, -127, 127),
    "rms_norm": RMSNorm(np.arange(1, SIZE + 1) * 4000, 17, -127, 127),
    "softmax": Softmax(np.array([2**22, 2**20]), 3, 255),
    "source": Source(SIZE, -300, 300),
    "threshold": Threshold(np.arange(1, SIZE + 1) * 9, np.arange(SIZE) - 3, -5, 127),
}


def test_every_file_has_an_example() -> None:
    assert sorted(EXAMPLES) == neurons.kinds()


@pytest.mark.parametrize("kind", neurons.kinds())
def test_is_found_by_its_file_name_and_frozen(kind: str) -> None:
    neuron = EXAMPLES[kind]
    assert neurons.by_kind(kind) is type(neuron)
    assert neuron.kind == kind
    with pytest.raises(FrozenInstanceError):
        setattr(neuron, fields(neuron)[0].name, 3)  # type: ignore[arg-type]


def test_opcodes_differ() -> None:
    assert len({neuron.opcode for neuron in EXAMPLES.values()}) == len(EXAMPLES)


@pytest.mark.parametrize(
    "kind", [kind for kind, neuron in EXAMPLES.items() if not neuron.ordered and kind not in ("source", "softmax")]
)
@pytest.mark.parametrize("seed", range(5))
def test_kernel_equals_reference_and_codes_stay_in_range(kind: str, seed: int) -> None:
    """Feed random codes straight in. (Softmax needs a written memory, and ordered neurons ticks: tests/engines.)"""
    neuron, rng = EXAMPLES[kind], np.random.default_rng(seed)
    names = [f"input_{operand}" for operand in neuron.operands]
    populations = [Population(name, Source(SIZE, -300, 300)) for name in names]
    projections = [
        Projection(name, "target", OneToOne(SIZE), operand)
        for name, operand in zip(names, neuron.operands, strict=True)
    ]
    network = Network((*populations, Population("target", neuron)), tuple(projections))
    inputs = {name: rng.integers(-300, 301, (20, SIZE)) for name in names}
    expected = reference.run(network, inputs)["target"]
    engine = SettledEngine(network)
    for row in range(20):
        engine.step(codes={name: values[row] for name, values in inputs.items()})
        assert engine.codes("target").tolist() == expected[row].tolist()
    low, high = neuron.range
    assert low <= expected.min() <= expected.max() <= high


def test_softmax_sums_to_about_one_and_orders_scores() -> None:
    neuron = Softmax(np.array([2**24]), 8, 255)
    drive = np.tile(np.arange(8) * 700, (8, 1))
    codes = neuron.reference(drive)
    for token, row in enumerate(codes):
        assert abs(int(row.sum()) - 255) <= token + 1
        assert (np.diff(row[: token + 1]) >= 0).all()
        assert not row[token + 1 :].any()


def test_softmax_is_near_the_real_one() -> None:
    rng, worth = np.random.default_rng(1), 1e-3
    multiplier = round(worth * np.log2(np.e) * 2**34)
    drive = rng.integers(-8000, 8000, (32, 32))
    codes = Softmax(np.array([multiplier]), 32, 255).reference(drive)
    for token in range(32):
        scores = np.exp(drive[token, : token + 1] * worth)
        assert np.abs(codes[token, : token + 1] / 255 - scores / scores.sum()).max() < 0.5 / 255 + 2e-3


def test_rms_norm_is_near_the_real_one() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-(2**20), 2**20, (10, 64))
    gain = np.full(64, round(256 / 0.05))
    real = x / np.sqrt((x.astype(float) ** 2).mean(axis=1, keepdims=True)) / 0.05
    assert np.abs(RMSNorm(gain, 0, -127, 127).reference(x) - real).max() <= 0.5 + 1e-2


def test_group_norm_is_near_the_real_one() -> None:
    rng = np.random.default_rng(3)
    x, bias = rng.integers(-(2**20), 2**20, (10, 3, 32)) + 2**18, rng.normal(0, 9, 96)
    neuron = GroupNorm(np.full(96, round(256 / 0.05)), np.rint(bias * 256).astype(int), 0, 3, 1, -127, 127)
    real = (x - x.mean(axis=2, keepdims=True)) / x.std(axis=2, keepdims=True) / 0.05
    expected = np.clip(real.reshape(10, 96) + bias, -127, 127)
    assert np.abs(neuron.reference(x.reshape(10, 96)) - expected).max() <= 0.5 + 1e-2


@pytest.mark.parametrize(
    "build",
    [
        lambda: Source(0),
        lambda: IntegrateAndFire(np.array([0])),
        lambda: Source(3, 2, 1),
        lambda: Accumulator(np.zeros(0, np.int32)),
        lambda: RMSNorm(np.array([2**29]), 0, -127, 127),
        lambda: RMSNorm(np.array([1]), -1, -127, 127),
        lambda: RMSNorm(np.array([1]), 0, 3, 127),
        lambda: Softmax(np.array([-1]), 3, 255),
        lambda: Softmax(np.array([2**40]), 3, 255).check_operands((2**23,)),
        lambda: Softmax(np.array([1]), 0, 255),
        lambda: Softmax(np.array([1]), 3, 9.8),
        lambda: Threshold(np.array([1]), np.array([0]), -1.5, 1.5),
        lambda: Pointwise(np.zeros(2**20 + 1, np.int32), 0, np.array([1]), -1, 1),
        lambda: Gate(np.array([1]), 0, np.array([0]), -1, 1),
        lambda: Pointwise(np.array([1]), 0, np.array([0]), -1, 1),
        lambda: Pointwise(np.zeros(11, np.int32), -5, np.array([1]), -1, 1).check_operands((6,)),
        lambda: ProductSum(np.ones((5, 2), np.int64), np.array([1, 1]), -1, 1),
        lambda: ProductSum(np.ones((1, 2), np.int64), np.array([1, 0]), -1, 1),
        lambda: ProductSum(np.full((1, 1), 2**40), np.array([1]), -1, 1).check_operands((2**15, 2**15)),
        lambda: GroupNorm(np.ones(6, np.int64), np.zeros(6, np.int64), 0, 4, 1, -1, 1),
        lambda: GroupNorm(np.ones(6, np.int64), np.full(6, 2**30), 0, 2, 1, -1, 1),
        lambda: Source(3, 0, 2, one_hot=1),
        lambda: Gate(np.zeros(0, np.int32), 0, np.array([1]), -1, 1),
    ],
)
def test_bad_parameters_are_refused(build) -> None:
    with pytest.raises(NetworkError, match="expected"):
        build()


def test_gate_refuses_codes_beyond_its_table() -> None:
    gate = Gate(np.arange(11).astype(np.int32), -5, np.array([3]), -1, 1)
    populations = (Population("a", Source(1, -6, 6)), Population("b", Source(1, -6, 6)), Population("c", gate))
    projections = (Projection("a", "c", OneToOne(1), "gate"), Projection("b", "c", OneToOne(1), "value"))
    with pytest.raises(NetworkError, match="table"):
        Network(populations, projections)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="threshold"):
        neurons.by_kind("perceptron")
