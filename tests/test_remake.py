"""The tables of the pages: filled by the command that stands above each, and not touched since."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGE = """Before

<!-- table: python -c "print('| a | b |')" -->
| by | hand |
<!-- end -->

between
<!-- table: python -c "print(6 * 7)" -->

41

<!-- end -->
after
"""


@pytest.fixture
def remake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import remake

    return remake


def run(*words: str) -> str:
    """What a script prints."""
    return subprocess.run([sys.executable, *words], check=True, cwd=ROOT, capture_output=True, text=True).stdout


def from_records(command: str) -> bool:
    """Whether a table is made of what was measured or asked before, not computed anew."""
    return command.startswith(("python docs/speed.py", "python docs/comparison.py"))


def test_a_page_is_filled_by_the_commands_in_it(remake: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    remake.fill(page)
    first, second = (line for line in PAGE.splitlines() if line.startswith("<!-- table"))
    expected = (
        f"Before\n\n{first}\n\n| a | b |\n\n<!-- end -->\n\nbetween\n{second}\n\n42\n\n<!-- end -->\nafter\n"
    )  # fmt: skip
    assert page.read_text() == expected
    remake.fill(page)
    assert page.read_text() == expected


def test_a_page_whose_command_fails_stays_as_it_was(remake: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(wrong := PAGE.replace("print(6 * 7)", "1 / 0"))
    with pytest.raises(subprocess.CalledProcessError):
        remake.fill(page)
    assert page.read_text() == wrong


def test_every_page_with_a_table_is_remade(remake: ModuleType) -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "snngen").rglob("*.md")]
    held = {page for page in pages if "_build" not in page.parts and remake.TABLE.search(page.read_text())}
    assert len(held) >= 6
    assert held <= set(remake.PAGES)


def test_tables_made_of_records_are_what_the_records_say(remake: ModuleType) -> None:
    """Neither were the tables changed by hand, nor the records without them."""
    checked = 0
    for page in remake.PAGES:
        for match in remake.TABLE.finditer(page.read_text(encoding="utf-8")):
            if from_records(command := match["command"]):
                assert remake.filled(match[0], {command: run(*command.split()[1:])}) == match[0], (page, command)
                checked += 1
    assert checked >= 5


@pytest.mark.slow
def test_what_the_benchmarks_of_sensors_write_becomes_their_table(tmp_path: Path) -> None:
    run(
        "benchmarks/stream.py", "--rate", "2e4", "--seconds", "0.1", "--repeats", "2",
        "--json", str(tmp_path / "stream.json"),
    )  # fmt: skip
    run(
        "benchmarks/latency.py", "--rates", "2e3", "--beside", "0", "1", "--seconds", "0.3",
        "--json", str(tmp_path / "latency.json"),
    )  # fmt: skip
    table = run("docs/speed.py", "--sensors", "--results", str(tmp_path))
    streamed, answered = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("stream", "latency"))
    assert {row["events"] for row in streamed["rows"]} == {2000}
    assert [row["busy beside"] for row in answered["rows"]] == [0, 1]
    for row in streamed["rows"]:
        assert row["worst"] <= row["median"] <= row["best"]
        assert f"| {row['figure']} | " in table
    for row in answered["rows"]:
        assert row["sent"] == row["processed"] + row["dropped"] == 600
        assert f"| 2,000 | {row['busy beside']} | " in table
    for result in (streamed, answered):
        assert result["machine"]["cores"]
        assert result["versions"]["numba"]
        assert f"`{result['command']}`" in table


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    printed = run("docs/speed.py", "--sensors", "--results", str(tmp_path))
    assert "stream: not measured" in printed
    assert "latency: not measured" in printed
