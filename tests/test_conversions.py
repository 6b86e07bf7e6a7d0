"""The table of conversions in the docs: every row within its bounds, and the page has just these rows."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

import conversions
from conversion_subjects import SUBJECTS

TITLES = [title for title, _, _ in SUBJECTS]
pytestmark = pytest.mark.slow


@cache
def measured(title: str) -> tuple[list[Any], list[str]]:
    """The rows of a group, and why it was left out."""
    left_out: list[str] = []
    return list(conversions.rows(title, left_out)), left_out


@pytest.mark.parametrize("title", TITLES)
def test_conversions_keep_what_the_table_says(title: str, shared: Path) -> None:
    found, left_out = measured(title)
    if left_out:
        pytest.skip(left_out[0])
    assert found
    for row in found:
        assert row.parity.holds, (row.key, str(row.parity))
        assert row.settled.clean, str(row.settled)
        assert row.ticked.clean, str(row.ticked)
        assert row.events > 0
        figure = row.figure
        if figure.change is None:
            assert figure.network > 30, (row.key, figure)
        else:
            assert abs(figure.change) < (0.5 if figure.kind == "PSNR" else 1), (row.key, figure)


def test_the_page_has_just_these_rows(shared: Path) -> None:
    left_out = [line for title in TITLES for line in measured(title)[1]]
    if left_out:
        pytest.skip("; ".join(left_out))
    listed = conversions.lines_of(conversions.committed())
    assert list(listed) == [row.key for title in TITLES for row in measured(title)[0]]
