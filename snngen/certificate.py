"""Certificate: proof on the user's own tokens that an engine computes what the reference says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snngen import reference
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError, PromptError
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network


@dataclass(frozen=True)
class Mismatch:
    """The first place where engine and reference differ."""

    token: int
    population: str
    neuron: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"token {self.token}, population {self.population}, neuron {self.neuron}: "
            f"got {self.got}, expected {self.expected}"
        )


@dataclass(frozen=True)
class Certificate:
    """What was compared, with ==, and what differed.

    tokens, populations: how many. codes: compared integers, potentials and logits included. logits: of these, those of
    the output. mismatches: integers that differ. first: the first of them.
    decided: tokens after which the largest output is the reference's.
    network, prompt: SHA-256 of the network and of the tokens.
    """

    tokens: int
    populations: int
    codes: int
    logits: int
    mismatches: int
    first: Mismatch | None
    decided: int
    network: str
    prompt: str

    @property
    def clean(self) -> bool:
        """True where nothing differs."""
        return self.mismatches == 0

    def __str__(self) -> str:
        verdict = "equal"
        if not self.clean:
            verdict = (
                f"{self.mismatches:,} MISMATCHES ({self.decided} of {self.tokens} tokens decided alike), "
                f"first at {self.first}"
            )
        return (
            f"{verdict}: {self.codes:,} codes of {self.populations} populations over {self.tokens} tokens, "
            f"{self.logits:,} of them logits, engine {'==' if self.clean else '!='} reference "
            f"(network {self.network[:12]}, prompt {self.prompt[:12]})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        first = None if self.first is None else vars(self.first)
        return {**vars(self), "first": first, "clean": self.clean}

    def require(self) -> None:
        """Raise MismatchError unless nothing differs."""
        if self.first is not None:
            raise MismatchError(
                "certificate", str(self.first), "engine == reference", "Report this; do not use the run"
            )


def certify(
    network: Network,
    tokens: Sequence[int],
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
    ledger: Ledger | None = None,
) -> Certificate:
    """Run tokens through an engine and the reference and compare every code of every population and every logit.

    tokens: (n,) token numbers, at most the context. engine: the one to check; a new one otherwise.
    progress: is told (tokens done, tokens in all). ledger: receives what every token took, as generated ones.
    raises: PromptError for no tokens at all, or some that the network does not know.
    """
    if not len(tokens):
        raise PromptError("certificate", "no tokens", "at least one: nothing compared proves nothing")
    engine = SettledEngine(network) if engine is None else engine
    expected = reference.run(network, tokens)
    engine.reset()
    codes = mismatches = decided = 0
    first: Mismatch | None = None
    for index, token in enumerate(tokens):
        engine.step(int(token))
        if ledger is not None:
            ledger.record(GENERATE, *engine.counted(), engine.ticks)
        for population in network.populations:
            got, right = engine.codes(population.name), expected[population.name][index]
            codes += got.size
            wrong = np.flatnonzero(got != right)
            mismatches += wrong.size
            if wrong.size and first is None:
                neuron = int(wrong[0])
                first = Mismatch(index, population.name, neuron, int(right[neuron]), int(got[neuron]))
        decided += int(np.argmax(engine.output) == np.argmax(expected[network.output][index]))
        if progress is not None:
            progress(index + 1, len(tokens))
    prompt = hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes()).hexdigest()
    logits = len(tokens) * network[network.output].size
    return Certificate(
        len(tokens), len(network.populations), codes, logits, mismatches, first, decided, network.digest, prompt
    )
