"""Laws that hold for every spike code in the folder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import dense

from snngen import codes
from snngen.codes import SpikeCode
from snngen.errors import UnsupportedError

RANGES = [(-127, 127), (0, 255), (-3, 3), (0, 1), (-1023, 1023), (-7, 127)]
ALL: dict[str, SpikeCode] = {name: codes.by_name(name) for name in codes.kinds()} | {
    f"rate:{window}": codes.by_name(f"rate:{window}") for window in (1, 4, 127, 300)
}
LOSSY = {"rate"}


def test_every_file_is_there_and_says_whether_it_is_exact() -> None:
    assert codes.kinds() == ["bitwise", "delta", "graded", "rate", "ttfs", "unary"]
    assert {name for name in codes.kinds() if not ALL[name].exact} == LOSSY


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_decoding_gives_every_value_back_within_the_declared_ticks_and_events(name: str, low: int, high: int) -> None:
    code = ALL[name]
    values = np.arange(low, high + 1)
    events = code.encode(values, low, high)
    error = np.abs(code.decode(events, len(values)) - values)
    assert error.max() <= code.error_bound(low, high)
    sums = code.decode(events, len(values))
    assert low <= sums.min() <= sums.max() <= high  # a key of 128 would wrap in its 8 bits
    assert code.error_bound(low, high) == 0 if code.exact else code.error_bound(low, high) >= 0
    assert (events.tick >= 0).all()
    assert events.tick.max(initial=-1) < code.ticks(low, high)
    assert np.bincount(events.neuron, minlength=1).max() <= code.events(low, high)
    pairs = np.stack((events.tick, events.neuron))
    assert np.unique(pairs, axis=1).shape == pairs.shape  # at most one spike per neuron and tick
    assert not np.isin(np.flatnonzero(values == 0), events.neuron).any()  # a zero is silent


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_payloads_fit_the_declared_bits(name: str, low: int, high: int) -> None:
    """The tick tells the worth; what is left to say must fit: nothing, a sign, or the whole value."""
    code = ALL[name]
    events = code.encode(np.arange(low, high + 1), low, high)
    at_a_tick = [np.unique(events.payload[events.tick == tick]) for tick in np.unique(events.tick)]
    assert max(len(payloads) for payloads in at_a_tick) <= 2 ** max(code.payload_bits(low, high), 0)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted(n for n, code in ALL.items() if code.exact)))
def test_delivered_drive_is_the_matrix_product_in_any_order(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    synapse, values = dense(rng, 12, 5, 3), rng.integers(-127, 128, 12)
    events = ALL[name].encode(values, -127, 127)
    drive = np.zeros(5, dtype=np.int64)
    for k in rng.permutation(len(events)):
        sent = np.zeros((1, 12), dtype=np.int64)
        sent[0, events.neuron[k]] = events.payload[k]
        drive += synapse.reference(sent, None)[0]
    assert drive.tolist() == synapse.reference(values[None], None)[0].tolist()


def test_rates_grow_finer_with_their_window() -> None:
    bounds = [codes.by_name(f"rate:{window}").error_bound(-127, 127) for window in (1, 2, 8, 32, 127)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0
    assert codes.by_name("rate:8").name == "rate:8"


@pytest.mark.parametrize("name", ["morse", "rate:0", "rate:x", "rate:-3", "unary:4", "graded:1", ""])
def test_unknown_codes_and_parameters_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match="expected"):
        codes.by_name(name)
