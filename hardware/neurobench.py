"""NeuroBench: the harness of others scores a network that our engines run.

NeuroBench 2.3 counts by hooks on torch modules. So a network is shown to it as modules that hold its weights and pass
on what the engine sent: the engine computes, its ledger counts, and NeuroBench counts once more from the spikes that
pass by. Both counts are equal, integer by integer (`tests/hardware/test_neurobench.py`).

    # pip install --no-deps neurobench: it asks for torchaudio and tonic, which scoring a network does not need
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    model = NeuroBenchNetwork(network, code="unary")
    metrics = [[Footprint, ConnectionSparsity, ParameterCount], [ActivationSparsity, SynapticOperations]]
    Benchmark(model, dataloader, [], [], metrics).run()

**Where NeuroBench's definitions differ from the ledger's.**

- A *sample* is one text, or one sequence of codes; NeuroBench gives means over samples, the ledger counts per token.
- *Synaptic operations* are counted in layers of weights: Dense, Packed, Sparse and Convolution. Attention, rotation,
  element-wise weights and one-to-one links, which the ledger counts too, have no layer; `left_out` names them.
- A weight of *zero* is no synapse to NeuroBench. The ledger counts what an event reads, and a Dense row is read whole.
  `without_zeros(network)` computes the same codes and stores no zeros (kernels of convolutions aside): its ledger has
  exactly NeuroBench's count.
- An operation is an *AC* where all that a layer receives at once is -1, 0 or 1, else a *MAC*. Settled codes and graded
  spikes are therefore MACs (tokens are ACs), unary spikes ACs. The ledger makes no such difference.
- *Dense* counts every synapse at every tick, as a machine without events would; the ledger has no such count.
- *Activation sparsity* is the share of (neuron, tick) pairs without a spike, of populations that send codes; sources
  and potentials (the residual stream, logits) are no activations.
- *Footprint*: a byte per weight, packed and sparse ones too, and all constants of neurons and synapses, and written
  memories, as they are stored. *Parameters* are the weights, zeros included.
- *Membrane updates* and *neuron operations* are defined for snnTorch's neurons alone: NeuroBench says 0 for the first
  and fails in the second. The ledger's `neuron_updates` is what there is.

Source: neurobench 2.3.0, `metrics/workload`, `metrics/static`, `metrics/utils/layers`; Yik et al., "The NeuroBench
framework for benchmarking neuromorphic computing algorithms and systems", Nature Communications 16 (2025).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from neurobench.models import NeuroBenchModel
from torch import Tensor, nn

from snngen.codes import by_name
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import Schedule, TickedEngine
from snngen.errors import PromptError, UnsupportedError
from snngen.integers import IntArray
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network, Population
from snngen.synapses import Synapse
from snngen.synapses.convolution import Convolution
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed
from snngen.synapses.sparse import Sparse

MATRICES = (Dense, Packed, Sparse)


class Weights(nn.Linear):
    """A matrix of a projection as NeuroBench looks at it: (targets, sources) int8, products in exact float64."""

    def __init__(self, matrix: IntArray) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = matrix.shape
        self.weight = nn.Parameter(torch.tensor(matrix.T.astype(np.int8)), requires_grad=False)
        self.register_parameter("bias", None)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input.double(), self.weight.double())


class Kernel(nn.Conv2d):
    """A convolution, or its transpose, of flat pictures as NeuroBench looks at it; products in exact float64."""

    def __init__(self, synapse: Convolution) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.tensor(synapse.kernel), requires_grad=False)
        self.register_parameter("bias", None)
        self._shape = tuple(int(side) for side in synapse.shape)
        self._sides = {
            name: tuple(int(value) for value in getattr(synapse, name)) for name in ("stride", "padding", "dilation")
        }
        self.groups = synapse.groups
        self._transpose = (
            {"output_padding": tuple(int(v) for v in synapse.output_padding)} if synapse.transposed else {}
        )

    def forward(self, input: Tensor) -> Tensor:
        pictures, kernel = input.double().reshape(len(input), *self._shape), self.weight.double()
        convolve: Any = nn.functional.conv_transpose2d if self._transpose else nn.functional.conv2d
        sums: Tensor = convolve(pictures, kernel, groups=self.groups, **self._sides, **self._transpose)
        return sums.flatten(1)


class Spikes(nn.Module):
    """Passes on what a population sent, for NeuroBench's hooks of activations."""

    def forward(self, sent: Tensor) -> Tensor:
        """(ticks, size) payloads; returns them."""
        return sent


class Constants(nn.Module):
    """Holds what is stored beside the weights, for the footprint; it is never called."""


class _Heard:
    """The recorder of a ticked engine: keeps the events of the token under way."""

    def __init__(self) -> None:
        self.events: list[IntArray] = []

    def record(self, events: IntArray) -> None:
        self.events.append(np.array(events))

    def token(self, number: int, ticks: int) -> None:
        """Nothing: the model takes the events after each token."""

    def reset(self) -> None:
        self.events.clear()


