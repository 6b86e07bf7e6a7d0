"""The page of a run: its figures are those of the run, its markup is whole, and no text can act."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_transformer
from test_cli import refused, run
from test_saved_run import record

import snngen
from snngen.certificate import Certificate, Mismatch
from snngen.errors import FormatError, UnsupportedError
from snngen.hardware import chips
from snngen.hardware.price import price
from snngen.network import Network
from snngen.report import Subject, as_html, shading, spikes
from snngen.report.markup import Markup, escape, table, tag
from snngen.saved_run import RunRecorder, SavedRun, read_saved_run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'\x00\x1b\r\n]]>-->"
SHOWN = ("loihi2", "loihi1", "jetson-orin-nano")
VOID = ("img", "meta", "link")


class Page(HTMLParser):
    """A page taken apart: elements in order, with their attributes and text; fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((name, dict(attributes)))
        self.texts.setdefault(name, [])
        if name not in VOID:
            self._open.append(name)
            self.texts[name].append("")

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        for name in set(self._open):
            self.texts[name][-1] += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [attributes for found, attributes in self.elements if found == name]

    @property
    def data(self) -> Any:
        """What the script is given."""
        (place,) = (at for at, attributes in enumerate(self.all("script")) if attributes.get("id") == "data")
        return json.loads(self.texts["script"][place])


def saved(network: Network, path: Path, prompt: str, tokens: int, **options: Any) -> SavedRun:
    recorder = RunRecorder(snngen.generate(network, prompt, tokens, temperature=0.8, when_full="slide"))
    list(recorder)
    recorder.save(path, **options)
    return read_saved_run(path)


def subject(network: Network, path: Path, names: tuple[str, ...] = SHOWN, code: str = "") -> Subject:
    return Subject(read_saved_run(path), network, [chips.by_name(name) for name in names], code)


