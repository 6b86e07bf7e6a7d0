"""Neuron models in continuous time, one file per model, found by file name.

A neuron is a frozen dataclass with one value per neuron, times in seconds, under the names of NIR. It has at most two
states: a potential v and a synaptic current i. `slope` is its differential equation, `evolve` the exact solution
between events, `jump` what an event does; `form` is what the kernels run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from snngen import folder
from snngen.integers import FloatArray


class Firing(Protocol):
    """A neuron model that fires. v_threshold, v_reset: (n,) float64; reset: "value" or "subtract"."""

    v_threshold: FloatArray
    v_reset: FloatArray
    reset: str


@dataclass(frozen=True, eq=False)
class Form:
    """The one form of all models that the kernels run.

        tau_mem dv/dt = rest - v + r i,   tau_syn di/dt = -i     with tau_mem
        dv/dt = drift                                            without

    tau_mem, tau_syn: (n,) seconds, or None for no leak, no synaptic current. rest, drift, r: (n,) float64.
    i is the synaptic current less what a constant bias makes of it, which is in `rest`; `current`: (n,) i at first.
    """

    tau_mem: FloatArray | None
    tau_syn: FloatArray | None
    rest: FloatArray
    drift: FloatArray
    r: FloatArray
    current: FloatArray


class DynamicNeuron(ABC):
    """The base of all neuron models in continuous time.

    fires: True where the model has `v_threshold`, `v_reset` and `reset` (see `Firing`).
    """

    fires: ClassVar[bool] = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of neurons."""

    @property
    def start(self) -> tuple[FloatArray, FloatArray]:
        """(n,) potential and (n,) synaptic current at first: at rest without input and bias."""
        return np.zeros(self.size), np.zeros(self.size)

    @property
    @abstractmethod
    def jump(self) -> FloatArray:
        """(n,) float64: by how much an event of weight 1 raises the state that it reaches."""

    @property
    def current_based(self) -> bool:
        """True where events raise the synaptic current, not the potential."""
        return False

    @abstractmethod
    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) dv/dt and (n,) di/dt per second, for an input current from outside; all (n,) float64."""

    @abstractmethod
    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) v and (n,) i after a time without events, exactly; thresholds are not looked at.

        seconds: one time for all, or (n,).
        """

    @property
    @abstractmethod
    def form(self) -> Form | None:
        """What the kernels run; None for events from outside."""

    @property
    def kind(self) -> str:
        """The name of the file that defines the model."""
        return type(self).__module__.rsplit(".", 1)[-1]


def two_exponentials(seconds: float | FloatArray, tau_mem: FloatArray, tau_syn: FloatArray) -> FloatArray:
    """(n,) what a synaptic current of 1 has added to r * v after some seconds.

    K(t) = tau_syn / (tau_syn - tau_mem) (exp(-t / tau_syn) - exp(-t / tau_mem)), and t / tau exp(-t / tau) where both
    are equal. Near there the difference is (t / tau_mem) exp(-t / tau_mem) expm1(x) / x, x = t / tau_mem - t / tau_syn.
    """
    mem, syn = np.asarray(tau_mem), np.asarray(tau_syn)
    x = seconds * (syn - mem) / (mem * syn)
    near = np.abs(x) < 1
    small = np.where(near & (x != 0), x, 1.0)
    ratio = np.where(x == 0, 1.0, np.expm1(small) / small)
    close = seconds / mem * np.exp(-seconds / mem) * ratio
    apart = np.where(near, 1.0, syn - mem)
    far = syn / apart * (np.exp(-seconds / syn) - np.exp(-seconds / mem))
    return np.asarray(np.where(near, close, far))


def kinds() -> list[str]:
    """Names of all neuron models in continuous time, one per file of this folder."""
    return folder.names(__path__)


def by_kind(kind: str) -> type[DynamicNeuron]:
    """The neuron model that the file `kind` defines."""
    return folder.model(__name__, __path__, kind, DynamicNeuron)  # type: ignore[type-abstract]
