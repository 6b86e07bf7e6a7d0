"""The specification: what a network computes, in plain NumPy integers.

Every engine and backend is held to this, bit for bit. It is written to be read, not to be fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snngen.errors import CapacityError, PromptError
from snngen.integers import IntArray
from snngen.network import Network


def one_hot(tokens: Sequence[int] | IntArray, vocabulary: int) -> IntArray:
    """(tokens, vocabulary) int64 codes: token t is one event of neuron t."""
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
    codes: dict[str, IntArray] = {}
    for population in network.populations:
        name, neuron = population.name, population.neuron
        if population in network.sources:
            codes[name] = np.asarray(inputs[name], dtype=np.int64)
            low, high = neuron.range
            if codes[name].size and not low <= codes[name].min() <= codes[name].max() <= high:
                raise PromptError(name, f"codes {codes[name].min()}..{codes[name].max()}", f"{low}..{high}")
            if network.context is not None and len(codes[name]) > network.context:
                raise CapacityError(name, f"{len(codes[name])} tokens", f"at most {network.context}, the context")
            continue
        drives = []
        for operand in neuron.operands:
            drive: IntArray = np.zeros(1, dtype=np.int64)
            for projection in network.into(name):
                if projection.operand == operand:
                    written = None if projection.writer is None else codes[projection.writer]
                    drive = drive + projection.synapse.reference(codes[projection.source], written)
            drives.append(drive)
        codes[name] = neuron.reference(*drives)
    return codes