@pytest.fixture(scope="module")
def long(shakespeare: Network, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """400 tokens of the model in the package, whose context is full twice."""
    path = tmp_path_factory.mktemp("report") / "run.h5"
    saved(shakespeare, path, "ROMEO:", 400, command="snngen generate ROMEO:")
    return subject(shakespeare, path)


@pytest.fixture(scope="module")
def page(long: Subject) -> str:
    return as_html(long)


@pytest.mark.parametrize("code", ["graded", "unary", "delta"])
@pytest.mark.parametrize("name", ["loihi1", "loihi1-fitted", "loihi2", "spinnaker2", "asic-45nm"])
def test_energies_of_the_tokens_add_up_to_the_price(long: Subject, name: str, code: str) -> None:
    ledger, chip = long.ledger, chips.by_name(name)
    breakdown = price(ledger, chip, code)
    each = shading.energies(Subject(long.run, long.network, [chip], code), breakdown)
    assert len(each) == len(ledger) > len(long.run.tokens)
    for phase in breakdown.phases:
        rows = [energy for energy, of in zip(each, ledger.phases, strict=True) if of == phase.name]
        for end in ("value", "low", "high"):
            mean = sum(getattr(energy, end) for energy in rows) / phase.tokens
            total = getattr(phase.total, end)
            if name in ("loihi1", "loihi1-fitted"):  # with rates: a mean of maxima
                assert total * (1 - 1e-9) <= mean < total * 1.01
            else:
                assert mean == pytest.approx(total, rel=1e-9)


def test_a_token_is_shaded_by_what_its_first_reading_took(long: Subject, page: str) -> None:
    told, ledger = Page(page).data, long.ledger
    assert "".join(told["pieces"]) == long.run.text
    names = [figure["name"] for figure in told["figures"]]
    assert names == [
        chips.by_name("loihi2").title, chips.by_name("loihi1").title, "events", "synaptic operations", "ticks",
    ]  # fmt: skip
    events = told["figures"][2]
    first = [long.run.read.tolist().index(token) for token in range(len(long.run.tokens) - 1)]
    counts = ledger.events("graded").sum(axis=1)[first]
    assert events["texts"] == [*(f"{count:,}" for count in counts), shading.UNREAD]
    assert (events["levels"][-1], events["levels"][counts.argmin()], events["levels"][counts.argmax()]) == ("-", *"09")
    assert events["ends"] == [f"{counts.min():,}", f"{counts.max():,}"]
    again = len(ledger) - len(first)
    assert f"Not shaded: {again} positions" in page


def test_levels_are_equal_steps_of_the_figure() -> None:
    def levels(*values: float | None) -> str:
        return shading.Figure("x", "counts", values, tuple(map(str, values))).levels

    assert levels(*range(11)) == "01234567899"
    assert levels(5.0, None, 5.0) == "0-0"
    assert levels(None) == "-"
    assert levels() == ""
    assert levels(1.0, 1.09, 1.11, 2.0) == "0019"


def test_the_page_is_whole_and_small(page: str) -> None:
    taken = Page(page)
    assert len(page.encode()) < 2_000_000
    headings = [int(name[1]) for name, _ in taken.elements if re.fullmatch("h[1-6]", name)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    ids = [attributes["id"] for _, attributes in taken.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in taken.all("a"):
        assert str(link["href"]).lstrip("#") in ids
    assert all(str(image["alt"]).strip() for image in taken.all("img"))
    assert taken.all("html")[0]["lang"] == "en"
    assert len(taken.all("main")) == 1
    assert len(taken.all("caption")) == len(taken.all("table"))
    assert all(cell["scope"] in ("col", "row") for cell in taken.all("th"))


def test_nothing_is_loaded_and_nothing_else_may_run(page: str) -> None:
    taken = Page(page)
    policy = str(taken.all("meta")[1]["content"])
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives) == {"default-src", "style-src", "script-src", "img-src", "base-uri", "form-action"}
    for name, text in (("style", taken.texts["style"][0]), ("script", taken.texts["script"][-1])):
        assert (
            directives[f"{name}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        )
    for _, attributes in taken.elements:
        assert not {"style", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert all(str(attributes.get(name, "data:")).startswith(("data:", "#")) for name in ("src", "href"))
    assert "url(" not in taken.texts["style"][0]
    assert "@import" not in taken.texts["style"][0]


def test_no_text_of_a_run_becomes_markup(shakespeare: Network, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    prompt = EVIL.replace("\x00", "")  # bytes of the tokenizer hold any other
    saved(shakespeare, path, prompt, 5, command=EVIL, model=EVIL)
    taken = Page(as_html(subject(shakespeare, path)))
    assert len(taken.all("script")) == 2
    assert len(taken.all("img")) == 1
    (text,) = (
        inside for inside, attributes in zip(taken.texts["p"], taken.all("p"), strict=True) if attributes.get("id")
    )
    assert text.startswith(prompt.replace("\x1b", "\u241b").replace("\r", "\u240d"))
    assert "".join(taken.data["pieces"]).startswith(prompt)
    assert any("alert(2)" in said for said in taken.texts["dd"])


def test_what_is_text_is_escaped_and_what_is_markup_is_not() -> None:
    assert tag("b", "<i>", Markup("<i></i>"), title='"&') == '<b title="&quot;&amp;">&lt;i&gt;<i></i></b>'
    assert tag("option", 3, hidden=True, id=None, disabled=False, data_a=0) == '<option hidden data-a="0">3</option>'
    assert tag("img", alt="") == '<img alt="">'
    assert escape("\x00\x7f\ud800\n\t") == "\u2400\u2421?\n\t"
    assert Page(table("<c>", ["a", "b"], [["<x>", "y"]])).texts["th"] == ["a", "b", "<x>"]


def test_energy_by_cause_has_intervals_evidence_and_what_is_unpriced(long: Subject, page: str) -> None:
    taken = Page(page)
    rows = {re.sub(r"\s+", " ", row) for row in taken.texts["tr"]}
    for verdict in long.verdicts:
        breakdown = verdict.breakdown
        for phase in breakdown.phases:
            for term in phase.terms:
                mark = "at least " if term.at_least else ""
                figure = str(term.energy).removesuffix("/token")
                assert f"{term.cause}{mark}{figure}{term.energy.evidence}{term.energy.source}" in rows
            assert any(row.startswith(f"totalat least {str(phase.total).removesuffix('/token')}") for row in rows)
        if breakdown.phases:
            assert f"{breakdown.chip.title}, {breakdown.where}" in taken.texts["h3"]
            assert f"{breakdown.rests_on.removeprefix('s')}." in {text[1:] for text in taken.texts["p"]}
        for part in breakdown.unpriced:
            assert any(item == f"{part.cause}: {part.why}" for item in taken.texts["li"])
        for against in verdict.against:
            assert against.sentence in taken.texts["p"]
        for cited in breakdown.cited:
            assert any(row.startswith(f"{cited.model}{cited.phase}{cited.energy}") for row in rows)


def test_sparsity_is_that_of_the_codes(long: Subject, page: str) -> None:
    active = long.run.codes_active()
    start = 0
    for at, (name, size) in enumerate(long.run.about.populations):
        share = active[:, start : start + size].mean()
        assert long.active[at] == pytest.approx(share, rel=1e-12)
        start += size
        assert f">{name}</th>" in page
    rows = Page(page).texts["tr"]
    token = next(row for row in rows if row.startswith("token256"))
    assert token.startswith("token256199.6%1")  # one of 256 neurons
    updates = long.ledger.neuron_updates(long.phase).mean(axis=0)
    for at, (name, size) in enumerate(long.run.about.populations):
        assert any(row.startswith(f"{name}{size:,}{updates[at]:,.0f}{1 - long.active[at]:.1%}") for row in rows)
    empty = next(at for at, (name, _) in enumerate(long.run.about.populations) if name.endswith("probability"))
    assert updates[empty] < long.run.about.populations[empty][1]  # places that hold no token yet
    assert sum(row.startswith("layer0") for row in rows) == 1 + len(long.layers["layer0"])


def test_a_raster_has_a_line_for_each_neuron_until_there_are_too_many() -> None:
    assert spikes.line_of_neuron([2, 3]).tolist() == [0, 1, 2, 3, 4]
    lines = spikes.line_of_neuron([2, 25])
    assert lines.tolist()[:2] == [0, 1]
    assert np.bincount(lines)[2:].tolist() == [3, 2, 3, 2, 3, 2, 3, 2, 3, 2]
    assert len(spikes.lines_of([1] * 5000)) == spikes.lines_of([1] * 5000).sum() == 5000
    assert spikes.lines_of([50] * 400).tolist() == [2] * 400


def test_ink_is_the_share_of_active_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    active = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.bool_)
    monkeypatch.setattr(spikes, "LEAST_INK", 0.0)
    assert spikes.activity(active, [1, 3]).tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]]
    monkeypatch.setattr(spikes, "LINES_OF_ONE", 1)
    assert spikes.activity(active, [2, 2]).tolist() == [[0.5, 0, 0], [1, 0.5, 0]]
    monkeypatch.setattr(spikes, "MOST_COLUMNS", 2)
    assert spikes.activity(active, [2, 2]).tolist() == [[0.25, 0], [0.75, 0]]
    monkeypatch.setattr(spikes, "LEAST_INK", 0.1)
    assert spikes.activity(active, [2, 2])[1].tolist() == [pytest.approx(0.775), 0]


def test_ticks_are_drawn_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "LEAST_INK", 0.0)
    events = np.array([[0, 0, 0, 1], [2, 0, 1, -1], [3, 1, 0, 1], [3, 1, 0, 1], [2, 1, 0, 1]], dtype=np.int32)
    drawn = spikes.over_ticks(events, [2, 1, 1], 4)
    assert drawn.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 1], [0, 0, 0, 0]]
    monkeypatch.setattr(spikes, "MOST_COLUMNS", 2)
    assert spikes.over_ticks(events, [2, 1, 1], 4).tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]
    assert spikes.over_ticks(events[:0], [2, 1, 1], 0).tolist() == [[0]] * 4


