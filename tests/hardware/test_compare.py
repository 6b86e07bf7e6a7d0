"""One run on several chips: rows, CSV, picture and page say the same."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from networks import random_transformer

import snngen
from snngen.hardware import chips, compare
from snngen.hardware.price import Breakdown
from snngen.hardware.verdict import Verdict, judge
from snngen.ledger import GENERATE

NAMES = ("loihi2", "loihi1", "jetson-orin-nano", "h100", "cpu")


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    network = random_transformer(1, layers=2)
    ledger = snngen.generate(network, [1, 2], 5).finish().ledger
    judged = []
    for name in NAMES:
        judged.append(judge(ledger, chips.by_name(name), "graded", gpu=chips.by_name("jetson-orin-nano")))
    return judged


@pytest.fixture(scope="module")
def breakdowns(verdicts: list[Verdict]) -> list[Breakdown]:
    return [verdict.breakdown for verdict in verdicts]


def test_rows_hold_every_term_and_its_total(breakdowns: list[Breakdown]) -> None:
    rows = compare.energy_rows(breakdowns)
    for breakdown in breakdowns:
        for phase in breakdown.phases:
            mine = [r for r in rows if (r["chip"], r["phase"]) == (breakdown.chip.name, phase.name)]
            parts = {row["cause"]: row["value"] for row in mine if row["unit"] == "J/token"}
            assert parts.pop("total") == pytest.approx(sum(parts.values()))
    assert {row["chip"] for row in rows} == set(NAMES) - {"cpu"}  # no counters, no figure
    assert all(row["source"] and row["low"] <= row["value"] <= row["high"] for row in rows)


def test_csv_reads_back(breakdowns: list[Breakdown]) -> None:
    rows = list(csv.DictReader(io.StringIO(compare.as_csv(breakdowns))))
    assert [float(row["value"]) for row in rows] == [row["value"] for row in compare.energy_rows(breakdowns)]


class Links(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attributes if key in ("src", "href")]


def test_the_page_needs_nothing_else(breakdowns: list[Breakdown], verdicts: list[Verdict]) -> None:
    page = compare.as_html("<title>", compare.plot_energy(breakdowns), breakdowns, verdicts)
    links = Links()
    links.feed(page)
    assert links.sources
    assert all(source.startswith("data:image/png;base64,") for source in links.sources)
    assert "&lt;title&gt;" in page
    for breakdown in breakdowns:
        assert breakdown.rests_on in page
        for part in breakdown.unpriced:
            assert part.cause in page


def test_the_picture_has_a_panel_per_priced_chip_and_all_side_by_side(breakdowns: list[Breakdown]) -> None:
    figure = compare.plot_energy(breakdowns)
    *panels, totals = figure.axes if len(figure.axes) else [a for part in figure.subfigs for a in part.axes]
    assert [axes.get_title().split(",")[0] for axes in panels] == ["loihi2", "loihi1"]
    labels = [label.get_text().splitlines()[0] for label in totals.get_yticklabels()]
    assert set(labels) == set(NAMES) - {"cpu"}
    for axes, breakdown in zip(panels, breakdowns, strict=False):
        ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
        assert max(ends) == pytest.approx(1e6 * max(phase.total.value for phase in breakdown.phases))


def test_no_label_leaves_the_picture_or_covers_another(breakdowns: list[Breakdown]) -> None:
    figure = compare.plot_energy(breakdowns)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    *_, totals = [axes for part in figure.subfigs for axes in part.axes]
    boxes = [text.get_window_extent() for text in totals.texts]
    assert len(boxes) == len(totals.get_yticks())
    assert all(box.x0 > totals.bbox.x1 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    texts = " ".join(" ".join(text.get_text().split()) for text in totals.texts)
    for cited in (cited for breakdown in breakdowns for cited in breakdown.cited if cited.phase == GENERATE):
        assert f"{str(cited.energy).removesuffix('/token')}: {cited.model}" in texts


def test_the_dictionary_holds_every_chip(breakdowns: list[Breakdown]) -> None:
    assert [chip["chip"] for chip in compare.as_dict(breakdowns, [])["chips"]] == list(NAMES)
