"""Errors say where, what was got, what was expected, and the mend, in one line."""

from __future__ import annotations

import pickle

import pytest

import snngen
from snngen import errors
from snngen.errors import SnngenError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SnngenError)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_sentence_holds_all_four_parts(kind: type[SnngenError]) -> None:
    error = kind("layer0.gate", "3 neurons", "4", "network.resize(4)")
    assert str(error) == "layer0.gate: got 3 neurons; expected 4. network.resize(4)"
    assert (error.where, error.got, error.expected, error.mend) == (
        "layer0.gate",
        "3 neurons",
        "4",
        "network.resize(4)",
    )


def test_without_a_mend_the_sentence_ends_at_what_was_expected() -> None:
    assert str(SnngenError("a", "b", "c")) == "a: got b; expected c"


@pytest.mark.parametrize("kind", KINDS)
def test_errors_pass_between_processes(kind: type[SnngenError]) -> None:
    error = kind("a", "b", "c", "d")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.mend) == (str(error), "d")


def test_every_kind_is_offered_by_the_package_and_caught_by_the_base() -> None:
    assert len(KINDS) > 1
    for kind in KINDS:
        assert getattr(snngen, kind.__name__) is kind
        assert kind is SnngenError or kind.__base__ is SnngenError
