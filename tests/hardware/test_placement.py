"""Placements of random small networks under small limits, and of the network that ships."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import feed_forward, random_transformer

from snngen.errors import CapacityError, UnsupportedError
from snngen.hardware.chip import MEMORY as CHIP_MEMORY
from snngen.hardware.chips import by_name as chip_by_name
from snngen.hardware.limits import CHIPS, IN_AXONS, LIMITS, MEMORY, NEURONS, OUT_AXONS, PER_CORE, Limit, Limits, by_name
from snngen.hardware.mesh import seats, swapped
from snngen.hardware.placement import Placement, place
from snngen.hardware.placement_plot import DRAWN, plot_placement
from snngen.hardware.quantity import PriceError
from snngen.hardware.wiring import blocks, wiring, writing
from snngen.network import Network
from snngen.synapses import Synapse
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.broadcast import Broadcast
from snngen.synapses.dense import Dense
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.position import Position
from snngen.synapses.rotary import Rotary
from snngen.synapses.value_memory import ValueMemory


def limited(neurons: int, memory: int, **axons: int) -> Limits:
    """Loihi 2 with other limits; axons: in_axons, out_axons."""
    named = {NEURONS: neurons, MEMORY: memory} | {name.replace("_", "-"): value for name, value in axons.items()}
    per_core = {name: Limit(value, PER_CORE[name], "assumed", "this test") for name, value in named.items()}
    return replace(by_name("loihi2"), per_core=per_core, missing=dict.fromkeys(set(PER_CORE) - set(named), "untested"))


NETWORKS = st.one_of(
    st.builds(random_transformer, st.integers(0, 9), st.integers(1, 2), groups=st.sampled_from((1, 2))),
    st.builds(feed_forward, st.integers(0, 9), st.sampled_from(((5, 7, 3), (2, 30, 30, 4), (9, 1)))),
)
LIMITED = st.builds(limited, st.integers(1, 60), st.integers(80, 2000))
AXONS = st.builds(limited, st.integers(1, 60), st.integers(80, 2000), in_axons=st.integers(60, 300))
SYNAPSES = (
    Dense(np.ones((3, 5), np.int8), np.ones(5, np.int32)),
    OneToOne(6),
    Rotary(2, np.full((4, 3), 1000, np.int32), np.full((4, 3), 700, np.int32)),
    KeyMemory(4, 2, 3, 5),
    ValueMemory(4, 2, 3, 5),
    Diagonal(np.array([3, -700, 1, 9], np.int32)),
    Broadcast(2, 5, 3),
    Bilinear(2, 3, 4),
    Position(7, np.arange(1, 121).reshape(5, 24), np.arange(1, 25)),
)


def stored_by_hand(network: Network, placement: Placement) -> np.ndarray:
    """(cores,) bytes, told weight by weight."""
    held: list[set] = [set() for _ in range(placement.cores)]
    size = {}
    for number, projection in enumerate(network.projections):
        synapse = projection.synapse
        for target, core in enumerate(placement.homes[network.order[projection.target]]):
            if isinstance(synapse, Dense):
                key, bytes_ = (number, target), synapse.matrix.shape[0]
            elif isinstance(synapse, Rotary):
                key, bytes_ = (number, target % synapse.half), 8 * synapse.context
            elif isinstance(synapse, KeyMemory):
                head, token = divmod(target, synapse.context)
                key, bytes_ = (number, head * synapse.groups // synapse.heads, token), synapse.width
            elif isinstance(synapse, ValueMemory):
                head, channel = divmod(target, synapse.width)
                key, bytes_ = (number, head * synapse.groups // synapse.heads, channel), synapse.context
            else:
                continue
            held[core].add(key)
            size[key] = bytes_
    return np.array([sum(size[key] for key in keys) for keys in held])


@settings(deadline=None)
@given(NETWORKS, LIMITED | AXONS)
def test_every_neuron_has_one_core_and_no_core_is_over_a_limit(network, limits):
    placement = place(network, limits)
    counted = np.zeros(placement.cores, int)
    for population, home in zip(network.populations, placement.homes, strict=True):
        assert home.shape == (population.size,)
        counted += np.bincount(home, minlength=placement.cores)
    assert (counted == placement.load(NEURONS)).all()
    assert 1 <= counted.min() <= counted.max() <= limits[NEURONS]
    stored = stored_by_hand(network, placement)
    assert (stored == placement.load(MEMORY)).all()
    assert stored.max() <= limits[MEMORY]
    for name in limits.per_core:
        assert placement.load(name).max() <= limits[name]
    assert placement.chips == -(-placement.cores // 128)


@settings(deadline=None)
@given(NETWORKS, LIMITED | AXONS, st.integers(0, 3000), st.integers(0, 50))
def test_wider_limits_never_need_more_cores(network, limits, memory, neurons):
    axons = {"in_axons": limits[IN_AXONS]} if IN_AXONS in limits.per_core else {}
    wider = limited(limits[NEURONS] + neurons, limits[MEMORY] + memory, **axons)
    assert place(network, wider).cores <= place(network, limits).cores


@settings(deadline=None)
@given(NETWORKS, LIMITED)
def test_events_go_somewhere_and_work_is_spread(network, limits):
    placement = place(network, limits)
    for index, projection in enumerate(network.projections):
        assert placement.hops(index) >= placement.crossings(index) >= 0
        assert 1 <= placement.fan(index) <= len(np.unique(placement.homes[network.order[projection.target]]))
        assert (placement.fan(index, written=True) > 0) == (projection.writer is not None)
        assert placement.hops(index, written=True) >= 0
    generator = np.random.default_rng(0)
    updates = generator.integers(0, 1000, len(network.populations))
    operations = generator.integers(0, 1000, len(network.projections))
    for busiest, total in zip(placement.busiest(updates, operations), (updates.sum(), operations.sum()), strict=True):
        assert total / placement.cores <= busiest * (1 + 1e-9)
        assert busiest <= total * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_one_core_sends_nothing_over_the_mesh(seed):
    network = random_transformer(seed)
    placement = place(network, limited(10_000, 10**6))
    assert (placement.cores, placement.chips, placement.stops) == (1, 1, ("",))
    assert all(placement.hops(i) == placement.crossings(i) == 0 for i in range(len(network.projections)))
    ones = np.ones(len(network.populations)), np.ones(len(network.projections))
    assert placement.busiest(*ones) == pytest.approx((len(ones[0]), len(ones[1])))
    assert {row["limit"] for row in placement.rows()} == {""}


def test_hops_and_crossings_by_hand():
    """4 cores in a row of routers, one neuron each: 1 source, then 3 targets of a dense projection."""
    network = feed_forward(0, (1, 3))
    limits = replace(
        limited(1, 1),
        columns=Limit(2, "routers", "assumed", "this test"),
        rows=Limit(1, "routers", "assumed", "this test"),
        per_router=Limit(1, "cores/router", "assumed", "this test"),
    )
    placement = replace(place(network, limits), order=np.arange(4))
    # chips stand 2 abreast; seats (column, row): (0, 0), (1, 0) on chip 0, (2, 0), (3, 0) on chip 1
    assert placement.places[:, :4].tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 1, 0]]
    assert placement.chips == 2
    assert (placement.hops(0), placement.crossings(0), placement.fan(0)) == (1 + 2 + 3, 0 + 1 + 1, 3)
    swapped_placement = place(network, limits)
    assert swapped_placement.hops(0) == 1 + 1 + 2  # the source moves between its targets


def test_small_limits_take_many_cores_and_chips():
    network = random_transformer(1, layers=2)
    neurons = sum(population.size for population in network.populations)
    placement = place(network, limited(1, 1000))
    assert placement.cores == neurons > 128
    assert placement.chips == -(-neurons // 128)
    assert {row["limit"] for row in placement.rows() if row["neurons"] > 1} == {NEURONS}
    assert sum(placement.crossings(i) for i in range(len(network.projections))) > 0
    assert placement.as_dict()["copies"] > 0  # heads of one group, parted, store their keys twice


def test_out_axons_bind():
    network = feed_forward(2, (8, 40, 8))
    free = place(network, limited(8, 1000))
    bound = place(network, limited(8, 1000, out_axons=10))
    assert free.load(OUT_AXONS).max() > 10 >= bound.load(OUT_AXONS).max()
    assert OUT_AXONS in {row["limit"] for row in bound.rows()}


@pytest.mark.parametrize(
    ("limits", "where", "over"),
    [
        (limited(100, 29), "layer1, neuron", "30 bytes for this neuron alone, 1 too many"),
        (limited(100, 100, in_axons=20), "layer1, neuron", "30 axons for this neuron alone, 10 too many"),
        (limited(1, 100, out_axons=12), "layer0, neuron", "20 axons for this neuron alone, 8 too many"),
    ],
)
def test_a_neuron_too_big_for_a_core_is_named(limits, where, over):
    network = feed_forward(0, (5, 30, 20))
    with pytest.raises(CapacityError) as caught:
        place(network, limits)
    assert where in str(caught.value)
    assert over in str(caught.value)


@pytest.mark.parametrize("synapse", SYNAPSES, ids=lambda synapse: synapse.kind)
def test_wiring_is_that_of_the_reference(synapse: Synapse):
    tokens = getattr(synapse, "context", 1)
    written = np.ones((tokens, synapse.writer_size), np.int64) if synapse.writer_size else None
    way = wiring(synapse)
    for sender in range(synapse.source_size):
        codes = np.zeros((tokens, synapse.source_size), np.int64)
        codes[-1, sender] = 1
        reached = synapse.reference(codes, written)[-1] != 0
        assert (reached == (way.receiver == way.sender[sender])).all()
    way_in = writing(synapse)
    assert (way_in is None) == (written is None)
    if way_in is not None and written is not None:
        codes = np.ones((tokens, synapse.source_size), np.int64)
        for writer in range(synapse.writer_size):
            more = written.copy()
            more[:, writer] += 1
            changed = synapse.reference(codes, more)[-1] != synapse.reference(codes, written)[-1]
            assert (changed == (way_in.receiver == way_in.sender[writer])).all()


@pytest.mark.parametrize("synapse", SYNAPSES, ids=lambda synapse: synapse.kind)
def test_blocks_hold_all_weights_once(synapse: Synapse):
    stored = blocks(synapse)
    _, first = np.unique(stored.block, return_index=True)
    assert stored.size[first].sum() == synapse.weight_bytes


@given(st.integers(2, 40), st.integers(0, 10), st.integers(1, 50))
def test_swaps_never_lengthen_the_way(cores, seed, together):
    generator = np.random.default_rng(seed)
    events = generator.integers(0, 5, (cores, cores)).astype(float)
    places = generator.integers(0, 9, (cores, 2))
    links = np.abs(places[:, None] - places[None]).sum(axis=2).astype(float)
    order = swapped(events, links, together)
    assert sorted(order) == list(range(cores))
    assert (order // together == np.arange(cores) // together).all()
    assert (events * links[np.ix_(order, order)]).sum() <= (events * links).sum() + 1e-9


@given(st.integers(1, 600))
def test_seats_are_distinct_and_neighbours_are_near(cores):
    limits = by_name("loihi2")
    places = seats(limits, cores)
    assert len(np.unique(places, axis=0)) == cores
    assert (places.min(axis=0) >= 0).all()
    assert (places[:, 2:].max(axis=0) < (8, 4, 4)).all()
    inside = (places[1:, :2] == places[:-1, :2]).all(axis=1)
    assert np.abs(np.diff(places[:, 2:4], axis=0)).sum(axis=1)[inside].max(initial=0) <= 1


@pytest.mark.parametrize("chip", sorted(LIMITS))
def test_the_shipped_network_fits_one_chip(shakespeare, chip):
    placement = place(shakespeare, chip)
    report = json.loads(json.dumps(placement.as_dict()))
    assert report["chips"] == placement.chips == 1
    assert report["board"] == {"loihi2": "Oheo Gulch (1 chip)"}.get(chip, "Kapoho Bay (2 chips)")
    assert report["bytes"] - report["copies"] == sum(p.synapse.weight_bytes for p in shakespeare.projections)
    assert 0.5 < report["memory_utilisation"] <= 1
    assert [row["name"] for row in report["populations"]] == [p.name for p in shakespeare.populations]
    assert set(report["not_published"]) == set(PER_CORE) - set(by_name(chip).per_core)
    walk = replace(placement, order=np.arange(placement.cores))
    sizes = [p.synapse.source_size for p in shakespeare.projections]
    near, far = (sum(p.hops(i) * size for i, size in enumerate(sizes)) for p in (placement, walk))
    assert near <= far


@pytest.mark.parametrize(("neurons", "memory", "chips"), [(1024, 2**14, 2), (64, 2**13, 5)])
def test_events_weigh_the_ways(shakespeare, neurons, memory, chips):
    """Counted events in place of one per neuron: a shorter way for those events than in the plain walk."""
    events = np.random.default_rng(0).integers(0, 50, len(shakespeare.populations)).astype(float)
    placement = place(shakespeare, limited(neurons, memory), events)
    walk = replace(placement, order=np.arange(placement.cores))
    sent = [events[shakespeare.order[p.source]] for p in shakespeare.projections]
    near, far = (sum(p.hops(i) * count for i, count in enumerate(sent)) for p in (placement, walk))
    assert placement.chips == chips
    assert near < far


def test_a_placement_checks_itself():
    placement = place(feed_forward(0), limited(4, 100))
    for change in (
        {"homes": placement.homes[1:]},
        {"homes": tuple(np.zeros_like(home) for home in placement.homes), "stops": ("",), "order": np.zeros(1, int)},
        {"order": np.zeros_like(placement.order)},
        {"stops": placement.stops[1:]},
    ):
        with pytest.raises(CapacityError):
            replace(placement, **change)
    with pytest.raises(CapacityError, match="busiest"):
        placement.busiest(np.ones(1), np.ones(1))


def test_limits_are_checked_and_agree_with_the_chips():
    for name, limits in LIMITS.items():
        assert limits.name == name
        assert limits.cores == 128
        assert chip_by_name(name).quantities[CHIP_MEMORY].value == limits.cores * limits[MEMORY]
    limits = by_name("loihi2")
    for change in ({"missing": {}}, {"boards": {"none": Limit(0, CHIPS, "assumed", "x")}}, {"rows": limits.payload}):
        with pytest.raises(PriceError):
            replace(limits, **change)
    for values in (
        (-1, CHIPS, "stated", "x"),
        (1, "m", "stated", "x"),
        (1, CHIPS, "no", "x"),
        (1, CHIPS, "stated", ""),
    ):
        with pytest.raises(PriceError):
            Limit(*values)
    with pytest.raises(UnsupportedError, match="h100"):
        place(feed_forward(0), "h100")


@pytest.mark.parametrize(
    ("chips", "board"),
    [(1, "Oheo Gulch"), (2, "Kapoho Point"), (24, "Alia Point"), (33, "Hala Point"), (1153, "2 x Hala Point")],
)
def test_boards(chips, board):
    assert by_name("loihi2").board(chips).startswith(board)


def test_plot(tmp_path, shakespeare):
    placements = (place(shakespeare, "loihi2"), place(random_transformer(0, layers=2), limited(1, 1000)))
    for placement in placements:
        figure = plot_placement(placement)
        texts = [
            text.get_text() for axes in figure.findobj(lambda artist: hasattr(artist, "texts")) for text in axes.texts
        ]
        assert sum(text[0].isdigit() and " " not in text for text in texts) >= placement.cores
        assert any("token" in text for text in texts)
        figure.savefig(tmp_path / "placement.png")


def test_plot_of_many_chips_draws_the_first():
    crowd = place(random_transformer(0, context=1100), limited(1, 10_000))
    figure = plot_placement(crowd)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert crowd.chips > DRAWN == sum(title.startswith("chip ") for title in titles)
    assert figure.get_suptitle().count(f"the first {DRAWN} drawn") == 1
