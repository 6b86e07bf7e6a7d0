"""The application for any network: what it counts is what the engine fires; an hour of it needs no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.neurons.leaky_integrator import LeakyIntegrator
from snngen.dynamics.synapses.dense import Dense
from snngen.engines.continuous import ContinuousEngine
from snngen.errors import PromptError
from snngen.events import EVENT, EventArray, Sensor
from snngen.hardware import chips
from snngen.hardware.live import Circuit, price_live, pricing
from snngen.sources.array import ArraySource
from snngen.streaming.runner import Stream
from snngen.streaming.spike_counts import SpikeCounts
from snngen.streaming.work import Work

SENSOR = Sensor(8, 8)


def network(delay_us: int = 0, fires: bool = True) -> DynamicNetwork:
    rng = np.random.default_rng(4)
    tau = np.full(6, 0.01)
    outputs = LeakyIntegrateAndFire(tau, np.ones(6), r=tau) if fires else LeakyIntegrator(tau, r=tau)
    return DynamicNetwork(
        (DynamicPopulation("pixels", Input(SENSOR.size)), DynamicPopulation("seen", outputs)),
        (DynamicProjection("pixels", "seen", Dense(rng.normal(0.1, 0.3, (SENSOR.size, 6))), delay_us),),
    )


def random_events(count: int, end_us: int) -> EventArray:
    rng = np.random.default_rng(5)
    events = np.zeros(count, dtype=EVENT)
    events["t"], events["p"] = np.sort(rng.integers(0, end_us, count)), rng.random(count) < 0.5
    events["x"], events["y"] = rng.integers(0, 8, count), rng.integers(0, 8, count)
    return events


@pytest.mark.parametrize("delay_us", [0, 3000])
@pytest.mark.parametrize("policy", ["block", "merge"])
def test_outputs_count_what_the_engine_fires_at_once(delay_us: int, policy: str) -> None:
    events = random_events(4000, 200_000)
    source, application = ArraySource(events, SENSOR, None), SpikeCounts(network(delay_us), SENSOR)
    with Stream(source, application, policy, 5000, 10_000, outputs=64) as stream:
        outputs = list(stream)
    engine = ContinuousEngine(network(delay_us))
    engine.push(events["t"].astype(np.int64), SENSOR.neurons(events))
    spikes = engine.advance(200_000)
    for index, output in enumerate(outputs):
        within = (spikes.times_us >= index * 10_000) & (spikes.times_us < (index + 1) * 10_000)
        counts = np.bincount(spikes.neurons[within], minlength=6)
        assert output.spikes == counts.sum()
        assert output.values["counts"]["seen"] == {str(n): count for n, count in enumerate(counts) if count}
        assert output.label == (str(counts.argmax()) if counts.any() else None)
    assert len(outputs) == 20
    assert sum(output.spikes for output in outputs) > 50
    total = Work()
    for output in outputs:
        assert output.work is not None
        total = total + output.work
    assert total == stream.work == Work.between(None, engine.counts)
    assert total.synaptic_operations == 4000 * 6 - 6 * engine.in_flight_now


def test_outputs_that_never_fire_are_read_by_their_potentials() -> None:
    application = SpikeCounts(network(fires=False), SENSOR)
    application.begin(0)
    application.take(random_events(50, 1000))
    output = application.answer(1000)
    engine = ContinuousEngine(network(fires=False))
    events = random_events(50, 1000)
    engine.push(events["t"].astype(np.int64), SENSOR.neurons(events))
    engine.advance(1000)
    assert output.label == str(engine.potential("seen").argmax())
    assert output.spikes == 0


def test_sensors_that_fit_and_those_that_do_not() -> None:
    assert SpikeCounts.fitting(network(), SENSOR).sensor == SENSOR
    assert SpikeCounts.fitting(network(), Sensor(16, 8)).sensor == Sensor(16, 8, 1)
    with pytest.raises(PromptError, match="128 neurons"):
        SpikeCounts.fitting(network(), Sensor(9, 9))


def test_the_quick_price_is_the_price() -> None:
    circuit = Circuit.of({"": network()})
    work = Work({"pixels": 1000, "seen": 70}, (6000,), {"seen": 5000})
    priced = [chip for chip in chips.chips().values() if chip.kind == "neuromorphic"]
    quick = pricing(circuit, priced)(work, 0.5)
    for chip in priced:
        if "synapses" in chip.quantities or "static power" in chip.quantities:
            price = price_live(circuit, work, 0.5, 4, chip)
            assert quick[chip.name] == pytest.approx(4 * price.total.value)
    loihi = price_live(circuit, work, 0.5, 1, chips.by_name("loihi1"))
    assert loihi.chips == 1
    assert loihi.total.value == pytest.approx(6000 * 2.36e-11 + 5000 * 8.1e-11 + 1000 * 1.7e-12 + 0.5 * 0.104)
    assert "spike output" in {item.cause for item in loihi.unpriced}


@pytest.mark.slow
def test_an_hour_of_stream_needs_no_more_memory_than_a_minute() -> None:
    source = ArraySource(random_events(72_000, 3_600_000_000), SENSOR, None)
    application = SpikeCounts(network(1000), SENSOR)
    early, latest_us = 0, 0
    tracemalloc.start()
    try:
        with Stream(source, application, "block", 1024, 200_000) as stream:
            for output in stream:
                if early == 0 and output.time_us > 60_000_000:
                    early = tracemalloc.get_traced_memory()[0]
                latest_us = output.time_us
                stream.status()
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    status = stream.status()
    assert latest_us > 3_599_000_000
    assert status.tally.processed == status.tally.sent == 72_000
    assert status.outputs > 17_000
    assert late < early + 100_000
