"""The animation of the docs: digits before the camera, the spikes that they cause, and what is drawn of them.

python docs/digits_animation.py docs/pictures/digits.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

from snngen import digits
from snngen.aside import written_aside
from snngen.events import EventArray
from snngen.integers import FloatArray

FRAME_US = 6000
SLOWER = 12  # times slower than the camera
SHOWN, SEED = 4, 0  # digits: the first of `snngen stream digits`, and the seed of their order there
INCHES, DOTS = (9.0, 3.0), 70


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment: what was shown, the events since the frame before, all spikes of this digit, the reading so far."""

    shown: FloatArray
    now_us: int
    events: EventArray
    times_ms: FloatArray
    rows: FloatArray
    reading: digits.Reading


def frames() -> Iterator[Frame]:
    """The moments of all shown digits, run event by event."""
    pictures, labels = digits.digits(held_out=True)
    chosen = np.random.default_rng(SEED).permutation(len(labels))[:SHOWN]
    reader = digits.DigitReader()
    record = Spikes(reader)
    reader.begin(0)
    for turn, events in enumerate(digits.presentations(pictures, chosen)):
        begin = turn * digits.PERIOD_US
        reader.forget()
        record.clear()
        for now in range(begin + FRAME_US, begin + digits.PERIOD_US + 1, FRAME_US):
            part = events[(events["t"] >= now - FRAME_US) & (events["t"] < now)]
            reader.take(part)
            reader.advance(now)
            times, rows = record.until(now - begin, part, begin)
            yield Frame(pictures[chosen[turn]], now - begin, part, times, rows, reader.reading())


class Spikes:
    """The spikes of all neurons since the digit came, from a second run of the same events that records them all."""

    def __init__(self, reader: digits.DigitReader) -> None:
        from snngen.engines.continuous import ContinuousEngine

        model = reader.model
        self._sensor = model.sensor
        self._names = (digits.HIDDEN, digits.LATENT, digits.LABEL)
        sizes = [model.encoder[name].size for name in self._names]
        self.firsts = dict(zip(self._names, np.cumsum([0, *sizes]), strict=False))
        self.size = sum(sizes)
        self._engine = ContinuousEngine(model.encoder, record=self._names)
        self.clear()

    def clear(self) -> None:
        """Another digit comes."""
        self._times: list[FloatArray] = [np.zeros(0)]
        self._rows: list[FloatArray] = [np.zeros(0)]

    def until(self, now_us: int, events: EventArray, begin_us: int) -> tuple[FloatArray, FloatArray]:
        """(m,) milliseconds and (m,) rows of all spikes since the digit came."""
        self._engine.push(events["t"].astype(np.int64), self._sensor.neurons(events))
        spikes = self._engine.advance(begin_us + now_us)
        for name in self._names:
            part = spikes.of(name)
            self._times.append((part.times_us - begin_us) * 1e-3)
            self._rows.append(part.neurons + float(self.firsts[name]))
        return np.concatenate(self._times), np.concatenate(self._rows)


def draw(axes: Any, frame: Frame, size: int, firsts: dict[str, int]) -> None:
    """A frame on four axes: the digit, the camera's events, the spikes, what is drawn of it."""
    for part in axes:
        part.clear()
    for part in (axes[0], axes[1], axes[3]):
        part.set(xticks=[], yticks=[])
    axes[0].imshow(frame.shown, cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("shown", fontsize=9)
    sensor = digits.CAMERA.sensor
    seen = np.full((sensor.height, sensor.width), 0.5)
    seen[frame.events["y"], frame.events["x"]] = frame.events["p"]
    axes[1].imshow(seen, cmap="gray", vmin=0, vmax=1)
    axes[1].set_title(f"events of {FRAME_US // 1000} ms: {len(frame.events)}", fontsize=9)
    axes[2].plot(frame.times_ms, frame.rows, "k|", markersize=2.5, markeredgewidth=0.5)
    axes[2].set(xlim=(0, digits.PERIOD_US * 1e-3), ylim=(size, -1), xlabel="ms", yticks=[])
    for name, first in firsts.items():
        axes[2].axhline(first, color="0.7", linewidth=0.6)
        axes[2].text(digits.PERIOD_US * 1e-3, first, f" {name}", fontsize=7, va="top")
    axes[2].set_title(f"spikes: {frame.rows.size:,}", fontsize=9)
    reading = frame.reading
    axes[3].imshow(np.zeros((8, 8)) if reading.picture is None else reading.picture, cmap="gray", vmin=0, vmax=1)
    said = "nothing yet" if reading.label is None else f"{reading.label}  ({reading.confidence:.0%})"
    axes[3].set_title(f"drawn anew: {said}", fontsize=9)


def docs_animation(path: str | Path) -> None:
    """Write the animation as GIF."""
    path = Path(path)
    moments = list(frames())
    layout = Spikes(digits.DigitReader())
    figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
    axes: Any = figure.subplots(1, 4, width_ratios=(1, 1, 1.6, 1))

    def step(index: int) -> list[Any]:
        draw(axes, moments[index], layout.size, layout.firsts)
        return list(axes)

    moving = FuncAnimation(figure, step, frames=len(moments), init_func=lambda: list(axes))
    with written_aside(path) as aside:
        whole = aside.with_suffix(".gif")
        moving.save(str(whole), writer=PillowWriter(fps=round(1e6 / (FRAME_US * SLOWER))))
        whole.replace(aside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="file to write, .gif")
    docs_animation(parser.parse_args().out)


if __name__ == "__main__":
    main()
