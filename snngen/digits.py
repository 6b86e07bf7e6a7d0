"""Digits: an event camera looks at handwritten digits; what it sees is named, and drawn anew.

    events of the camera -> hidden LIF -> label (10 LIF), latent (LIF)      continuous time, `ContinuousEngine`
    spike counts of label and latent -> picture of 8 x 8                    integers, `SettledEngine`

A reading counts the spikes of one period. The label is that of most spikes, a part of one being what its membrane
holds of the next; its confidence is softmax(sharpness * counts), the sharpness fitted to the digits trained on
(temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).

The digits are scikit-learn's `load_digits` (Alpaydin and Kaynak, UCI, 1998: 1,797 pictures of 8 x 8, 16 greys),
needed only to show them. One of five, by lot, is held out; the same hands wrote both parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snngen import store
from snngen.dynamics import store as dynamic_store
from snngen.dynamics.counts import Counts
from snngen.dynamics.network import DynamicNetwork
from snngen.engines.continuous import ContinuousEngine
from snngen.engines.settled import SettledEngine
from snngen.errors import NetworkError, PromptError, UnsupportedError
from snngen.event_camera import EventCamera, Saccades
from snngen.events import EventArray, Sensor
from snngen.integers import FloatArray, IntArray
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network
from snngen.picture import check
from snngen.streaming.work import Work

FORMAT = "snngen digits"
SHIPPED = "digits.h5"
CAMERA = EventCamera(noise_hz=1.0)
SACCADES = Saccades()
PAUSE_US = 30_000  # between two digits, without events
PERIOD_US = SACCADES.duration_us + PAUSE_US
EVERY = 5  # one digit of so many is held out
LOT = 0  # seed of the draw
CLASSES = 10
INPUT, HIDDEN, LABEL, LATENT = "events", "hidden", "label", "latent"


def digits(held_out: bool) -> tuple[FloatArray, IntArray]:
    """(n, 8, 8) pictures 0..1 and (n,) labels: the digits trained on (1,438), or those held out (359), by a draw.

    raises: UnsupportedError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UnsupportedError(
            "digits", "no scikit-learn, whose digits are shown", "scikit-learn", "pip install snngen[digits]"
        ) from error
    found = load_digits()
    drawn = np.random.default_rng(LOT).permutation(len(found.target)) < len(found.target) // EVERY
    kept = drawn == held_out
    return np.asarray(found.images[kept] / 16.0), np.asarray(found.target[kept], dtype=np.int64)


def recording(picture: FloatArray, start_us: int = 0, noise_seed: int = 0) -> EventArray:
    """The events of one digit, seen once around the triangle by the camera of this application."""
    return SACCADES.record(picture, CAMERA, start_us, noise_seed)