def test_real_spikes_are_drawn_tick_by_tick(tmp_path: Path) -> None:
    network = random_transformer(1)
    record(network, tmp_path / "run.h5", code="unary", schedule="eager")
    about = subject(network, tmp_path / "run.h5")
    text = as_html(about)
    taken = Page(text)
    assert len(taken.all("img")) == 2
    assert f"{about.run.about.last_events:,} spikes in {about.run.about.last_ticks:,} ticks" in text
    assert "no spikes tick by tick" not in text
    assert taken.data["figures"][-1]["texts"][0] == f"{about.ledger.ticks()[0]:,}"
    with pytest.raises(UnsupportedError, match="really sent"):
        subject(network, tmp_path / "run.h5", code="graded")


def test_the_certificate_is_told_as_it_is(tmp_path: Path) -> None:
    network, path = random_transformer(1), tmp_path / "run.h5"
    generation = record(network, path)
    told = as_html(subject(network, path))
    clean = snngen.certify(network, generation.tokens)
    assert f"{clean.codes:,} integers of {clean.populations} populations over {clean.tokens} tokens" in told
    assert clean.network in told
    assert clean.prompt in told
    run_ = read_saved_run(path)
    first = Mismatch(1, "layer0.gate", 3, 5, 6)
    for certificate, words in (
        (None, ["None was made.", "not made"]),
        (Certificate(**{**vars(clean), "mismatches": 7, "first": first}), ["MISMATCH", "7 differ", str(first)]),
        (Certificate(**{**vars(clean), "tokens": 2}), ["Not compared: 6 tokens"]),
    ):
        changed = SavedRun(**{**vars(run_), "certificate": certificate})
        said = as_html(Subject(changed, network, []))
        assert all(word in said for word in words)


