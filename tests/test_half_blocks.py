"""Half blocks: two pixels a character."""

from __future__ import annotations

import numpy as np
import pytest

from snngen.cli.live import drawn
from snngen.errors import PromptError
from snngen.half_blocks import half_blocks


def test_a_character_holds_two_pixels() -> None:
    text = half_blocks([[0.0, 1.0], [0.5, 0.0], [1.0, 1.0]])
    assert text.plain == "\u2580\u2580\n\u2580\u2580"
    styles = [str(span.style) for span in text.spans]
    assert styles == [
        "rgb(0,0,0) on rgb(128,128,128)", "rgb(255,255,255) on rgb(0,0,0)",
        "rgb(255,255,255) on rgb(0,0,0)", "rgb(255,255,255) on rgb(0,0,0)",
    ]  # fmt: skip


def test_pixels_may_be_wide_and_values_are_held_to_the_range() -> None:
    text = half_blocks([[-3.0], [7.0]], columns=2)
    assert text.plain == "\u2580\u2580"
    assert str(text.spans[0].style) == "rgb(0,0,0) on rgb(255,255,255)"


def test_what_is_no_picture_is_refused() -> None:
    for wrong in (np.zeros(3), np.zeros((0, 2)), [[np.nan]]):
        with pytest.raises(PromptError, match="picture"):
            half_blocks(wrong)


def test_a_stream_on_a_terminal_shows_small_pictures_enlarged_and_large_ones_thinned() -> None:
    small, large = np.eye(8, dtype=np.float32), np.zeros((10, 200), dtype=np.float32)
    lines = drawn(small, colours=True).plain.splitlines()
    assert (len(lines), {len(line) for line in lines}) == (12, {24})
    assert len(drawn(large, colours=True).plain.splitlines()[0]) == 50
    plain = drawn(small, colours=False).plain.splitlines()
    assert plain[0] == "@@" + " " * 14
    assert plain[7] == " " * 14 + "@@"
