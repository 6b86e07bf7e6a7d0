"""Check every link of the built site, without a network: `python docs/links.py [FOLDER]`.

A link to a page, a file or a place in a page must lead somewhere in the folder; an address elsewhere must be well
formed: https, a host, no blanks. Sphinx checks what is written in the sources; this checks what a reader clicks.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}
NOT_FOLLOWED = ("data", "mailto", "javascript")


class Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        address = given.get(LINKS.get(tag, ""))
        if address is not None:
            self.links.append(address)


def faults(folder: Path) -> list[str]:
    """What is wrong with the links of all pages under a folder, one line for each.

    raises: SystemExit where there is no page at all.
    """
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    if not pages:
        raise SystemExit(f"no pages in {folder}")
    return [
        f"{path.relative_to(folder.resolve())}: {address}: {fault}"
        for path, page in pages.items()
        for address in dict.fromkeys(page.links)
        if (fault := fault_of(address, path, pages))
    ]


def fault_of(address: str, page: Path, pages: dict[Path, Page]) -> str:
    """Why an address that stands in a page leads nowhere; empty where it is good."""
    parts = urlsplit(address)
    if parts.scheme in NOT_FOLLOWED or address == "#":
        return ""
    if parts.scheme or parts.netloc:
        good = parts.scheme == "https" and "." in parts.netloc and not any(sign in address for sign in ' <>"')
        return "" if good else "not a well-formed https address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return "there is no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
        return "there is no such place in that page"
    return ""


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "_build" / "html")
    print("\n".join(found) or "every link leads somewhere")
    sys.exit(bool(found))
