"""KeyMemory: synapses from queries to attention scores, written by key codes, one column per token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.integers import IntArray
from snngen.kernels import deliver, rows
from snngen.synapses import Synapse
from snngen.synapses.value_memory import check_heads


@dataclass(frozen=True, eq=False)
class KeyMemory(Synapse):
    """drive[h, t] = sum over d of code[h, d] * key[t, g(h), d] for the tokens t written so far.

    The current token's key is written before it is read. g(h) = h * groups // heads (grouped queries).

    heads: query heads. groups: key heads, a divisor of heads. width: channels per head. context: tokens that fit.
    """

    heads: int
    groups: int
    width: int
    context: int

    opcode = deliver.KEY_MEMORY
    persistent = False

    def __post_init__(self) -> None:
        check_heads("KeyMemory", self.heads, self.groups, self.width, self.context)

    @property
    def source_size(self) -> int:
        return self.heads * self.width

    @property
    def target_size(self) -> int:
        return self.heads * self.context

    @property
    def writer_size(self) -> int:
        return self.groups * self.width

    @property
    def count(self) -> int:
        return self.source_size * self.context

    @property
    def weight_bytes(self) -> int:
        return self.writer_size * self.context

    @property
    def memory_room(self) -> int:
        return self.writer_size * (
            self.context + -self.context % rows.BLOCK
        )  # whole blocks of tokens: `deliver.key_at`

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        if written is None:
            raise TypeError("KeyMemory.reference needs the written keys")
        tokens = codes.shape[0]
        queries = codes.reshape(tokens, self.heads, self.width).transpose(1, 0, 2)
        keys = written.reshape(tokens, self.groups, self.width).transpose(1, 2, 0)
        scores = np.matmul(queries, keys.repeat(self.heads // self.groups, axis=0))  # (heads, tokens, tokens)
        drive = np.zeros((tokens, self.heads, self.context), dtype=np.int64)
        drive[:, :, :tokens] = np.tril(scores).transpose(1, 0, 2)
        return drive.reshape(tokens, self.target_size)

    def bound(self, largest: int, written: int) -> int:
        return self.width * largest * written

    def constants(self) -> list[int | IntArray]:
        return [self.heads, self.groups, self.width, self.context]
