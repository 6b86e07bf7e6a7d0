"""The page in a real browser: it opens from a file, asks nobody for anything, works by mouse, touch and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Browser
from networks import random_transformer
from patience import until
from test_report import EVIL, saved, subject
from test_saved_run import record

from snngen.network import Network
from snngen.report import as_html

pytestmark = pytest.mark.skipif(
    browser.found() is None, reason=f"no browser: none of {', '.join(browser.NAMES)} is installed"
)

LAST = "document.getElementById('text').getElementsByClassName('t')"
CONTRAST = """
(() => {
  const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
  const over = (top, under) => {
    const alpha = top.length > 3 ? top[3] : 1;
    return under.map((value, at) => alpha * top[at] + (1 - alpha) * value);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const chain = [];
    for (let at = element; at; at = at.parentElement) chain.unshift(numbers(getComputedStyle(at).backgroundColor));
    return chain.reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const least = {};
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || ["SCRIPT", "OPTION"].includes(element.tagName) || element.closest("[hidden]")) continue;
    const under = behind(element);
    const ink = over(numbers(getComputedStyle(element).color), under);
    const [dark, bright] = [light(under), light(ink)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const name = `${element.tagName} ${element.className}`;
    least[name] = Math.min(ratio, least[name] ?? 99);
  }
  return least;
})()
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as driven:
        yield driven


