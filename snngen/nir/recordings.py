"""Recordings: spikes as NIR event data, written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snngen.aside import written_aside
from snngen.dynamics.network import DynamicNetwork
from snngen.dynamics.spikes import Spikes
from snngen.errors import FormatError
from snngen.integers import FloatArray, IntArray
from snngen.nir import package


@dataclass(frozen=True, eq=False)
class NodeEvents:
    """Events of one node. size: number of its neurons. samples, neurons: (m,) int64. times: (m,) float64.

    values: (m,) float64, what each event is worth.
    """

    size: int
    samples: IntArray
    times: FloatArray
    neurons: IntArray
    values: FloatArray


def write_events(nodes: Mapping[str, NodeEvents], path: str | Path, samples: int, t_max: float) -> None:
    """Write NIR event data. samples: how many recordings. t_max: when they end, in the unit of the times.

    NIR keeps recordings in memory as a whole, so this takes as much as all events.
    raises: UnsupportedError where the package `nir` is not installed, FormatError where the path cannot be written.
    """
    nir, made = package(), {}
    for name, events in nodes.items():
        longest = int(np.bincount(events.samples, minlength=1).max()) if len(events.samples) else 0
        idx = np.full((samples, longest), -1, dtype=np.int64)
        time, value = np.full((samples, longest), np.inf), np.zeros((samples, longest))
        order = np.argsort(events.samples, kind="stable")
        sample = events.samples[order]
        at = (sample, np.arange(len(sample)) - np.searchsorted(sample, sample))
        idx[at], time[at], value[at] = events.neurons[order], events.times[order], events.values[order]
        data = nir.ValuedEventData(idx=idx, time=time, n_neurons=events.size, t_max=t_max, value=value)
        made[name] = nir.NIRNodeData(observables={"spikes": data})
    with written_aside(Path(path)) as aside:
        nir.write_data(str(aside), nir.NIRGraphData(nodes=made), compression="lzf")


def read_events(path: str | Path) -> dict[str, NodeEvents]:
    """Read NIR event data by node. Events without a value get 1.

    raises: UnsupportedError without the package `nir`, FormatError for a file that it cannot read.
    """
    nir = package()
    nodes = {}
    try:
        graph = nir.read_data(str(path))
        for name, node in graph.nodes.items():
            data = node.observables["spikes"]
            sample, place = np.nonzero(data.idx >= 0)
            value = getattr(data, "value", np.ones(data.idx.shape))[sample, place]
            times, neurons = np.asarray(data.time[sample, place]), np.asarray(data.idx[sample, place])
            nodes[name] = NodeEvents(int(data.n_neurons), sample, times, neurons, np.asarray(value))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FormatError(str(path), str(error), "NIR event data") from error
    return nodes


def write_recording(spikes: Spikes, network: DynamicNetwork, path: str | Path) -> None:
    """Write the spikes of a run as NIR event data: a node per population, one sample, times in seconds, values 1.

    It ends a whole millisecond or more after the last spike, at a multiple of a millisecond: NIR's `to_time_gridded`
    has no step for a spike in an unfinished one.

    raises: see `write_events`.
    """
    nodes = {}
    for name in spikes.names:
        own = spikes.of(name)
        size, count = network[name].size, len(own)
        nothing = np.zeros(count, dtype=np.int64)
        nodes[name] = NodeEvents(size, nothing, own.times_ns / 1e9, own.neurons.astype(np.int64), np.ones(count))
    last = int(spikes.times_ns.max(initial=0))
    write_events(nodes, path, 1, (last // 10**6 + 2) / 1e3)


def read_recording(path: str | Path, sample: int = 0) -> Spikes:
    """One sample of NIR event data whose times are seconds, in the order in which a run gives spikes.

    raises: see `read_events`.
    """
    nodes = read_events(path)
    names = tuple(nodes)
    if not names:
        raise FormatError(str(path), "no nodes", "NIR event data of one node or more")
    columns = []
    for place, events in enumerate(nodes.values()):
        chosen = events.samples == sample
        times = np.rint(events.times[chosen] * 1e9)
        if not (np.isfinite(times).all() and (np.abs(times) < 2**62).all()):
            raise FormatError(f"{path}:{names[place]}", "times that are no seconds", "finite ones")
        columns.append((times.astype(np.int64), np.full(times.size, place), events.neurons[chosen]))
    times, populations, neurons = (np.concatenate([[], *parts]) for parts in zip(*columns, strict=True))
    order = np.lexsort((neurons, populations, times))
    return Spikes(
        times[order].astype(np.int64), populations[order].astype(np.int32), neurons[order].astype(np.int32), names
    )
