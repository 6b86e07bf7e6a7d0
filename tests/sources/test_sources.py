"""The protocol that every source keeps, and the texts of the command line."""

from __future__ import annotations

import pytest

from snngen.errors import UnsupportedError
from snngen.sources import Options, open_source, sources


def test_every_source_has_what_the_command_line_needs() -> None:
    assert sorted(sources()) == ["array", "file", "standard_input", "synthetic", "udp"]
    for name, module in sources().items():
        example = module.EXAMPLE.partition(" ")[0]
        assert [other for other, one in sources().items() if one.recognizes(example)] == [name]


@pytest.mark.parametrize("text", ["", "nonsense", "recording.txt", "tcp://a:1"])
def test_what_no_source_knows_is_refused_with_all_that_there_are(text: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        open_source(text)
    for module in sources().values():
        assert module.EXAMPLE in str(raised.value)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_the_speed_is_checked(speed: float) -> None:
    with pytest.raises(UnsupportedError, match="a factor above 0"):
        open_source("synthetic:bar", speed=speed)


def test_options() -> None:
    options = Options("here", "a=1&b=x", ("a", "b"))
    assert options.number("a", None, 0, 5, int) == 1
    assert options.choice("b", "y", ("x", "y")) == "x"
    assert options.number("c", 7, 0, 1) == 7
    with pytest.raises(UnsupportedError, match="b=x; expected a float"):
        options.number("b", 0, 0, 1)
    with pytest.raises(UnsupportedError, match=r"a=1\.0; expected from 2 to 3"):
        options.number("a", 2, 2, 3)
