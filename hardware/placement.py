"""Placement: populations split over the cores and chips of a piece of hardware, under the limits of its cores.

Weights live with the neurons that they drive. What is not counted, because the sources read do not say what it takes:
thresholds, biases, gains and tables of neurons; the sums that RMSNorm and Softmax take over neurons of several cores.
Sources, fed by the host, are placed as neurons too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.codes import by_name as code_by_name
from snngen.errors import CapacityError
from snngen.hardware.cutting import Cut, Demand, cut, demands
from snngen.hardware.limits import LIMITS, MEMORY, NEURONS, PER_CORE, Limits, by_name
from snngen.hardware.mesh import SWAPPED, TOGETHER, distances, seats, swapped
from snngen.hardware.wiring import Wiring, blocks, ways
from snngen.integers import FloatArray, IntArray
from snngen.ledger import POTENTIAL_BITS
from snngen.network import Network

GRADED = code_by_name("graded")


@dataclass(frozen=True, eq=False)
class Placement:
    """Where every neuron of a network lives.

    network, limits: what was placed, and on what.
    homes: (size,) core of each neuron, per population. Cores are numbered in the order of the populations.
    stops: per core, the limit that kept out the neuron before its first; the first core has none ("").
    order: (cores,) seat of each core on the walk over the mesh (`snngen.hardware.mesh.seats`).
    raises: CapacityError for a core over a limit, or neurons without a core of their own network's size.
    """

    network: Network
    limits: Limits
    homes: tuple[IntArray, ...]
    stops: tuple[str, ...]
    order: IntArray

    def __post_init__(self) -> None:
        sizes = [len(home) for home in self.homes]
        expected = [population.size for population in self.network.populations]
        if sizes != expected or len(self.stops) != self.cores:
            got = f"homes of {sizes} neurons, {len(self.stops)} stops"
            raise CapacityError("Placement", got, f"{expected} neurons, {self.cores} stops")
        if sorted(self.order.tolist()) != list(range(self.cores)):
            raise CapacityError("Placement.order", "a seat twice or none", "every seat once")
        used = np.unique(np.concatenate(self.homes))
        if used[0] != 0 or len(used) != self.cores:
            raise CapacityError("Placement.homes", "an empty core", f"neurons on each of {self.cores} cores")
        for name, limit in self.limits.per_core.items():
            most = int(self.load(name).max())
            if most > limit.value:
                raise CapacityError(f"Placement: {name}", f"{most:,} on one core", f"at most {limit.value:,}")

    @cached_property
    def cores(self) -> int:
        """Cores that hold neurons."""
        return int(max(home.max() for home in self.homes)) + 1

    @property
    def chips(self) -> int:
        """Chips that these cores fill."""
        return -(-self.cores // self.limits.cores)

    @property
    def board(self) -> str:
        """The smallest board that holds so many chips."""
        return self.limits.board(self.chips)

    @cached_property
    def places(self) -> IntArray:
        """(cores, 5) of each core: chip column, chip row, router column, router row, place on the router."""
        return seats(self.limits, self.cores)[self.order]

    @property
    def chip_of(self) -> IntArray:
        """(cores,): chip of each core."""
        return self.order // self.limits.cores

    def load(self, name: str) -> IntArray:
        """(cores,): what a limit (one of PER_CORE) counts on each core, published or not."""
        return self._loads[name]

    def utilisation(self, name: str) -> float:
        """Share of a limit that the cores in use fill, on average."""
        return float(self.load(name).mean()) / self.limits[name]

    def hops(self, index: int, written: bool = False) -> float:
        """Mean links between routers that an event of a projection crosses, to all cores it goes to together.

        index: in network.projections. Every neuron of the source sends equally often; each core gets its own copy.
        written: of an event of the projection's writer instead, to every core that holds a weight it may write.
        """
        return self._ways[index][written][0] if written < len(self._ways[index]) else 0.0

    def crossings(self, index: int, written: bool = False) -> float:
        """Mean steps from chip to chip of an event of a projection, to all cores it goes to together."""
        return self._ways[index][written][1] if written < len(self._ways[index]) else 0.0

    def fan(self, index: int, written: bool = False) -> float:
        """Mean number of cores that an event of a projection goes to."""
        return self._ways[index][written][2] if written < len(self._ways[index]) else 0.0

    def busiest(
        self, updates: npt.NDArray[np.number[Any]], operations: npt.NDArray[np.number[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """Most neuron updates and most synaptic operations on one core.

        updates: (..., populations), operations: (..., projections): totals of each stage, or of all, spread evenly over
            the neurons updated or driven.
        returns: (...,) of each.
        raises: CapacityError for other shapes.
        """
        leading = np.shape(updates)[:-1]
        expected = (*leading, len(self.network.populations)), (*leading, len(self.network.projections))
        if (np.shape(updates), np.shape(operations)) != expected:
            raise CapacityError("busiest", f"shapes {np.shape(updates)}, {np.shape(operations)}", str(expected))
        updated, driven = np.asarray(updates) @ self._spread, np.asarray(operations) @ self._driven
        return updated.max(axis=-1), driven.max(axis=-1)

    def rows(self) -> list[dict[str, Any]]:
        """A line per population: name, neurons, cores, bytes, limit, payload_bits, hops, crossings.

        cores: that hold some of it, others' neurons beside. bytes: of weights stored, copies included. limit: what
        parts it most often from its next core, "" where it lies on one core. hops, crossings: of an event of its, over
        all that it projects to or writes. payload_bits: of a graded event of its.
        """
        lines = []
        for index, population in enumerate(self.network.populations):
            home = self.homes[index]
            inner = [self.stops[core] for core in range(int(home.min()) + 1, int(home.max()) + 1)]
            outward = [
                (i, sender == p.writer)
                for i, p in enumerate(self.network.projections)
                for sender in (p.source, p.writer)
                if sender == population.name
            ]
            bits = POTENTIAL_BITS if population.neuron.wide else GRADED.payload_bits(*population.neuron.range)
            lines.append(
                {
                    "name": population.name,
                    "neurons": population.size,
                    "cores": len(np.unique(home)),
                    "bytes": int(self._stored[index].sum()),
                    "limit": max(sorted(set(inner)), key=inner.count, default=""),
                    "payload_bits": bits,
                    "hops": float(sum(self.hops(*way) for way in outward)),
                    "crossings": float(sum(self.crossings(*way) for way in outward)),
                }
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and text, for JSON."""
        projections = self.network.projections
        return {
            "chip": self.limits.name,
            "chips": self.chips,
            "cores": self.cores,
            "board": self.board,
            "neurons": sum(len(home) for home in self.homes),
            "bytes": int(self.load(MEMORY).sum()),
            "copies": int(self.load(MEMORY).sum()) - sum(p.synapse.weight_bytes for p in projections),
            "neuron_utilisation": self.utilisation(NEURONS),
            "memory_utilisation": self.utilisation(MEMORY),
            "most_per_core": {name: int(self.load(name).max()) for name in PER_CORE},
            "limits": {name: limit.value for name, limit in self.limits.per_core.items()},
            "not_published": dict(self.limits.missing),
            "populations": self.rows(),
            "projections": [
                {"name": p.name, "cores": self.fan(i), "hops": self.hops(i), "crossings": self.crossings(i)}
                for i, p in enumerate(projections)
            ],
            "notes": list(self.notes),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: the chip's notes, codes wider than an event, and neurons that sum over cores."""
        bits = self.limits.payload.value
        binary = {population.name for population in self.network.populations if population.neuron.range == (0, 1)}
        wide = [row["name"] for row in self.rows() if row["payload_bits"] > bits and row["name"] not in binary]
        notes = list(self.limits.notes)
        if wide:
            notes.append(
                f"{len(wide)} of {len(self.homes)} populations ({_some(wide)}) have codes wider than the {bits} bits "
                "that one event carries, if sent as graded events."
            )
        summing = [
            population.name
            for population, home in zip(self.network.populations, self.homes, strict=True)
            if population.neuron.kind in ("rms_norm", "softmax") and home.min() < home.max()
        ]
        if summing:
            notes.append(f"Sums over the cores of {_some(summing)} need messages of their own, which are not counted.")
        return tuple(notes)

    def _home(self, name: str) -> IntArray:
        return self.homes[self.network.order[name]]

    @cached_property
    def _spread(self) -> FloatArray:
        """(populations, cores): share of each population's neurons on each core."""
        return np.stack([np.bincount(home, minlength=self.cores) / len(home) for home in self.homes])

    @cached_property
    def _driven(self) -> FloatArray:
        """(projections, cores): share of the neurons that each projection drives on each core."""
        order = self.network.order
        return self._spread[[order[projection.target] for projection in self.network.projections]]

    @cached_property
    def _stored(self) -> tuple[IntArray, ...]:
        """(cores,) bytes of weights of each population."""
        stored = []
        for population, home in zip(self.network.populations, self.homes, strict=True):
            total = np.zeros(self.cores, np.int64)
            for projection in self.network.into(population.name):
                held = blocks(projection.synapse)
                total += Demand(MEMORY, held.block, held.size).per_core(home, self.cores)
            stored.append(total)
        return tuple(stored)

    @cached_property
    def _loads(self) -> dict[str, IntArray]:
        loads: dict[str, IntArray] = {name: np.zeros(self.cores, np.int64) for name in PER_CORE}
        homes = {population.name: self._home(population.name) for population in self.network.populations}
        for population in self.network.populations:
            for demand in demands(self.network, homes, population):
                loads[demand.limit] += demand.per_core(homes[population.name], self.cores)
        return loads

    @cached_property
    def _ways(self) -> list[list[tuple[float, float, float]]]:
        """Per projection, of its source and of its writer: links, chip crossings and cores of one event, on average."""
        means: list[list[tuple[float, float, float]]] = []
        for projection in self.network.projections:
            means.append([])
            for name, way in ways(self.network, projection):
                sender, receiver, events = routes(self._home(name), self._home(projection.target), way)
                links, chips = distances(self.limits, self.places, sender, receiver)
                summed = (float((events * links).sum()), float((events * chips).sum()), float(events.sum()))
                first, second, third = (total / len(way.sender) for total in summed)
                means[-1].append((first, second, third))
        return means


@dataclass(frozen=True)
class Unplaced:
    """A network that lies on no cores. why: in words, for whoever reads a price that lacks the cores."""

    why: str


def placed(network: Network, chip: str) -> Placement | Unplaced:
    """A network on the cores of a chip, or why it cannot be placed there: limits that are not known, or too small.

    chip: its name, of `snngen.hardware.limits.LIMITS` or any other.
    """
    if chip not in LIMITS:
        return Unplaced("the limits of its cores are not known")
    try:
        return place(network, chip)
    except CapacityError as error:
        return Unplaced(f"the network does not fit, {error.where}: {error.got}; {error.expected} expected")


def place(network: Network, chip: str | Limits, events: FloatArray | None = None) -> Placement:
    """Split a network over the cores of as many chips as it takes.

    chip: a name (`snngen.hardware.limits.LIMITS`) or limits of your own.
    events: (populations,) how often each sends, to weigh the ways by; by default each neuron once.
    raises: CapacityError where one neuron alone is too much for a core; UnsupportedError for an unknown chip.
    """
    limits = by_name(chip) if isinstance(chip, str) else chip
    cutting = cut(network, {name: limit.value for name, limit in limits.per_core.items()})
    cores = len(cutting.stops)
    order: IntArray = np.arange(cores)
    if 1 < cores <= SWAPPED:
        everywhere = np.repeat(order, cores), np.tile(order, cores)
        links, _ = distances(limits, seats(limits, cores), *everywhere)
        together = cores if cores <= TOGETHER else limits.cores
        order = swapped(_traffic(network, cutting, events), links.reshape(cores, cores).astype(np.float64), together)
    return Placement(network, limits, cutting.homes, cutting.stops, order)


def _traffic(network: Network, cutting: Cut, events: FloatArray | None) -> FloatArray:
    """(cores, cores): events from core to core, those that write weights included."""
    traffic = np.zeros((len(cutting.stops), len(cutting.stops)))
    for projection in network.projections:
        target = cutting.homes[network.order[projection.target]]
        for name, way in ways(network, projection):
            number = network.order[name]
            rate = 1.0 if events is None else float(events[number]) / len(way.sender)
            sender, receiver, count = routes(cutting.homes[number], target, way)
            np.add.at(traffic, (sender, receiver), rate * count)
    return traffic


def routes(source: IntArray, target: IntArray, way: Wiring) -> tuple[IntArray, IntArray, IntArray]:
    """Cores that events leave, cores that they reach, and how many neurons go each way.

    source, target: cores of the neurons that send and receive.
    """
    leaving, neurons = _pairs(way.sender, source)
    reached, _ = _pairs(way.receiver, target)
    first = np.searchsorted(reached[0], leaving[0], side="left")
    fan = np.searchsorted(reached[0], leaving[0], side="right") - first
    begins = np.repeat(np.cumsum(fan) - fan, fan)
    at = np.repeat(first, fan) + np.arange(int(fan.sum())) - begins
    return np.repeat(leaving[1], fan), reached[1][at], np.repeat(neurons, fan)


def _pairs(classes: IntArray, homes: IntArray) -> tuple[IntArray, IntArray]:
    """(2, pairs) distinct class and core, sorted by class, and how often each occurs."""
    cores = int(homes.max()) + 1
    keys, counts = np.unique(classes * cores + homes, return_counts=True)
    return np.stack(np.divmod(keys, cores)), counts


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
