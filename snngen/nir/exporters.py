"""Exporters: what a weight and a time constant are worth in a NIR file, which depends on who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snngen.errors import FormatError, UnsupportedError
from snngen.integers import FloatArray

EXPORTERS = ("snngen", "nir", "snntorch", "norse", "norse-1.1.0")
SNNTORCH_STEP, NORSE_STEP = 1e-4, 1e-3  # seconds, written into their exporters
SHORTEST = 1e-4  # seconds: a file all of whose time constants are shorter is taken for one of norse 1.1.0


@dataclass(frozen=True)
class Convention:
    """How the numbers of a file are meant. exporter: who wrote it. dt: seconds that a spike's current lasts, or None.

    norse: True where a spike raises the current of CubaLIF and the potential of IF by its weight, whatever dt is.
    stretch: what time constants are to be multiplied by.
    """

    exporter: str
    dt: float | None = None
    norse: bool = False
    stretch: float = 1.0
    described: dict[str, Any] = field(default_factory=dict)

    def gain(self, kind: str, tau_syn: FloatArray | None) -> FloatArray | float:
        """What r (of CubaLIF and CubaLI: w_in) is to be multiplied by, so that a weight is a charge."""
        if self.dt is None:
            return 1.0
        if self.norse and tau_syn is not None:
            return tau_syn
        return 1.0 if self.norse and kind == "IF" else self.dt

    def bias(self, values: FloatArray) -> FloatArray:
        """A constant current, where `gain` is in the neurons."""
        return values if self.dt is None else values / self.dt


def convention_of(own: Any, neurons: dict[str, Any], dt: float | None, exporter: str | None, where: str) -> Convention:
    """The convention of a graph.

    own: our metadata, empty in files of others. neurons: NIR nodes by name. dt, exporter: as the user has them.
    raises: UnsupportedError for unknown exporters, or time constants that no exporter but norse 1.1.0 writes.
    """
    if exporter not in (None, *EXPORTERS):
        raise UnsupportedError("exporter", repr(exporter), "one of " + ", ".join(EXPORTERS))
    exporter = exporter or ("snngen" if isinstance(own, dict) and "spike" in own else _recognised(neurons, where))
    if exporter == "snngen":
        dt = _own_step(own, where) if dt is None else dt
    elif exporter == "snntorch":
        dt = SNNTORCH_STEP if dt is None else dt
    elif exporter.startswith("norse"):
        dt = NORSE_STEP if dt is None else dt
    spike = "charge" if dt is None else "current"
    described = {"exporter": exporter, "time_unit": "s", "spike": spike, **({} if dt is None else {"dt": dt})}
    stretch = 1 / dt if exporter == "norse-1.1.0" and dt is not None else 1.0
    return Convention(exporter, dt, exporter.startswith("norse"), stretch, described)


def _own_step(own: Any, where: str) -> float | None:
    version, unit, spike = (str(own.get(key)) for key in ("version", "time_unit", "spike"))
    if (version, unit) != ("1", "s") or spike not in ("charge", "current"):
        got = f"version {version}, time unit {unit!r}, spike {spike!r}"
        raise FormatError(where, got, "version 1, seconds, 'charge' or 'current'", "Use the snngen that wrote it")
    if spike == "charge":
        return None
    dt = float(own.get("dt", 0))
    if not 0 < dt < 1e9:
        raise FormatError(where, f"a step of {dt} seconds", "more than 0")
    return dt


def _recognised(neurons: dict[str, Any], where: str) -> str:
    taus = {
        name: np.asarray(getattr(node, _tau(node)), dtype=np.float64) for name, node in neurons.items() if _tau(node)
    }
    if not taus:
        return "nir"
    with np.errstate(divide="ignore", invalid="ignore"):  # times of 0 are refused with the neurons
        steps = [np.asarray(neurons[name].r, dtype=np.float64) * SNNTORCH_STEP / tau for name, tau in taus.items()]
    if all(np.isfinite(step).all() and (np.abs(step - 1) < 1e-4).all() for step in steps):
        return "snntorch"
    longest = max(float(tau.max(initial=0)) for tau in taus.values())
    if longest < SHORTEST:
        raise UnsupportedError(
            where, f"time constants of {longest:g} s and less",
            "longer ones: norse 1.1.0 writes times a thousand times too short (norse#411)",
            "exporter='norse-1.1.0' mends them, exporter='nir' takes them as they are",
        )  # fmt: skip
    return "nir"


def _tau(node: Any) -> str:
    return next((name for name in ("tau", "tau_mem") if hasattr(node, name)), "")
