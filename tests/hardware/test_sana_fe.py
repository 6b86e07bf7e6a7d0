"""The chip loihi1-fitted against SANA-FE, whose constants it has, on one spike trace.

SANA-FE (PyPI `sanafe`, GPL) is installed by whoever wants this check; snngen never depends on it. It has no static
power, so neither has this comparison.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from snngen.hardware.chip import MESSAGES, NEURON_UPDATES, ROUTING, SPIKE_OUTPUT, STATIC_POWER, SYNAPSES
from snngen.hardware.chips import by_name
from snngen.hardware.price import terms, time_bound
from snngen.hardware.work import Work
from snngen.integers import FloatArray
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense

sanafe = pytest.importorskip("sanafe")

TICKS, SENDERS, RECEIVERS = 20, 16, 12
ROWS = 4  # tiles are numbered down the columns: four on is one to the east


@dataclass(frozen=True)
class Apart:
    """Senders on one core, receivers on another, some tiles away."""

    links: float
    chips: int = 1
    cores: int = 2

    def hops(self, index: int, written: bool = False) -> float:
        return self.links

    def crossings(self, index: int, written: bool = False) -> float:
        return 0.0

    def fan(self, index: int, written: bool = False) -> float:
        return 1.0

    def busiest(self, updates: FloatArray, operations: FloatArray) -> tuple[FloatArray, FloatArray]:
        return updates.max(axis=-1), operations.max(axis=-1)


def simulated(bias: float, tile: int) -> dict[str, float]:
    """SANA-FE's energies (J), time (s) and spikes for all of the ticks."""
    arch, net = sanafe.load_loihi(), sanafe.Network()
    units = {
        "soma_hw_name": "loihi_lif",
        "default_synapse_hw_name": "loihi_dense_synapse",
        "default_dendrite_hw_name": "loihi_dendrites",
    }
    attributes = {"threshold": 1.0, "bias": bias, "leak_decay": 1.0}
    senders = net.create_neuron_group("senders", SENDERS, model_attributes=attributes, **units)
    receivers = net.create_neuron_group("receivers", RECEIVERS, model_attributes={"threshold": 1e9}, **units)
    for sender in senders:
        sender.map_to_core(arch.tiles[0].cores[0])
        for receiver in receivers:
            sender.connect_to_neuron(receiver, {"weight": 1.0})
    for receiver in receivers:
        receiver.map_to_core(arch.tiles[tile].cores[1])
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    result = chip.sim(TICKS, timing_model="simple")
    return result["energy"] | {"time": result["sim_time"], "fired": result["neurons_fired"]}


def work(fired: float) -> Work:
    """The same trace as counts; every neuron is visited at every tick."""
    network = Network(
        populations=(
            Population("senders", Source(SENDERS, low=0, high=1)),
            Population("receivers", Accumulator(np.zeros(RECEIVERS, dtype=np.int32))),
        ),
        projections=(
            Projection(
                "senders",
                "receivers",
                Dense(np.ones((SENDERS, RECEIVERS), dtype=np.int8), np.ones(RECEIVERS, dtype=np.int32)),
            ),
        ),
    )
    return Work(
        network,
        "spike trace",
        np.array([SENDERS, RECEIVERS]) * float(TICKS),
        np.array([fired, 0.0]),
        np.array([fired * RECEIVERS]),
        np.array([fired * RECEIVERS]),
        TICKS,
        TICKS,
        staged=False,
    )


@pytest.mark.parametrize(("bias", "tile"), [(0.1, 0), (0.3, 1), (0.7, 3 * ROWS), (1.5, 3 * ROWS + 2)])
def test_agrees_on_one_trace(bias: float, tile: int) -> None:
    theirs = simulated(bias, tile)
    placement = Apart(float(sum(divmod(tile, ROWS))))
    chip, counts = by_name("loihi1-fitted"), work(theirs["fired"])
    ours = {term.cause: term.energy for term in terms(counts, chip, 1, placement) if term.cause != STATIC_POWER}
    assert theirs["fired"] > 0
    assert ours[SYNAPSES].value == pytest.approx(theirs["synapse"])
    soma = ours[NEURON_UPDATES].value + ours[SPIKE_OUTPUT].value
    assert soma == pytest.approx(theirs["soma"], rel=0.1)
    network = ours[MESSAGES] + ours[ROUTING]
    assert network.low <= theirs["network"] * (1 + 1e-9)
    assert theirs["network"] <= network.high * (1 + 1e-9)
    total = sum(energy.value for energy in ours.values())
    assert total == pytest.approx(theirs["total"], rel=0.1)
    bound = time_bound(counts, chip, placement)
    assert bound is not None
    assert bound.value <= theirs["time"]
