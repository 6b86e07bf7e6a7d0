"""Recordings of tonic's datasets and transforms go into a stream as tonic gives them; no data are downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from sources.recordings import everything

from snngen.errors import PromptError
from snngen.events import EventArray, Sensor, as_sensor
from snngen.sources import open_source
from snngen.sources.array import ArraySource
from snngen.streaming.application import Output
from snngen.streaming.runner import Stream

tonic = pytest.importorskip("tonic", reason="tonic is in the extra `tonic`")

from tonic import transforms  # noqa: E402

Recording = npt.NDArray[Any]
SIZE = (34, 34, 2)
TRANSFORMS: dict[str, Callable[[Recording], Recording]] = {
    "CenterCrop": transforms.CenterCrop(SIZE, (20, 20)),
    "CropTime": transforms.CropTime(max=50_000),
    "Denoise": transforms.Denoise(filter_time=10_000),
    "Decimation": transforms.Decimation(3),
    "Downsample": transforms.Downsample(sensor_size=SIZE, target_size=(16, 16)),
    "DropEvent": transforms.DropEvent(p=0.5),
    "DropPixel": transforms.DropPixel(coordinates=[[1, 1], [2, 3]]),
    "MergePolarities": transforms.MergePolarities(),
    "RandomFlipLR": transforms.RandomFlipLR(SIZE, p=1.0),
    "RandomFlipPolarity": transforms.RandomFlipPolarity(p=1.0),
    "RandomTimeReversal": transforms.RandomTimeReversal(p=1.0),
    "RefractoryPeriod": transforms.RefractoryPeriod(1000),
    "SpatialJitter": transforms.SpatialJitter(SIZE, var_x=2, var_y=2, clip_outliers=True),
    "TimeAlignment": transforms.TimeAlignment(),
    "TimeJitter": transforms.TimeJitter(std=100, clip_negative=True, sort_timestamps=True),
    "TimeSkew": transforms.TimeSkew(1.5, 3),
    "UniformNoise": transforms.UniformNoise(SIZE, 100),
}


def recording(dtype: np.dtype[Any], size: tuple[int, int, int], count: int = 2000, seed: int = 0) -> Recording:
    """A random recording in a dataset's own type."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, dtype=dtype)
    events["t"] = np.sort(rng.integers(0, 100_000, count))
    for name, limit in (("x", size[0]), ("y", size[1]), ("p", size[2])):
        if name in (dtype.names or ()):
            events[name] = rng.integers(0, limit, count) if limit > 1 else 1
    return events


def same(ours: EventArray, theirs: Recording) -> bool:
    """Whether our events say what tonic's say, value by value."""
    names = theirs.dtype.names or ()
    row = theirs["y"] if "y" in names else np.zeros(len(theirs), dtype=int)
    pairs = ((ours["t"], theirs["t"]), (ours["x"], theirs["x"]), (ours["y"], row), (ours["p"], theirs["p"] > 0))
    return all(np.array_equal(a, b) for a, b in pairs)


