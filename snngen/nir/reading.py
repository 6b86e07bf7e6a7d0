"""Reading: a graph of NIR nodes as a network in continuous time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.composite import Composite
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.errors import FormatError, NetworkError, SnngenError, UnsupportedError
from snngen.integers import FloatArray, IntArray
from snngen.nir import package
from snngen.nir.exporters import Convention, convention_of
from snngen.nir.maps import MAPS, Linked, linked
from snngen.nir.neurons import NEURONS, neuron_of, shape_of

Shape: TypeAlias = tuple[int, ...]

MOST_PATHS, LONGEST_PATH = 2**14, 64
KEY = "snngen"


def graph_of(tree: dict[str, Any], where: str) -> Any:
    """The `nir.NIRGraph` of a file's contents; its types are not inferred (nir's inference knows square kernels only).

    raises: FormatError for nodes that are none.
    """
    node = tree.get("node")
    if not isinstance(node, dict) or str(node.get("type")) != "NIRGraph":
        raise FormatError(where, "no NIRGraph", "a NIR file, as `nir.write` makes it")
    return _graph(node, where)


def _graph(tree: dict[str, Any], where: str) -> Any:
    nir = package()
    nodes, edges = tree.get("nodes"), np.asarray(tree.get("edges", []))
    if not isinstance(nodes, dict) or (edges.size and edges.shape[1:] != (2,)):
        raise FormatError(where, "a graph without nodes or with edges that are no pairs", "nodes and edges")
    made = {}
    for name, node in nodes.items():
        at = f"{where}:{name}"
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, str):
            raise FormatError(at, "no type", "a NIR node")
        if kind == "NIRGraph":
            made[name] = _graph(node, at)
            continue
        if kind not in nir.__all__ or kind in ("NIRNode", "str2NIRNode", "dict2NIRNode"):
            made[name] = kind  # refused later, together with all others
            continue
        try:
            made[name] = nir.dict2NIRNode(dict(node))
        except (AssertionError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise FormatError(at, f"a damaged {kind} ({error})", "all its parameters, in one shape") from error
    pairs = [(str(a), str(b)) for a, b in edges] if edges.size else []
    metadata = tree.get("metadata", {})
    return nir.NIRGraph(made, pairs, metadata if isinstance(metadata, dict) else {}, type_check=False)


def from_nir(
    graph: Any,
    dt: float | None = None,
    exporter: str | None = None,
    reset: str | None = None,
    where: str = "NIR graph",
) -> DynamicNetwork:
    """The network of a `nir.NIRGraph`. dt, exporter, reset: see `read_nir`. where: for messages.

    raises: FormatError where the graph is inconsistent; UnsupportedError with everything that cannot be carried.
    """
    if dt is not None and not 0 < dt < math.inf:
        raise UnsupportedError("dt", str(dt), "seconds, more than 0")
    if reset not in (None, "value", "subtract"):
        raise UnsupportedError("reset", repr(reset), "'value' or 'subtract'")
    reader = _Reader(where)
    reader.flatten(graph, "")
    own = graph.metadata.get(KEY, {}) if isinstance(graph.metadata, dict) else {}
    try:
        convention = convention_of(own, reader.neurons(), dt, exporter, where)
        return reader.network(own, convention, reset, graph.metadata)
    except NetworkError as error:
        raise FormatError(f"{where}: {error.where}", error.got, error.expected) from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise FormatError(where, f"a graph that contradicts itself ({error})", "a whole one") from error


@dataclass
class _Reader:
    """A graph without nesting. nodes: by name. after: the nodes that each leads to. wrong: what cannot be carried."""

    where: str
    nodes: dict[str, Any] = field(default_factory=dict)
    after: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def flatten(self, graph: Any, prefix: str) -> None:
        """Take the nodes of a graph; those of nested ones with the name of the graph before theirs."""
        for name, node in graph.nodes.items():
            full = prefix + name.replace("/", ".")
            kind = node if isinstance(node, str) else type(node).__name__
            if kind == "NIRGraph":
                self.flatten(node, f"{full}.")
                continue
            if kind not in NEURONS and kind not in MAPS and kind not in ("Input", "Output"):
                what = "a step of a continuous signal, not of events" if kind == "Threshold" else "an unknown node"
                self.wrong.append(f"{full} ({kind}: {what})")
            if full in self.nodes:
                raise FormatError(self.where, f"two nodes {full!r}", "one")
            self.nodes[full], self.after[full] = node, []
        ends = {name: type(node).__name__ for name, node in graph.nodes.items()}
        for edge in graph.edges:
            if any(name not in ends for name in edge):
                raise FormatError(self.where, f"an edge {edge} of nodes that are not there", "names of nodes")
            source, target = (
                self._port(graph.nodes[name], prefix + name.replace("/", "."), kind)
                for name, kind in zip(edge, ("Output", "Input"), strict=True)
            )
            if source and target and target not in self.after[source]:  # edges are a set: one named twice is one
                self.after[source].append(target)

    def _port(self, node: Any, name: str, kind: str) -> str:
        """The node that an edge means: itself, or the only Input or Output of a nested graph."""
        if type(node).__name__ != "NIRGraph":
            return name
        ports = [inner for inner, each in node.nodes.items() if type(each).__name__ == kind]
        if len(ports) != 1:
            self.wrong.append(f"{name} (NIRGraph: {len(ports)} nodes of {kind}, an edge can mean one only)")
            return ""
        return self._port(node.nodes[ports[0]], f"{name}.{ports[0].replace('/', '.')}", kind)

    def kind(self, name: str) -> str:
        """What a node is: an Input that something leads to, and an Output that leads on, only pass on."""
        node = self.nodes[name]
        kind = node if isinstance(node, str) else type(node).__name__
        if (kind == "Input" and name in self._reached) or (kind == "Output" and self.after[name]):
            return "pass"
        return kind

    @property
    def _reached(self) -> set[str]:
        if not hasattr(self, "_targets"):
            self._targets = {target for targets in self.after.values() for target in targets}
        return self._targets

    def neurons(self) -> dict[str, Any]:
        """The nodes that are neurons, by name."""
        return {name: node for name, node in self.nodes.items() if self.kind(name) in NEURONS}

    def network(self, own: Any, convention: Convention, reset: str | None, metadata: Any) -> DynamicNetwork:
        """Put it together; see `from_nir`."""
        populations = [name for name in self.nodes if self.kind(name) in (*NEURONS, "Input")]
        paths = [path for name in populations for path in self._paths(name)]
        self._check_ends(paths, populations)
        self._refuse()
        shapes = self._shapes(populations, paths)
        biases = _Biases(self, shapes)
        made: dict[str, DynamicNeuron] = {}
        for name in populations:
            size = math.prod(shapes[name])
            if self.kind(name) == "Input":
                made[name] = Input(size)
                continue
            neuron = neuron_of(self.nodes[name], shapes[name], convention, reset)
            made[name] = replace(neuron, bias=convention.bias(biases.into(name, size)))  # type: ignore[type-var]
        found, outputs = self._projections(paths, shapes)
        self._refuse()
        projections, order = self._in_order(found, populations, own, convention)
        self._refuse()
        return DynamicNetwork(
            tuple(DynamicPopulation(name, made[name]) for name in order),
            tuple(projections),
            outputs=tuple(_listed(own, "outputs", outputs)),
            metadata={"nir": {**convention.described, "metadata": _plain(metadata)}},
        )

    def _refuse(self) -> None:
        if self.wrong:
            expected = "Input, IF, LIF, CubaLIF, I, LI, CubaLI and linear maps between them"
            raise UnsupportedError(self.where, "; ".join(self.wrong), expected)

    def _paths(self, source: str) -> Iterator[tuple[str, ...]]:
        """All ways from a population over maps to the next population or to an output; its ends included."""
        waiting: list[tuple[str, ...]] = [(source,)]
        count = 0
        while waiting:
            path = waiting.pop()
            for name in self.after[path[-1]]:
                count += 1
                if count > MOST_PATHS or len(path) > LONGEST_PATH:
                    got = f"{source} (more than {MOST_PATHS} ways on, or a loop of maps without neurons)"
                    if got not in self.wrong:
                        self.wrong.append(got)
                    return
                kind = self.kind(name)
                if kind in NEURONS or kind == "Output":
                    yield (*path, name)
                elif kind in MAPS or kind == "pass":
                    waiting.append((*path, name))

    def _check_ends(self, paths: list[tuple[str, ...]], populations: list[str]) -> None:
        if not any(self.kind(name) == "Input" for name in populations):
            self.wrong.append("the graph (no Input: what is fed is not said)")
        for path in paths:
            source, target = path[0], path[-1]
            maps = [name for name in path[1:-1] if self.kind(name) not in ("Flatten", "pass")]
            kind = self.kind(source)
            if self.kind(target) == "Output":
                if maps:
                    self.wrong.append(f"{target} (Output of {maps[-1]}: a current, an LI before it would be read)")
            elif kind in ("I", "LI", "CubaLI"):
                self.wrong.append(
                    f"{source} ({kind}: a continuous signal that leads to {target}, events would be sent)"
                )

    def _shapes(self, populations: list[str], paths: list[tuple[str, ...]]) -> dict[str, Shape]:
        """Shape of each population; neurons that share their parameters have the shape of what reaches them."""
        shapes = {name: shape_of(self.nodes[name]) for name in populations}
        known = {name for name in populations if math.prod(shapes[name]) > 1 or self.kind(name) == "Input"}
        waiting = [path for path in paths if path[-1] in shapes]
        while waiting:
            ready = [path for path in waiting if path[0] in known]
            if not ready:
                break
            for path in ready:
                if path[-1] not in known:
                    shapes[path[-1]] = self._along(path, shapes[path[0]])[1]
                    known.add(path[-1])
            waiting = [path for path in waiting if path not in ready]
        return {name: shape or (1,) for name, shape in shapes.items()}

    def _along(self, path: tuple[str, ...], shape: Shape) -> tuple[list[Linked], Shape]:
        """The maps of a path, and the shape behind them."""
        maps = []
        for name in path[1:-1]:
            if self.kind(name) == "pass":
                continue
            maps.append(self.linked(name, shape))
            shape = maps[-1].shape
        return maps, shape

    def linked(self, name: str, shape: Shape) -> Linked:
        """The map of a node, for a signal of a shape."""
        try:
            return linked(self.nodes[name], shape)
        except SnngenError as error:
            raise FormatError(f"{self.where}:{name}", error.got, error.expected) from error

    def _projections(
        self, paths: list[tuple[str, ...]], shapes: dict[str, Shape]
    ) -> tuple[list[tuple[tuple[str, ...], DynamicProjection]], list[str]]:
        """The projection of each path, and the populations that outputs show."""
        projections, outputs = [], []
        for path in paths:
            source, target = path[0], path[-1]
            maps, shape = self._along(path, shapes[source])
            if self.kind(target) == "Output":
                if source not in outputs:
                    outputs.append(source)
                continue
            if math.prod(shape) != math.prod(shapes[target]) or _squeezed(shape) != _squeezed(shapes[target]):
                raise FormatError(f"{self.where}:{target}", f"a signal of shape {shape}", f"shape {shapes[target]}")
            try:
                delay = _delay(maps, math.prod(shapes[source]))
            except UnsupportedError as error:
                self.wrong.append(f"{source} to {target} ({error.got})")
                continue
            stages = [each.synapse for each in maps if each.synapse is not None]
            synapse: DynamicSynapse = OneToOne(np.ones(math.prod(shape)))
            if stages:
                synapse = stages[0] if len(stages) == 1 else Composite(tuple(stages))
            projections.append((path, DynamicProjection(source, target, synapse, delay)))
        return projections, outputs

    def _in_order(
        self,
        projections: list[tuple[tuple[str, ...], DynamicProjection]],
        populations: list[str],
        own: Any,
        convention: Convention,
    ) -> tuple[list[DynamicProjection], list[str]]:
        """Projections and names in the order of a network that we wrote, else in one in which events are passed on.

        Cycles without a delay: what leads back arrives one step later, as libraries with a clock have it.
        """
        order = _listed(own, "populations", [])
        if sorted(order) != sorted(populations):
            order = _passed_on(populations, [projection for _, projection in projections])
        place = {name: index for index, name in enumerate(order)}
        kept = []
        for path, projection in projections:
            if place[projection.source] >= place[projection.target] and projection.delays_us.min() == 0:
                step = None if convention.dt is None else convention.dt * 1e6
                if step is None or not (round(step) >= 1 and abs(step - round(step)) < 1e-6 * step):
                    got = f"{projection.source} to {projection.target} (leads back without a Delay: give dt)"
                    self.wrong.append(got)
                    continue
                projection = replace(projection, delay_us=projection.delay_us + round(step))
            kept.append((path, projection))
        written = [tuple(path) for path in _listed(own, "projections", [])]
        first = {path: index for index, path in reversed(list(enumerate(written)))}
        kept.sort(key=lambda pair: (first.get(pair[0], len(first)), place[pair[1].source], place[pair[1].target]))
        return [projection for _, projection in kept], order


@dataclass
class _Biases:
    """What the biases of maps add to every population, whatever is fed."""

    reader: _Reader
    shapes: dict[str, Shape]
    before: dict[str, list[str]] = field(init=False)
    known: dict[str, tuple[FloatArray, Shape]] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = {name: [] for name in self.reader.nodes}
        for name, targets in self.reader.after.items():
            for target in targets:
                self.before[target].append(name)

    def into(self, name: str, size: int) -> FloatArray:
        """(size,) float64: the sum over all maps that lead to a population."""
        total = np.zeros(size)
        for source in self.before[name]:
            total = total + self._behind(source)[0]
        return total

    def _behind(self, name: str) -> tuple[FloatArray, Shape]:
        """What leaves a node where no event is about, flat, and its shape."""
        if name in self.shapes:
            return np.zeros(math.prod(self.shapes[name])), self.shapes[name]
        if name not in self.known:
            where = f"{self.reader.where}:{name}"
            if name in self.under_way or not self.before[name]:
                got = "a loop of maps" if name in self.under_way else "a map that nothing leads to"
                raise FormatError(where, got, "maps behind an Input or neurons")
            self.under_way.add(name)
            signals = [self._behind(source) for source in self.before[name]]
            total, shape = sum((values for values, _ in signals), np.zeros(1)), signals[0][1]
            if self.reader.kind(name) != "pass":
                made = self.reader.linked(name, shape)
                if made.delay is not None and total.any():
                    raise FormatError(where, "a delayed bias", "biases behind delays")
                total = total if made.synapse is None else made.synapse.apply(total[None])[0]
                total, shape = total if made.bias is None else total + made.bias, made.shape
            self.known[name] = total, shape
        return self.known[name]


def _delay(maps: list[Linked], size: int) -> int | IntArray:
    """Microseconds, one for all or one per source neuron.

    raises: UnsupportedError for delays that differ between neurons behind a map that mixes them.
    """
    total, alone = np.zeros(1, dtype=np.int64), True
    for each in maps:
        alone = alone and (each.synapse is None or isinstance(each.synapse, OneToOne))
        if each.delay is None:
            continue
        delay = each.delay
        if (delay == delay[0]).all():
            delay = delay[:1]
        elif not alone:
            raise UnsupportedError("", "a Delay per neuron behind synapses: delays per synapse would be needed", "")
        total = total + delay
    return int(total[0]) if total.size == 1 else np.asarray(np.broadcast_to(total, (size,)))


def _squeezed(shape: Shape) -> Shape:
    """A shape without the leading ones that a batch of 1 leaves behind."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _plain(value: Any) -> Any:
    """Metadata as numbers, texts, lists and dictionaries."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)


def _listed(own: Any, key: str, otherwise: list[Any]) -> list[Any]:
    """A list of our own metadata, in JSON."""
    if not isinstance(own, dict) or key not in own:
        return otherwise
    found = json.loads(str(own[key]))
    return found if isinstance(found, list) else otherwise


def _passed_on(populations: list[str], projections: list[DynamicProjection]) -> list[str]:
    """Names in an order in which sources stand before targets, but for what leads back (depth first, inputs first)."""
    after: dict[str, list[str]] = {name: [] for name in populations}
    for projection in projections:
        if projection.delays_us.min() == 0:
            after[projection.source].append(projection.target)
    done: list[str] = []
    seen: set[str] = set()
    reached = {target for targets in after.values() for target in targets}
    backwards = populations[::-1]
    for start in sorted(backwards, key=lambda name: name in reached):
        stack = [(start, iter(after[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            name, rest = stack[-1]
            following = next((target for target in rest if target not in seen), None)
            if following is None:
                done.append(name)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(after[following])))
    return done[::-1]
