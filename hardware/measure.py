"""Measure: joules per token of the user's own processor, by its own counters, or a plain word that there are none.

The counters are read by the package `zeus` (RAPL for CPUs and their memory, NVML for NVIDIA GPUs). A window lasts at
least a second, because counters are coarse; what the idle machine takes is measured first, subtracted, and stated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snngen.errors import UnsupportedError
from snngen.hardware.quantity import ALL_IN, PriceError, Quantity

SHORTEST = 1.0  # s; counters of some GPUs move every 100 ms


@dataclass(frozen=True)
class Measurement:
    """What the counters said.

    counters: which were read. tokens: that were run in the window. seconds: of the window.
    joules: of the window, idle power included. idle_watts: of the machine at rest, in a window before.
    raises: PriceError for a window that is too short, or without tokens.
    """

    counters: tuple[str, ...]
    tokens: int
    seconds: float
    joules: float
    idle_watts: float

    def __post_init__(self) -> None:
        if self.seconds < SHORTEST or self.tokens < 1 or not self.counters:
            got = f"{self.seconds:.2f} s, {self.tokens} tokens, counters {self.counters}"
            raise PriceError("Measurement", got, f"at least {SHORTEST} s, 1 token and 1 counter")
        if self.joules < 0 or self.idle_watts < 0:
            raise PriceError("Measurement", f"{self.joules} J, {self.idle_watts} W", "nothing below 0")

    @property
    def energy(self) -> Quantity:
        """J/token: above idle as value and low end, idle power included as high end."""
        net = max(0.0, self.joules - self.idle_watts * self.seconds) / self.tokens
        source = (
            f"counters {', '.join(self.counters)} over {self.seconds:.1f} s; "
            f"idle {self.idle_watts:.2f} W subtracted (value), included (high)"
        )
        return Quantity(net, net, self.joules / self.tokens, "J/token", ALL_IN, "measured", source)


def measure(work: Callable[[], int], seconds: float = SHORTEST) -> Measurement:
    """Run `work` again and again for at least `seconds` and read the energy counters around it.

    work: runs some tokens and returns how many. seconds: of each of the two windows, at least 1.
    raises: UnsupportedError where `zeus` is not installed or the machine shows no counter; never a guess instead.
    """
    monitor, counters = _monitor()
    window = max(seconds, SHORTEST)
    work()  # warm: what is compiled or loaded once is no part of a token
    monitor.begin_window("idle")
    time.sleep(window)
    idle = monitor.end_window("idle")
    monitor.begin_window("work")
    started, tokens = time.perf_counter(), 0
    while time.perf_counter() - started < window:
        tokens += work()
    busy = monitor.end_window("work")
    return Measurement(counters, tokens, busy.time, _joules(busy), _joules(idle) / idle.time)


def _monitor() -> tuple[Any, tuple[str, ...]]:
    """A monitor over every counter that this machine shows."""
    try:
        from zeus.device import get_cpus, get_gpus
        from zeus.monitor import ZeusMonitor
    except ImportError as error:
        raise UnsupportedError("measure", "no package zeus", "it", "pip install zeus") from error
    counters, reasons = [], []
    for name, get in (("CPU (RAPL)", get_cpus), ("GPU (NVML)", get_gpus)):
        try:
            counters += [name] if len(get()) else []
        except Exception as error:  # zeus has an exception of its own for each kind of absence
            reasons.append(f"{name}: {' '.join(str(error).split())}")
    if not counters:
        raise UnsupportedError("measure", "no energy counter: " + "; ".join(reasons), "RAPL or NVML on this machine")
    return ZeusMonitor(gpu_indices=None if "GPU (NVML)" in counters else []), tuple(counters)


def _joules(window: Any) -> float:
    """All energy of a window of zeus."""
    parts = (window.gpu_energy, window.cpu_energy, window.dram_energy)
    return float(sum(sum(part.values()) for part in parts if part))
