"""Event camera: pixels that tell when their logarithmic intensity has changed, and which way.

A pixel keeps the level L_ref of its last event. With intensities I in 0..1 and a floor e (dark current),

    L(t) = ln(I(t) + e),      an event (t, x, y, p) where  L(t) - L_ref >= +C_on  (p = True)  or  <= -C_off  (False)

and L_ref moves by that threshold. L is linear between rendered frames, so that a crossing has an exact time:

    t_k = t_0 + (L_ref + k C - L_0) / (L_1 - L_0) (t_1 - t_0)

An event within `refractory_us` of the pixel's last one is lost, its level all the same moved. Background activity is a
Poisson process per pixel.

Source: Rebecq, Gehrig, Scaramuzza, "ESIM: an Open Event Camera Simulator", CoRL 2018 (levels, interpolated times,
threshold mismatch, refractory period); Lichtsteiner, Posch, Delbruck, IEEE JSSC 43(2), 2008 (the pixel). Saccades:
Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015 (N-MNIST: a still picture, and a camera that
moves along a triangle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snngen.errors import PromptError
from snngen.events import EVENT, EventArray, Sensor
from snngen.integers import FloatArray, IntArray

ROUNDING = 1e-6  # microseconds: a time that floating point puts just below a whole one is that one


@dataclass(frozen=True)
class EventCamera:
    """A sensor of width x height pixels with two polarities.

    on, off: thresholds C_on, C_off in logarithmic intensity, more than 0. floor: e, more than 0.
    mismatch: standard deviation of each pixel's thresholds, as a share of them; fixed by `seed`.
    refractory_us: microseconds after an event in which a pixel's next ones are lost.
    noise_hz: background events per second and pixel.
    raises: PromptError for values outside these.
    """

    width: int = 16
    height: int = 16
    on: float = 0.35
    off: float = 0.35
    floor: float = 0.1
    mismatch: float = 0.03
    refractory_us: int = 200
    noise_hz: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        Sensor(self.width, self.height)
        positive = min(self.on, self.off, self.floor) > 0
        if not positive or min(self.mismatch, self.refractory_us, self.noise_hz, self.seed) < 0 or self.mismatch > 0.3:
            raise PromptError(
                "EventCamera", str(self), "thresholds and floor over 0, mismatch 0..0.3, the rest 0 or more"
            )

    @property
    def sensor(self) -> Sensor:
        """Its address space."""
        return Sensor(self.width, self.height)

    @property
    def thresholds(self) -> tuple[FloatArray, FloatArray]:
        """(height, width) C_on and C_off of each pixel; at least half of the mean one."""
        draw = np.random.default_rng(self.seed).standard_normal((2, self.height, self.width))
        spread = np.maximum(1 + self.mismatch * draw, 0.5)
        return self.on * spread[0], self.off * spread[1]

    def record(self, frames: npt.ArrayLike, times_us: npt.ArrayLike, noise_seed: int = 0) -> EventArray:
        """The events of a film; the pixels have got used to its first frame.

        frames: (n, height, width) intensities 0..1. times_us: (n,) ascending integers, of each frame.
        noise_seed: of the background activity.
        returns: (events,) of EVENT, by time, then row, column and polarity.
        raises: PromptError for other shapes, intensities, or times that do not ascend.
        """
        film, times = np.asarray(frames, dtype=np.float64), np.asarray(times_us)
        if film.ndim != 3 or film.shape != (times.size, self.height, self.width) or len(film) < 2:
            expected = f"(n, {self.height}, {self.width}) and n times, n >= 2"
            raise PromptError("EventCamera.record", f"frames {film.shape}, {times.size} times", expected)
        if not (np.isfinite(film).all() and film.min() >= 0 and film.max() <= 1):
            raise PromptError("EventCamera.record", "intensities outside 0..1", "0..1")
        if times.dtype.kind not in "iu" or times[0] < 0 or (np.diff(times.astype(np.int64)) <= 0).any():
            raise PromptError("EventCamera.record", "times that do not ascend", "ascending microseconds")
        passed = (times - times[0]).astype(np.int64)  # exact in floating point, wherever the clock stands
        parts = [*self._changes(np.log(film + self.floor), passed), self._background(int(passed[-1]), noise_seed)]
        events = np.concatenate(parts)
        events["t"] += np.uint64(times[0])
        return events[np.lexsort((events["p"], events["x"], events["y"], events["t"]))]

    def _changes(self, levels: FloatArray, times: IntArray) -> list[EventArray]:
        """The events of all crossings, step by step; levels: (n, height, width)."""
        on, off = self.thresholds
        reference = levels[0].copy()
        last = np.full(reference.shape, -1.0 - self.refractory_us)
        parts: list[EventArray] = []
        for step in range(len(levels) - 1):
            begin, end = levels[step], levels[step + 1]
            rises = end > begin
            size = np.where(rises, on, off)
            crossings = np.floor(np.abs(end - reference) / size) * ((end > reference) == rises)
            step_by = np.where(rises, size, -size)
            for _ in range(int(crossings.max(initial=0))):
                y, x = np.nonzero(crossings > 0)
                crossings[y, x] -= 1
                reference[y, x] += step_by[y, x]
                share = (reference[y, x] - begin[y, x]) / (end[y, x] - begin[y, x])
                at = times[step] + np.clip(share, 0, 1) * (times[step + 1] - times[step])
                seen = at - last[y, x] > self.refractory_us
                y, x, at = y[seen], x[seen], at[seen]
                last[y, x] = at
                parts.append(_events(np.floor(at + ROUNDING), x, y, rises[y, x]))
        return parts

    def _background(self, end: int, seed: int) -> EventArray:
        """Poisson noise of all pixels before a time."""
        rng = np.random.default_rng([self.seed, seed])
        count = int(rng.poisson(self.noise_hz * self.width * self.height * end * 1e-6))
        y, x = rng.integers(self.height, size=count), rng.integers(self.width, size=count)
        return _events(rng.integers(end, size=count), x, y, rng.random(count) < 0.5)


def _events(t: npt.NDArray[np.generic], x: IntArray, y: IntArray, p: npt.NDArray[np.bool_]) -> EventArray:
    events = np.zeros(len(t), dtype=EVENT)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


@dataclass(frozen=True)
class Saccades:
    """A still picture, and a camera that moves along a triangle and comes back to where it began.

    corners: (x, y) in pixels of the camera, of the triangle; the first is where it begins.
    leg_us: microseconds of each of its sides. steps: frames rendered per side. zoom: camera pixels per picture pixel.
    """

    corners: tuple[tuple[float, float], ...] = ((0.0, -1.5), (1.5, 1.5), (-1.5, 1.5))
    leg_us: int = 30_000
    steps: int = 15
    zoom: float = 1.6

    def __post_init__(self) -> None:
        if len(self.corners) < 2 or self.leg_us < self.steps or self.steps < 1 or self.zoom <= 0:
            raise PromptError(
                "Saccades", str(self), "two corners or more, a microsecond per step or more, a zoom over 0"
            )

    @property
    def duration_us(self) -> int:
        """Microseconds from beginning to end."""
        return self.leg_us * len(self.corners)

    @property
    def path(self) -> tuple[FloatArray, IntArray]:
        """(frames, 2) where the camera looks, (x, y) in its pixels, and (frames,) when, in microseconds."""
        around = np.array([*self.corners, self.corners[0]], dtype=np.float64)
        at = np.arange(len(self.corners) * self.steps + 1) / self.steps
        knots = np.arange(len(around))
        places = np.stack([np.interp(at, knots, around[:, axis]) for axis in (0, 1)], axis=1)
        return places, np.rint(at * self.leg_us).astype(np.int64)

    def film(self, picture: npt.ArrayLike, camera: EventCamera, shift: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
        """(frames, height, width) what the camera sees of a picture, bilinearly enlarged; black around it.

        picture: (rows, columns) intensities 0..1. shift: (x, y) of the picture's middle from that of the camera.
        raises: PromptError for another shape.
        """
        still = np.asarray(picture, dtype=np.float64)
        if still.ndim != 2 or 0 in still.shape:
            raise PromptError("Saccades.film", f"a picture of shape {still.shape}", "(rows, columns)")
        places, _ = self.path
        rows, columns = still.shape
        x = np.arange(camera.width) - (camera.width - 1) / 2 - shift[0] + places[:, :1]
        y = np.arange(camera.height) - (camera.height - 1) / 2 - shift[1] + places[:, 1:]
        across = _hats(x / self.zoom + (columns - 1) / 2, columns)  # (frames, width, columns)
        down = _hats(y / self.zoom + (rows - 1) / 2, rows)
        return np.asarray(np.clip(down @ still @ across.transpose(0, 2, 1), 0.0, 1.0))

    def record(self, picture: npt.ArrayLike, camera: EventCamera, start_us: int = 0, noise_seed: int = 0) -> EventArray:
        """The events of the picture seen once around the triangle, from `start_us` on."""
        return camera.record(self.film(picture, camera), self.path[1] + start_us, noise_seed)


def _hats(at: FloatArray, count: int) -> FloatArray:
    """(..., count) weights of linear interpolation at places `at` (...,) between `count` samples, zero outside."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(at[..., None] - np.arange(count))))
