"""Anytime curves end where the reference is, and pictures of runs are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import random_transformer

from snngen import codes, reference
from snngen.anytime import Anytime, anytime
from snngen.errors import PromptError

TOKENS = [1, 5, 2, 8, 3]


@pytest.mark.parametrize("schedule", ["layered", "eager"])
@pytest.mark.parametrize("name", ["graded", "unary", "bitwise"])
def test_a_curve_ends_at_the_reference(name: str, schedule: str) -> None:
    network = random_transformer(2, layers=2)
    curve = anytime(network, TOKENS, codes.by_name(name), schedule, points=15)
    assert curve.ticks[-1] >= curve.settled.max()
    assert curve.tokens_right[-1] == curve.codes_right[-1] == 1
    assert curve.codes_right[0] < 1
    logits = reference.run(network, TOKENS)["logits"] * network["logits"].scale[0]
    likely = logits - np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    likely -= logits.max(axis=1, keepdims=True)
    assert curve.nats[-1] == pytest.approx(-np.mean([likely[i, TOKENS[i + 1]] for i in range(4)]))
    assert (curve.safe <= curve.settled).all()
    assert set(curve.as_dict()) >= {"ticks", "stops_early", "ticks_spared"}


def test_the_first_reading_is_of_an_empty_network() -> None:
    network = random_transformer(2, layers=2)
    curve = anytime(network, TOKENS, codes.by_name("unary"), "layered", points=5)
    assert curve.nats[0] == pytest.approx(np.log(network.vocabulary))  # nothing has arrived: all tokens are alike


def test_one_token_is_refused() -> None:
    with pytest.raises(PromptError, match="at least 2"):
        anytime(random_transformer(2), [1], codes.by_name("graded"))


def test_pictures_are_drawn(tmp_path: Path) -> None:
    from test_trace import record

    from snngen.engines.settled import SettledEngine
    from snngen.ledger import Ledger
    from snngen.plots import plot_anytime, plot_codes, plot_trace, save
    from snngen.trace import read_trace

    network = random_transformer(2, layers=2)
    record(network, tmp_path / "run.h5", "unary", "eager")
    ledger, engine = Ledger(network), SettledEngine(network)
    for token in TOKENS:
        engine.step(token)
        ledger.record("generate", *engine.counted())
    curve = anytime(network, TOKENS, codes.by_name("graded"), points=5)
    figures = [plot_trace(read_trace(tmp_path / "run.h5")), plot_codes(ledger), plot_anytime([curve, curve])]
    for number, figure in enumerate(figures):
        save(figure, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")
        assert all(axes.get_title() for axes in figure.axes[:4])


def test_every_code_and_schedule_has_a_line_of_its_own() -> None:
    from snngen.plots import plot_anytime

    line = np.ones(3)
    names = ("graded", "bitwise", "unary", "ttfs")
    curves = [
        Anytime(code, schedule, np.array([1, 2, 4]), line, line, line, line, line)
        for schedule in ("eager", "layered")
        for code in names
    ]
    figure = plot_anytime(curves)
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len({(str(one.get_linestyle()), one.get_color()) for one in lines}) == len(curves)
        assert [one.get_linestyle() for one in lines[:4]] == [one.get_linestyle() for one in lines[4:]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{c.code}, {c.schedule}" for c in curves]
