"""Stream: events in, outputs out, live."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from snngen.cli.live import Screen, joules, milliseconds
from snngen.cli.terminal import Quiet, app, compiling, is_stdout, require_all_writable, speak, write_json
from snngen.decoding import HDF5
from snngen.dynamics.network import DynamicNetwork
from snngen.errors import FormatError, PromptError
from snngen.events import Sensor
from snngen.sources import EventSource, open_source
from snngen.streaming.event_queue import BLOCK, DROP_OLDEST, POLICIES
from snngen.streaming.runner import Stream
from snngen.streaming.scaled import Scaled
from snngen.streaming.spike_counts import SpikeCounts
from snngen.streaming.status import Status
from snngen.streaming.work import Work

DIGITS = "digits"
PERIOD_MS = 10.0
SOURCE_FAILED = 1


@app.command()
def stream(  # longer than 60 lines by its options, which typer reads here
    source: Annotated[
        str,
        typer.Argument(
            help="digits; a recording (.aedat4, .dat, .raw, .es, .csv, .h5, .npy); udp://HOST:PORT?format=spif or "
            "faery; - for standard input; synthetic:bar, dot or noise"
        ),
    ],
    application: Annotated[
        str | None,
        typer.Option("--app", help="digits (if left out), or a network of continuous time: MODEL.nir, MODEL.h5"),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help=f"when the queue is full: {', '.join(POLICIES)}; drop-oldest for UDP, block for all others"),
    ] = None,
    queue: Annotated[int, typer.Option(help="events that may wait", min=1)] = 2**16,
    merge: Annotated[int, typer.Option(help="--policy merge: within so many microseconds", min=0)] = 1000,
    speed: Annotated[float, typer.Option(help="recordings: times real time; 0 for as fast as possible", min=0)] = 1.0,
    period: Annotated[
        float | None, typer.Option(help="milliseconds of an output, 0 for one after every batch of events", min=0)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="end after so many, of the stream or of the clock on the wall; --speed 0: of the stream"),
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT or WIDTHxHEIGHTx1 (one polarity): of the network of --app; with --app digits, to which "
            "all are scaled, of a source that does not say"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="digits: of their order", min=0)] = 0,
    record: Annotated[Path | None, typer.Option(help="write the events that were taken to this file (.h5)")] = None,
    chip: Annotated[str, typer.Option(help="chips to price, comma-separated")] = "loihi2,loihi1,spinnaker2",
    window: Annotated[bool, typer.Option("--window", help="show the outputs in a window")] = False,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="write the summary as JSON to this file; -: outputs and summary as lines of JSON"),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Run an application on events as they come.

    In the end it says what was dropped, how late it was and what it cost.
    """
    from snngen.hardware import chips
    from snngen.hardware.live import Circuit, pricing

    priced = [chips.by_name(name) for name in chip.split(",") if name]
    require_all_writable(json_path, record)
    _require_apart(source, record, json_path)
    if seconds is not None and not 0 < seconds < math.inf:
        raise PromptError("--seconds", str(seconds), "more than 0")
    with ExitStack() as stack:
        shown = _window(stack) if window else None
        with compiling(quiet):
            opened, runs, networks = _opened(source, application or DIGITS, _sensor(sensor), speed or None, seed)
        stack.callback(opened.close)
        if application is None and source != DIGITS and not quiet:
            print(f"no --app: digits are looked for in {source}; --app MODEL.h5 runs your own network", file=sys.stderr)
        circuit = Circuit.of(networks)
        chosen = policy or (DROP_OLDEST if source.startswith("udp:") else BLOCK)
        live = source == "-" or source.startswith("udp:")  # its time passes whatever --speed says
        running = Stream(
            opened, runs, chosen, queue, _period(period, runs), merge_us=merge, seconds=seconds,
            on_the_wall=live or speed > 0, record=_recorder(stack, record, runs.sensor), price=pricing(circuit, priced),
        )  # fmt: skip
        screen = stack.enter_context(Screen(is_stdout(json_path), quiet))
        stack.enter_context(_terminated_like_interrupted())
        _run(running, screen, shown)
    return _concluded(running, screen, circuit, priced, record, json_path, quiet)


