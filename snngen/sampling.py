"""Sampling: the next token from integer logits, the same on every machine for the same seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snngen.errors import PromptError
from snngen.integers import IntArray
from snngen.powers import TABLE_BITS, power_table

WEIGHT_BITS = 40  # of the most likely token; 2**22 tokens' weights still add up in int64
LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    temperature: 0 takes the most likely token (the first of equals). top_k: only the k most likely, 0 for all.
    top_p: only the most likely ones that together reach this probability. seed: of the random numbers.

    Weights are 2**40 * 2**(-x / 1024) with x = floor((top - logit) * unit * log2(e) * 1024 / temperature), by an
    integer table; a token is drawn by 64 random bits of PCG64. Only integers and single IEEE operations are involved.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or (math.isfinite(self.temperature) and self.temperature >= 1e-6)):
            raise PromptError("temperature", str(self.temperature), "0, or a finite number from 1e-6 on")
        if self.top_k < 0:
            raise PromptError("top_k", str(self.top_k), "0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise PromptError("top_p", str(self.top_p), "above 0 and at most 1")
        if self.seed < 0:
            raise PromptError("seed", str(self.seed), "0 or more")

    def stream(self) -> np.random.PCG64:
        """A fresh source of random bits."""
        return np.random.PCG64(self.seed)

    def choose(self, logits: IntArray, unit: float, stream: np.random.PCG64) -> int:
        """The next token.

        logits: (vocabulary,) integers. unit: what one unit of them is worth in nats.
        """
        if self.temperature == 0:
            return int(np.argmax(logits))
        order = np.argsort(-logits.astype(np.int64), kind="stable")
        if self.top_k:
            order = order[: self.top_k]
        ranked = logits[order].astype(np.int64)
        below = (ranked[0] - ranked).astype(np.float64)
        x = np.floor(np.minimum(below * (unit * LOG2_E * 2**TABLE_BITS / self.temperature), 2.0**30)).astype(np.int64)
        table = power_table(WEIGHT_BITS)
        edges = np.cumsum(table[x % 2**TABLE_BITS] >> np.minimum(x >> TABLE_BITS, 63))
        if self.top_p < 1:
            kept = 1 + int(np.searchsorted(edges, self.top_p * float(edges[-1])))
            edges = edges[:kept]
        draw = int(stream.random_raw()) * int(edges[-1]) >> 64
        return int(order[int(np.searchsorted(edges, draw, side="right"))])
