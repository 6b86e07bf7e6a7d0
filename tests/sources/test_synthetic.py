"""Synthetic sensors: the same seed, the same events; their number, their order, their scene."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sources.recordings import everything

from snngen.errors import UnsupportedError
from snngen.events import EventArray, Sensor
from snngen.sources import open_source
from snngen.sources.synthetic import SCENES, SyntheticSource

SENSOR = Sensor(64, 48)


def seen(scene: str, rate: float = 50_000, seed: int = 0, duration: float = 2.0) -> EventArray:
    with SyntheticSource(scene, SENSOR, rate, seed, duration, None) as source:
        events = everything(source)
        assert set(source.rejected.values()) == {0}
        return events


@pytest.mark.parametrize("scene", SCENES)
def test_seed_rate_and_polarity(scene: str) -> None:
    events = seen(scene)
    assert np.array_equal(events, seen(scene))
    assert not np.array_equal(events, seen(scene, seed=1))
    assert abs(len(events) - 100_000) < 6 * 100_000**0.5
    assert 0.4 < events["p"].mean() < 0.6
    assert events["t"].max() < 2_000_000


@pytest.mark.parametrize("rate", [0.5, 30.0, 3e6])
def test_any_rate(rate: float) -> None:
    duration = min(1e3, 3e5 / rate)
    events = seen("noise", rate, duration=duration)
    assert abs(len(events) - rate * duration) < 6 * (rate * duration) ** 0.5 + 1


def test_the_bar_moves_to_the_right_and_the_dot_turns() -> None:
    events = seen("bar", duration=1.0)
    front = events[events["p"]]
    assert np.all(np.abs(front["x"] - front["t"] / 1e6 * SENSOR.width) <= 1)
    events = seen("dot", duration=1.0)
    x, y = (events[name] - size / 2 for name, size in (("x", SENSOR.width), ("y", SENSOR.height)))
    angles = np.unwrap(np.angle(x + 1j * y))
    assert np.all(np.abs(angles - 2 * np.pi * events["t"] / 1e6) < 0.4)


def test_noise_reaches_every_address() -> None:
    assert len(np.unique(SENSOR.neurons(seen("noise")))) == SENSOR.size


def test_it_keeps_time_and_the_speed_changes_no_event() -> None:
    fast = seen("bar", duration=0.4)
    for speed in (1.0, 4.0):
        with open_source("synthetic:bar?rate=50000&width=64&height=48&duration=0.4", speed=speed) as source:
            begin = time.monotonic()
            events = everything(source)
            elapsed = time.monotonic() - begin
        assert np.array_equal(events, fast)
        assert elapsed > 0.39 / speed - 0.01


def test_it_has_no_end_unless_one_is_given() -> None:
    with open_source("synthetic:noise?rate=1000000", speed=None) as source:
        assert source.sensor == Sensor(128, 128)
        total = 0
        for _ in range(50):
            events = source.read(1.0)
            assert events is not None
            total += len(events)
    assert 400_000 < total < 600_000
    assert source.read(1.0) is None


def test_a_slow_sensor_gives_nothing_within_the_timeout() -> None:
    with open_source("synthetic:noise?rate=0.01") as source:
        source.read(1.0)
        begin = time.monotonic()
        assert len(source.read(0.1)) == 0  # type: ignore[arg-type]
        assert time.monotonic() - begin > 0.09


@pytest.mark.parametrize(
    "text",
    ["synthetic:cat", "synthetic:bar?rate=0", "synthetic:bar?rate=x", "synthetic:bar?rate=1&rate=2", "synthetic:?a=1"],
)
def test_what_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError):
        open_source(text)


def test_the_numbers_are_checked() -> None:
    with pytest.raises(UnsupportedError, match="rate 0, seed 0"):
        SyntheticSource(rate=0)
    with pytest.raises(UnsupportedError, match="scene 'cat'; expected one of bar, dot, noise"):
        SyntheticSource("cat")
