"""Spike codes: how a code value becomes events. One file per code, found by its name.

A spike code is a signed number system: the payloads of the events for `a` sum to `a`. Synapses are linear, so every
code delivers the same drive; codes differ in events, ticks and payload bits only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snngen import folder
from snngen.errors import UnsupportedError
from snngen.integers import IntArray


@dataclass(frozen=True, eq=False)
class Events:
    """Events of one population for one value of each neuron, in the order of their ticks.

    tick, neuron, payload: (events,) int64.
    """

    tick: IntArray
    neuron: IntArray
    payload: IntArray

    def __len__(self) -> int:
        return int(self.tick.size)


class SpikeCode(ABC):
    """The base of all spike codes.

    mode: the code's number in `snngen/kernels/ticked.py`.
    exact: False for a code that loses something; it then states an `error_bound`.
    persistent: True where only what changed since the last token is sent.
    """

    mode: ClassVar[int]
    exact: ClassVar[bool] = True
    persistent: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def step(self, low: int, high: int) -> int:
        """The payload of the smallest spike."""
        return 1

    def error_bound(self, low: int, high: int) -> int:
        """Largest difference between a code and what its events add up to."""
        return 0

    @abstractmethod
    def ticks(self, low: int, high: int) -> int:
        """Most ticks that any code of low..high takes: its events have ticks 0..ticks - 1."""

    @abstractmethod
    def events(self, low: int, high: int) -> int:
        """Most events that any code of low..high takes."""

    @abstractmethod
    def payload_bits(self, low: int, high: int) -> int:
        """Bits that an event carries beside the number of its neuron; its tick is free."""

    @abstractmethod
    def payloads(self, value: int, low: int, high: int) -> list[tuple[int, int]]:
        """(tick, payload) of each event for one value, or for one difference of values."""

    def encode(self, codes: IntArray, low: int, high: int) -> Events:
        """Events of a population.

        codes: (n,) integers in low..high; for a persistent code, differences of such.
        """
        triples = [
            (tick, neuron, payload)
            for neuron, value in enumerate(codes.tolist())
            for tick, payload in self.payloads(value, low, high)
        ]
        array = np.array(sorted(triples), dtype=np.int64).reshape(-1, 3)
        return Events(array[:, 0], array[:, 1], array[:, 2])

    def decode(self, events: Events, size: int) -> IntArray:
        """(size,) sums of payloads: what the targets' synapses receive."""
        codes = np.zeros(size, dtype=np.int64)
        np.add.at(codes, events.neuron, events.payload)
        return codes


def signed_bits(low: int, high: int) -> int:
    """Bits of the magnitude of low..high, and one for the sign where there is one."""
    return max(abs(low), abs(high)).bit_length() + (low < 0)


def kinds() -> list[str]:
    """Names of all codes, one per file of this folder."""
    return folder.names(__path__)


def by_name(name: str) -> SpikeCode:
    """The code of a name; ``rate:16`` is the code ``rate`` with 16 ticks.

    raises: UnsupportedError for an unknown code or parameter.
    """
    kind, _, parameter = name.partition(":")
    code = folder.model(__name__, __path__, kind, SpikeCode)  # type: ignore[type-abstract]
    if not parameter:
        return code()
    try:
        return code(int(parameter))  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise UnsupportedError("code", repr(name), f"{kind}, or {kind}:N where it has ticks to choose") from error
