"""Ticked networks as torch modules, whatever library the neurons come from; snnTorch and norse bring theirs.

What a library must bring is one thing: integrate-and-fire neurons without leak that fire where their potential is
*above* a threshold and then subtract it. The rest is exact by construction:

- Integers fire at potential >= theta, the libraries at potential > threshold. So every potential starts half a unit
  up, and the threshold stays theta: v + 1/2 > theta exactly where v >= theta, and what a reset subtracts is theta.
- Potentials are kept in units of 2**k, 2**k <= theta < 2**(k + 1), so that thresholds are about 1, where the
  libraries' surrogate gradients are wide. Weights are trained in units of 2**7. Scaling by powers of two is exact, and
  float64 holds such potentials exactly up to 2**52 units.
- A Threshold population is a pair of neurons: one holds v + 1/2, the other theta - (v + 1/2); each spike of the one
  also drives the other by theta, so that their sum stays theta. At most one of the two fires: the first where
  v >= theta, the second where v < 0. A spike beyond the range of the code is stopped, and its reset given back.
- A spike takes one tick per projection, as in the ticked engine run eagerly with the unary code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.integers import IntArray
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne

WEIGHT_UNIT = 2.0**7  # int8 weights become parameters in -1..1
TICK_LIMIT = 2**16

State: TypeAlias = dict[str, Tensor]


class Cell(nn.Module, ABC):
    """A population of a library's integrate-and-fire neurons: no leak, strict threshold, reset by subtraction."""

    @abstractmethod
    def forward(self, drive: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        """One tick: (batch, n) drive and what the last tick returned as potential; returns spikes and potential."""


MakeCell: TypeAlias = Callable[[Tensor], Cell]


class Layer(nn.Module, ABC):
    """A population: drive of a tick to what it sends at that tick."""

    @abstractmethod
    def start(self, batch: int) -> State:
        """The state before the first tick."""

    @abstractmethod
    def forward(self, drive: Tensor, state: State) -> tuple[Tensor, State]:
        """(batch, n) drive in the network's units; returns (batch, n) spikes -1, 0, +1, or potentials."""


class Integrating(Layer):
    """IntegrateAndFire as one neuron each."""

    unit: Tensor

    def __init__(self, neuron: IntegrateAndFire, make_cell: MakeCell) -> None:
        super().__init__()
        unit, theta = _units(neuron.theta)
        self.register_buffer("unit", unit)
        self.cell = make_cell(theta)

    def start(self, batch: int) -> State:
        return {"potential": (0.5 / self.unit).repeat(batch, 1)}

    def forward(self, drive: Tensor, state: State) -> tuple[Tensor, State]:
        spikes, potential = self.cell(drive / self.unit, state["potential"])
        return spikes.to(drive.dtype), {"potential": potential}


class Pair(Layer):
    """Threshold as a pair of neurons each, one for the spikes +1 and one for the spikes -1."""

    unit: Tensor
    theta: Tensor
    first: Tensor

    def __init__(self, neuron: Threshold, make_cell: MakeCell) -> None:
        super().__init__()
        unit, theta = _units(neuron.theta)
        self.register_buffer("unit", unit)
        self.register_buffer("theta", theta)
        self.register_buffer("first", torch.tensor(neuron.theta // 2 + neuron.bias.astype(np.int64) + 0.5) / unit)
        self.low, self.high = neuron.low, neuron.high
        self.up, self.down = make_cell(theta), make_cell(theta)

    def start(self, batch: int) -> State:
        # The first potential arrives as drive: a delayed reset would take one above the threshold for a spike.
        up = self.first.repeat(batch, 1)
        nothing = torch.zeros_like(up)
        return {"up": nothing, "down": nothing, "to_up": up, "to_down": self.theta - up, "count": nothing}

    def forward(self, drive: Tensor, state: State) -> tuple[Tensor, State]:
        arriving, count = drive / self.unit, state["count"]
        raised, up = self.up(arriving + state["to_up"], state["up"])
        lowered, down = self.down(state["to_down"] - arriving, state["down"])
        raised, lowered = raised.to(drive.dtype), lowered.to(drive.dtype)
        plus, minus = raised * (count < self.high), lowered * (count > self.low)
        spikes = plus - minus
        return spikes, {
            "up": up,
            "down": down,
            "to_up": self.theta * (minus + raised - plus),  # the partner's spike, and the reset of one that was stopped
            "to_down": self.theta * (plus + lowered - minus),
            "count": count + spikes.detach(),
        }


class Summing(Layer):
    """Accumulator: a potential that is read and never fires."""

    bias: Tensor

    def __init__(self, neuron: Accumulator) -> None:
        super().__init__()
        self.register_buffer("bias", torch.tensor(neuron.bias.astype(np.float64)))

    def start(self, batch: int) -> State:
        return {"potential": self.bias.repeat(batch, 1)}

    def forward(self, drive: Tensor, state: State) -> tuple[Tensor, State]:
        potential = state["potential"] + drive
        return potential, {"potential": potential}


@dataclass(frozen=True)
class Rounding:
    """What it cost to bring trained weights back to int8.

    projection: its name. weights, changed: how many, and how many differ from the network's before training.
    clipped: how many were outside -128..127. largest, mean: of abs(weight - int8 weight), in int8 steps.
    """

    projection: str
    weights: int
    changed: int
    clipped: int
    largest: float
    mean: float


class SpikingModule(nn.Module):
    """A network of spiking populations as a trainable module, tick for tick the ticked engine.

    network: populations Source, IntegrateAndFire, Threshold, and Accumulators that drive nothing; projections Dense and
    OneToOne. make_cell: the library's neurons for given thresholds.
    weights: parameters (targets, sources) in units of 2**7 int8 steps, one per Dense projection, in their order.
    raises: UnsupportedError naming everything that cannot be expressed.
    """

    def __init__(self, network: Network, make_cell: MakeCell) -> None:
        super().__init__()
        _check_supported(network)
        self.network = network
        self.layers = nn.ModuleList(
            _layer(population, make_cell) for population in network.populations if population not in network.sources
        )
        names = [population.name for population in network.populations if population not in network.sources]
        self._named = dict(zip(names, range(len(names)), strict=True))
        self.weights = nn.ParameterList()
        self._weight: dict[int, int] = {}
        for index, projection in enumerate(network.projections):
            if isinstance(projection.synapse, Dense):
                self._weight[index] = len(self.weights)
                matrix = torch.tensor(projection.synapse.matrix.T.astype(np.float64))
                self.weights.append(nn.Parameter(matrix / WEIGHT_UNIT))
                gain = torch.tensor(projection.synapse.gain.astype(np.float64) * WEIGHT_UNIT)
                self.register_buffer(f"gain{index}", gain, persistent=False)

    def forward(self, spikes: Tensor, ticks: int | None = None) -> Tensor:
        """Spikes of the output population at every tick; potentials where it is an accumulator.

        spikes: (ticks, batch, size) of the only source. ticks: how many to run, by default as many as are given.
        returns: (ticks, batch, size) float64.
        raises: PromptError for a network with several sources; otherwise as `run`.
        """
        if len(self.network.sources) != 1:
            names = [source.name for source in self.network.sources]
            raise PromptError("forward", f"sources {names}", "one source", "run({name: spikes, ...})")
        return self.run({self.network.sources[0].name: spikes}, ticks)[self.network.output]

    def run(self, spikes: Mapping[str, Tensor], ticks: int | None = None) -> dict[str, Tensor]:
        """(ticks, batch, size) spikes of every population, from a fresh start.

        spikes: (ticks, batch, size) by the name of each source.
        """
        given = self._check_spikes(spikes)
        length, batch = next(iter(given.values())).shape[:2]
        states, sent = self._start(batch, next(iter(given.values())).device)
        history: dict[str, list[Tensor]] = {population.name: [] for population in self.network.populations}
        for tick in range(length if ticks is None else ticks):
            now = {name: series[tick] if tick < length else series[0] * 0 for name, series in given.items()}
            sent = self._tick(now, sent, states)
            for name, values in sent.items():
                history[name].append(values)
        return {name: torch.stack(series) for name, series in history.items()}

    @torch.no_grad()
    def settle(self, codes: Mapping[str, IntArray]) -> dict[str, IntArray]:
        """(batch, size) int64 sums of all spikes of every population once all is quiet; potentials for accumulators.

        codes: (batch, size) integers by the name of each source, sent one unit per tick.
        raises: CapacityError where it does not become quiet.
        """
        device = next(iter((*self.parameters(), *self.buffers()))).device
        given = {name: torch.tensor(np.asarray(values)[None], device=device) for name, values in codes.items()}
        left = {name: values[0] for name, values in self._check_spikes(given).items()}
        states, sent = self._start(len(next(iter(left.values()))), device)
        total = dict(sent)
        for _ in range(TICK_LIMIT):
            now = {name: values.sign() for name, values in left.items()}
            left = {name: values - now[name] for name, values in left.items()}
            sent = self._tick(now, sent, states)
            wide = [name for name in sent if self.network[name].neuron.wide]
            total = {name: sent[name] if name in wide else total[name] + sent[name] for name in sent}
            if not any(bool(values.any()) for name, values in sent.items() if name not in wide):
                return {name: values.cpu().numpy().astype(np.int64) for name, values in total.items()}
        raise CapacityError("settle", f"{TICK_LIMIT} ticks without quiet", "a network that settles")

    def roundings(self) -> tuple[Rounding, ...]:
        """What bringing each Dense projection's weights back to int8 costs."""
        return tuple(
            _rounding(projection, self.weights[self._weight[index]])
            for index, projection in enumerate(self.network.projections)
            if index in self._weight
        )

    def to_network(self) -> Network:
        """The network with the weights as they are now, rounded to int8; `provenance` says what rounding cost."""
        projections = list(self.network.projections)
        for index, place in self._weight.items():
            synapse = projections[index].synapse
            assert isinstance(synapse, Dense)
            matrix = np.clip(_steps(self.weights[place]), -128, 127).astype(np.int8)
            projections[index] = replace(projections[index], synapse=Dense(matrix, synapse.gain))
        costs: list[dict[str, Any]] = [vars(rounding) for rounding in self.roundings()]
        provenance = {**self.network.provenance, "rounding": costs}
        return replace(self.network, projections=tuple(projections), provenance=provenance)

    def _start(self, batch: int, device: torch.device) -> tuple[dict[str, State], dict[str, Tensor]]:
        states = {name: self._layer(name).start(batch) for name in self._named}
        nothing = {
            population.name: torch.zeros((batch, population.size), dtype=torch.float64, device=device)
            for population in self.network.populations
        }
        return states, nothing

    def _layer(self, name: str) -> Layer:
        layer = self.layers[self._named[name]]
        assert isinstance(layer, Layer)
        return layer

    def _tick(self, now: dict[str, Tensor], before: dict[str, Tensor], states: dict[str, State]) -> dict[str, Tensor]:
        """What every population sends at a tick, from what all sent at the tick before; states change in place."""
        drives: dict[str, Tensor] = {}
        for index, projection in enumerate(self.network.projections):
            drive = before[projection.source]
            if index in self._weight:
                gain = self.get_buffer(f"gain{index}")
                drive = nn.functional.linear(drive, self.weights[self._weight[index]]) * gain
            target = projection.target
            drives[target] = drives[target] + drive if target in drives else drive
        sent = dict(now)
        for name in self._named:
            sent[name], states[name] = self._layer(name)(drives[name], states[name])
        return sent

    def _check_spikes(self, spikes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The spikes of every source as float64, in the order of the sources."""
        names = [source.name for source in self.network.sources]
        if sorted(spikes) != sorted(names):
            raise PromptError("spikes", f"sources {sorted(spikes)}", f"{sorted(names)}")
        shapes = {name: tuple(series.shape) for name, series in spikes.items()}
        fits = all(len(shape) == 3 and shape[2] == self.network[name].size for name, shape in shapes.items())
        if not fits or len({shape[:2] for shape in shapes.values()}) != 1 or 0 in shapes[names[0]]:
            raise PromptError("spikes", f"shapes {shapes}", "(ticks, batch, size of the source), ticks and batch alike")
        return {name: spikes[name].to(torch.float64) for name in names}


def _units(theta: IntArray) -> tuple[Tensor, Tensor]:
    """The power of two below each threshold, and the threshold in units of it: 1 <= threshold < 2."""
    unit = np.exp2(np.floor(np.log2(theta.astype(np.float64))))
    return torch.tensor(unit), torch.tensor(theta / unit)


def _layer(population: Population, make_cell: MakeCell) -> Layer:
    neuron = population.neuron
    if isinstance(neuron, IntegrateAndFire):
        return Integrating(neuron, make_cell)
    if isinstance(neuron, Threshold):
        return Pair(neuron, make_cell)
    assert isinstance(neuron, Accumulator)  # _check_supported refused the rest
    return Summing(neuron)


def _steps(weight: Tensor) -> IntArray:
    """(sources, targets) weights in int8 steps, rounded half to even, not yet clipped."""
    rounded: IntArray = np.rint(weight.detach().cpu().numpy().T * WEIGHT_UNIT).astype(np.int64)
    return rounded


def _rounding(projection: Projection, weight: Tensor) -> Rounding:
    assert isinstance(projection.synapse, Dense)
    exact, steps = weight.detach().cpu().numpy().T * WEIGHT_UNIT, _steps(weight)
    int8 = np.clip(steps, -128, 127)
    error = np.abs(exact - int8)
    changed = int((int8 != projection.synapse.matrix).sum())
    clipped = int((steps != int8).sum())
    return Rounding(projection.name, steps.size, changed, clipped, float(error.max()), float(error.mean()))


def _check_supported(network: Network) -> None:
    """Refuse a network by the names of all that spiking neurons of a library cannot express."""
    wrong = []
    for population in network.populations:
        kind = type(population.neuron)
        drives = [p.target for p in network.projections if population.name in (p.source, p.writer)]
        if kind not in (Source, IntegrateAndFire, Threshold, Accumulator):
            wrong.append(f"population {population.name} ({population.neuron.kind})")
        elif kind is Accumulator and drives:
            wrong.append(f"population {population.name} (accumulator that drives {', '.join(drives)})")
    for projection in network.projections:
        if type(projection.synapse) not in (Dense, OneToOne) or projection.delayed:
            wrong.append(f"projection {projection.name} ({projection.synapse.kind})")
    if wrong:
        expected = "sources, integrate-and-fire and threshold populations, dense and one-to-one projections"
        raise UnsupportedError("SpikingModule", ", ".join(wrong), expected, "TorchEngine(network) runs the rest")
