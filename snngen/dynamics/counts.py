"""Counts: how much a continuous or clocked run has done, for its energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """How much was done since the last reset.

    events: per population, events fired (of an input: taken). operations: per projection, in the network's order,
    synaptic operations (an event times its synapses). updates: per population, how often a neuron was brought up to
    date and compared with its threshold. moments: time stamps (or steps) at which something was computed.
    most_in_flight: largest number of delayed events on their way at once.
    """

    events: Mapping[str, int]
    operations: tuple[int, ...]
    updates: Mapping[str, int]
    moments: int
    most_in_flight: int