class NeuroBenchNetwork(NeuroBenchModel):  # type: ignore[misc]  # the package has no types
    """A network as a model of NeuroBench.

    network: what is scored; it has one source. code: name of the spike code whose spikes are sent tick by tick and
        shown; None runs the settled engine and shows codes, one step per token. schedule: of the ticked engine.
    net: the modules that NeuroBench looks at. ledger: of all that was run; `reset_ledger` empties it.
    populations: names of those whose spikes are shown as activations. layers: numbers of the projections that are shown
    as layers of weights. left_out: names of the others.
    raises: UnsupportedError for a network of several sources, or what an engine cannot run.
    """

    def __init__(self, network: Network, code: str | None = None, schedule: Schedule = "layered") -> None:
        super().__init__()
        if len(network.sources) != 1:
            names = [source.name for source in network.sources]
            raise UnsupportedError("NeuroBenchNetwork", f"sources {names}", "one: NeuroBench gives one tensor")
        self.network, self._heard = network, _Heard()
        self.engine = (
            SettledEngine(network)
            if code is None
            else TickedEngine(network, by_name(code), schedule, recorder=self._heard)
        )
        self.reset_ledger()
        self._source = network.sources[0]
        self._unit = torch.tensor(network[network.output].scale)
        self.net, self._shown, self._layers = _modules(network)
        self.populations = tuple(self._shown)
        self.layers = tuple(self._layers)
        self.left_out = tuple(p.name for index, p in enumerate(network.projections) if index not in self._layers)
        self.add_activation_module(Spikes)

    def reset_ledger(self) -> None:
        """Forget what was run."""
        self.ledger = Ledger(self.network, self.engine.spikes)

    def __net__(self) -> nn.Module:
        """The modules that NeuroBench looks at."""
        return self.net

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Run every sample from a fresh start.

        batch: (samples, tokens) token numbers, or (samples, steps, size) codes of the source; whole numbers.
        returns: (samples, tokens, outputs) float64, the output in the float model's units (for logits: nats).
        raises: PromptError for another shape or numbers that the source cannot take, CapacityError beyond the context.
        """
        given = batch.detach().cpu().numpy()
        whole = given.astype(np.int64)
        if given.ndim not in (2, 3) or 0 in given.shape or not np.array_equal(whole, given):
            raise PromptError(
                "batch", f"shape {given.shape} of {given.dtype}", "(samples, tokens) or (samples, steps, size) integers"
            )
        outputs = [torch.stack([self._step(item) for item in self._afresh(sample)]) for sample in whole]
        return torch.stack(outputs).to(batch.device)

    def _afresh(self, sample: IntArray) -> Iterator[IntArray]:
        self.engine.reset()
        yield from sample

    def _step(self, item: IntArray) -> Tensor:
        """Run one token and show it to the modules; the output."""
        self._heard.events.clear()
        if item.ndim == 0:
            self.engine.step(int(item))
        else:
            self.engine.step(codes={self._source.name: item})
        self.ledger.record(GENERATE, *self.engine.counted(), self.engine.ticks)
        sent = self._sent()
        for name, tap in self._shown.items():
            tap(sent[name])
        for index, layer in self._layers.items():
            layer(sent[self.network.projections[index].source])
        return torch.tensor(self.engine.output.astype(np.float64)) * self._unit

    def _sent(self) -> dict[str, Tensor]:
        """(ticks, size) payloads that every population sent for the last token; settled codes are one tick."""
        device = next(iter((*self.net.parameters(), *self.net.buffers())), self._unit).device
        populations = self.network.populations
        if isinstance(self.engine, SettledEngine):
            return {p.name: torch.tensor(self.engine.codes(p.name), device=device)[None] for p in populations}
        events = np.concatenate([np.zeros((0, 4), dtype=np.int32), *self._heard.events])
        sent = {}
        for number, population in enumerate(populations):
            tick, _, neuron, payload = events[events[:, 1] == number].T
            dense = np.zeros((self.engine.ticks, population.size), dtype=np.int32)
            dense[tick, neuron] = payload
            sent[population.name] = torch.tensor(dense, device=device)
        return sent


def without_zeros(network: Network) -> Network:
    """The network with matrices that store their non-zero weights only: the same codes, and as synaptic operations of
    its ledger those that NeuroBench counts. Kernels of convolutions stay as they are.
    """
    projections = (
        replace(p, synapse=Sparse.of(p.synapse.matrix, p.synapse.gain)) if isinstance(p.synapse, Dense | Packed) else p
        for p in network.projections
    )
    return replace(network, projections=tuple(projections))


def _modules(network: Network) -> tuple[nn.Module, dict[str, Spikes], dict[int, Weights | Kernel]]:
    """All modules under one, the taps by population, and the layers by number of their projection."""
    net = nn.Module()
    shown: dict[str, Spikes] = {}
    layers: dict[int, Weights | Kernel] = {}
    for population in network.populations:
        if _sends_codes(population):
            shown[population.name] = _put(net, population.name, Spikes())
        _put(net, f"constants of {population.name}", _constants(population.neuron))
    for index, projection in enumerate(network.projections):
        synapse = projection.synapse
        if isinstance(synapse, MATRICES):
            layers[index] = _put(net, projection.name, Weights(synapse.matrix))
        elif isinstance(synapse, Convolution):
            layers[index] = _put(net, projection.name, Kernel(synapse))
        _put(net, f"constants of {projection.name}", _constants(synapse))
    return net, shown, layers


def _sends_codes(population: Population) -> bool:
    return bool(population.neuron.operands) and not population.neuron.wide


def _put(net: nn.Module, name: str, module: Any) -> Any:
    """Add a module under a name that torch can take: it has no dots, and none twice."""
    key = name.replace(".", "/")
    while hasattr(net, key):
        key += "'"
    net.add_module(key, module)
    return module


def _constants(model: Any) -> Constants:
    """All arrays of a neuron or synapse model but the weights that a layer holds, and its written memory."""
    constants = Constants()
    held = {"gain"} if isinstance(model, (*MATRICES, Convolution)) else {field.name for field in fields(model)}
    for name in sorted(held):
        value = getattr(model, name)
        if isinstance(value, np.ndarray):
            constants.register_buffer(f"{name}_", torch.tensor(value))
    if isinstance(model, Synapse) and model.memory_bytes:
        constants.register_buffer("memory_", torch.zeros(model.memory_bytes, dtype=torch.int8))
    return constants
