"""`snngen stream`: files, UDP from another process, synthetic sensors, standard input; what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from patience import PATIENCE, until

from snngen.dynamics import store
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.synapses.dense import Dense
from snngen.events import EventArray, Sensor
from snngen.recording import Recorder, read
from snngen.sources import open_source
from snngen.sources.synthetic import SyntheticSource
from snngen.streaming.runner import Stream
from snngen.streaming.spike_counts import SpikeCounts

SCRIPT = Path(sys.executable).with_name("snngen")
SENDER = """
import sys, numpy as np
from snngen.events import EVENT
from snngen.sources.udp import send_udp
events = np.zeros(int(sys.argv[3]), dtype=EVENT)
events["t"], events["x"] = np.arange(len(events)) * 20, np.arange(len(events)) % 16
send_udp(events, "127.0.0.1", int(sys.argv[1]), sys.argv[2], rate=50_000)
"""


@dataclass(frozen=True)
class Ended:
    """How the command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.lines[-1]["summary"]
        return found


@dataclass(frozen=True)
class Running:
    """The command under way. It speaks into files: what was read from a pipe is lost to `communicate`."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of JSON so far."""
        return [json.loads(line) for line in written(self.out).rpartition("\n")[0].splitlines()]


def written(file: IO[bytes]) -> str:
    """What is in a file, its place left where it is."""
    return os.pread(file.fileno(), 2**30, 0).decode()


def command(*arguments: object) -> list[str]:
    return [str(part) for part in (SCRIPT, "stream", *arguments)]


def begun(*arguments: object, **options: Any) -> Running:
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (`ended` closes them)
    # a shell ignores SIGINT in what it runs in the background, and what is ignored is inherited
    return Running(
        subprocess.Popen(command(*arguments), stdout=out, stderr=err, preexec_fn=heed_interrupts, **options), out, err
    )


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(running: Running) -> Ended:
    with running.out, running.err:
        try:
            running.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()
            pytest.fail(f"it hangs; {written(running.out)[-500:]}\n{written(running.err)[-2000:]}")
        return Ended(running.process.returncode, written(running.out), written(running.err))


