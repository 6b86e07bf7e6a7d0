"""Engines: how a network is run. One file per engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from snngen.integers import IntArray
from snngen.network import Network


class Engine(Protocol):
    """What generation, certificate and likelihood need of an engine.

    network: what it runs. position: tokens run since the last reset. runs: resets so far. ticks: that the last token
    took, 0 where no spikes were sent. spikes: name of the code whose spikes are really sent, or None for settled codes.
    exact: False where the engine was told to lose something.
    """

    network: Network
    position: int
    ticks: int
    runs: int

    @property
    def spikes(self) -> str | None: ...

    @property
    def exact(self) -> bool: ...

    def warm(self) -> None:
        """Compile the kernel, or load it from Numba's cache, without running anything."""

    def reset(self) -> None:
        """Forget all tokens."""

    def step(self, token: int | None = None, codes: Mapping[str, IntArray] | None = None, read: bool = True) -> None:
        """Run one token; `read` is False where the output is not wanted."""

    def codes(self, name: str) -> npt.NDArray[np.int32]:
        """(size,) codes or potentials of a population after the last step."""

    @property
    def output(self) -> npt.NDArray[np.int32]:
        """(size,) codes or potentials of the output population."""

    def counted(self) -> tuple[IntArray, IntArray]:
        """(populations, 6) and (projections, 6) counts of the last step."""
