"""Proof: the certificate of the run, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snngen.report.markup import Markup, details, tag
from snngen.report.subject import Subject


def certificate_section(subject: Subject) -> Markup:
    """What was compared with the reference, and what was not."""
    certificate, about = subject.run.certificate, subject.run.about
    parts = [tag("h2", "Certificate")]
    if certificate is None:
        parts.append(
            tag("p", tag("strong", "None was made."), " Nothing shows that this run is what the network says.")
        )
        return tag("section", *parts, id="certificate")
    word = "equal" if certificate.clean else "MISMATCH"
    parts.append(
        tag(
            "p",
            tag("strong", word, class_="equal" if certificate.clean else "mismatch"),
            f": {certificate.codes:,} integers of {certificate.populations} populations over {certificate.tokens:,} ",
            f"tokens, {certificate.logits:,} of them logits, were compared with the reference by ==; ",
            f"{certificate.mismatches:,} differ.",
        )
    )
    if certificate.first is not None:
        parts.append(tag("p", f"The first: {certificate.first}."))
    rest = len(subject.run.tokens) - certificate.tokens
    if rest:
        parts.append(tag("p", f"Not compared: {rest:,} tokens beyond the first context."))
    if not about.exact:
        parts.append(tag("p", "This run was told to lose something; the certificate counts what."))
    parts.append(_pairs([("network", certificate.network), ("tokens", certificate.prompt)]))
    return tag("section", *parts, id="certificate")


def provenance_section(subject: Subject) -> Markup:
    """Network, run, file, versions and command."""
    about = subject.run.about
    speed = f"{about.prefill_rate:,.0f} tokens/s of prompt, {about.generate_rate:,.0f} tokens/s generated"
    engine = about.engine + (f", {about.schedule} schedule" if about.schedule else "")
    single = [(key, value) for key, value in about.provenance.items() if not isinstance(value, dict | list)]
    nested = [(key, value) for key, value in about.provenance.items() if isinstance(value, dict | list) and value]
    return tag(
        "section",
        tag("h2", "Provenance"),
        _pairs(
            [
                ("command", about.command or "none: saved from Python"),
                ("run on", about.created),
                ("this file of the run, SHA-256", subject.run.seal),
                ("network, SHA-256", about.network),
                ("network from", about.model or "the package"),
                ("engine", engine),
                ("ended by", {"length": "the number of tokens asked for", "end": "an end token"}.get(
                    about.stopped, "a full context" if about.stopped == "context" else about.stopped)),
                ("speed of the simulation", speed),
                ("machine", ", ".join(filter(None, about.machine.values()))),
                ("versions", ", ".join(f"{name} {version}" for name, version in about.versions.items())),
            ]
        ),
        details("The network's own provenance", _pairs(single), *(_nested(key, value) for key, value in nested)),
        id="provenance",
    )  # fmt: skip


def _nested(key: str, value: Any) -> Markup:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return details(key, _pairs([(str(name), str(inside)) for name, inside in pairs]))


def _pairs(pairs: Sequence[tuple[str, Any]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in pairs))
