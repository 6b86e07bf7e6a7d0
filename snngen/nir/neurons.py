"""Neurons: NIR's neuron nodes and ours."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.neurons.clocked_leaky import ClockedLeaky
from snngen.dynamics.neurons.clocked_synaptic import ClockedSynaptic
from snngen.dynamics.neurons.current_leaky_integrator import CurrentLeakyIntegrator
from snngen.dynamics.neurons.current_lif import CurrentLif
from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.neurons.integrator import Integrator
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.neurons.primed_integrate_and_fire import PrimedIntegrateAndFire
from snngen.integers import FloatArray
from snngen.nir.exporters import Convention

Shape: TypeAlias = tuple[int, ...]

NEURONS: dict[str, tuple[type[DynamicNeuron], tuple[str, ...]]] = {
    "IF": (IntegrateAndFire, ("r", "v_threshold", "v_reset")),
    "I": (Integrator, ("r",)),
    "LIF": (LeakyIntegrateAndFire, ("tau", "r", "v_leak", "v_threshold", "v_reset")),
    "LI": (LeakyIntegrator, ("tau", "r", "v_leak")),
    "CubaLIF": (CurrentLif, ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in")),
    "CubaLI": (CurrentLeakyIntegrator, ("tau_syn", "tau_mem", "r", "v_leak", "w_in")),
}
VARIANTS: dict[str, type[DynamicNeuron]] = {
    "clocked_leaky": ClockedLeaky,
    "clocked_synaptic": ClockedSynaptic,
    "primed_integrate_and_fire": PrimedIntegrateAndFire,
}
SETTINGS = ("reset", "reset_delay", "keeps_input", "v_start")


def shape_of(node: Any) -> Shape:
    """Shape of a population; () where all its neurons share their parameters."""
    kind = type(node).__name__
    if kind == "Input":
        return tuple(int(side) for side in np.reshape(node.input_type["input"], -1)) or (1,)
    shape = np.broadcast_shapes(*(np.shape(getattr(node, name)) for name in NEURONS[kind][1]))
    return tuple(int(side) for side in shape)


def neuron_of(node: Any, shape: Shape, convention: Convention, reset: str | None) -> DynamicNeuron:
    """The neurons of a node. reset: instead of what its metadata says."""
    kind = type(node).__name__
    model, names = NEURONS[kind]
    given: dict[str, FloatArray] = {name: _flat(getattr(node, name), shape) for name in names}
    for name in ("tau", "tau_mem", "tau_syn"):
        if name in given:
            given[name] = given[name] * convention.stretch
    if "tau" in given:
        given["tau_mem"] = given.pop("tau")
    weighed = "w_in" if "w_in" in given else "r"
    given[weighed] = given[weighed] * convention.gain(kind, given.get("tau_syn"))
    own = node.metadata.get("snngen", {}) if isinstance(node.metadata, dict) else {}
    own = own if isinstance(own, dict) else {}
    variant = VARIANTS.get(str(own.get("kind")))
    if variant is not None and issubclass(variant, model):
        model = variant
    settings: dict[str, Any] = {
        name: np.reshape(np.asarray(own[name], dtype=np.float64), math.prod(shape))
        if name == "v_start"
        else str(own[name])
        if name == "reset"
        else bool(own[name])
        for name in SETTINGS
        if name in own and name in getattr(model, "__dataclass_fields__", {})
    }
    if reset is not None and model.fires:
        settings["reset"] = reset
    return model(**given, **settings)


def node_of(nir: Any, neuron: DynamicNeuron, shape: Shape, dt: float | None) -> Any:
    """The NIR node of neurons. dt: seconds that the current of a spike lasts, None for a pulse."""
    kind = next(name for name, (model, _) in NEURONS.items() if isinstance(neuron, model))
    values = {}
    for name in NEURONS[kind][1]:
        value = getattr(neuron, "tau_mem" if name == "tau" else name)
        if dt is not None and name == ("w_in" if "w_in" in NEURONS[kind][1] else "r"):
            value = value / dt
        values[name] = smallest(value).reshape(shape)
    own: dict[str, Any] = {
        name: int(value) if isinstance(value := getattr(neuron, name), bool) else value
        for name in SETTINGS
        if hasattr(neuron, name)
    }
    if neuron.kind in VARIANTS:
        own["kind"] = neuron.kind
    return getattr(nir, kind)(**values, metadata={"snngen": own} if own else {})


def smallest(values: FloatArray) -> FloatArray:
    """float32 where that loses nothing, else float64."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if (narrow.astype(np.float64) == values).all() else np.asarray(values)


def _flat(values: Any, shape: Shape) -> FloatArray:
    """(n,) float64, in the order of the shape; a single value is shared."""
    given = np.asarray(values, dtype=np.float64)
    if given.size == 1:
        return np.full(math.prod(shape), float(given.reshape(-1)[0]))
    return np.broadcast_to(given, shape).reshape(-1)
