"""Markup: elements of HTML and SVG. Whatever is not markup already is escaped, so no text can become any."""

from __future__ import annotations

import html
from collections.abc import Sequence

VOID = ("img", "meta", "link")  # those of SVG have an end, or they would hold what follows

# Control characters, which HTML drops or forbids, as the pictures that Unicode has of them; tab and newline stay.
_VISIBLE = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: "\u2421"}


class Markup(str):
    """Text that is markup, and stands in a page as it is."""

    __slots__ = ()


def clean(text: str) -> str:
    """Text that HTML can hold: control characters become visible, halves of characters a replacement."""
    return text.translate(_VISIBLE).encode("utf-8", "replace").decode()


def escape(value: object) -> Markup:
    """Markup as it is; anything else as text, escaped for content and for attributes in quotes."""
    return value if isinstance(value, Markup) else Markup(html.escape(clean(str(value)), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. attributes: `class_` is ``class``, `data_label` is ``data-label``; None and False leave one out."""
    parts = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(word)
        elif value is not None and value is not False:
            parts.append(f'{word}="{escape(value)}"')
    inside = join(children)
    end = "" if name in VOID else f"{inside}</{name}>"
    return Markup(f"<{' '.join(parts)}>{end}")


def join(children: Sequence[object], between: str = "") -> Markup:
    """Children one after the other, each escaped unless it is markup."""
    return Markup(between.join(escape(child) for child in children))


def table(caption: object, headings: Sequence[str], rows: Sequence[Sequence[object]], class_: str = "") -> Markup:
    """A table whose first column names the rows; on a narrow screen each row becomes a card (see ``page.css``).

    The roles stand there because a browser forgets those of cells that are laid out as cards.
    """
    head = tag("tr", *(tag("th", text, scope="col", role="columnheader") for text in headings), role="row")
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row", role="rowheader"),
            *(
                tag("td", tag("span", cell), role="cell", data_label=text)
                for text, cell in zip(headings[1:], row[1:], strict=True)
            ),
            role="row",
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head, role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
        class_=class_ or None,
    )


def details(summary: object, *children: object) -> Markup:
    """A part that opens when it is asked for."""
    return tag("details", tag("summary", summary), *children)


def bar(share: float, low: float | None = None, high: float | None = None) -> Markup:
    """A bar of 0..1 of the width, with a whisker from `low` to `high`; the figure beside it says the same in words."""
    whisker = Markup("")
    if low is not None and high is not None and high > low:
        ends = (tag("line", x1=f"{100 * at:.2f}", x2=f"{100 * at:.2f}", y1="2", y2="10") for at in (low, high))
        across = tag("line", x1=f"{100 * low:.2f}", x2=f"{100 * high:.2f}", y1="6", y2="6")
        whisker = tag("g", across, *ends)
    drawn = tag("rect", x="0", y="1", width=f"{100 * share:.2f}", height="10")
    return tag(
        "svg", drawn, whisker, class_="bar", viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true"
    )
