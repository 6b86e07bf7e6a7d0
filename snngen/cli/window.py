"""Window: what a stream puts out, in a window of matplotlib."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from snngen.cli.live import status_line
from snngen.errors import UnsupportedError
from snngen.streaming.application import Output
from snngen.streaming.status import Status

EVERY = 0.05  # seconds between two pictures
WHERE = "--window"


class Window:
    """The last picture, or the spikes of the most active neurons, with what the output says and how the stream does.

    raises: UnsupportedError where there is no display, or matplotlib has nothing to draw windows with.
    """

    def __init__(self) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UnsupportedError(WHERE, "no display", "DISPLAY or WAYLAND_DISPLAY to be set", "Leave --window out")
        import matplotlib.pyplot as plt

        try:
            self.figure = plt.figure("snngen stream", layout="constrained")
        except (ImportError, RuntimeError) as error:  # also tkinter's TclError
            raise UnsupportedError(WHERE, str(error), "a display that can be reached", "Leave --window out") from error
        canvas: Any = self.figure.canvas
        if canvas.manager is None or plt.get_backend().lower() == "agg":
            raise UnsupportedError(
                WHERE, "matplotlib without a window system", "TkAgg or QtAgg", "install python3-tk or PyQt6"
            )
        self.axes = self.figure.add_subplot()
        self.closed = False
        canvas.mpl_connect("close_event", self._close)
        self._drawn = 0.0
        self.figure.show()

    def _close(self, event: Any) -> None:
        self.closed = True

    @property
    def due(self) -> bool:
        """True where the window was last drawn long enough ago."""
        return time.monotonic() - self._drawn >= EVERY

    def show(self, output: Output | None, status: Status) -> None:
        """Draw an output, or only let the window answer where there is none."""
        self._drawn = time.monotonic()
        canvas: Any = self.figure.canvas
        if output is not None:
            draw_output(self.axes, output)
            self.figure.suptitle(status_line(status), fontsize=6, wrap=True)
            canvas.draw_idle()
        canvas.flush_events()

    def close(self) -> None:
        """Close the window."""
        import matplotlib.pyplot as plt

        plt.close(self.figure)


def draw_output(axes: Any, output: Output) -> None:
    """An output on matplotlib's axes: its picture, or bars of the spikes of each neuron that it names."""
    axes.clear()
    axes.set_title(output.text, fontsize=9)
    if output.picture is not None:
        axes.imshow(output.picture, cmap="gray", vmin=0.0, vmax=1.0)
        axes.set_axis_off()
        return
    counts = {
        f"{name}[{neuron}]": count
        for name, neurons in output.values.get("counts", {}).items()
        for neuron, count in neurons.items()
    }
    axes.bar(np.arange(len(counts)), list(counts.values()), color="0.4")
    axes.set_xticks(np.arange(len(counts)), list(counts), rotation=90, fontsize=7)
    axes.set_ylabel("spikes")
