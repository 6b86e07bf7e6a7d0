"""A synthetic sensor: a moving bar, a rotating dot, or noise; the same events for the same seed, whatever the speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.errors import UnsupportedError
from snngen.events import EVENT, EventArray, Sensor
from snngen.pacing import CHUNK, PacedSource, fetching
from snngen.sources import Options

EXAMPLE = "synthetic:bar?rate=100000&seed=0"
PREFIX = "synthetic:"
STEP = 0.01  # seconds that are computed at a time; less at high rates, more at low ones
PERIOD = 1.0  # seconds of a sweep of the bar or a turn of the dot
BAR, CIRCLE, DOT = 1 / 8, 0.35, 1 / 16  # of the width: the bar; of the smaller side: the dot's path and the dot

Floats = npt.NDArray[np.float64]
Scene = Callable[[Floats, Sensor, np.random.Generator], tuple[Floats, Floats, Any]]


def bar(seconds: Floats, sensor: Sensor, generator: np.random.Generator) -> tuple[Floats, Floats, Any]:
    """A bright upright bar that moves to the right, once across per second: it brightens in front, dims behind."""
    front = generator.random(len(seconds)) < 0.5
    x = (seconds / PERIOD % 1.0 - np.where(front, 0.0, BAR)) % 1.0 * sensor.width
    return x, generator.random(len(seconds)) * sensor.height, front


def dot(seconds: Floats, sensor: Sensor, generator: np.random.Generator) -> tuple[Floats, Floats, Any]:
    """A bright dot on a circle, one turn per second."""
    side = min(sensor.width, sensor.height)
    turn, edge = 2 * np.pi * seconds / PERIOD, 2 * np.pi * generator.random(len(seconds))
    x = sensor.width / 2 + side * (CIRCLE * np.cos(turn) + DOT * np.cos(edge))
    y = sensor.height / 2 + side * (CIRCLE * np.sin(turn) + DOT * np.sin(edge))
    return x, y, np.sin(edge - turn) > 0  # ahead of its velocity (-sin, cos) or behind


def noise(seconds: Floats, sensor: Sensor, generator: np.random.Generator) -> tuple[Floats, Floats, Any]:
    """Any address, any polarity."""
    x, y, p = generator.random((3, len(seconds)))
    return x * sensor.width, y * sensor.height, p < 0.5


SCENES: dict[str, Scene] = {"bar": bar, "dot": dot, "noise": noise}


class SyntheticSource(PacedSource):
    """A scene seen by a sensor whose events are a Poisson process in time.

    scene: bar, dot or noise. sensor: the address space. rate: events per second. seed: of all that is random.
    duration: seconds of events; None for no end. speed: seconds of events per second; None for as fast as possible.
    raises: UnsupportedError for another scene or numbers below 0.
    """

    def __init__(
        self, scene: str = "bar", sensor: Sensor | None = None, rate: float = 1e5, seed: int = 0,
        duration: float | None = None, speed: float | None = 1.0,
    ) -> None:  # fmt: skip
        if scene not in SCENES:
            raise UnsupportedError("synthetic", f"scene {scene!r}", "one of " + ", ".join(SCENES))
        if not 1e-3 <= rate <= 1e9 or seed < 0 or (duration is not None and not 0 <= duration <= 1e9):
            raise UnsupportedError(
                "synthetic",
                f"rate {rate}, seed {seed}, duration {duration}",
                "rate from 0.001 to 1e9, others 0 or more",
            )
        sensor = sensor or Sensor(128, 128)
        super().__init__(sensor, fetching(_chunks(SCENES[scene], sensor, rate, seed, duration)), speed)


def _chunks(scene: Scene, sensor: Sensor, rate: float, seed: int, duration: float | None) -> Iterator[EventArray]:
    """The events, step by step; a step's expected number is at most half a chunk, which twice of it never exceeds."""
    generator = np.random.default_rng(seed)
    step, number = min(max(STEP, 1 / rate), CHUNK / 2 / rate), 0
    while duration is None or number * step < duration:
        begin = number * step
        end = begin + step if duration is None else min(begin + step, duration)
        times = np.sort(generator.uniform(begin, end, generator.poisson(rate * (end - begin))))
        x, y, p = scene(times, sensor, generator)
        events = np.empty(len(times), dtype=EVENT)
        events["t"], events["p"] = (times * 1e6).astype(np.uint64), p
        events["x"] = np.clip(x, 0, sensor.width - 1).astype(np.uint16)
        events["y"] = np.clip(y, 0, sensor.height - 1).astype(np.uint16)
        yield events
        number += 1


def recognizes(text: str) -> bool:
    """Whether the text begins with `synthetic:`."""
    return text.startswith(PREFIX)


def open(text: str, sensor: Sensor | None, speed: float | None) -> SyntheticSource:
    """Open `synthetic:NAME?rate=&seed=&duration=&width=&height=`."""
    name, _, query = text.removeprefix(PREFIX).partition("?")
    options = Options(text, query, ("rate", "seed", "duration", "width", "height"))
    return SyntheticSource(
        options.choice("scene", name or "bar", tuple(SCENES)),
        options.sensor(sensor or Sensor(128, 128)),
        options.number("rate", 1e5, 1e-3, 1e9),
        options.number("seed", 0, 0, 2**63, int),
        options.number("duration", None, 0, 1e9),
        speed,
    )
