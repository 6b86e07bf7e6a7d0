"""The specification: what a network computes, in plain NumPy integers.

Every engine and backend is held to this, bit for bit. It is written to be read, not to be fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.integers import IntArray
from snngen.network import Network, Population, Projection


def one_hot(tokens: Sequence[int] | IntArray, vocabulary: int) -> IntArray:
    """(tokens, vocabulary) int64 codes: token t is one event of neuron t. raises: PromptError for one outside."""
    chosen = np.asarray(tokens, dtype=np.int64)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < vocabulary:
        raise PromptError("tokens", f"values from {chosen.min()} to {chosen.max()}", f"0..{vocabulary - 1}")
    codes = np.zeros((chosen.size, vocabulary), dtype=np.int64)
    codes[np.arange(chosen.size), chosen] = 1
    return codes


def run(network: Network, inputs: Sequence[int] | IntArray | Mapping[str, IntArray]) -> dict[str, IntArray]:
    """Codes of every population for every token.

    inputs: token numbers for the first source, or (tokens, size) codes by the name of each source.
    returns: population name -> (tokens, size) int64 codes; potentials for accumulators.
    raises: PromptError for inputs outside a source's range; CapacityError beyond the context.
    """
    if not isinstance(inputs, Mapping):
        inputs = {network.sources[0].name: one_hot(inputs, network.vocabulary)}
    given = {source.name: _checked(network, source, inputs) for source in network.sources}
    if network.recurrent:
        return _run_in_turn(network, given)
    codes: dict[str, IntArray] = {}
    for population in network.populations:
        name = population.name
        codes[name] = (
            given[name] if name in given else population.neuron.reference(*_drives(network, population, codes))
        )
    return codes


def _checked(network: Network, source: Population, inputs: Mapping[str, IntArray]) -> IntArray:
    codes = np.asarray(inputs[source.name], dtype=np.int64)
    low, high = source.neuron.range
    if codes.size and not low <= codes.min() <= codes.max() <= high:
        raise PromptError(source.name, f"codes {codes.min()}..{codes.max()}", f"{low}..{high}")
    if network.context is not None and len(codes) > network.context:
        raise CapacityError(source.name, f"{len(codes)} tokens", f"at most {network.context}, the context")
    return codes


def _drives(network: Network, population: Population, codes: Mapping[str, IntArray]) -> list[IntArray]:
    """(tokens, size) drive of each operand, from the codes of all tokens so far."""
    drives = []
    for operand in population.neuron.operands:
        drive: IntArray = np.zeros(1, dtype=np.int64)
        for projection in network.into(population.name):
            if projection.operand == operand:
                drive = drive + _delivered(projection, codes)
        drives.append(drive)
    return drives


def _delivered(projection: Projection, codes: Mapping[str, IntArray]) -> IntArray:
    """(tokens, target size) drive that a projection delivers; a delayed one, that of the token before."""
    source = codes[projection.source]
    if projection.delayed:
        tokens = max(len(values) for values in codes.values())
        source = np.concatenate((np.zeros((1, source.shape[1]), dtype=np.int64), source))[:tokens]
    return projection.synapse.reference(source, None if projection.writer is None else codes[projection.writer])


def _run_in_turn(network: Network, given: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """Token by token, since what a population does depends on what others did one token before."""
    codes: dict[str, IntArray] = {p.name: np.zeros((0, p.size), dtype=np.int64) for p in network.populations}
    for token in range(len(next(iter(given.values())))):
        for name, values in given.items():
            codes[name] = values[: token + 1]
        for population in network.populations:
            if population.name not in given:
                history = population.neuron.reference(
                    *_drives(network, population, _recent(network, population, codes))
                )
                codes[population.name] = np.concatenate((codes[population.name], history[-1:]))
    return codes


def _recent(network: Network, population: Population, codes: Mapping[str, IntArray]) -> Mapping[str, IntArray]:
    """What a population has to see: all tokens where positions or written memories matter, else the last two."""
    into = network.into(population.name)
    if population.neuron.positional or any(projection.synapse.memory_bytes for projection in into):
        return codes
    if any(not projection.synapse.persistent and projection.writer is None for projection in into):
        return codes
    now = max(len(codes[source.name]) for source in network.sources)
    return {name: values[max(0, now - 2) :] for name, values in codes.items()}