def stream(*arguments: object, **options: Any) -> Ended:
    return ended(begun(*arguments, **options))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def account(summary: dict[str, Any]) -> dict[str, int]:
    """The account of events, which must be balanced with nothing left over."""
    events = summary["events"]
    assert events["balanced"]
    assert events["waiting"] == 0
    assert events["sent"] == events["processed"] + sum(events["dropped"].values()) + events["merged"]
    return {name: events[name] for name in ("sent", "processed", "merged")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten leaky neurons that hear a sensor of 16 x 16 with two polarities."""
    rng = np.random.default_rng(2)
    tau = np.full(10, 0.01)
    neurons = LeakyIntegrateAndFire(tau, np.ones(10), r=tau)
    network = DynamicNetwork(
        (DynamicPopulation("pixels", Input(512)), DynamicPopulation("seen", neurons)),
        (DynamicProjection("pixels", "seen", Dense(rng.normal(0.05, 0.2, (512, 10)))),),
    )
    path = tmp_path_factory.mktemp("stream") / "model.h5"
    store.save(network, path)
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of a moving bar."""
    path = tmp_path_factory.mktemp("stream") / "bar.h5"
    sensor = Sensor(16, 16)
    with SyntheticSource("bar", sensor, 20_000, 3, 0.5, None) as source, Recorder(path, sensor) as recorder:
        while (events := source.read(1.0)) is not None:
            recorder.write(events)
    return path


def every(path: Path) -> EventArray:
    _, portions = read(path)
    return np.concatenate(list(portions))


def test_a_file_runs_through_and_gives_what_the_library_gives(model: Path, recording: Path, tmp_path: Path) -> None:
    done = stream(recording, "--app", model, "--speed", 0, "--period", 50, "--json", "-", "--record", tmp_path / "r.h5")
    assert done.status == 0, done.err
    assert account(done.summary)["processed"] == len(every(recording))
    assert (every(tmp_path / "r.h5") == every(recording)).all()
    assert done.summary["ended"] == "source ended"
    runs = SpikeCounts(store.load(model), Sensor(16, 16))
    with Stream(open_source(str(recording), speed=None), runs, period_us=50_000) as library:
        expected = [output.as_dict() for output in library]
    assert len(expected) == 10
    assert sum(output["spikes"] for output in expected) > 100
    for line, output in zip(done.lines[:-1], expected, strict=True):
        for name in ("time_us", "text", "label", "spikes", "counts", "work", "seconds"):
            assert line[name] == output[name]
        assert set(line["energy"]) == {"loihi2", "loihi1", "spinnaker2"}
    assert "sent = processed + dropped + merged" in done.err
    assert "latency p50, p95, p99" in done.err
    rests = {name: energy["rests_on"] for name, energy in done.summary["energy_per_output"].items()}
    assert rests["loihi1"] == (
        "static power of 1 chip for as long as the stream took; not placed on cores, chips are counted by synaptic "
        "memory alone"
    )
    assert rests["spinnaker2"].startswith("static power not counted: not published apart")
    assert all(f"{name}: {said}" in done.err for name, said in rests.items())


def test_a_synthetic_sensor_in_real_time(model: Path, tmp_path: Path) -> None:
    source = "synthetic:dot?rate=20000&width=16&height=16"
    done = stream(
        source, "--app", model, "--seconds", 1, "--period", 100, "--json", tmp_path / "s.json", "--chip", "loihi1"
    )
    assert done.status == 0, done.err
    about = json.loads((tmp_path / "s.json").read_text())
    assert 0 < account(about)["processed"] == pytest.approx(20_000 * about["stream_seconds"], rel=0.3)
    assert about["events"]["dropped"].keys() <= {"stopped"}
    assert about["stream_seconds"] <= about["wall_seconds"]
    assert about["ended"] == "time over"
    energy = about["energy_per_output"]["loihi1"]
    assert energy["total"]["value"] > 0.104 * about["answered_seconds"] / about["outputs"]  # it is on all the time
    assert len(done.out.splitlines()) == about["outputs"]
    assert all("seen: " in line and "loihi1" in line for line in done.out.splitlines())


@pytest.mark.parametrize("form", ["faery", "spif"])
def test_a_udp_sender_in_another_process(model: Path, form: str) -> None:
    port, count = free_port(), 10_000  # which the system's buffer holds, however late they are read
    url = f"udp://127.0.0.1:{port}?format={form}&width=16&height=16"
    running = begun(url, "--app", model, "--period", 20, "--json", "-")
    until(lambda: "real time" in written(running.err))  # it listens
    subprocess.run([sys.executable, "-c", SENDER, str(port), form, str(count)], check=True, timeout=PATIENCE)
    until(lambda: any(line["time_us"] > 20 * (count - 1) for line in running.lines))
    running.process.send_signal(signal.SIGINT)
    done = ended(running)
    assert done.status == 0, done.err
    assert done.summary["ended"] == "stopped"
    assert account(done.summary)["sent"] == account(done.summary)["processed"] == count
    assert done.summary["rejected_by_source"] == {}


def test_standard_input_of_lines_and_of_rubbish(model: Path, tmp_path: Path) -> None:
    lines = "t,x,y,p\n" + "".join(f"{20 * n},{n % 16},3,1\n" for n in range(5000))
    for name, data in (("good", lines.encode()), ("bad", np.random.default_rng(0).bytes(100_000))):
        (tmp_path / name).write_bytes(data)
        with (tmp_path / name).open("rb") as given:
            done = stream("-", "--sensor", "16x16", "--app", model, "--json", "-", stdin=given)
        assert done.status == 0, done.err
        processed = account(done.summary)["processed"]
        if name == "good":
            assert processed == 5000
        else:
            assert sum(done.summary["rejected_by_source"].values()) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_with_a_summary_and_a_readable_recording(
    model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "seen.h5"
    running = begun(
        "synthetic:bar?rate=50000&width=16&height=16", "--app", model, "--period", 20, "--json", "-", "--record", path
    )
    until(lambda: len(running.lines) >= 20)
    running.process.send_signal(number)
    done = ended(running)
    assert done.status == 0, done.err
    assert done.summary["ended"] == "stopped"
    assert len(every(path)) == account(done.summary)["processed"] > 1000
    assert "Traceback" not in done.err


def test_a_stalled_source_ends_with_the_time(model: Path) -> None:
    done = stream("udp://127.0.0.1:0?width=16&height=16", "--app", model, "--seconds", 1, "--json", "-")
    assert done.status == 0, done.err
    assert account(done.summary)["sent"] == 0
    assert done.summary["ended"] == "time over"


def test_above_saturation_drops_are_counted_to_the_event(model: Path) -> None:
    done = stream(
        "synthetic:noise?rate=2000000&width=16&height=16&duration=1", "--app", model, "--speed", 0, "--queue", 1000,
        "--policy", "drop-newest", "--json", "-", "--period", 10,
    )  # fmt: skip
    assert done.status == 0, done.err
    assert account(done.summary)["sent"] == pytest.approx(2_000_000, rel=0.01)
    assert done.summary["events"]["dropped"]["queue full"] > 0


def test_the_digits_are_named_drawn_and_priced() -> None:
    pytest.importorskip("sklearn")
    from snngen import digits

    pictures, _ = digits.digits(held_out=True)
    assert len(list(digits.readings(pictures[:1]))) == 1  # the kernels are compiled here, not while events wait
    running = begun("digits", "--speed", 0, "--json", "-")
    until(lambda: len(running.lines) > 60)
    running.process.send_signal(signal.SIGINT)
    done = ended(running)
    assert done.status == 0, done.err
    account(done.summary)
    whole = [line for line in done.lines[:-1] if line["time_us"] % digits.PERIOD_US == 0]
    right = [line["label"] == str(line["shown"]) for line in whole]
    assert len(right) > 50
    assert np.mean(right) > 0.85
    assert all(np.shape(line["picture"]) == (8, 8) and line["energy"]["loihi1"] > 0 for line in whole)


def test_a_sensor_of_another_size_is_scaled(model: Path) -> None:
    done = stream(
        "synthetic:bar?rate=10000&duration=0.5&width=128&height=64", "--app", model, "--sensor", "16x16", "--speed", 0,
        "--json", "-",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert account(done.summary)["sent"] == account(done.summary)["processed"] > 4000


def test_a_broken_pipe_ends_it(model: Path) -> None:
    process = subprocess.Popen(
        command("synthetic:bar?rate=1000&width=16&height=16", "--app", model, "--json", "-"),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as said:
        errors = said.read()
    assert process.wait(PATIENCE) != 0
    assert "Traceback" not in errors


REFUSED = [
    (("nonsense:",), "nonsense:"),
    (("synthetic:bar?width=20", "--app", "MODEL"), "512 neurons"),
    (("synthetic:bar", "--app", "model.txt"), ".txt"),
    (("digits", "--app", "MODEL"), "--app"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--policy", "maybe"), "drop-oldest"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--sensor", "wide"), "--sensor"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--period", "1e12"), "--period"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--seconds", "-1"), "--seconds"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--chip", "h100"), "conventional"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--record", "/nowhere/a.h5"), "/nowhere"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--record", "a.aedat4"), "ends in .h5"),
    (("absent.h5", "--app", "MODEL", "--record", "absent.h5"), "which is the source"),
    (("absent.h5", "--app", "MODEL", "--record", "b.h5", "--json", "b.h5"), "which is --json"),
    (("synthetic:bar?width=16&height=16", "--app", "MODEL", "--window"), "no display"),
]


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(model: Path, arguments: tuple[str, ...], named: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    if named == "no display" and not sys.platform.startswith("linux"):
        pytest.skip("other systems have a display")
    done = stream(*(str(model) if part == "MODEL" else part for part in arguments), env=environment)
    assert (done.status, done.out) == (2, ""), done
    (line,) = done.err.splitlines()
    assert line.startswith("snngen: ")
    assert named in line


def test_the_window_draws_pictures_and_spikes() -> None:
    from matplotlib.figure import Figure

    from snngen.cli.window import draw_output
    from snngen.streaming.application import Output

    axes = Figure().add_subplot()
    draw_output(axes, Output(5, "a picture", picture=np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)))
    assert axes.get_title() == "a picture"
    assert np.asarray(axes.images[0].get_array()).shape == (3, 4)
    draw_output(axes, Output(5, "spikes", values={"counts": {"seen": {"2": 7, "5": 1}}}))
    assert [bar.get_height() for bar in axes.patches] == [7, 1]  # type: ignore[attr-defined]
    assert not axes.images


def test_the_terminal_draws_pictures() -> None:
    from snngen.cli.live import drawn, joules

    assert str(drawn(np.array([[0, 0.5, 1]], dtype=np.float32), colours=False)).rstrip("\n") == "  ++@@"
    for colours in (False, True):
        shown = str(drawn(np.ones((200, 200), dtype=np.float32), colours)).splitlines()
        assert shown
        assert max(map(len, shown)) <= 128
    assert (joules(0.0032), joules(4e-12), joules(2.5), joules(0)) == ("3.2 mJ", "4 pJ", "2.5 J", "0 pJ")
