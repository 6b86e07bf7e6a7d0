"""The event camera: exact times of crossings, levels, the refractory period, noise, saccades."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.errors import PromptError
from snngen.event_camera import EventCamera, Saccades

ONE = EventCamera(width=1, height=1, on=0.25, off=0.4, mismatch=0.0, refractory_us=0)


def levels(*values: float, floor: float = 0.1) -> np.ndarray:
    """A film of one pixel whose logarithmic intensity takes these values above ln(floor)."""
    return (floor * np.exp(np.array(values)) - floor).reshape(-1, 1, 1)


def test_a_crossing_has_the_time_at_which_the_line_between_frames_passes_the_level() -> None:
    events = ONE.record(levels(0.0, 1.1), [0, 11_000])
    assert events["t"].tolist() == [2500, 5000, 7500, 10_000]  # every 0.25 of 0.1 per millisecond
    assert events["p"].all()


def test_what_was_not_crossed_yet_is_kept_for_the_next_frame() -> None:
    events = ONE.record(levels(0.5, 0.7, 0.8, 0.8, 0.25), [0, 2000, 3000, 4000, 9500])
    # up at 0.75, which is the level then, and down again at 0.75 - 0.4
    assert events["t"].tolist() == [2500, 8500]
    assert events["p"].tolist() == [True, False]


def test_a_still_picture_makes_no_events() -> None:
    camera = EventCamera(4, 3)
    film = np.repeat(np.random.default_rng(0).random((1, 3, 4)), 5, axis=0)
    assert len(camera.record(film, np.arange(5))) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 2.3), min_size=2, max_size=12), st.integers(0, 10**6))
def test_events_track_the_level_to_one_threshold(path: list[float], start: int) -> None:
    film = np.minimum(levels(*path), 1.0)
    times = start + 100_000 * np.arange(len(path))
    events = ONE.record(film, times)
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()
    reached = np.log(film[:, 0, 0] + 0.1)
    for index in range(1, len(path)):
        before = events[events["t"] <= times[index]]
        level = reached[0] + np.where(before["p"], 0.25, -0.4).sum()
        assert -0.25 - 1e-6 < level - reached[index] < 0.4 + 1e-6


def test_brightening_is_the_mirror_of_darkening() -> None:
    camera = EventCamera(width=1, height=1, on=0.3, off=0.3, mismatch=0.0, refractory_us=0)
    up, down = camera.record(levels(0.5, 1.9), [0, 9000]), camera.record(levels(1.9, 0.5), [0, 9000])
    assert up["t"].tolist() == down["t"].tolist()
    assert up["p"].all()
    assert not down["p"].any()


def test_events_in_the_refractory_period_are_lost_but_the_level_moves_on() -> None:
    camera = EventCamera(width=1, height=1, on=0.25, off=0.25, mismatch=0.0, refractory_us=4000)
    events = camera.record(levels(0.0, 1.1, 1.1, 0.6), [0, 11_000, 20_000, 25_000])
    assert events["t"].tolist() == [2500, 7500, 23_500]  # 5,000 and 10,000 fell into it; 0.75 is 0.35 below 1.1


def test_thresholds_differ_from_pixel_to_pixel_by_the_seed() -> None:
    first, again, other = EventCamera(seed=1), EventCamera(seed=1), EventCamera(seed=2)
    assert np.array_equal(first.thresholds, again.thresholds)
    assert not np.array_equal(first.thresholds, other.thresholds)
    on, _ = EventCamera(64, 64, mismatch=0.1).thresholds
    assert abs(on.std() / 0.35 - 0.1) < 0.01


def test_noise_comes_at_its_rate_everywhere() -> None:
    camera = EventCamera(8, 8, noise_hz=50.0)
    film = np.zeros((2, 8, 8))
    events = camera.record(film, [0, 10_000_000], noise_seed=3)
    expected = 50 * 64 * 10
    assert abs(len(events) - expected) < 5 * math.sqrt(expected)
    assert np.array_equal(events, camera.record(film, [0, 10_000_000], noise_seed=3))
    assert not np.array_equal(events, camera.record(film, [0, 10_000_000], noise_seed=4))
    counts = np.bincount(camera.sensor.neurons(events), minlength=128)
    assert counts.min() > 150
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()


def test_saccades_come_back_to_where_they_began() -> None:
    saccades, camera = Saccades(), EventCamera()
    picture = np.random.default_rng(0).random((8, 8))
    film = saccades.film(picture, camera)
    places, times = saccades.path
    assert np.array_equal(film[0], film[-1])
    assert not np.array_equal(film[0], film[1])
    assert times[-1] == saccades.duration_us == 90_000
    assert places[15].tolist() == [1.5, 1.5]
    assert places[30].tolist() == [-1.5, 1.5]


def test_a_camera_that_moves_right_sees_the_picture_move_left() -> None:
    camera = EventCamera(16, 16)
    picture = np.zeros((8, 8))
    picture[4, 4] = 1.0
    film = Saccades(corners=((0.0, 0.0), (3.0, 0.0)), steps=3, zoom=1.0).film(picture, camera)
    columns = [int(frame.sum(axis=0).argmax()) for frame in film[:4]]
    assert np.diff(columns).tolist() == [-1, -1, -1]


def test_enlarging_is_bilinear() -> None:
    camera = EventCamera(3, 1)
    film = Saccades(corners=((0.0, 0.0), (0.0, 0.0)), zoom=2.0).film([[0.2, 0.6]], camera)
    assert film[0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])  # half a camera pixel is a quarter of a picture's


def test_recordings_of_a_digit_begin_where_they_are_told() -> None:
    picture = np.zeros((8, 8))
    picture[2:6, 3:5] = 1.0
    camera, saccades = EventCamera(noise_hz=5.0), Saccades()
    early, late = (saccades.record(picture, camera, start, 1) for start in (0, 500_000))
    assert len(early) > 300
    assert np.array_equal(early["t"] + 500_000, late["t"])
    assert np.array_equal(early[["x", "y", "p"]], late[["x", "y", "p"]])
    assert len(np.unique(early["t"])) > 0.5 * len(early)  # times of their own, not those of the frames


@pytest.mark.parametrize(
    "wrong", [{"on": 0.0}, {"floor": -1.0}, {"mismatch": 0.5}, {"refractory_us": -1}, {"width": 0}, {"noise_hz": -1.0}]
)
def test_impossible_cameras_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PromptError, match="expected"):
        EventCamera(**wrong)  # type: ignore[arg-type]


def test_impossible_films_are_refused() -> None:
    camera = EventCamera(2, 2)
    film = np.zeros((2, 2, 2))
    for frames, times in (
        (film[:1], [0]), (film, [0, 0]), (film, [0.0, 1.0]), (film + 2, [0, 1]), (film * np.nan, [0, 1]), (film, [0]),
    ):  # fmt: skip
        with pytest.raises(PromptError, match="expected"):
            camera.record(frames, times)
    for wrong in ({"corners": ((0.0, 0.0),)}, {"steps": 0}, {"zoom": 0.0}, {"leg_us": 3}):
        with pytest.raises(PromptError):
            Saccades(**wrong)  # type: ignore[arg-type]
    with pytest.raises(PromptError):
        Saccades().film(np.zeros(8), camera)
