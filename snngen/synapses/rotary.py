"""Rotary: two synapses per neuron whose weights turn with the token's position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked
from snngen.kernels import deliver
from snngen.synapses import Synapse

UNIT = 2**14


@dataclass(frozen=True, eq=False)
class Rotary(Synapse):
    """Channels i and i + d/2 of each head turn by an angle that depends on the position.

    drive[i]       = cosine[p, i] * code[i]       - sine[p, i] * code[i + d/2]
    drive[i + d/2] = cosine[p, i] * code[i + d/2] + sine[p, i] * code[i]

    heads: number of heads. cosine, sine: (context, d / 2) int32, in units of 2**-14.
    Source: Su et al. 2021 (RoFormer), section 3.4, in the half-split channel order.
    """

    heads: int
    cosine: IntArray
    sine: IntArray

    opcode = deliver.ROTARY
    persistent = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cosine", checked(self.cosine, np.int32, "Rotary.cosine", ndim=2))
        object.__setattr__(self, "sine", checked(self.sine, np.int32, "Rotary.sine", ndim=2))
        if self.heads < 1 or self.cosine.size == 0 or self.cosine.shape != self.sine.shape:
            raise NetworkError(
                "Rotary", f"{self.heads} heads, {self.cosine.shape}, {self.sine.shape}", "heads >= 1 and equal tables"
            )
        if max(int(np.abs(self.cosine).max()), int(np.abs(self.sine).max())) > UNIT:
            raise NetworkError("Rotary", "a table entry beyond 2**14", "cosines and sines in units of 2**-14")

    @property
    def half(self) -> int:
        return int(self.cosine.shape[1])

    @property
    def context(self) -> int:
        return int(self.cosine.shape[0])

    @property
    def source_size(self) -> int:
        return self.heads * 2 * self.half

    @property
    def target_size(self) -> int:
        return self.source_size

    @property
    def count(self) -> int:
        return 2 * self.source_size

    @property
    def weight_bytes(self) -> int:
        return int(self.cosine.nbytes + self.sine.nbytes)

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        tokens = codes.shape[0]
        pairs = codes.reshape(tokens, self.heads, 2, self.half)
        cosine = self.cosine[:tokens, None].astype(np.int64)
        sine = self.sine[:tokens, None].astype(np.int64)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        turned = np.stack((cosine * first - sine * second, cosine * second + sine * first), axis=2)
        return turned.reshape(tokens, self.target_size)

    def bound(self, largest: int, written: int) -> int:
        return 2 * UNIT * largest

    def constants(self) -> list[int | IntArray]:
        return [self.half, self.cosine.size, self.cosine, self.sine]
