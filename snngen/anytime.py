"""Anytime: how an answer forms, tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snngen import reference
from snngen.codes import SpikeCode
from snngen.engines.ticked import TICK_LIMIT, Schedule, TickedEngine
from snngen.errors import CapacityError, PromptError
from snngen.integers import FloatArray, IntArray
from snngen.likelihood import nats
from snngen.network import Network, Population
from snngen.neurons.softmax import Softmax


@dataclass(frozen=True, eq=False)
class Anytime:
    """What the answer would be if it were read at a tick, over all tokens of a text.

    ticks: (points,) at which it was read. tokens_right: share of tokens whose largest output is already the final one.
    codes_right: share of codes that are already final. nats: mean of -log p of the token that follows.
    settled: (tokens,) ticks to quiet. safe: (tokens,) first tick at which the leader could not be overtaken.
    """

    code: str
    schedule: str
    ticks: IntArray
    tokens_right: FloatArray
    codes_right: FloatArray
    nats: FloatArray
    settled: IntArray
    safe: IntArray

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(self).items()}
        early = self.safe < self.settled
        return {
            **plain,
            "stops_early": float(early.mean()),
            "ticks_spared": float(1 - self.safe.sum() / self.settled.sum()),
        }


def anytime(
    network: Network,
    tokens: Sequence[int],
    code: SpikeCode,
    schedule: Schedule = "eager",
    points: int = 40,
    progress: Callable[[int, int], None] | None = None,
) -> Anytime:
    """Run a text tick by tick and read the answer at `points` ticks, spread evenly over the logarithm of time.

    tokens: at least 2, at most the context. code, schedule: how spikes are sent. progress: is told (tokens, of).
    raises: PromptError for fewer than 2 tokens; CapacityError where the network does not become quiet.
    """
    if len(tokens) < 2:
        raise PromptError("anytime", f"{len(tokens)} tokens", "at least 2: the last is only predicted")
    expected = reference.run(network, tokens)
    engine = TickedEngine(network, code, schedule)
    engine.step(int(tokens[0]))
    longest = max(engine.ticks, 2)
    grid = np.unique([*np.rint(np.geomspace(1, 1.3 * longest, points)), longest]).astype(np.int64)
    coded = [population for population in network.populations if not population.neuron.wide]
    unit = float(network[network.output].scale[0])
    sums = np.zeros((3, len(grid)))
    settled, safe = [], []
    engine.reset()
    for index, token in enumerate(tokens[:-1]):
        final = int(np.argmax(expected[network.output][index]))
        engine.begin(int(token))
        first_safe = 0
        for point, tick in enumerate(grid):
            while not engine.quiet and engine.ticks < tick:
                engine.advance(engine.ticks + 1 if not first_safe else int(tick))
                if not first_safe and (engine.quiet or engine.safe()):
                    first_safe = engine.ticks
            surprise = nats(engine.output * unit, int(tokens[index + 1]))
            right = _share_right(engine, coded, expected, index)
            sums[:, point] += int(np.argmax(engine.output)) == final, right, surprise
        engine.advance(TICK_LIMIT)
        if not engine.quiet:
            raise CapacityError("anytime", f"{TICK_LIMIT} ticks without quiet", "a network that settles")
        settled.append(engine.ticks)
        safe.append(first_safe or engine.ticks)
        engine.finish()
        if progress is not None:
            progress(index + 1, len(tokens) - 1)
    tokens_right, codes_right, surprises = sums / (len(tokens) - 1)
    return Anytime(
        code.name, schedule, grid, tokens_right, codes_right, surprises, np.array(settled), np.array(safe)
    )  # fmt: skip


def _share_right(
    engine: TickedEngine, populations: Sequence[Population], expected: dict[str, IntArray], token: int
) -> float:
    """Share of codes that are final; probabilities of keys that are not written yet do not count."""
    right = total = 0
    for population in populations:
        equal = engine.codes(population.name) == expected[population.name][token]
        if isinstance(population.neuron, Softmax):
            equal = equal.reshape(population.neuron.heads, -1)[:, : token + 1]
        right, total = right + np.count_nonzero(equal), total + equal.size
    return right / total