def test_provenance_names_network_versions_and_command(long: Subject, page: str) -> None:
    about = long.run.about
    said = Page(page).texts["dd"]
    assert {about.network, long.run.seal, about.command, "the package", about.created} <= set(said)
    assert any(f"snngen {snngen.__version__}" in text and "numba" in text for text in said)
    assert long.network.provenance["source_sha256"] in said
    contents = long.run.path.read_bytes()[512:]
    assert long.run.seal == hashlib.sha256(contents).hexdigest()


def test_a_page_without_chips_shades_by_events(tmp_path: Path) -> None:
    network = random_transformer(1)
    record(network, tmp_path / "run.h5")
    taken = Page(as_html(subject(network, tmp_path / "run.h5", ())))
    assert [figure["name"] for figure in taken.data["figures"]] == ["events", "synaptic operations", "ticks"]
    with pytest.raises(UnsupportedError, match="twice"):
        subject(network, tmp_path / "run.h5", ("loihi2", "loihi2"))


def test_a_long_table_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shading, "MOST_ROWS", 3)
    network = random_transformer(1)
    record(network, tmp_path / "run.h5")
    told = as_html(subject(network, tmp_path / "run.h5"))
    assert "the first 3 of 8 tokens" in told
    assert len(Page(told).data["pieces"]) == 8


def test_many_layers_share_the_names_beside_a_raster(tmp_path: Path) -> None:
    network = random_transformer(1, layers=30)
    record(network, tmp_path / "run.h5", tokens=1)
    about = subject(network, tmp_path / "run.h5")
    names = spikes.labels(about)
    sizes = [size for _, size in about.run.about.populations]
    assert len(names) <= spikes.MOST_NAMES
    assert sum(lines for _, lines in names) == spikes.lines_of(sizes).sum()
    assert names[0][0].startswith("token")


def test_the_command_line_writes_the_page(tmp_path: Path, shakespeare: Network) -> None:
    path = tmp_path / "run.h5"
    assert run("generate", "RO", "--tokens", 3, "--save", path, "--quiet").status == 0
    ended = run("report", path)
    assert ended.status == 0
    page = tmp_path / "run.html"
    assert ended.out == f"wrote {page}: {page.stat().st_size:,} bytes, 5 tokens, 4 chips\n"
    again = run("report", path, "-o", tmp_path / "b.html", "--chip", "loihi1", "--code", "unary")
    assert again.status == 0
    told = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert told == as_html(subject(shakespeare, path, ("loihi1",), "unary"))


def test_the_command_line_finds_the_network_of_a_run(tmp_path: Path) -> None:
    network, path = random_transformer(1), tmp_path / "run.h5"
    snngen.save(network, tmp_path / "here.h5")
    snngen.save(random_transformer(2), tmp_path / "other.h5")
    record(network, path)  # which says that its network was at here.h5
    refused(run("report", path), "here.h5", "no such file")
    refused(run("report", path, "--model", tmp_path / "other.h5"), network.digest[:16], "--model")
    assert run("report", path, "--model", tmp_path / "here.h5").status == 0


def test_bad_use_of_report_is_one_line(tmp_path: Path) -> None:
    refused(run("report", tmp_path / "absent.h5"), "no such file", "generate --save")
    refused(run("report", __file__, "-o", tmp_path / "a.html"), "foreign")
    record(random_transformer(1), tmp_path / "run.h5")
    refused(run("report", tmp_path / "run.h5", "--chip", "loihi9"), "'loihi9'")
    refused(run("report", tmp_path / "run.h5", "-o", tmp_path / "no" / "a.html"), "No such file or directory")
    with pytest.raises(FormatError):
        subject(random_transformer(2), tmp_path / "run.h5").ledger  # noqa: B018
