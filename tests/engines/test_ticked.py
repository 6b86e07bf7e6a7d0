"""The ticked engine at quiet equals the reference, bit for bit, under every exact code and both schedules."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import dense, feed_forward, random_decoder, random_recurrent, random_transformer

import snngen
from snngen import codes, reference
from snngen.codes.unary import Unary
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.ledger import Ledger
from snngen.network import Network, Population, Projection
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source

EXACT = [name for name in codes.kinds() if codes.by_name(name).exact]
SCHEDULES = ("layered", "eager")


def assert_equal(network: Network, tokens: list[int], **options) -> TickedEngine:
    engine = TickedEngine(network, **options)
    certificate = snngen.certify(network, tokens, engine)
    assert certificate.clean, str(certificate)
    assert certificate.decided == len(tokens)
    return engine


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(EXACT),
    schedule=st.sampled_from(SCHEDULES),
    layers=st.integers(1, 2),
    groups=st.sampled_from([(1, 1), (2, 1), (4, 2)]),
    width=st.sampled_from([2, 4]),
    late=st.booleans(),
)
def test_random_networks_orders_and_delays(seed, name, schedule, layers, groups, width, late) -> None:
    """Random weights, thresholds, arrival orders and delays, every population kind."""
    rng = np.random.default_rng(seed)
    network = random_transformer(seed, layers, heads=groups[0], groups=groups[1], width=width)
    tokens = rng.integers(0, network.vocabulary, 6).tolist()
    delays = {index: int(rng.integers(0, 7)) for index in range(len(network.projections))} if late else {}
    shuffle = int(rng.integers(1, 2**31 - 1))
    code = codes.by_name(name)
    assert_equal(network, tokens, code=code, schedule=schedule, delays=delays, shuffle=shuffle)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(EXACT),
    schedule=st.sampled_from(SCHEDULES),
    build=st.sampled_from([random_recurrent, random_decoder]),
)
def test_random_recurrent_networks_and_decoders(seed, name, schedule, build) -> None:
    rng = np.random.default_rng(seed)
    network = build(seed)
    tokens = rng.integers(0, network.vocabulary, 6).tolist()
    delays = {index: int(rng.integers(0, 4)) for index in range(len(network.projections))}
    assert_equal(network, tokens, code=codes.by_name(name), schedule=schedule, delays=delays, shuffle=7)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(EXACT), schedule=st.sampled_from(SCHEDULES))
def test_random_feed_forward_networks(seed, name, schedule) -> None:
    network = feed_forward(seed, (9, 14, 6, 5))
    inputs = np.random.default_rng(seed).integers(-7, 8, (5, 9))
    expected = reference.run(network, {"input": inputs})
    engine = TickedEngine(network, codes.by_name(name), schedule)
    for index, row in enumerate(inputs):
        engine.step(codes={"input": row})
        for population in network.populations:
            assert engine.codes(population.name).tolist() == expected[population.name][index].tolist()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", EXACT)
def test_shuffling_a_tick_changes_nothing(name: str, schedule: str) -> None:
    network = random_transformer(4, layers=2)
    runs = []
    for seed in (0, 1, 12345):
        engine = TickedEngine(network, codes.by_name(name), schedule, shuffle=seed)
        history = []
        for token in (1, 7, 3):
            engine.begin(token)
            while not engine.quiet:
                engine.advance(engine.ticks + 1)
                history.append((engine.ticks, engine.tables.neurons[0].tolist(), engine.tables.drives.tolist()))
            engine.finish()
        runs.append(history)
    assert runs[0] == runs[1] == runs[2]  # after every single tick


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("model", ["stories", "shakespeare"])
def test_real_models(model: str, name: str, schedule: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(model)
    tokens = snngen.generate(network, "Once", 40, temperature=1.0, seed=5).tokens[:32]
    assert len(tokens) == 32
    assert_equal(network, tokens, code=codes.by_name(name), schedule=schedule)


def test_delta_does_not_drift_over_the_whole_context(stories: Network) -> None:
    tokens = snngen.generate(stories, "Once", 400, temperature=1.0, seed=6, when_full="slide").tokens[:256]
    assert len(tokens) == 256
    assert_equal(stories, tokens, code=codes.by_name("delta"))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("model", ["random", "recurrent", "decoder", "stories"])
def test_events_really_sent_are_those_that_the_settled_engine_counts(
    name: str, model: str, request: pytest.FixtureRequest
) -> None:
    build = {"random": random_transformer, "recurrent": random_recurrent, "decoder": random_decoder}.get(model)
    network = build(8) if build else request.getfixturevalue("stories")
    tokens = [1, 4, 2, 2, 8, 1]
    settled, ticked = SettledEngine(network), TickedEngine(network, codes.by_name(name))
    counted, sent = Ledger(network), Ledger(network, name)
    for token in tokens:
        settled.step(token)
        counted.record("generate", *settled.counted())
        ticked.step(token)
        sent.record("generate", *ticked.counted(), ticked.ticks)
    assert np.array_equal(sent.events(), counted.events(name))
    assert np.array_equal(sent.synaptic_operations(), counted.synaptic_operations(name))
    assert np.array_equal(sent.bits(), counted.bits(name))
    assert np.array_equal(sent.ticks(), counted.ticks(name))
    with pytest.raises(UnsupportedError, match="really sent"):
        sent.events("unary" if name != "unary" else "graded")


def test_leaving_out_what_is_not_read_changes_nothing_later() -> None:
    tokens = [3, 1, 4, 1, 5]
    networks = random_transformer(5), random_recurrent(5), random_decoder(5)
    for network, name, schedule in product(networks, EXACT, SCHEDULES):
        run = snngen.generate(network, tokens, 4, engine=TickedEngine(network, codes.by_name(name), schedule))
        assert run.tokens == snngen.generate(network, tokens, 4).tokens


def test_rate_is_lossy_and_the_certificate_says_so(shakespeare: Network) -> None:
    engine = TickedEngine(shakespeare, codes.by_name("rate:8"))
    assert not engine.exact
    certificate = snngen.certify(shakespeare, list(b"ROMEO:\nWhat"), engine)
    assert not certificate.clean
    assert "MISMATCHES" in str(certificate)
    sent = [engine.codes(population.name) for population in shakespeare.populations if not population.neuron.wide]
    ends = [population.neuron.range for population in shakespeare.populations if not population.neuron.wide]
    assert all(low <= codes.min() <= codes.max() <= high for codes, (low, high) in zip(sent, ends, strict=True))
    fine = TickedEngine(shakespeare, codes.by_name("rate:2047"))  # a step of 1: nothing is lost
    assert snngen.certify(shakespeare, list(b"ROMEO:\nWhat"), fine).clean


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", EXACT)
def test_an_answer_that_is_safe_is_the_final_one(name: str, schedule: str, stories: Network) -> None:
    engine = TickedEngine(stories, codes.by_name(name), schedule, stop_when_safe=True)
    run = snngen.generate(stories, "Once upon a time", 8, engine=engine)
    assert run.tokens == snngen.generate(stories, "Once upon a time", 8).tokens
    assert engine.safe_stops > 0 or name == "ttfs"


def test_the_bound_is_exact_where_it_is_tight() -> None:
    """Two outputs one unit apart: safe only once nothing is left that could turn them."""
    network = feed_forward(1, (4, 3))
    with pytest.raises(UnsupportedError, match=r"0 projections|dense"):
        TickedEngine(replace_output(network, "input"), stop_when_safe=True).step(codes={"input": np.ones(4, int)})


def replace_output(network: Network, output: str) -> Network:
    from dataclasses import replace

    return replace(network, output=output)


def test_max_ticks_is_lossy_and_bounded() -> None:
    network = random_transformer(3, layers=2)
    engine = TickedEngine(network, Unary(), max_ticks=50)
    certificate = snngen.certify(network, [1, 2, 3], engine)
    assert engine.ticks == 50
    assert not certificate.clean
    assert not engine.exact


def test_without_quiet_the_active_populations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snngen.engines.ticked.TICK_LIMIT", 100)
    network = random_transformer(3, layers=2)
    with pytest.raises(CapacityError, match=r"100 without quiet, active: .*layer\d\."):
        TickedEngine(network, Unary()).step(1)


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.tokens: list[tuple[int, int]] = []

    def record(self, events: np.ndarray) -> None:
        self.rows.append(events)

    def token(self, number: int, ticks: int) -> None:
        self.tokens.append((number, ticks))

    def reset(self) -> None:
        self.tokens.append((-2, 0))


def test_events_are_recorded_as_sent() -> None:
    network, recorder = random_transformer(3), Recorder()
    engine = TickedEngine(network, Unary(), recorder=recorder)
    engine.step(2)
    assert recorder.tokens == [(2, engine.ticks)]
    events = np.concatenate(recorder.rows)
    assert np.bincount(events[:, 1], minlength=len(network.populations)).tolist() == engine.counted()[0][:, 1].tolist()
    assert (np.diff(events[:, 0]) >= 0).all()
    assert np.unique(events[:, :3], axis=0).shape == (len(events), 3)  # at most one spike per neuron and tick
    for index, population in enumerate(network.populations):
        sums = np.zeros(population.size, dtype=np.int64)
        chosen = events[events[:, 1] == index]
        np.add.at(sums, chosen[:, 2], chosen[:, 3])
        assert sums.tolist() == engine.codes(population.name).tolist()


def spiking_network(seed: int, sizes: tuple[int, ...], thetas: tuple[int, ...]) -> Network:
    rng = np.random.default_rng(seed)
    populations, projections = [Population("input", Source(sizes[0]))], []
    for index, theta in enumerate(thetas):
        name = f"layer{index}"
        populations.append(Population(name, IntegrateAndFire(np.full(sizes[index + 1], theta))))
        link = dense(rng, sizes[index], sizes[index + 1])
        projections.append(Projection(populations[-2].name, name, link))
    return Network(tuple(populations), tuple(projections))


def clocked(network: Network, spikes: np.ndarray, ticks: int) -> list[int]:
    """The same in plain NumPy: every neuron steps at every tick, and each projection takes one."""
    layers = network.populations[1:]
    potentials = [np.zeros(layer.size, dtype=np.int64) for layer in layers]
    fired = [np.zeros(layer.size, dtype=np.int64) for layer in layers]
    counts = [0] * len(layers)
    for tick in range(ticks):
        now = spikes[tick] if tick < len(spikes) else np.zeros(network.vocabulary, dtype=np.int64)
        before = [now, *(np.copy(f) for f in fired)]
        for index, (layer, link) in enumerate(zip(layers, network.projections, strict=True)):
            potentials[index], fired[index] = layer.neuron.step(
                potentials[index], link.synapse.reference(before[index][None], None)[0]
            )
            counts[index] += int(fired[index].sum())
    return counts


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rate=st.sampled_from([0.02, 0.1, 0.5]))
def test_integrate_and_fire_streams_equal_a_clocked_simulation(seed: int, rate: float) -> None:
    network = spiking_network(seed, (12, 20, 8), (300, 400))
    spikes = (np.random.default_rng(seed).random((10, 12)) < rate).astype(np.int64)
    tick, neuron = np.nonzero(spikes)
    events = np.stack([tick, np.zeros_like(tick), neuron, np.ones_like(tick)], axis=1)
    engine = TickedEngine(network, Unary(), "eager")
    for _ in range(2):  # a second run starts afresh
        engine.stream(events, 15)
        # fired at tick t in our count is what the clocked one fires at t - 1: its input arrives within the tick
        assert engine.counted()[0][1:, 1].tolist() == clocked(network, spikes, 14)


def test_bad_streams_and_options_are_refused() -> None:
    network = spiking_network(1, (4, 3), (100,))
    engine = TickedEngine(network, Unary(), "eager")
    for events in (
        [[1, 0, 0, 1], [0, 0, 0, 1]],
        [[0, 1, 0, 1]],
        [[0, 0, 4, 1]],
        [[0, 0, -1, 1]],
        [[0, 5, 0, 1]],
        [[0, 0, 1, 1], [0, 0, 1, 1]],
        [[-1, 0, 0, 1]],
        [[0, 0, 0, 2]],
    ):
        with pytest.raises(PromptError):
            engine.stream(np.array(events), 5)
    transformer = random_transformer(1)
    for options in (
        {"schedule": "lazy"}, {"max_ticks": 0}, {"max_ticks": 5, "delays": {0: 1}}, {"delays": {0: -1}},
    ):  # fmt: skip
        with pytest.raises(UnsupportedError):
            TickedEngine(transformer, **options)
    with pytest.raises(UnsupportedError, match="in order"):
        TickedEngine(network)
    with pytest.raises(UnsupportedError, match="need ticks"):
        SettledEngine(network)
