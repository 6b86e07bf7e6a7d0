"""Plans from dimensions alone: against published parameter counts, a converted network and the published run."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.errors import CapacityError, UnsupportedError
from snngen.hardware.chip import NEURON_UPDATES, STATIC_POWER, SYNAPSES
from snngen.hardware.limits import LIMITS, MEMORY
from snngen.hardware.placement import place
from snngen.hardware.shapes import SHAPES, Shape, plan

PARAMETERS = {
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "tinyllama-1.1b": 1_100_048_384,
    "stories260k": 260_032,
    "stories15m": 15_191_712,
    "stories110m": 109_529_856,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameter_counts(name):
    assert SHAPES[name].parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_plans_are_whole(name):
    planned = plan(name, "loihi2")
    report = json.loads(json.dumps(planned.as_dict()))
    assert report["chips"] >= report["chips_if_full"] >= 1
    assert report["chips"] * 128 * 2**17 >= report["bytes"] == planned.stored
    assert report["energy"]["value"] == pytest.approx(sum(term["value"] for term in report["terms"].values()))
    assert set(planned.terms) == {SYNAPSES, STATIC_POWER}
    assert NEURON_UPDATES in planned.unpriced
    assert [row["name"] for row in planned.rows()] == ["embedding", "layer", "head"]


def test_llama2_7b():
    planned = plan("llama2-7b", "loihi2")
    assert planned.stored == 6_738_415_616 - 65 * 4096 + 32 * (2 * 4096 + 2 * 4 * 128) * 4096  # norms hold no synapse
    assert planned.ticks == 10 * 32 + 4
    assert planned.board.startswith("Hala Point")
    assert planned.static is not None
    assert planned.static.value == pytest.approx(planned.chips * 16.76 / 24)
    assert plan("llama2-7b", "loihi2", weight_bits=4).chips < planned.chips
    assert plan("llama2-70b", "loihi2").board.startswith("4 x Hala Point")


def test_a_shape_stores_what_the_converted_network_stores(stories):
    """Nothing is left out of the bytes: rotary tables and the whole of keys and values are in."""
    planned, placement = plan("stories260k", "loihi2"), place(stories, "loihi2")
    assert planned.stored == placement.load(MEMORY).sum() == sum(p.synapse.weight_bytes for p in stories.projections)
    neurons = sum(section.count * section.neurons for section in planned.sections)
    assert neurons == sum(population.size for population in stories.populations)
    assert planned.ticks == max(stories.stages) + 1
    embedding = stories.projections[0].synapse  # one token is one event, not all of them
    synapses = sum(p.synapse.count for p in stories.projections) - embedding.count + embedding.target_size
    assert sum(section.count * section.operations for section in planned.sections) == synapses
    assert placement.cores <= planned.cores <= placement.cores + sum(section.count for section in planned.sections)


def test_the_published_run_from_its_shape():
    """Abreu et al. 2025: 24 chips, 405 mJ at 41.5 tokens/s, 3.7 mJ at 6,632; the constants were fitted to them."""
    for rate, joules in ((41.5, 0.405), (6632, 0.0037)):
        planned = plan("matmulfree-370m", "loihi2", ends=False, seconds=1 / rate)
        assert planned.chips == 24
        assert planned.board == "Alia Point (32 chips)"
        assert planned.energy is not None
        assert planned.energy.value == pytest.approx(joules, rel=0.02)
        assert planned.terms[SYNAPSES].evidence == "assumed"
        assert "embedding and un-embedding" in planned.unpriced
    assert planned.stored == 24 * (4 * 1024**2 + 3 * 1024 * 2816)


@given(st.floats(0, 1), st.integers(1, 8), st.integers(1, 512), st.sampled_from(sorted(LIMITS)))
def test_less_activity_fewer_bits_fewer_tokens_never_cost_more(activity, bits, tokens, chip):
    most, less = plan("stories260k", chip), plan("stories260k", chip, activity, bits, tokens)
    assert less.chips <= most.chips
    assert less.cores <= most.cores
    assert less.stored <= most.stored
    assert less.energy is not None
    assert most.energy is not None
    assert less.energy.value <= most.energy.value


def shaped(half: int, share: int, groups: int, *rest: int, tied: bool, recurrent: bool) -> Shape:
    hidden, layers, vocabulary, context = rest
    heads = share * groups
    return Shape(2 * half * heads, hidden, layers, heads, groups, vocabulary, context, tied, recurrent)


FEW, SOME = st.integers(1, 4), st.integers(1, 99)


@given(st.builds(shaped, FEW, FEW, FEW, SOME, FEW, SOME, SOME, tied=st.booleans(), recurrent=st.booleans()))
def test_any_shape_can_be_planned(shape):
    planned = plan(shape, "loihi2")
    assert planned.cores * 2**17 >= planned.stored
    assert planned.chips >= 1


def test_what_does_not_fit_is_named():
    with pytest.raises(CapacityError, match=r"embedding: in-axons: got 32,000 axons .* 27,904 too many"):
        plan("llama2-7b", "loihi1")
    wide = Shape(64, 200_000, 1, 4, 4, 100, 100, tied=False)
    with pytest.raises(CapacityError, match=r"fed: synaptic memory: got 200,000 bytes .* 68,928 too many"):
        plan(wide, "loihi2")


def test_refusals():
    for bad in ({"activity": 1.5}, {"weight_bits": 0}, {"tokens": 0}, {"tokens": 513}, {"seconds": 0.0}):
        with pytest.raises(UnsupportedError):
            plan("stories260k", "loihi2", **bad)
    for shape, chip in (("llama3", "loihi2"), ("llama2-7b", "h100")):
        with pytest.raises(UnsupportedError, match="one of"):
            plan(shape, chip)
    with pytest.raises(UnsupportedError, match="heads divide dim"):
        Shape(10, 10, 1, 3, 1, 10, 10, tied=False)


def test_a_plan_says_that_only_ticks_are_counted() -> None:
    """On a chip without published rates, unless the time is given."""
    assert "only ticks" in plan("llama2-7b", "loihi2").unpriced["compute time within a tick"]
    assert "compute time within a tick" not in plan("llama2-7b", "loihi2", seconds=1.0).unpriced
