"""Random networks of continuous time, and events for them."""

from __future__ import annotations

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.current_leaky_integrator import CurrentLeakyIntegrator
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.integrator import Integrator
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.reference import Event
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse

FIRING = ("integrate_and_fire", "leaky_integrate_and_fire", "current_lif")
SILENT = ("integrator", "leaky_integrator", "current_leaky_integrator")


def taus(rng: np.random.Generator, size: int, shared: bool) -> np.ndarray:
    """Time constants of 2 to 20 ms."""
    return np.full(size, rng.uniform(0.002, 0.02)) if shared else rng.uniform(0.002, 0.02, size)


def random_neuron(
    rng: np.random.Generator, kind: str, size: int, bias: bool = False, equal: bool = False
) -> DynamicNeuron:
    """One neuron of a kind, thresholds about 1, gains such that events of weight 1 raise the state by about 1.

    bias: with constant input, sometimes above the threshold. equal: both time constants the same.
    """
    shared = bool(rng.integers(2))
    mem = taus(rng, size, shared)
    syn = mem if equal else taus(rng, size, shared)
    threshold, reset = rng.uniform(0.5, 1.5, size), ("value", "subtract")[rng.integers(2)]
    leak, start = rng.uniform(-0.3, 0.3, size), rng.uniform(-0.5, 0.2, size)
    current = rng.uniform(-1, 1, size) if bias else np.zeros(size)
    gain = rng.uniform(0.5, 2, size)
    fires = {"v_threshold": threshold, "v_reset": start, "reset": reset}
    if kind == "integrate_and_fire":
        return IntegrateAndFire(r=gain, bias=current * 50, **fires)
    if kind == "leaky_integrate_and_fire":
        return LeakyIntegrateAndFire(mem, r=gain * mem, v_leak=leak, bias=current / mem, **fires)
    if kind == "current_lif":
        return CurrentLif(mem, syn, r=gain * 2, v_leak=leak, w_in=syn * 1.5, bias=current / syn / 3, **fires)
    if kind == "integrator":
        return Integrator(r=gain, bias=current)
    if kind == "leaky_integrator":
        return LeakyIntegrator(mem, r=gain * mem, v_leak=leak, bias=current / mem)
    return CurrentLeakyIntegrator(mem, syn, r=gain, v_leak=leak, w_in=syn, bias=current / syn)


def random_synapse(rng: np.random.Generator, kind: str, source: int, target: int, scale: float = 1.0) -> DynamicSynapse:
    """Weights from -0.5 to 1, times `scale`."""
    if kind == "one_to_one" and source == target:
        return OneToOne(rng.uniform(-0.5, 1, source) * scale)
    if kind == "sparse":
        count = int(rng.integers(0, source * target + 1))
        ends = rng.integers(source, size=count), rng.integers(target, size=count)
        return Sparse.from_pairs(*ends, rng.uniform(-0.5, 1, count) * scale, source, target)
    return Dense(rng.uniform(-0.5, 1, (source, target)) * scale)


def random_network(
    rng: np.random.Generator, kinds: tuple[str, ...] = FIRING, bias: bool = False, equal: bool = False
) -> DynamicNetwork:
    """An input, a convolution, one to three populations that fire, some recurrent, and one that does not."""
    size = int(rng.integers(1, 5))
    shape = (int(rng.integers(1, 3)), int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    kernel = rng.uniform(-0.5, 1, (2, shape[0], 2, 2))
    stride, padding = (int(rng.integers(1, 3)), 1), (0, int(rng.integers(2)))
    synapse: DynamicSynapse = Convolution(kernel, shape, stride, padding)
    populations = [DynamicPopulation("in", Input(synapse.source_size))]
    projections: list[DynamicProjection] = []
    for layer in range(int(rng.integers(1, 4))):
        name, before = f"layer{layer}", populations[-1]
        width = synapse.target_size if layer == 0 else size
        kind = kinds[rng.integers(len(kinds))]
        populations.append(DynamicPopulation(name, random_neuron(rng, kind, width, bias, equal)))
        chosen = ("dense", "sparse", "one_to_one")[rng.integers(3)]
        weights = synapse if layer == 0 else random_synapse(rng, chosen, before.size, width)
        delay: int | np.ndarray = int(rng.integers(3)) * 700
        if rng.integers(3) == 0:
            delay = rng.integers(0, 2000, before.size)
        projections.append(DynamicProjection(before.name, name, weights, delay))
        if rng.integers(2):
            loop = random_synapse(rng, chosen, width, width, 0.2 / width)  # it must not run away
            projections.append(DynamicProjection(name, name, loop, int(rng.integers(1, 3000))))
    last = populations[-1]
    populations.append(DynamicPopulation("out", random_neuron(rng, SILENT[rng.integers(3)], 3, bias)))
    projections.append(DynamicProjection(last.name, "out", random_synapse(rng, "dense", last.size, 3)))
    rng.shuffle(projections)  # type: ignore[arg-type]
    firing = tuple(p.name for p in populations if p.neuron.fires)
    return DynamicNetwork(tuple(populations), tuple(projections), outputs=(*firing, "out"))


def random_events(
    rng: np.random.Generator, network: DynamicNetwork, count: int, until_us: int, step_us: int = 1
) -> list[Event]:
    """Events on a grid, many of them at equal times."""
    times = np.sort(rng.integers(0, max(until_us // step_us, 1), count)) * step_us
    times[::3] = times[: times[::3].size]
    size = network["in"].size
    return [(int(t), "in", int(rng.integers(size)), float(rng.uniform(0.2, 1.5))) for t in times]
