"""The animation of the docs: digits, events, spikes and pictures, moment by moment."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from snngen import digits

pytest.importorskip("sklearn", reason="the digits are scikit-learn's (pip install snngen[digits])")


@pytest.fixture
def animation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "docs"))
    sys.modules.pop("digits_animation", None)
    import digits_animation

    monkeypatch.setattr(digits_animation, "SHOWN", 1)
    module: ModuleType = digits_animation
    return module


def test_moments_add_up_to_what_the_reader_read(animation: ModuleType) -> None:
    moments = list(animation.frames())
    assert [moment.now_us for moment in moments] == list(range(6000, digits.PERIOD_US + 1, 6000))
    pictures, labels = digits.digits(held_out=True)
    first = np.random.default_rng(0).permutation(len(labels))[0]
    reading = next(digits.readings(pictures[first : first + 1]))
    assert np.array_equal(moments[-1].reading.spikes, reading.spikes)
    assert moments[-1].reading.label == labels[first]
    layout = animation.Spikes(digits.DigitReader())
    rows = moments[-1].rows.astype(int)
    counts = np.bincount(rows, minlength=layout.size)
    label, latent = (layout.firsts[name] for name in (digits.LABEL, digits.LATENT))
    assert np.array_equal(counts[label : label + digits.CLASSES], reading.spikes[: digits.CLASSES])
    assert np.array_equal(counts[latent:label], reading.spikes[digits.CLASSES :])
    assert sum(len(moment.events) for moment in moments) == reading.work.events[digits.INPUT]


@pytest.mark.slow
def test_the_animation_moves(animation: ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "digits.gif"
    animation.docs_animation(path)
    with Image.open(path) as picture:
        assert picture.format == "GIF"
        assert 10 <= picture.n_frames <= 20  # type: ignore[attr-defined]  # equal ones become one
    assert list(tmp_path.iterdir()) == [path]
