"""The errors of snngen: each says where, what was got, what was expected, and the mend."""

from __future__ import annotations


class SnngenError(Exception):
    """Anything that snngen refuses.

    where: the file, population, argument or layer that is at fault.
    got: what was found there.
    expected: what would have been right.
    mend: what to do about it, as code where it can be.
    """

    def __init__(self, where: str, got: str, expected: str, mend: str = "") -> None:
        self.where, self.got, self.expected, self.mend = where, got, expected, mend
        super().__init__(where, got, expected, mend)

    def __str__(self) -> str:
        sentence = f"{self.where}: got {self.got}; expected {self.expected}"
        return f"{sentence}. {self.mend}" if self.mend else sentence


class NetworkError(SnngenError):
    """A network, population or projection whose mathematics does not hold."""


class FormatError(SnngenError):
    """A file that is damaged, foreign or inconsistent."""


class UnsupportedError(SnngenError):
    """A model or an option that snngen does not carry; nothing was done with it."""


class PromptError(SnngenError):
    """Text, tokens or sampling settings that the network cannot take."""


class CapacityError(SnngenError):
    """Something does not fit: a context, a counter, a chip."""


class MismatchError(SnngenError):
    """An engine and the reference disagree; the result must not be used."""