class Counting:
    """An application that keeps the events and says how many they were."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor, self.taken = sensor, []  # type: ignore[var-annotated]

    def begin(self, start_us: int) -> None:
        self.taken.clear()

    def take(self, events: EventArray) -> None:
        self.taken.append(events.copy())

    def answer(self, now_us: int) -> Output:
        return Output(now_us, str(sum(map(len, self.taken))))


def datasets() -> dict[str, Any]:
    """Every dataset of tonic whose class says its sensor and its type."""
    names = (getattr(tonic.datasets, name) for name in tonic.datasets.__all__)
    return {each.__name__: each for each in names if getattr(each, "sensor_size", None) and hasattr(each, "dtype")}


@pytest.mark.parametrize("name", datasets())
def test_the_type_of_every_dataset(name: str, tmp_path: Path) -> None:
    dataset = datasets()[name]
    given = recording(dataset.dtype, dataset.sensor_size)
    with ArraySource(given, dataset.sensor_size, None) as source:
        assert source.sensor == Sensor(*dataset.sensor_size)
        assert same(everything(source), given)
        assert sum(source.rejected.values()) == 0
    np.save(tmp_path / "recording.npy", given)
    with open_source(str(tmp_path / "recording.npy"), source.sensor, None) as source:
        assert same(everything(source), given)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_a_transform_gives(name: str) -> None:
    np.random.seed(3)  # noqa: NPY002 (tonic draws from there)
    events = recording(tonic.datasets.NMNIST.dtype, SIZE)
    given = TRANSFORMS[name](events.copy())
    assert len(given) > 100
    with ArraySource(given, SIZE, None) as source:
        assert same(everything(source), given)
        assert sum(source.rejected.values()) == 0


def test_times_that_a_transform_leaves_out_of_order_are_counted() -> None:
    np.random.seed(3)  # noqa: NPY002
    events = recording(tonic.datasets.NMNIST.dtype, SIZE)
    given = transforms.TimeJitter(std=100, clip_negative=True, sort_timestamps=False)(events)
    ahead = np.maximum.accumulate(given["t"])
    with ArraySource(given, SIZE, None) as source:
        assert same(everything(source), given[given["t"] == ahead])
        assert source.rejected["backwards"] == np.count_nonzero(given["t"] < ahead) > 0


def test_a_local_dataset_of_spoken_digits_streams(tmp_path: Path) -> None:
    folder = tmp_path / "SHD"
    folder.mkdir()
    (folder / "shd_test.h5.zip").write_bytes(b"")  # tonic looks whether it is there
    rng = np.random.default_rng(1)
    times = [np.sort(rng.random(count)).astype(np.float16) for count in (300, 500)]
    units = [rng.integers(0, 700, len(each)).astype(np.uint16) for each in times]
    with h5py.File(folder / "shd_test.h5", "w") as file:
        for name, columns, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            file.create_dataset(f"spikes/{name}", (2,), dtype=h5py.vlen_dtype(kind))[:] = np.array(
                columns, dtype=object
            )
        file["labels"] = np.array([3, 7], dtype=np.uint16)
        file["extra/keys"], file["extra/speaker"] = np.array([b"drei", b"sieben"]), np.array([0, 1])
    dataset = tonic.datasets.SHD(str(tmp_path), train=False)
    assert len(dataset) == 2
    for index in range(2):
        events, _ = dataset[index]
        application = Counting(as_sensor(dataset.sensor_size))
        with Stream(ArraySource(events, dataset.sensor_size, None), application) as stream:
            answers = [output.text for output in stream]
        assert answers[-1] == str(len(events)) == str(len(times[index]))
        assert same(np.concatenate(application.taken), events)


def test_a_local_dataset_of_cards_streams_through_its_own_transforms(tmp_path: Path) -> None:
    folder = tmp_path / "POKERDVS"
    for suit in tonic.datasets.POKERDVS.classes:
        (folder / "pips_test" / suit).mkdir(parents=True)
        for number in range(6):
            events = recording(tonic.datasets.POKERDVS.dtype, (35, 35, 2), 400, number)
            table = np.stack([events[name] for name in ("t", "x", "y", "p")], axis=1)
            np.save(folder / "pips_test" / suit / f"{number}.npy", table)
    (folder / tonic.datasets.POKERDVS.test_filename).write_bytes(b"")
    steps = transforms.Compose([transforms.CropTime(max=60_000), transforms.RandomFlipLR((35, 35, 2), p=1.0)])
    dataset = tonic.datasets.POKERDVS(str(tmp_path), train=False, transform=steps)
    assert len(dataset) == 24
    for events, _ in (dataset[index] for index in range(0, 24, 5)):
        application = Counting(as_sensor(dataset.sensor_size))
        with Stream(ArraySource(events, dataset.sensor_size, None), application) as stream:
            assert [output.text for output in stream][-1] == str(len(events))
        assert same(np.concatenate(application.taken), events)


def test_what_is_no_sensor_is_refused() -> None:
    assert as_sensor((700, 1, 1)) == as_sensor([700, 1, 1]) == as_sensor(Sensor(700, 1, 1)) == Sensor(700, 1, 1)
    for size in ((34, 34), (34.5, 34, 2), (0, 34, 2), (34, 34, 3), "34x34"):
        with pytest.raises(PromptError, match="expected"):
            as_sensor(size)
