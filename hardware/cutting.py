"""Cutting: the neurons of a network, in order, become the fewest cores that hold them.

Neurons stand in one line, population after population; within one, those that share weights stand side by side. The
line is cut from its end, each core taking as many neurons as its limits allow. For limits that do not depend on where
the cuts lie (all but out-axons) no other cuts of this line need fewer cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from snngen.errors import CapacityError
from snngen.hardware.limits import IN_AXONS, MEMORY, NEURONS, OUT_AXONS, PER_CORE
from snngen.hardware.wiring import blocks, ways
from snngen.integers import IntArray
from snngen.network import Network, Population

WINDOW = 64  # neurons looked at first; doubled while all of them fit
MENDS = {
    NEURONS: "",
    MEMORY: "Take a chip with more memory per core, fewer inputs, or a shorter context",
    IN_AXONS: "Take a chip with more in-axons, or fewer inputs",
    OUT_AXONS: "Take a chip with more out-axons, or fewer targets",
}


@dataclass(frozen=True, eq=False)
class Demand:
    """What neurons ask of a core. Neurons of one share ask for it once.

    limit: one of PER_CORE. share: (neurons,). size: (neurons,) in the limit's unit, equal within a share.
    """

    limit: str
    share: IntArray
    size: IntArray

    def reordered(self, order: IntArray) -> Demand:
        """The same demand of neurons in another order."""
        return Demand(self.limit, self.share[order], self.size[order])

    def per_core(self, homes: IntArray, cores: int) -> IntArray:
        """(cores,): what each core is asked for when neuron i lives on core homes[i]."""
        _, first = np.unique(homes * (self.share.max() + 1) + self.share, return_index=True)
        return np.bincount(homes[first], weights=self.size[first], minlength=cores).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Cut:
    """Where neurons live.

    homes: (size,) core of each neuron, per population. stops: the limit that closed each core, "" for the first.
    """

    homes: tuple[IntArray, ...]
    stops: tuple[str, ...]


def reached(sender: IntArray, receiver: IntArray, homes: IntArray) -> IntArray:
    """(senders,): cores that an event of each sender goes to, for receivers that live on `homes`."""
    cores = int(homes.max()) + 1
    classes = int(max(sender.max(), receiver.max())) + 1
    return np.bincount(np.unique(receiver * cores + homes) // cores, minlength=classes)[sender]


def demands(network: Network, homes: Mapping[str, IntArray], population: Population) -> list[Demand]:
    """Everything that a population asks of its cores.

    homes: of the populations that it sends to; without them out-axons are left out.
    """
    each = np.arange(population.size)
    asked = [Demand(NEURONS, each, np.ones_like(each))]
    for projection in network.into(population.name):
        stored = blocks(projection.synapse)
        if stored.size.any():
            asked.append(Demand(MEMORY, stored.block, stored.size))
        for _, way in ways(network, projection):
            senders = np.bincount(way.sender, minlength=int(way.receiver.max()) + 1)
            asked.append(Demand(IN_AXONS, way.receiver, senders[way.receiver]))
    out = np.zeros_like(each)
    for projection in network.projections:
        if population.name in (projection.source, projection.writer) and projection.target in homes:
            for sender, way in ways(network, projection):
                if sender == population.name:
                    out += reached(way.sender, way.receiver, homes[projection.target])
    if out.any():
        asked.append(Demand(OUT_AXONS, each, out))
    return asked


def line(asked: list[Demand], size: int) -> IntArray:
    """The order in which a population's neurons stand: those that share weights side by side."""
    for demand in asked:
        if demand.limit == MEMORY and len(np.unique(demand.share)) < size:
            return np.argsort(demand.share, kind="stable")
    return np.arange(size)


@dataclass(eq=False)
class _Core:
    """The core that is being filled. number: counted from the end of the line."""

    limits: Mapping[str, int]
    number: int = 0
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PER_CORE, 0))

    def next(self) -> None:
        self.number += 1
        self.used = dict.fromkeys(PER_CORE, 0)

    def take(self, asked: list[Demand], before: list[IntArray], start: int, size: int) -> tuple[int, str]:
        """Neurons from `start` on that still fit, at most `size`, and the limit that keeps out the next one."""
        window = WINDOW
        while True:
            stop = min(size, start + window)
            totals = {name: np.zeros(stop - start, np.int64) for name in self.limits}
            for demand, earlier in zip(asked, before, strict=True):
                if demand.limit in totals:
                    fresh = np.where(earlier[start:stop] < start, demand.size[start:stop], 0)
                    totals[demand.limit] += np.cumsum(fresh)
            fitting = {
                name: int(np.searchsorted(total, self.limits[name] - self.used[name], side="right"))
                for name, total in totals.items()
            }
            name = min(fitting, key=fitting.__getitem__)
            taken = fitting[name]
            if taken < stop - start or stop == size:
                if taken:
                    for limit, total in totals.items():
                        self.used[limit] += int(total[taken - 1])
                return taken, name
            window *= 2


def cut(network: Network, limits: Mapping[str, int]) -> Cut:
    """Cut a network into cores.

    limits: per core, by name (PER_CORE); one that is left out does not bind.
    raises: CapacityError where one neuron alone is too much for a core.
    """
    core, stops = _Core(limits), list[str]()
    homes: dict[str, IntArray] = {}
    for population in reversed(network.populations):
        asked = demands(network, homes if OUT_AXONS in limits else {}, population)
        order = line(asked, population.size)[::-1]
        asked = [demand.reordered(order) for demand in asked]
        before = [_earlier(demand.share) for demand in asked]
        home, start = np.zeros(population.size, np.int64), 0
        while start < population.size:
            taken, name = core.take(asked, before, start, population.size)
            if not taken and not any(core.used.values()):
                raise _too_big(population, asked, int(order[start]), start, limits)
            home[order[start : start + taken]] = core.number
            start += taken
            if start < population.size:
                stops.append(name)
                core.next()
        homes[population.name] = home
    last = core.number
    turned = tuple(last - homes[population.name] for population in network.populations)
    return Cut(turned, ("", *reversed(stops)))


def _earlier(share: IntArray) -> IntArray:
    """(n,): the place before of the same share, or -1."""
    order = np.argsort(share, kind="stable")
    same = share[order][1:] == share[order][:-1]
    earlier = np.full(len(share), -1, np.int64)
    earlier[order[1:][same]] = order[:-1][same]
    return earlier


def _too_big(
    population: Population, asked: list[Demand], neuron: int, at: int, limits: Mapping[str, int]
) -> CapacityError:
    needs = dict.fromkeys(limits, 0)
    for demand in asked:
        if demand.limit in needs:
            needs[demand.limit] += int(demand.size[at])
    name = max(limits, key=lambda limit: needs[limit] - limits[limit])
    over, unit = needs[name] - limits[name], PER_CORE[name].split("/")[0]
    return CapacityError(
        f"{population.name}, neuron {neuron}: {name}",
        f"{needs[name]:,} {unit} for this neuron alone, {over:,} too many",
        f"at most {limits[name]:,} {unit} on one core",
        MENDS[name],
    )
