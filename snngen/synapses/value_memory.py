"""ValueMemory: synapses from attention probabilities to the mixed values, written by value codes, one row per token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import deliver
from snngen.synapses import Synapse


def check_heads(where: str, heads: int, groups: int, width: int, context: int) -> None:
    """Refuse shapes of an attention memory that do not divide."""
    if min(heads, groups, width, context) < 1 or heads % groups:
        raise NetworkError(
            where, f"{heads} heads, {groups} groups, width {width}, context {context}", "all >= 1, groups divide heads"
        )


@dataclass(frozen=True, eq=False)
class ValueMemory(Synapse):
    """drive[h, d] = sum over the tokens t written so far of code[h, t] * value[t, g(h), d].

    The current token's value is written before it is read. g(h) = h * groups // heads (grouped queries).

    heads: query heads. groups: value heads, a divisor of heads. width: channels per head. context: tokens that fit.
    """

    heads: int
    groups: int
    width: int
    context: int

    opcode = deliver.VALUE_MEMORY
    persistent = False

    def __post_init__(self) -> None:
        check_heads("ValueMemory", self.heads, self.groups, self.width, self.context)

    @property
    def source_size(self) -> int:
        return self.heads * self.context

    @property
    def target_size(self) -> int:
        return self.heads * self.width

    @property
    def writer_size(self) -> int:
        return self.groups * self.width

    @property
    def count(self) -> int:
        return self.source_size * self.width

    @property
    def weight_bytes(self) -> int:
        return self.writer_size * self.context

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        if written is None:
            raise TypeError("ValueMemory.reference needs the written values")
        tokens = codes.shape[0]
        shares = codes.reshape(tokens, self.heads, self.context)[:, :, :tokens].transpose(1, 0, 2)
        values = written.reshape(tokens, self.groups, self.width).transpose(1, 0, 2)
        mixed = np.matmul(np.tril(shares), values.repeat(self.heads // self.groups, axis=0))
        drive: IntArray = mixed.transpose(1, 0, 2).reshape(tokens, self.target_size)
        return drive

    def bound(self, largest: int, written: int) -> int:
        return self.context * largest * written

    def constants(self) -> list[int | IntArray]:
        return [self.heads, self.groups, self.width, self.context]
