"""Certificate: proof on the user's own tokens that an engine computes what the reference says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from snngen import reference
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError, PromptError
from snngen.integers import IntArray
from snngen.ledger import GENERATE, Ledger
from snngen.network import Network

Tokens: TypeAlias = Sequence[int] | IntArray | Mapping[str, IntArray]


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


class _Comparison:
    """Compares token after token with the reference, and counts."""

    def __init__(self, network: Network, tokens: Tokens) -> None:
        if not isinstance(tokens, Mapping) and np.ndim(tokens) == 2:
            tokens = {network.sources[0].name: np.asarray(tokens)}
        self.count = min(map(len, tokens.values()), default=0) if isinstance(tokens, Mapping) else len(tokens)
        if not self.count:
            raise PromptError("certificate", "no tokens", "at least one: nothing compared proves nothing")
        if isinstance(tokens, Mapping) and any(len(codes) != self.count for codes in tokens.values()):
            raise PromptError("certificate", "sources of different lengths", "as many positions of each")
        names = {source.name for source in network.sources}
        if isinstance(tokens, Mapping) and set(tokens) != names:
            raise PromptError("certificate", f"codes of {sorted(tokens)}", f"those of {sorted(names)}, the sources")
        self.network, self.tokens = network, tokens
        self.expected = reference.run(network, tokens)
        self.codes = self.mismatches = self.decided = 0
        self.first: Mismatch | None = None

    def add(self, token: int, codes: Callable[[str], IntArray], output: IntArray) -> None:
        """Compare the codes of every population after one token, and the answer."""
        for population in self.network.populations:
            got, right = codes(population.name), self.expected[population.name][token]
            self.codes += got.size
            wrong = np.flatnonzero(got != right)
            self.mismatches += wrong.size
            if wrong.size and self.first is None:
                neuron = int(wrong[0])
                self.first = Mismatch(token, population.name, neuron, int(right[neuron]), int(got[neuron]))
        self.decided += int(np.argmax(output) == np.argmax(self.expected[self.network.output][token]))

    def certificate(self) -> Certificate:
        network, count = self.network, self.count
        given = [*self.tokens.values()] if isinstance(self.tokens, Mapping) else [self.tokens]
        prompt = hashlib.sha256(b"".join(np.asarray(part, dtype="<i8").tobytes() for part in given)).hexdigest()
        logits = count * network[network.output].size
        return Certificate(
            count, len(network.populations), self.codes, logits, self.mismatches, self.first, self.decided,
            network.digest, prompt,
        )  # fmt: skip


def certify(
    network: Network,
    tokens: Tokens,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
    ledger: Ledger | None = None,
) -> Certificate:
    """Run tokens through an engine and the reference and compare every code of every population and every logit.

    tokens: (n,) token numbers, at most the context; (n, size) codes of a network whose source takes a vector (see
    `snngen.picture.encode`); or such codes by the name of each source. engine: the one to check; a new one otherwise.
    progress: is told (tokens done, tokens in all). ledger: receives what every token took, as generated ones.
    raises: PromptError for no tokens at all, or some that the network does not know.
    """
    comparison = _Comparison(network, tokens)
    engine = SettledEngine(network) if engine is None else engine
    engine.reset()
    for index in range(comparison.count):
        if isinstance(comparison.tokens, Mapping):
            engine.step(codes={name: np.asarray(codes[index]) for name, codes in comparison.tokens.items()})
        else:
            engine.step(int(comparison.tokens[index]))
        if ledger is not None:
            ledger.record(GENERATE, *engine.counted(), engine.ticks)
        comparison.add(index, engine.codes, engine.output)
        if progress is not None:
            progress(index + 1, comparison.count)
    return comparison.certificate()


def certify_codes(network: Network, tokens: Sequence[int], codes: Mapping[str, IntArray]) -> Certificate:
    """Compare codes that another backend gave with the reference.

    tokens: (n,) token numbers. codes: (n, size) integers by the name of every population.
    raises: PromptError for no tokens at all.
    """
    comparison = _Comparison(network, tokens)
    for index in range(len(tokens)):
        comparison.add(index, lambda name, index=index: codes[name][index], codes[network.output][index])  # type: ignore[misc]
    return comparison.certificate()