def _concluded(
    running: Stream, screen: Screen, circuit: Any, priced: list[Any], record: Path | None, json_path: Path | None,
    quiet: bool,
) -> int:  # fmt: skip
    """Say how the stream did. returns: the exit status. raises: PromptError where it did not hold out."""
    status = running.status()
    result = _result(status, running.work, circuit, priced)
    _summarize(screen, result, status, record, quiet)
    if is_stdout(json_path):
        speak(json.dumps({"summary": result}) + "\n")
    elif json_path is not None:
        write_json(json_path, result)
    if status.failure and not status.failure.startswith("source"):
        raise PromptError("stream", status.failure, "an application and a recording that hold out")
    return SOURCE_FAILED if status.failure else 0


def _require_apart(source: str, record: Path | None, json_path: Path | None) -> None:
    """Refuse a recording that could not be read again, or that would take the place of something else."""
    if record is None:
        return
    if record.suffix.lower() not in HDF5:
        raise PromptError("--record", str(record), "a name that ends in " + " or ".join(HDF5))
    for what, other in (("the source", Path(source)), ("--json", json_path)):
        if other is not None and record.absolute() == other.absolute():
            raise PromptError("--record", f"{record}, which is {what}", "a file of its own")


def _run(running: Stream, screen: Screen, shown: Any) -> None:
    """Receive outputs until the stream has ended or somebody interrupts."""
    try:
        with running:
            for output in running.outputs():
                if output is not None:
                    screen.say(output)
                if shown is not None and shown.due:
                    shown.show(output, running.status())
                    if shown.closed:
                        running.stop()
                if screen.due:
                    screen.show(running.status())
    except KeyboardInterrupt:  # the stream was closed on the way here: what it did is said
        pass


def _opened(
    text: str, application: str, given: Sensor | None, speed: float | None, seed: int
) -> tuple[EventSource, Any, dict[str, Any]]:
    """The source, the application, with addresses that fit, and its networks by their prefix in its work."""
    if application == DIGITS:
        from snngen import digits_live

        if text == DIGITS:
            shown = digits_live.DigitsSource(seed, speed=speed)
            runs = digits_live.DigitsApplication(truth=shown.truth)
            return shown, runs, _of_digits(runs)
        runs = digits_live.DigitsApplication()
        source = open_source(text, given or runs.sensor, speed)
        return _fitted(source, runs.sensor), runs, _of_digits(runs)
    if text == DIGITS:
        raise PromptError("--app", application, f"{DIGITS}, whose source {text!r} is")
    network = _network(application)
    source = open_source(text, given or _square(network), speed)
    try:
        if given is None:
            return source, SpikeCounts.fitting(network, source.sensor), {"": network}
        return _fitted(source, given), SpikeCounts(network, given), {"": network}
    except Exception:
        source.close()
        raise


def _of_digits(runs: Any) -> dict[str, Any]:
    from snngen.digits_live import DECODER

    return {"": runs.reader.model.encoder, DECODER: runs.reader.model.decoder}


def _fitted(source: EventSource, sensor: Sensor) -> EventSource:
    """The source, its addresses scaled where its sensor is of another size."""
    same = (source.sensor.width, source.sensor.height) == (sensor.width, sensor.height)
    return source if same else Scaled(source, sensor)


def _network(application: str) -> DynamicNetwork:
    """A network of continuous time from a file."""
    suffix = Path(application).suffix.lower()
    if suffix == ".nir":
        from snngen.nir import read_nir

        return read_nir(application)
    if suffix == ".h5":
        from snngen.dynamics import store

        return store.load(application)
    raise FormatError(application, f"a file that ends in {suffix!r}", "digits, MODEL.nir, or MODEL.h5")


