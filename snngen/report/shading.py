"""Shading: the text, every token as dark as what it took, by a figure that the reader chooses."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from snngen.hardware.placement import Unplaced
from snngen.hardware.price import Breakdown, terms
from snngen.hardware.quantity import Quantity
from snngen.hardware.work import each_token
from snngen.report.markup import Markup, details, table, tag
from snngen.report.subject import Subject

LEVELS = 10  # shades; ``page.css`` has as many
MOST_ROWS = 1000  # of the table of tokens
UNREAD = "not read by the network: chosen last"


@dataclass(frozen=True)
class Figure:
    """One figure of every token.

    name: of the choice. group: energy or counts. values: of each token, None where it was never read.
    texts: the same in words, with range and unit. lower_bound: True where it is "at least" so much.
    """

    name: str
    group: str
    values: tuple[float | None, ...]
    texts: tuple[str, ...]
    lower_bound: bool = False

    @property
    def levels(self) -> str:
        """One digit for each token, from the lowest value (0) to the highest (9) in equal steps; "-" for none."""
        known = [value for value in self.values if value is not None]
        low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
        steps = (
            (LEVELS * (value - low) / span if span > 0 else 0.0) if value is not None else -1 for value in self.values
        )
        return "".join("-" if step < 0 else str(min(int(step), LEVELS - 1)) for step in steps)

    @property
    def ends(self) -> tuple[str, str]:
        """The lowest and the highest figure, in words."""
        known = [at for at, value in enumerate(self.values) if value is not None]
        if not known:
            return "", ""
        ordered = sorted(known, key=lambda at: self.values[at] or 0.0)
        return self.texts[ordered[0]], self.texts[ordered[-1]]


def energies(subject: Subject, breakdown: Breakdown) -> list[Quantity]:
    """J/token of each row of the ledger on a chip, as placed for the breakdown.

    Their means are its totals, or more where a chip has rates: the busiest core bounds the time of each token, and the
    mean of the maxima is not less than the maximum of the means.
    """
    chips, placement = breakdown.chips or 1, breakdown.placement
    cores = None if isinstance(placement, Unplaced) else placement
    return [
        reduce(operator.add, (term.energy for term in terms(work, breakdown.chip, chips, cores)))
        for work in each_token(subject.ledger, subject.code)
    ]


def figures(subject: Subject, spent: Sequence[Sequence[Quantity]]) -> list[Figure]:
    """Energy on every priced chip, then the counts that it rests on. spent: `energies` of each of these chips."""
    rows = subject.first_rows.tolist()
    found = []
    for breakdown, each in zip(subject.priced, spent, strict=True):
        values = tuple(None if row < 0 else each[row].value for row in rows)
        texts = tuple(UNREAD if row < 0 else str(each[row]) for row in rows)
        found.append(Figure(breakdown.chip.title, "energy", values, texts, breakdown.at_least))
    ledger, code = subject.ledger, subject.code
    for name, counts in (
        ("events", ledger.events(code).sum(axis=1)),
        ("synaptic operations", ledger.synaptic_operations(code).sum(axis=1)),
        ("ticks", ledger.ticks(code)),
    ):
        values = tuple(None if row < 0 else float(counts[row]) for row in rows)
        found.append(Figure(name, "counts", values, tuple(UNREAD if row < 0 else f"{counts[row]:,}" for row in rows)))
    return found


def section(subject: Subject) -> Markup:
    """The choice, the legend, the text, what the chosen token took, and the same as a table."""
    spent = [energies(subject, breakdown) for breakdown in subject.priced]
    every = figures(subject, spent)
    about = subject.run.about
    return tag(
        "section",
        tag("h2", "The text, token by token"),
        tag(
            "p",
            "The stronger the colour of a token, the more was spent when the network read it. The underlined tokens ",
            "are the prompt. Point at a token, tap it, or step through the text with the arrow keys.",
        ),
        _choice(every),
        tag("p", *_text(subject, every[0]), id="text", tabindex="0", role="group", aria_label="the text"),
        tag("div", "No token is chosen.", id="told", role="status"),
        tag("div", id="tip", role="tooltip", hidden=True),
        _read_again(subject, spent),
        _table(subject, every),
        _data(every, about.pieces),
        id="tokens",
    )


def _choice(every: Sequence[Figure]) -> Markup:
    groups = dict.fromkeys(figure.group for figure in every)
    options = (
        tag(
            "optgroup",
            *(tag("option", figure.name, value=at) for at, figure in enumerate(every) if figure.group == group),
            label={"energy": "energy per token", "counts": "counts per token"}[group],
        )
        for group in groups
    )
    low, high = every[0].ends
    swatches = (tag("span", class_=f"s{level}") for level in range(LEVELS))
    return tag(
        "div",
        tag("label", "Shaded by ", tag("select", *options, id="figure")),
        tag(
            "p",
            tag("span", low, id="low"),
            tag("span", *swatches, class_="scale", aria_hidden="true"),
            tag("span", high, id="high"),
            tag("span", _at_least(every[0]), id="bound"),
            class_="legend",
        ),
        class_="choice",
    )


def _at_least(figure: Figure) -> str:
    return "(each at least so much: see what has no price)" if figure.lower_bound else ""


def _text(subject: Subject, figure: Figure) -> Iterator[Markup]:
    about = subject.run.about
    for at, (piece, level) in enumerate(zip(about.pieces, figure.levels, strict=True)):
        words = ["t", "" if level == "-" else f"s{level}", "prompt" if at < about.prompt else ""]
        words.append("newline" if piece and not piece.strip("\n") else "")
        yield tag("span", piece, class_=" ".join(filter(None, words)))


def _read_again(subject: Subject, spent: Sequence[Sequence[Quantity]]) -> Markup:
    """What was spent beside the first reading of each token, so that nothing of the run is left out."""
    first, slides = set(subject.first_rows.tolist()), subject.run.about.slides
    again = [row for row in range(len(subject.ledger)) if row not in first]
    if not again:
        return Markup("")
    sums = [reduce(operator.add, (each[row] for row in again)) for each in spent]
    chips = [breakdown.chip.name for breakdown in subject.priced]
    words = [f"{str(total).replace('J/token', 'J')} on {name}" for total, name in zip(sums, chips, strict=True)]
    why = "a prefix that holds no token"
    if slides:
        why = f"the context was full {slides} times and began anew with its newest half"
    priced = f": {'; '.join(words)} in all" if words else ""
    return tag("p", f"Not shaded: {len(again):,} positions that were read beside these ({why}){priced}.")


def _table(subject: Subject, every: Sequence[Figure]) -> Markup:
    about, rows = subject.run.about, subject.first_rows.tolist()
    shown = min(len(about.pieces), MOST_ROWS)
    lines = [
        [
            str(at),
            tag("code", json.dumps(about.pieces[at], ensure_ascii=False)),
            "chosen last" if rows[at] < 0 else subject.ledger.phases[rows[at]],
            *("" if rows[at] < 0 else figure.texts[at] for figure in every),
        ]
        for at in range(shown)
    ]
    left = "" if shown == len(about.pieces) else f"; the first {shown:,} of {len(about.pieces):,} tokens"
    headings = ["token", "text", "phase", *(figure.name for figure in every)]
    body = table(f"what each token took, {subject.code} code{left}", headings, lines, "tokens")
    wide = tag("div", body, class_="wide", tabindex="0", role="region", aria_label="table of tokens")
    return details("The same as a table", wide)


def _data(every: Sequence[Figure], pieces: Sequence[str]) -> Markup:
    """What the script shows, as data: `<` is written so that nothing in it can end the element."""
    told = {
        "figures": [
            {
                "name": figure.name,
                "levels": figure.levels,
                "texts": list(figure.texts),
                "ends": list(figure.ends),
                "bound": _at_least(figure),
                "prefix": "at least " if figure.lower_bound else "",
            }
            for figure in every
        ],
        "pieces": list(pieces),
    }
    text = (
        json.dumps(told, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
    return tag("script", Markup(text), type="application/json", id="data")
