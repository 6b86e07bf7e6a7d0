"""Page: the parts of a report put together, with the one style and the one script that its policy allows."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from snngen.ledger import GENERATE, PREFILL
from snngen.report import energy, proof, shading, spikes
from snngen.report.markup import Markup, tag
from snngen.report.subject import Subject

PARTS = (
    ("tokens", "text"),
    ("energy", "energy"),
    ("raster", "raster"),
    ("sparsity", "sparsity"),
    ("certificate", "certificate"),
    ("provenance", "provenance"),
)


def as_html(subject: Subject) -> str:
    """The page, whole: text, energy by cause, raster, sparsity, certificate, provenance.

    returns: HTML that opens from a file, with no other file and no network.
    """
    style, script = _asset("page.css") + spikes.heights(subject), _asset("page.js")
    title = f"What a text cost: {len(subject.run.tokens):,} tokens, {subject.code} code"
    body = tag(
        "body",
        tag("a", "To the text", href="#tokens", class_="skip"),
        tag("header", tag("h1", title), _summary(subject), _contents()),
        tag(
            "main",
            shading.section(subject),
            energy.section(subject),
            spikes.raster_section(subject),
            spikes.sparsity_section(subject),
            proof.certificate_section(subject),
            proof.provenance_section(subject),
        ),
        tag("footer", tag("p", f"Made by snngen report; run of {subject.run.about.created}.")),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', _head(title, style, script), body, lang='en')}\n"


def _head(title: str, style: str, script: str) -> Markup:
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )


def _asset(name: str) -> str:
    return resources.files("snngen.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _contents() -> Markup:
    return tag("nav", *(tag("a", word, href=f"#{name}") for name, word in PARTS), aria_label="parts of this page")


def _summary(subject: Subject) -> Markup:
    """The figures that a reader asks for first."""
    run, ledger = subject.run, subject.ledger
    mean = ledger.per_token(subject.code, subject.phase)
    certificate = run.certificate
    proven = "not made" if certificate is None else "equal to the reference" if certificate.clean else "MISMATCH"
    pairs = [
        ("tokens", f"{run.about.prompt:,} of the prompt, {len(run.tokens) - run.about.prompt:,} generated"),
        ("read", f"{ledger.tokens(PREFILL):,} in prefill, {ledger.tokens(GENERATE):,} in generate"),
        (f"events per token, {subject.phase}", f"{mean['events']:,.0f}"),
        (f"synaptic operations per token, {subject.phase}", f"{mean['synaptic_operations']:,.0f}"),
        ("certificate", proven),
    ]
    for breakdown in subject.priced:
        mark = "at least " if breakdown.at_least else ""
        figure = str(breakdown[subject.phase].total).removesuffix("/token")
        named = f"energy per token, {subject.phase}, {breakdown.chip.name}, {breakdown.where}"
        pairs.append((named, f"{mark}{figure}"))
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in pairs), class_="summary")
