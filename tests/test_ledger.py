"""The ledger against a recount by brute force: every code, every synapse, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import random_decoder, random_recurrent, random_transformer

from snngen import reference
from snngen.engines.settled import SettledEngine
from snngen.ledger import CODES, GENERATE, PREFILL, Ledger
from snngen.network import Network, Projection

TOKENS = [3, 1, 4, 1, 5, 2]


def spikes(code: str, value: int, before: int, wide: bool) -> int:
    """Events that one neuron sends for a code, counted one by one."""
    if code == "delta":
        return int(value != before)
    if value == 0:
        return 0
    if code == "unary" and not wide:
        return len(range(abs(value)))
    if code == "bitwise" and not wide:
        return sum(1 for bit in range(32) if abs(value) >> bit & 1)
    return 1


def fan_out(projection: Projection, neuron: int, position: int) -> int:
    """Synapses that an event of `neuron` passes: those whose weight exists at this position."""
    kind, synapse = projection.synapse.kind, projection.synapse
    if kind == "dense":
        return len(synapse.matrix[neuron])
    if kind == "convolution":
        ones = replace(synapse, kernel=np.ones_like(synapse.kernel), gain=np.ones_like(synapse.gain))
        return int(ones.reference(np.eye(synapse.source_size, dtype=np.int64)[neuron : neuron + 1], None).sum())
    if kind in ("bilinear", "broadcast"):
        return getattr(synapse, "rows", 0) or synapse.copies
    if kind == "position":
        return synapse.target_size
    single = {"one_to_one": 1, "diagonal": 1, "rotary": 2, "key_memory": position + 1}
    return int(single.get(kind) or synapse.width)


@pytest.fixture(scope="module", params=[random_transformer, random_recurrent, random_decoder])
def network(request: pytest.FixtureRequest) -> Network:
    built: Network = request.param(11)
    return built


@pytest.fixture(scope="module")
def ledger(network: Network) -> Ledger:
    ledger, engine = Ledger(network), SettledEngine(network)
    for index, token in enumerate(TOKENS):
        engine.step(token)
        ledger.record(PREFILL if index < 2 else GENERATE, *engine.counted())
    return ledger


@pytest.mark.parametrize("code", CODES)
def test_events_and_synaptic_operations(code: str, network: Network, ledger: Ledger) -> None:
    codes = reference.run(network, TOKENS)
    events, operations = ledger.events(code), ledger.synaptic_operations(code)
    for position in range(len(TOKENS)):
        sent: dict[str, list[int]] = {}
        for index, population in enumerate(network.populations):
            values = codes[population.name]
            before = values[position - 1] if position else np.zeros_like(values[0])
            used = code if code != "delta" or network.sent_when_changed(population.name) else "graded"
            sent[population.name] = [
                spikes(used, int(value), int(old), population.neuron.wide)
                for value, old in zip(values[position], before, strict=True)
            ]
            assert events[position, index] == sum(sent[population.name]), population.name
        for index, projection in enumerate(network.projections):
            expected = sum(
                count * fan_out(projection, neuron, position) for neuron, count in enumerate(sent[projection.source])
            )
            assert operations[position, index] == expected, projection.name


def test_updates_bytes_and_writes(network: Network, ledger: Ledger) -> None:
    codes = reference.run(network, TOKENS)
    updates, read, written = ledger.neuron_updates(), ledger.bytes_read(), ledger.weights_written()
    weight_bytes = {"dense": 1, "key_memory": 1, "value_memory": 1, "rotary": 2, "one_to_one": 0}
    weight_bytes |= {"diagonal": 4, "broadcast": 0, "bilinear": 2, "position": 1, "convolution": 1}
    for position in range(len(TOKENS)):
        for index, population in enumerate(network.populations):
            size = 1 if population in network.sources else population.size
            if population.neuron.kind == "softmax":
                size = population.neuron.heads * (position + 1)
            assert updates[position, index] == size
        for index, projection in enumerate(network.projections):
            active = np.flatnonzero(codes[projection.source][position])
            expected = (
                sum(fan_out(projection, int(i), position) for i in active) * weight_bytes[projection.synapse.kind]
            )
            assert read[position, index] == expected
            writes = 0 if projection.writer is None else np.count_nonzero(codes[projection.writer][position])
            assert written[position, index] == writes


def test_ticks_by_stage(network: Network, ledger: Ledger) -> None:
    codes = reference.run(network, TOKENS)
    depth = max(network.stages) + 1
    assert ledger.ticks("graded").tolist() == [depth] * len(TOKENS)
    assert ledger.ticks("delta").tolist() == [depth] * len(TOKENS)
    for code in ("unary", "bitwise", "ttfs"):
        for position in range(len(TOKENS)):
            total = 0
            for stage in range(depth):
                slowest = 1
                for population, at in zip(network.populations, network.stages, strict=True):
                    if at == stage and not population.neuron.wide:
                        peak = int(np.abs(codes[population.name][position]).max())
                        low, high = population.neuron.range
                        window = {"unary": peak, "bitwise": max(-low, high).bit_length(), "ttfs": high - low + 1}
                        slowest = max(slowest, window[code] if peak else 1)
                total += slowest
            assert ledger.ticks(code)[position] == total


def test_phases_stand_apart(ledger: Ledger) -> None:
    assert (ledger.tokens(PREFILL), ledger.tokens(GENERATE), ledger.tokens()) == (2, 4, 6)
    whole = ledger.per_token("graded", PREFILL)["events"] * 2 + ledger.per_token("graded", GENERATE)["events"] * 4
    assert whole == ledger.events().sum()
    summary = ledger.summary()
    assert summary["tokens"] == {PREFILL: 2, GENERATE: 4}
    assert 0 < max(summary["activity"].values()) <= 1


def test_an_empty_ledger_is_zero(network: Network) -> None:
    empty = Ledger(network)
    assert empty.per_token()["events"] == 0
    assert empty.ticks().size == 0
    assert empty.summary()["tokens"] == {PREFILL: 0, GENERATE: 0}