def presentations(pictures: FloatArray, order: IntArray, start_us: int = 0) -> Iterator[EventArray]:
    """The events of one digit after the other, each a period after the one before.

    pictures: (n, 8, 8) in 0..1. order: (m,) which of them, in turn.
    """
    for turn, index in enumerate(order):
        yield recording(pictures[index], start_us + turn * PERIOD_US, turn)


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read from the events of one period.

    label: the digit, None where no output spiked. confidence: 0..1, of the label. scores: (10,) spikes, with the part
    of the next one. spikes: (10 + latent,) counts that went into the decoder. picture: (8, 8) of 0..1, None without a
    label. work: of the encoder since the last reading. ledger: of the decoder, one picture or none.
    """

    label: int | None
    confidence: float
    scores: FloatArray
    spikes: IntArray
    picture: FloatArray | None
    work: Work
    ledger: Ledger


@dataclass(frozen=True, eq=False)
class DigitModel:
    """An encoder of events and a decoder of its spikes.

    encoder: from one input to populations `label` and `latent`, its outputs in that order.
    decoder: a network whose only source takes their spike counts, and whose output is a picture.
    sensor: that the encoder was trained on.
    raises: NetworkError where the parts do not fit.
    """

    encoder: DynamicNetwork
    decoder: Network
    sensor: Sensor = CAMERA.sensor

    def __post_init__(self) -> None:
        check(self.decoder)
        if self.encoder.inputs != (INPUT,) or self.encoder.outputs != (LABEL, LATENT):
            got = f"inputs {self.encoder.inputs}, outputs {self.encoder.outputs}"
            raise NetworkError("DigitModel.encoder", got, f"{(INPUT,)}, {(LABEL, LATENT)}")
        label, latent = self.encoder[LABEL].size, self.encoder[LATENT].size
        sizes = label, self.encoder[INPUT].size, self.decoder.vocabulary
        expected = CLASSES, self.sensor.size, label + latent
        if sizes != expected:
            raise NetworkError("DigitModel", f"labels, addresses and spike counts {sizes}", str(expected))
        if not isinstance(self.encoder.metadata.get("sharpness"), float):
            raise NetworkError("DigitModel.encoder", f"metadata {sorted(self.encoder.metadata)}", "a sharpness")

    @property
    def sharpness(self) -> float:
        """By how much a spike more makes a label likelier, in nats."""
        return float(self.encoder.metadata["sharpness"])


def save(model: DigitModel, path: str | Path) -> None:
    """Write both networks into one sealed file.

    raises: FormatError where the path cannot be written.
    """

    def fill(file: h5py.File) -> None:
        file.attrs["sensor"] = [model.sensor.width, model.sensor.height, model.sensor.polarities]
        dynamic_store.write(model.encoder, file.create_group("encoder"))
        store.write(model.decoder, file.create_group("decoder"))

    store.write_sealed(path, FORMAT, fill)


def load(path: str | Path | None = None) -> DigitModel:
    """Read a model; without a path, the one that ships in the package.

    raises: FormatError for a file that is absent, foreign or damaged; NetworkError where its parts do not fit.
    """
    if path is None:
        with resources.as_file(resources.files("snngen.models") / SHIPPED) as shipped:
            return load(shipped)

    def take(file: h5py.File, where: str, size: int) -> DigitModel:
        encoder = dynamic_store.read(file["encoder"], f"{where}:/encoder", size)
        decoder = store.read(file["decoder"], f"{where}:/decoder", size)
        return DigitModel(encoder, decoder, Sensor(*(int(side) for side in file.attrs["sensor"])))

    return store.read_sealed(path, FORMAT, "a model written by examples/train_event_digits.py", take)


class DigitReader:
    """Reads digits from events as they come; the membranes of the encoder are never reset between two of them.

    model: the shipped one if not given. `begin`, `take` events, then ask for a `reading` of all since `forget`.
    """

    def __init__(self, model: DigitModel | None = None) -> None:
        self.model = load() if model is None else model
        self.engine = ContinuousEngine(self.model.encoder)
        self._drawer = SettledEngine(self.model.decoder)
        self._drawer.warm()  # compiled, or loaded, before events wait
        self._spikes = np.zeros(self.model.decoder.vocabulary, dtype=np.int64)
        self._firsts = np.zeros(len(self.engine.names), dtype=np.int64)  # of the outputs, which alone are recorded
        self._firsts[self.model.encoder.order[LATENT]] = CLASSES
        self._before: Counts | None = None

    def begin(self, start_us: int) -> None:
        """Back to the initial state: no event will be before this time."""
        self.engine.reset(start_us)
        self._before = None
        self.forget()

    def take(self, events: EventArray) -> None:
        """Some events on the sensor, in order of time, none before the last ones.

        raises: PromptError for others.
        """
        if not len(events):
            return
        if not self.model.sensor.inside(events).all():
            raise PromptError("digits", "events off the sensor", f"{self.model.sensor}", "Give the camera's part of it")
        times = events["t"].astype(np.int64)
        self.engine.push(times, self.model.sensor.neurons(events))
        self.advance(int(times[-1]))

    def advance(self, until_us: int) -> None:
        """Let everything happen that comes before a time."""
        spikes = self.engine.advance(until_us)
        if len(spikes):
            numbers = self._firsts[spikes.populations] + spikes.neurons
            self._spikes += np.bincount(numbers, minlength=self._spikes.size)

    def forget(self) -> None:
        """The next reading is of the spikes from now on."""
        self._spikes[:] = 0

    def reading(self) -> Reading:
        """What the spikes say since `forget`; its work is what was done since the reading before."""
        low, high = self.model.decoder.sources[0].neuron.range
        spikes = np.clip(self._spikes, low, high)
        scores = spikes[:CLASSES] + self._parts()
        likely = np.exp(self.model.sharpness * (scores - scores.max()))
        silent = not spikes.any()
        ledger = Ledger(self.model.decoder)
        picture = None if silent else self._draw(spikes, ledger)
        counts = self.engine.counts
        work, self._before = Work.between(self._before, counts), counts
        return Reading(
            None if silent else int(scores.argmax()), 0.0 if silent else float(likely.max() / likely.sum()), scores,
            spikes, picture, work, ledger,
        )  # fmt: skip

    def _parts(self) -> FloatArray:
        """(10,) 0..1, how much of the next spike each label neuron holds."""
        neuron: Any = self.model.encoder[LABEL].neuron
        return np.asarray(np.clip(self.engine.potential(LABEL) / neuron.v_threshold, 0.0, 0.999))

    def _draw(self, spikes: IntArray, ledger: Ledger) -> FloatArray:
        decoder = self.model.decoder
        self._drawer.reset()
        self._drawer.step(codes={decoder.sources[0].name: spikes})
        ledger.record(GENERATE, *self._drawer.counted(), self._drawer.ticks)
        low, high = decoder.picture_range
        values = self._drawer.output * decoder[decoder.output].scale
        shape = (decoder.picture or ())[1:]
        return np.asarray(np.clip((values.reshape(shape) - low) / (high - low), 0.0, 1.0))


def readings(pictures: FloatArray, model: DigitModel | None = None) -> Iterator[Reading]:
    """Every picture shown once, one after the other, each read at the end of its period."""
    reader = DigitReader(model)
    reader.begin(0)
    for turn, events in enumerate(presentations(pictures, np.arange(len(pictures)))):
        reader.take(events)
        reader.advance((turn + 1) * PERIOD_US)
        yield reader.reading()
        reader.forget()
