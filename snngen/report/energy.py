"""Energy: what a token costs on each chip, by cause, with intervals, evidence, and what has no price."""

from __future__ import annotations

from snngen.hardware.price import Breakdown, Phase
from snngen.hardware.quantity import Quantity
from snngen.hardware.verdict import Verdict
from snngen.ledger import PHASES
from snngen.report.markup import Markup, bar, details, join, table, tag
from snngen.report.subject import Subject


def section(subject: Subject) -> Markup:
    """One part per chip; those with cited figures only come as they stand."""
    return tag(
        "section",
        tag("h2", "Energy by cause"),
        tag(
            "p",
            f"Per token, {subject.code} code, from the counts of this run and the published figures of each chip. ",
            "The whisker is the range of those figures. A total that leaves something out says \u201cat least\u201d.",
        ),
        *(_chip(verdict) for verdict in subject.verdicts),
        id="energy",
    )


def _chip(verdict: Verdict) -> Markup:
    breakdown = verdict.breakdown
    where = f", {breakdown.where}" if breakdown.where else ""
    parts = [tag("h3", f"{breakdown.chip.title}{where}")]
    parts += [tag("p", against.sentence, class_="verdict") for against in verdict.against]
    parts += [_phase(breakdown, phase) for phase in breakdown.phases]
    if breakdown.rests_on:
        parts.append(tag("p", f"{breakdown.rests_on[0].upper()}{breakdown.rests_on[1:]}."))
    if breakdown.cited:
        parts.append(_cited(breakdown))
    if breakdown.unpriced:
        items = (tag("li", tag("b", part.cause), f": {part.why}") for part in breakdown.unpriced)
        parts.append(details(f"Without a price: {len(breakdown.unpriced)} causes", tag("ul", *items)))
    notes = [f"The verdict rests on: {against.note}." for against in verdict.against] + list(breakdown.chip.notes)
    if notes:
        parts.append(details("What to know of these figures", tag("ul", *(tag("li", note) for note in notes))))
    return tag("article", *parts)


def _phase(breakdown: Breakdown, phase: Phase) -> Markup:
    """A row per cause, with its bar on the scale of the total; then the total, and the time."""
    full = phase.total.high or 1.0
    lines = [(term.cause, term.energy, term.at_least) for term in phase.terms]
    lines.append(("total", phase.total, breakdown.at_least))
    rows = [
        [cause, join([_figure(energy, at_least), _bar(energy, full)]), _evidence(energy)]
        for cause, energy, at_least in lines
    ]
    if phase.time is not None:
        rows.append(["time", _figure(phase.time, True), _evidence(phase.time)])
    caption = f"{phase.name}: {phase.tokens:,} tokens"
    return table(caption, ["cause", "per token", "evidence"], rows, "energy")


def _figure(quantity: Quantity, at_least: bool) -> str:
    return f"{'at least ' if at_least else ''}{str(quantity).removesuffix('/token')}"


def _bar(quantity: Quantity, full: float) -> Markup:
    return bar(quantity.value / full, quantity.low / full, quantity.high / full)


def _evidence(quantity: Quantity) -> Markup:
    return details(quantity.evidence, tag("span", quantity.source))


def _cited(breakdown: Breakdown) -> Markup:
    rows = [
        [cited.model, phase, str(cited.energy), cited.boundary, details(cited.energy.evidence, cited.energy.source)]
        for phase in reversed(PHASES)
        for cited in breakdown.cited
        if cited.phase == phase
    ]
    caption = "what others measured there, all-in, with models of theirs: not this network, and not scaled to it"
    return table(caption, ["model", "phase", "energy", "the meter saw", "evidence"], rows, "cited")
