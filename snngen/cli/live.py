"""Live: the status of a stream on standard error, while outputs go to standard output."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType

import numpy as np
import numpy.typing as npt
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from snngen.cli.terminal import speak
from snngen.half_blocks import half_blocks
from snngen.streaming.application import Output
from snngen.streaming.status import Status

EVERY, EVERY_LINE = 0.1, 1.0  # seconds between two statuses on a terminal, and where there is none
WIDEST, WIDE = 64, 24  # pixels across a picture: at most; and to which smaller ones are enlarged
SHADES = " .:-=+*#%@"
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def milliseconds(seconds: float | None) -> str:
    """For people; `-` where nothing was measured."""
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"


def joules(energy: float) -> str:
    """With a prefix: 0.0032 is 3.2 mJ."""
    worth, prefix = next((pair for pair in PREFIXES if energy >= pair[0]), PREFIXES[-1])
    return f"{energy / worth:.3g} {prefix}J"


def status_line(status: Status) -> str:
    """A stream's state in one line."""
    tally, latency = status.tally, status.latency
    lost = ", ".join(f"{count:,} {reason}" for reason, count in tally.dropped.items()) or "0"
    parts = [
        f"{status.stream_s:.1f} s at {status.real_time_factor:.2f} x real time ({status.busy:.0%} busy)",
        f"in {status.events_in:,.0f} out {status.events_out:,.0f} events/s",
        f"queue {status.queue:,}/{status.queue_events:,}",
        f"dropped {lost}",
        *([f"merged {tally.merged:,}"] if tally.merged else []),
        f"latency p50 {milliseconds(latency.p50)} p95 {milliseconds(latency.p95)} p99 {milliseconds(latency.p99)} ms",
        f"outputs {status.outputs:,}",
        *(f"{chip} {joules(energy)}/output" for chip, energy in status.energy.items()),
    ]
    return " | ".join(parts)


def output_line(output: Output) -> str:
    """An output in one line: its time, what it says, its energy."""
    energies = "".join(f"  {chip} {joules(energy)}" for chip, energy in output.energy.items())
    return f"{output.time_us / 1e6:12.6f} s  {output.text}{energies}\n"


def drawn(picture: npt.NDArray[np.float32], colours: bool) -> Text:
    """A picture of 0..1 in at most 64 columns of pixels: half blocks, or characters where there are no colours."""
    step, zoom = max(1, -(-picture.shape[1] // WIDEST)), max(1, WIDE // picture.shape[1])
    pixels = np.clip(picture[::step, ::step], 0, 1)
    if colours:
        return half_blocks(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1))
    rows = (pixels * (len(SHADES) - 1) + 0.5).astype(int)
    return Text("\n".join("".join(SHADES[value] * 2 for value in row) for row in rows.tolist()))


class Screen:
    """Outputs on standard output as they come; the state of the stream on standard error.

    On a terminal the state is one that moves, with the last picture; elsewhere a line a second.
    lines: outputs as lines of JSON. quiet: no state.
    """

    def __init__(self, lines: bool, quiet: bool) -> None:
        self._lines, self._quiet = lines, quiet
        self.console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._shown = 0.0
        self._picture: npt.NDArray[np.float32] | None = None

    def __enter__(self) -> Screen:
        if self.console.is_terminal and not self._quiet:
            self._live = Live(
                console=self.console, auto_refresh=False, redirect_stdout=sys.stdout.isatty(), transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, output: Output) -> None:
        """Write an output."""
        if output.picture is not None:
            self._picture = output.picture
        speak(json.dumps(output.as_dict()) + "\n" if self._lines else output_line(output))

    @property
    def due(self) -> bool:
        """True where the state was last shown long enough ago."""
        return time.monotonic() - self._shown >= (EVERY if self._live is not None else EVERY_LINE)

    def show(self, status: Status) -> None:
        """Show the state."""
        self._shown = time.monotonic()
        if self._quiet:
            return
        if self._live is None:
            self.console.print(status_line(status), markup=False, soft_wrap=True)
            return
        parts: list[RenderableType] = [Text(status_line(status))]
        if self._picture is not None:
            parts.insert(0, drawn(self._picture, self.console.color_system is not None))
        self._live.update(Group(*parts), refresh=True)
