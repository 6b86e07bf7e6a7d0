"""Neuron models: what a population does with the drive that reaches it. One file per model.

A neuron is a frozen dataclass. Its `reference` is the specification in plain NumPy; its `opcode` and
`constants` are what the kernels run (`snngen/kernels/evaluate.py`). Models are found by file name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

from snngen import folder
from snngen.errors import NetworkError
from snngen.integers import IntArray

TABLE_LIMIT = 2**20  # entries


class Neuron(ABC):
    """The base of all neuron models.

    operands: the names of the inputs that are kept apart (ports); a projection ends in one of them.
    opcode: the model's number in `snngen/kernels/evaluate.py`.
    positional: True where the output depends on how many tokens came before.
    ordered: True where the output depends on the order of arrival, so that only ticks can run it.
    """

    operands: ClassVar[tuple[str, ...]] = ("drive",)
    opcode: ClassVar[int]
    positional: ClassVar[bool] = False
    ordered: ClassVar[bool] = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of neurons."""

    @property
    def wide(self) -> bool:
        """True where the output is a potential of up to 32 bits, sent graded, and not a code of `low..high`."""
        return False

    @property
    @abstractmethod
    def range(self) -> tuple[int, int]:
        """Lowest and highest output."""

    @abstractmethod
    def reference(self, *drives: IntArray) -> IntArray:
        """Output of every neuron once its inputs are quiet.

        drives: one (tokens, size) int64 array per operand.
        returns: (tokens, size) int64 codes, or potentials where the model is `wide`.
        """

    @abstractmethod
    def constants(self) -> list[int | IntArray]:
        """What the kernel needs, in the order in which its branch reads it: scalars first, then arrays."""

    def check_operands(self, bounds: tuple[int, ...]) -> None:  # noqa: B027
        """Refuse drives that the model cannot take; bounds: the largest magnitude per operand."""

    @property
    def kind(self) -> str:
        """The name of the file that defines the model."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def bits(self) -> int:
        """Bits of the magnitude of the largest output."""
        low, high = self.range
        return max(abs(low), abs(high)).bit_length()


def check_range(where: str, low: int, high: int) -> None:
    """Refuse codes that do not hold zero, or only zero, and ends that are no whole numbers."""
    if not low <= 0 <= high or low == high or int(low) != low or int(high) != high:
        raise NetworkError(where, f"range {low}..{high}", "whole numbers, low <= 0 <= high and low < high")


def check_thresholds(where: str, theta: IntArray) -> None:
    """Refuse thresholds that are not above zero, or none."""
    if theta.size == 0 or theta.min() < 1:
        raise NetworkError(f"{where}.theta", f"{theta.size} values, some below 1", "positive thresholds")


def check_table(where: str, table: IntArray) -> None:
    """Refuse a table without entries, or one that is no longer small."""
    if not 1 <= table.size <= TABLE_LIMIT:
        raise NetworkError(f"{where}.table", f"{table.size} entries", "1 to 2**20")


def kinds() -> list[str]:
    """Names of all neuron models, one per file of this folder."""
    return folder.names(__path__)


@cache
def by_kind(kind: str) -> type[Neuron]:
    """The neuron model that the file `kind` defines."""
    return folder.model(__name__, __path__, kind, Neuron)  # type: ignore[type-abstract]
