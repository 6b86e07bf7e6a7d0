"""Writing: a network in continuous time as a graph of NIR nodes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from snngen.dynamics.network import DynamicNetwork, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.pooling import pooling
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.composite import Composite
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray
from snngen.nir import package
from snngen.nir.neurons import node_of, smallest

Shape: TypeAlias = tuple[int, ...]

LARGEST_MATRIX = 2**26  # weights of a Linear that stands for sparse ones


def to_nir(network: DynamicNetwork, dt: float | None = None) -> Any:
    """The `nir.NIRGraph` of a network. dt: see `write_nir`.

    raises: UnsupportedError with everything that NIR cannot express.
    """
    if dt is not None and not 0 < dt < math.inf:
        raise UnsupportedError("dt", str(dt), "seconds, more than 0")
    return _Writer(network, dt).graph()


@dataclass
class _Writer:
    """nodes, edges: of the graph so far. wrong: what cannot be expressed."""

    network: DynamicNetwork
    dt: float | None
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def graph(self) -> Any:
        """See `to_nir`."""
        nir, network = package(), self.network
        shapes = self._shapes()
        for population in network.populations:
            shape = shapes[population.name]
            if population.name in (".", ".."):
                self.wrong.append(f"{population.name} (its name)")
            if isinstance(population.neuron, Input):
                self.nodes[population.name] = nir.Input({"input": np.array(shape)})
            else:
                self.nodes[population.name] = node_of(nir, population.neuron, shape, self.dt)
        paths = self._project_all(shapes)
        outputs = {}
        for name in network.outputs:
            outputs[self._add(f"output-{name}", nir.Output({"output": np.array(shapes[name])}), name)] = name
        if self.wrong:
            raise UnsupportedError("NIR", "; ".join(self.wrong), "what its primitives can express")
        own: dict[str, Any] = {
            "version": 1,
            "time_unit": "s",
            "spike": "charge" if self.dt is None else "current",
            "populations": json.dumps([population.name for population in network.populations]),
            "outputs": json.dumps(list(network.outputs)),
            "projections": json.dumps(paths),
        }
        if self.dt is not None:
            own["dt"] = self.dt
        return nir.NIRGraph(self.nodes, self.edges, {"snngen": own}, type_check=False)

    def _add(self, name: str, node: Any, *sources: str) -> str:
        """Add a node behind others under a name that is free; returns the name."""
        free, number = name, 1
        while free in self.nodes:
            number += 1
            free = f"{name}-{number}"
        self.nodes[free] = node
        self.edges += [(source, free) for source in sources]
        return free

    def _shapes(self) -> dict[str, Shape]:
        """Shapes of the populations: pictures where convolutions read or write them, else (n,)."""
        shapes: dict[str, Shape] = {}
        links = []
        for projection in self.network.projections:
            stages = _stages(projection.synapse)
            if isinstance(stages[0], Convolution):
                self._claim(shapes, projection.source, stages[0].shape)
            if isinstance(stages[-1], Convolution):
                self._claim(shapes, projection.target, stages[-1].target_shape)
            if all(isinstance(stage, OneToOne) for stage in stages):
                links.append((projection.source, projection.target))
        for _ in links:
            for source, target in links:
                if source in shapes and target not in shapes:
                    shapes[target] = shapes[source]
                elif target in shapes and source not in shapes:
                    shapes[source] = shapes[target]
        for population in self.network.populations:
            shapes.setdefault(population.name, (population.size,))
        return shapes

    def _claim(self, shapes: dict[str, Shape], name: str, shape: Shape) -> None:
        if shapes.setdefault(name, shape) != shape:
            self.wrong.append(f"{name} (a picture of {shapes[name]} and of {shape}: NIR has no reshape)")

    def _project_all(self, shapes: dict[str, Shape]) -> list[list[str]]:
        """Add the maps of all projections; returns the names of the nodes along each."""
        left = {
            population.name: bias
            for population in self.network.populations
            if (bias := getattr(population.neuron, "bias", np.zeros(0))).any()
        }
        paths = []
        for projection in self.network.projections:
            stages = _stages(projection.synapse)
            bias = left.get(projection.target)
            if bias is not None and not _carries(stages[-1], bias):
                bias = None
            if bias is not None:
                del left[projection.target]
            paths.append(self._project(projection, stages, bias, shapes))
        self.wrong += [f"{name} (a bias that neither an Affine nor a Conv2d before it can carry)" for name in left]
        return paths

    def _project(
        self, projection: DynamicProjection, stages: tuple[DynamicSynapse, ...], bias: FloatArray | None,
        shapes: dict[str, Shape],
    ) -> list[str]:  # fmt: skip
        nir, label = package(), f"{projection.source}-{projection.target}"
        path, shape = [projection.source], shapes[projection.source]
        if projection.delays_us.any():
            seconds = np.broadcast_to(projection.delays_us / 1e6, (math.prod(shape),)).reshape(shape)
            path.append(self._add(f"{label}-delay", nir.Delay(delay=seconds.copy()), path[-1]))
        plain = isinstance(stages[0], OneToOne) and len(stages) == 1 and (stages[0].weights == 1).all()
        for index, stage in enumerate(stages):
            if plain and (path[-1], projection.target) not in self.edges:
                continue
            wanted = _source_shape(stage, shape)
            if wanted != shape:
                if len(wanted) > 1:
                    self.wrong.append(f"{projection.name} (a picture of {wanted} from {shape}: NIR has no reshape)")
                else:
                    flatten = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
                    path.append(self._add(f"{label}-flatten", flatten, path[-1]))
            try:
                node = _node(nir, stage, bias if index == len(stages) - 1 else None, wanted, self.dt)
            except UnsupportedError as error:
                self.wrong.append(f"{projection.name} ({error.got})")
                break
            path.append(self._add(label, node, path[-1]))
            shape = _target_shape(stage, wanted)
        target = shapes[projection.target]
        if shape != target and len(target) == 1:
            flatten = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
            path.append(self._add(f"{label}-flatten", flatten, path[-1]))
        elif shape != target:
            self.wrong.append(f"{projection.name} (a picture of {target} from {shape}: NIR has no reshape)")
        self.edges.append((path[-1], projection.target))
        return [*path, projection.target]


def _stages(synapse: DynamicSynapse) -> tuple[DynamicSynapse, ...]:
    return synapse.stages if isinstance(synapse, Composite) else (synapse,)


def _carries(stage: DynamicSynapse, bias: FloatArray) -> bool:
    """True where the node of a map has a place for a bias."""
    if isinstance(stage, Convolution):
        per_channel = bias.reshape(stage.target_shape[0], -1)
        return bool((per_channel == per_channel[:, :1]).all())
    return isinstance(stage, Dense | Sparse)


def _source_shape(stage: DynamicSynapse, shape: Shape) -> Shape:
    if isinstance(stage, Convolution):
        return stage.shape
    return shape if isinstance(stage, OneToOne) else (stage.source_size,)


def _target_shape(stage: DynamicSynapse, shape: Shape) -> Shape:
    if isinstance(stage, Convolution):
        return stage.target_shape
    return shape if isinstance(stage, OneToOne) else (stage.target_size,)


def _node(nir: Any, stage: DynamicSynapse, bias: FloatArray | None, shape: Shape, dt: float | None) -> Any:
    """The node of a map. bias: (targets,) per second, or None.

    raises: UnsupportedError for weights that NIR has no primitive for.
    """
    scaled = None if bias is None else smallest(bias if dt is None else bias * dt)
    if isinstance(stage, OneToOne):
        return nir.Scale(scale=smallest(stage.weights).reshape(shape))
    if isinstance(stage, Convolution):
        return _convolution(nir, stage, scaled)
    if isinstance(stage, Dense):
        weights, metadata = stage.weights.T, {}
    elif isinstance(stage, Sparse):
        weights, metadata = _matrix(stage).T, {"snngen": {"pointers": stage.pointers, "targets": stage.targets}}
    else:
        raise UnsupportedError("", f"{stage.kind} synapses", "")
    weight = np.ascontiguousarray(smallest(weights))
    if scaled is None:
        return nir.Linear(weight=weight, metadata=metadata)
    return nir.Affine(weight=weight, bias=scaled, metadata=metadata)


def _convolution(nir: Any, stage: Convolution, bias: FloatArray | None) -> Any:
    kind = pooling(stage)
    if kind is not None and bias is None:
        window = {"kernel_size": stage.kernel.shape[2:], "stride": stage.stride, "padding": stage.padding}
        primitive = nir.SumPool2d if kind == "sum" else nir.AvgPool2d
        return primitive(**{name: np.array(sides) for name, sides in window.items()})
    channels = stage.kernel.shape[0]
    offset = np.zeros(channels, dtype=np.float32) if bias is None else bias.reshape(channels, -1)[:, 0].copy()
    return nir.Conv2d(
        input_shape=stage.shape[1:], weight=smallest(stage.kernel), stride=stage.stride, padding=stage.padding,
        dilation=stage.dilation, groups=stage.groups, bias=offset,
    )  # fmt: skip


def _matrix(stage: Sparse) -> FloatArray:
    """(sources, targets) of sparse weights.

    raises: UnsupportedError where it is too large, or two synapses join the same two neurons.
    """
    size = stage.source_size * stage.target_size
    if size > LARGEST_MATRIX:
        raise UnsupportedError("", f"sparse synapses, a Linear of {size} weights", "")
    matrix = np.zeros((stage.source_size, stage.target_size))
    rows = np.repeat(np.arange(stage.source_size), stage.fan_out)
    places = rows * stage.target_size + stage.targets
    if np.unique(places).size != places.size:
        raise UnsupportedError("", "two sparse synapses between the same neurons", "")
    matrix[rows, stage.targets] = stage.weights
    return matrix