def _square(network: DynamicNetwork) -> Sensor | None:
    """The square sensor, with two polarities or one, that a network's input has the addresses of, if any."""
    neurons = network[network.inputs[0]].size if network.inputs else 0
    for polarities in (2, 1):
        side = math.isqrt(neurons // polarities)
        if side and side <= 2**16 and side * side * polarities == neurons:
            return Sensor(side, side, polarities)
    return None


def _sensor(text: str | None) -> Sensor | None:
    """``WIDTHxHEIGHT`` or ``WIDTHxHEIGHTxPOLARITIES``."""
    if text is None:
        return None
    try:
        sides = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (2, 3):
        raise PromptError("--sensor", repr(text), "WIDTHxHEIGHT or WIDTHxHEIGHTx1")
    return Sensor(*sides)


def _period(milliseconds: float | None, runs: Any) -> int | None:
    """Microseconds of a period, the application's own where none is given; None for 0."""
    if milliseconds is None:
        return int(getattr(runs, "period_us", PERIOD_MS * 1000))
    if milliseconds == 0:
        return None
    if not 0.001 <= milliseconds <= 1e9:
        raise PromptError("--period", str(milliseconds), "0, or 0.001 to 1e9 milliseconds")
    return round(milliseconds * 1000)


def _recorder(stack: ExitStack, path: Path | None, sensor: Sensor) -> Callable[[Any], None] | None:
    if path is None:
        return None
    from snngen.recording import Recorder

    return stack.enter_context(Recorder(path, sensor)).write


def _window(stack: ExitStack) -> Any:
    from snngen.cli.window import Window

    shown = Window()
    stack.callback(shown.close)
    return shown


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the stream as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _result(status: Status, work: Work, circuit: Any, priced: list[Any]) -> dict[str, Any]:
    """The summary in plain values."""
    from snngen.hardware.live import price_live

    result = status.as_dict()
    result["work"] = {
        "events": dict(work.events),
        "synaptic_operations": work.synaptic_operations,
        "neuron_updates": work.neuron_updates,
    }
    outputs = status.outputs
    energies = [price_live(circuit, work, status.answered_s, outputs, chip).as_dict() for chip in priced if outputs]
    result["energy_per_output"] = {energy["chip"]: energy for energy in energies}
    return result


def _summarize(screen: Screen, result: dict[str, Any], status: Status, record: Path | None, quiet: bool) -> None:
    """The summary on standard error."""
    if quiet:
        return
    tally, latency, console = status.tally, status.latency, screen.console
    table = Table(title=f"{status.ended}{': ' + status.failure if status.failure else ''}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    rejected = sum(status.rejected.values())
    rows = [
        ("events sent by the source", f"{tally.sent:,}"),
        *((f"refused before: {reason}", f"{count:,}") for reason, count in status.rejected.items()),
        ("processed", f"{tally.processed:,}"),
        *((f"dropped: {reason}", f"{count:,}") for reason, count in tally.dropped.items()),
        *([("merged", f"{tally.merged:,}")] if tally.merged else []),
        ("events/s in, out", f"{status.events_in:,.0f}, {status.events_out:,.0f}"),
        ("seconds of stream, of the clock", f"{status.stream_s:.3f}, {status.wall_s:.3f}"),
        ("real-time factor, if it never waited", f"{status.real_time_factor:.3f}, {status.headroom:.3g}"),
        ("most events in the queue", f"{status.queue_most:,} of {status.queue_events:,}"),
        ("outputs, dropped", f"{status.outputs:,}, {status.outputs_dropped:,}"),
        ("latency p50, p95, p99 (ms)", ", ".join(map(milliseconds, (latency.p50, latency.p95, latency.p99)))),
        *(
            (f"energy per output, {name}{', at least' if energy['total']['at_least'] else ''}", _range(energy["total"]))
            for name, energy in result["energy_per_output"].items()
        ),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for name, energy in result["energy_per_output"].items():
        console.print(f"{name}: {energy['rests_on']}", markup=False, soft_wrap=True)
    sum_ = f"{tally.processed:,} + {tally.lost:,} + {tally.merged:,}"
    console.print(f"sent = processed + dropped + merged: {tally.sent:,} = {sum_}", markup=False)
    if rejected:
        console.print(f"the source itself refused {rejected:,} events, packets or lines", markup=False)
    if record is not None:
        console.print(f"wrote {record}", markup=False, soft_wrap=True)


def _range(total: dict[str, Any]) -> str:
    low, value, high = (joules(total[name]) for name in ("low", "value", "high"))
    return value if low == value == high else f"{value} ({low}..{high})"