@pytest.fixture(scope="module")
def page(shakespeare: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 tokens of the model in the package; the prompt holds markup that would act."""
    folder = tmp_path_factory.mktemp("page")
    saved(shakespeare, folder / "run.h5", EVIL.replace("\x00", "") + "ROMEO:\n", 60)
    (folder / "run.html").write_text(as_html(subject(shakespeare, folder / "run.h5")), encoding="utf-8")
    return folder / "run.html"


@pytest.fixture(scope="module")
def ticked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real spikes of a small network, whose raster is drawn over ticks, too."""
    folder, network = tmp_path_factory.mktemp("ticked"), random_transformer(1)
    record(network, folder / "run.h5", code="unary", schedule="eager")
    (folder / "run.html").write_text(as_html(subject(network, folder / "run.h5")), encoding="utf-8")
    return folder / "run.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["page", "ticked"])
def test_it_opens_in_silence(which: str, dark: bool, chromium: Browser, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    chromium.open(path, dark=dark)
    assert chromium.value("document.readyState") == "complete"
    assert chromium.complaints == []
    assert [address for address in chromium.requests if not address.startswith("data:")] == [path.as_uri()]
    assert chromium.value("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert chromium.value("document.getElementById('figure').options.length") == 5


def test_the_browser_notices_what_the_tests_look_for(chromium: Browser, tmp_path: Path) -> None:
    """A page that does all that is forbidden: else the silence above would mean nothing."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><meta http-equiv='Content-Security-Policy' content=\"script-src 'unsafe-inline'; "
        "style-src 'none'\"><p style='color: red'>x</p><img src='https://example.invalid/a.png'>"
        "<script>console.warn('spoken'); missing.call()</script>"
    )
    chromium.open(bad)
    said = "\n".join(chromium.complaints)
    assert "console.warning" in said
    assert "missing is not defined" in said
    assert "Content Security Policy" in said
    assert "https://example.invalid/a.png" in chromium.requests


def test_text_that_looks_like_markup_is_shown_and_does_nothing(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    shown = chromium.value("document.getElementById('text').textContent")
    assert shown.startswith("</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'")
    assert chromium.value("document.scripts.length") == 2
    assert chromium.value("document.images.length") == 1


def test_pointing_at_a_token_tells_what_it_took(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert chromium.value("document.getElementById('tip').hidden")
    x, y, took = chromium.value(
        f"(() => {{ const box = {LAST}[90].getBoundingClientRect(); const told = JSON.parse("
        "document.getElementById('data').textContent); return [box.x + 2, box.y + 5, told.figures[0].texts[90]] })()"
    )
    chromium.move(x, y)
    said = chromium.value("document.getElementById('tip').innerText")
    assert chromium.value("document.getElementById('tip').checkVisibility()")
    assert said.startswith("token 90: ")
    assert f"Intel Loihi 2 (Intel 4, 128 cores): at least {took}" in said
    box = chromium.value("(({ top, left, right }) => [top, left, right])(tip.getBoundingClientRect())")
    assert box[0] >= 0 <= box[1] < box[2] <= 1100
    chromium.press("Escape")
    assert chromium.value("document.getElementById('tip').hidden")


def test_arrow_keys_step_through_the_tokens(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    told = "document.getElementById('told').innerText"
    assert chromium.value(told) == "No token is chosen."
    for _ in range(30):  # by the keyboard alone
        if chromium.value("document.activeElement.id") == "text":
            break
        chromium.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    assert chromium.value("document.activeElement.id") == "text"
    for key, at in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0)):
        chromium.press(key)
        assert chromium.value(told).startswith(f"token {at}: ")
    chromium.press("End")
    said = chromium.value(told)
    assert "not read by the network" in said
    assert "at least not" not in said
    assert chromium.value("document.getElementsByClassName('chosen').length") == 1
    assert chromium.value(f"{LAST}[{LAST}.length - 1].classList.contains('chosen')")


def test_the_choice_of_the_chip_changes_the_shading(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    classes = f"[...{LAST}].map((token) => (token.className.match(/s[0-9]/) || ['-'])[0].slice(-1)).join('')"
    levels = chromium.value("JSON.parse(document.getElementById('data').textContent).figures.map((f) => f.levels)")
    assert len(set(levels)) > 3
    one = next(token for token, each in enumerate(zip(*levels, strict=True)) if len(set(each)) > 1)
    colour = f"getComputedStyle({LAST}[{one}]).backgroundColor"
    seen, colours = [chromium.value(classes)], [chromium.value(colour)]
    for at in range(1, len(levels)):
        chromium.value(
            f"(() => {{ const choice = document.getElementById('figure'); choice.value = '{at}'; "
            "choice.dispatchEvent(new Event('change')) })()"
        )
        seen.append(chromium.value(classes))
        colours.append(chromium.value(colour))
    assert seen == levels
    assert len(set(colours)) == len({level[one] for level in levels})
    assert chromium.value("document.getElementById('bound').textContent") == ""
    assert chromium.complaints == []


def test_the_choice_works_by_the_keyboard(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    before = chromium.value("document.getElementById('low').textContent")
    chromium.value("document.getElementById('figure').focus()")
    chromium.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown", code="ArrowDown", windowsVirtualKeyCode=40)
    assert chromium.value("document.getElementById('figure').value") == "1"
    assert chromium.value("document.getElementById('low').textContent") != before


@pytest.mark.parametrize("which", ["page", "ticked"])
def test_a_phone_does_not_scroll_sideways(which: str, chromium: Browser, request: pytest.FixtureRequest) -> None:
    chromium.open(request.getfixturevalue(which), width=360, height=740, touch=True)
    chromium.value("document.querySelectorAll('details').forEach((part) => { part.open = true })")
    assert chromium.value("[innerWidth, document.documentElement.scrollWidth, visualViewport.width]") == [360, 360, 360]
    outside = chromium.value(
        "[...document.body.querySelectorAll('*')].filter((element) => !element.closest('.wide, .skip, thead') && "
        "element.getBoundingClientRect().right > 360.5).map((element) => element.outerHTML.slice(0, 80))"
    )
    assert outside == []
    small = chromium.value(
        "[...document.querySelectorAll('p, td, th, dd, #text')].filter((element) => element.checkVisibility() && "
        "parseFloat(getComputedStyle(element).fontSize) < 12).length"
    )
    assert small == 0


def test_a_finger_chooses_a_token(chromium: Browser, page: Path) -> None:
    chromium.open(page, width=360, height=740, touch=True)
    x, y = chromium.value(
        f"(() => {{ {LAST}[100].scrollIntoView({{ block: 'center' }}); "
        f"const box = {LAST}[100].getBoundingClientRect(); return [box.x + 2, box.y + 5] }})()"
    )
    chromium.tap(x, y)
    until(lambda: chromium.value("told.innerText").startswith("token 100: "))
    assert chromium.value("document.getElementById('tip').getBoundingClientRect().right") <= 360
    assert chromium.value("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read(dark: bool, chromium: Browser, page: Path) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, AA) on every shade."""
    chromium.open(page, dark=dark)
    chromium.value("document.querySelectorAll('details').forEach((part) => { part.open = true })")
    paper = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    chromium.value(f"[...{LAST}].slice(0, 10).forEach((token, level) => {{ token.className = `t s${{level}}` }})")
    least = chromium.value(CONTRAST)
    assert {f"SPAN t s{level}" for level in range(10)} <= set(least)
    assert {name: ratio for name, ratio in least.items() if ratio < 4.5} == {}
