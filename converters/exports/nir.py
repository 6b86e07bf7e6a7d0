"""NIR out: a network of integrate-and-fire neurons as a graph of IF nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrator import Integrator
from snngen.dynamics.neurons.primed_integrate_and_fire import PrimedIntegrateAndFire
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.convolution import Convolution as DynamicConvolution
from snngen.dynamics.synapses.dense import Dense as DynamicDense
from snngen.dynamics.synapses.one_to_one import OneToOne as DynamicOneToOne
from snngen.dynamics.synapses.sparse import Sparse as DynamicSparse
from snngen.errors import UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.nir import write_nir
from snngen.synapses.convolution import Convolution
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.sparse import Sparse

HALF = 0.5  # a unit: at or above the threshold is above it, where a potential starts half a unit up


def write(network: Network, path: Path, tick_us: int = 1000) -> list[str]:
    """Write a network as NIR: Source -> Input, IntegrateAndFire -> IF, Accumulator -> I, and linear maps between them.

    Weights and thresholds are the integers; every projection has a Delay of one tick. `snngen.nir.read_nir` gives a
    network that, clocked at a tick per step, fires as the ticked engine does with eager schedule.

    tick_us: microseconds that a tick is worth.
    returns: notes: what a reader of the file has to know.
    raises: UnsupportedError naming every population and projection that NIR cannot express, and why.
    """
    write_nir(to_dynamic(network, tick_us), path)
    return [
        f"a tick is {tick_us} us; reset by subtraction and a start of {HALF} are in the metadata `snngen` of each IF, "
        "which NIR itself cannot express: a reader that ignores them fires otherwise",
        "a neuron fires once per tick at most: run it with a clock, a tick per step",
    ]


def to_dynamic(network: Network, tick_us: int = 1000) -> DynamicNetwork:
    """The network in continuous time that `write` writes.

    raises: see `write`.
    """
    wrong: list[str] = []
    populations, projections = [], []
    for population in network.populations:
        try:
            populations.append(DynamicPopulation(population.name, _neuron(network, population)))
        except UnsupportedError as error:
            wrong.append(f"population {population.name} ({error.got})")
    for projection in network.projections:
        try:
            synapse = _synapse(projection)
            projections.append(DynamicProjection(projection.source, projection.target, synapse, tick_us))
        except UnsupportedError as error:
            wrong.append(f"projection {projection.name} ({error.got})")
    if wrong:
        expected = "sources, integrate-and-fire, accumulators that send nothing; dense, sparse, one-to-one, convolution"
        raise UnsupportedError("export to NIR", "; ".join(wrong), expected)
    return DynamicNetwork(tuple(populations), tuple(projections), outputs=(network.output,))


def _neuron(network: Network, population: Population) -> DynamicNeuron:
    neuron = population.neuron
    if isinstance(neuron, Source):
        return Input(neuron.size)
    if isinstance(neuron, IntegrateAndFire):
        start = np.full(neuron.size, HALF)
        return PrimedIntegrateAndFire(neuron.theta.astype(np.float64), reset="subtract", v_start=start)
    if not isinstance(neuron, Accumulator):
        what = "signed spikes that take back what was sent" if neuron.kind == "threshold" else "no primitive"
        raise UnsupportedError("", f"{neuron.kind}: {what}", "")
    targets = [p.target for p in network.projections if population.name in (p.source, p.writer)]
    if targets:
        raise UnsupportedError("", f"accumulator: sends potentials to {', '.join(targets)}, not spikes", "")
    if neuron.bias.any():
        raise UnsupportedError("", "accumulator with a bias: a potential at first", "")
    return Integrator(np.ones(neuron.size))


def _synapse(projection: Projection) -> DynamicSynapse:
    synapse = projection.synapse
    if projection.delayed:
        raise UnsupportedError("", f"{synapse.kind}: arrives at the next token, not after a time", "")
    if projection.writer is not None:
        raise UnsupportedError("", f"{synapse.kind}: weights written while it runs", "")
    if isinstance(synapse, Dense):
        return DynamicDense(synapse.matrix.astype(np.float64) * synapse.gain)
    if isinstance(synapse, Sparse):
        weights = synapse.weight.astype(np.float64) * synapse.gain[synapse.target]
        return DynamicSparse(synapse.first, synapse.target, weights, synapse.target_size)
    if isinstance(synapse, OneToOne):
        return DynamicOneToOne(np.ones(synapse.neurons))
    if isinstance(synapse, Convolution):
        return _convolution(synapse)
    raise UnsupportedError("", f"{synapse.kind}: no primitive", "")


def _convolution(synapse: Convolution) -> DynamicConvolution:
    if synapse.transposed:
        raise UnsupportedError("", "transposed convolution: no primitive", "")
    gain = synapse.gain.reshape(synapse.target_shape[0], -1)
    if (gain != gain[:, :1]).any():
        raise UnsupportedError("", "convolution with gains that differ within a channel: no primitive", "")
    kernel = synapse.kernel.astype(np.float64) * gain[:, 0, None, None, None]
    height, width = int(synapse.shape[1]), int(synapse.shape[2])
    stride, padding, dilation = (
        (int(sides[0]), int(sides[1])) for sides in (synapse.stride, synapse.padding, synapse.dilation)
    )
    return DynamicConvolution(
        kernel, (int(synapse.shape[0]), height, width), stride, padding, dilation, int(synapse.groups)
    )
