"""SpikeCounts: the application for any network of continuous time: what its outputs fired, period by period."""

from __future__ import annotations

from typing import Any

import numpy as np

from snngen.dynamics.counts import Counts
from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.spikes import Spikes
from snngen.engines.continuous import ContinuousEngine
from snngen.errors import PromptError
from snngen.events import EventArray, Sensor
from snngen.integers import IntArray
from snngen.streaming.application import Output
from snngen.streaming.work import Work

MOST = 16  # neurons that an output names


class SpikeCounts:
    """Every event is one of weight 1 to the network's first input; an output counts what the outputs fired.

    The neuron of an event is (polarity * height + y) * width + x (see `snngen.events.Sensor`). The label is the neuron
    of the first output that fired most, or, where that population never fires, has the highest potential; the lowest
    number of several. `values` holds, per output, "counts": the spikes of its most active neurons.

    network: what to run. sensor: its addresses are the neurons of the input.
    raises: PromptError for a sensor of another size than the network's input.
    """

    def __init__(self, network: DynamicNetwork, sensor: Sensor) -> None:
        if not network.inputs or network[network.inputs[0]].size != sensor.size:
            got = (
                f"an input of {network[network.inputs[0]].size} neurons"
                if network.inputs
                else "a network without input"
            )
            addresses = f"{sensor.width} x {sensor.height}, {sensor.polarities} polarities"
            raise PromptError(
                "SpikeCounts", got, f"{sensor.size}, the addresses of the sensor ({addresses})",
                "state the sensor that the network was made for",
            )  # fmt: skip
        self.network, self.sensor = network, sensor
        self._engine = ContinuousEngine(network)
        self._engine.push([0], [0])  # compile the kernels, or load them, before events wait
        self._engine.advance(1)
        self._counts: dict[str, IntArray] = {}
        self._before: Counts | None = None
        self.begin(0)

    @classmethod
    def fitting(cls, network: DynamicNetwork, sensor: Sensor) -> SpikeCounts:
        """For a source's sensor, with one polarity where the network's input has only so many neurons."""
        size = network[network.inputs[0]].size if network.inputs else 0
        if size == sensor.width * sensor.height:
            sensor = Sensor(sensor.width, sensor.height, 1)
        return cls(network, sensor)

    def begin(self, start_us: int) -> None:
        """Back to the initial state, at a time."""
        self._engine.reset(start_us)
        self._before = None
        self._counts = {
            name: np.zeros(self.network[name].size, dtype=np.int64) for name in dict.fromkeys(self.network.outputs)
        }

    def take(self, events: EventArray) -> None:
        """Run the network up to the last of the events."""
        times = events["t"].astype(np.int64)
        self._engine.push(times, self.sensor.neurons(events))
        self._count(self._engine.advance(int(times[-1])))

    def answer(self, now_us: int) -> Output:
        """What was fired before a time and since the last answer."""
        self._count(self._engine.advance(now_us))
        counts = self._engine.counts
        work, self._before = Work.between(self._before, counts), counts
        fired = {name: int(numbers.sum()) for name, numbers in self._counts.items()}
        values: dict[str, Any] = {"counts": {name: _most(numbers) for name, numbers in self._counts.items()}}
        label = self._label()
        said = ", ".join(f"{name}: {count:,} spikes" for name, count in fired.items())
        for numbers in self._counts.values():
            numbers[:] = 0
        text = said if label is None else f"{said}; neuron {label} leads"
        return Output(now_us, text, label, spikes=sum(fired.values()), work=work, values=values)

    def _count(self, spikes: Spikes) -> None:
        for name, numbers in self._counts.items():
            chosen = spikes.populations == self.network.order[name]
            numbers += np.bincount(spikes.neurons[chosen], minlength=numbers.size)

    def _label(self) -> str | None:
        name = self.network.outputs[0]
        if self.network[name].neuron.fires:
            numbers = self._counts[name]
            return str(int(numbers.argmax())) if numbers.any() else None
        if name in self.network.inputs:
            return None
        return str(int(self._engine.potential(name).argmax()))


def _most(numbers: IntArray) -> dict[str, int]:
    """The spikes of the most active neurons, by number."""
    chosen = np.argsort(-numbers, kind="stable")[:MOST]
    return {str(int(neuron)): int(numbers[neuron]) for neuron in np.sort(chosen) if numbers[neuron]}
