"""NIR 1.0.8 (Neuromorphic Intermediate Representation): networks and recordings, read and written by our own code.

**What is carried, and how.** Input, IF, LIF, CubaLIF, I, LI and CubaLI are populations. Affine, Linear, Scale, Conv1d,
Conv2d, SumPool2d, AvgPool2d, Flatten, Delay and nested graphs between two populations are one projection; biases become
the constant input of the neurons that they reach. Threshold and whatever else has no exact counterpart is refused, all
of it in one message.

**Units.** NIR names none for time; its exporters write seconds, and so do we. NIR does not say either what a spike is
worth. Here it is a Dirac pulse: a weight is a charge (`snngen/dynamics/__init__.py`). Libraries with a clock mean a
current that lasts for one step; `dt` says so, and then r (of CubaLIF and CubaLI: w_in) is multiplied by dt and biases
are divided by it. How a neuron is reset, NIR cannot say; it means v_reset.

**Metadata.** All of ours lies under the key ``snngen``. Of the graph: ``version`` 1, ``time_unit`` "s", ``spike``
("charge", or "current" with ``dt`` in seconds), ``populations``, ``outputs``, ``projections`` (JSON, their order). Of a
neuron: ``reset`` ("value", "subtract", "none"), ``reset_delay``, ``keeps_input`` and ``v_start`` (the potential at
first) where the model has them, ``kind``.
Of a Linear that holds sparse weights: ``pointers`` and ``targets`` (compressed rows).

**Files of others.** snnTorch's exporter writes r = tau / 1e-4: such files are recognised and read with dt = 1e-4. It
loses the reset (`reset="subtract"` says what it was). norse's exporter ignores dt in all but its times, so a file does
not show that it comes from there: `exporter="norse"` says so. norse 1.1.0 writes times dt too small (10 us for 10 ms,
norse#411); a file whose time constants are all below 0.1 ms is refused unless an exporter is named:
`exporter="norse-1.1.0"` mends them, `exporter="nir"` takes them as they are.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from snngen.dynamics.network import DynamicNetwork
from snngen.errors import UnsupportedError


def package() -> ModuleType:
    """The package `nir`.

    raises: UnsupportedError where it is not installed.
    """
    try:
        return importlib.import_module("nir")
    except ImportError as error:
        raise UnsupportedError("NIR", "no package nir", "it", "pip install 'snngen[torch]'") from error


def read_nir(
    path: str | Path, dt: float | None = None, exporter: str | None = None, reset: str | None = None
) -> DynamicNetwork:
    """The network of a NIR file.

    dt: seconds that a spike's current lasts; None: a spike is a pulse, or what the file says. exporter: who wrote it,
        "nir" (as NIR says), "snntorch", "norse", "norse-1.1.0"; recognised if not given. reset: "value" or "subtract",
        for all neurons, where the file does not say. See the module.
    raises: FormatError for a file that is absent, foreign, damaged or inconsistent; UnsupportedError with everything
        that cannot be carried, and where `nir` is not installed.
    """
    from snngen.nir.container import read_tree
    from snngen.nir.reading import from_nir, graph_of

    return from_nir(graph_of(read_tree(path), str(path)), dt, exporter, reset, where=str(path))


def write_nir(network: DynamicNetwork, path: str | Path, dt: float | None = None) -> None:
    """Write a network as NIR. `read_nir` gives it back, bit for bit (with dt to the last bit of r, w_in and biases).

    dt: seconds: spikes are written as a current for one step, as libraries with a clock mean them. None: as pulses.
    raises: UnsupportedError with everything that NIR cannot express; FormatError where the path cannot be written.
    """
    from snngen.nir.container import write_tree
    from snngen.nir.writing import to_nir

    graph = to_nir(network, dt)
    write_tree({"version": package().version, "node": graph.to_dict()}, path)
