"""Shapes: how many chips, watts and joules a language model would take, from its dimensions alone, without weights.

Neurons and weights are those that the converter makes of such a model; layers stand one after the other and each
begins on a core of its own. Left out: what `snngen.hardware.placement` leaves out, and the limits on axons, save that
one neuron's inputs must fit one core.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any

from snngen.errors import CapacityError, UnsupportedError
from snngen.hardware.chip import NEURON_UPDATES, STATIC_POWER, SYNAPSE_TIME, SYNAPSES, TICK, UPDATE_TIME, Chip
from snngen.hardware.chips import by_name as chip_by_name
from snngen.hardware.limits import IN_AXONS, MEMORY, NEURONS, Limits, by_name
from snngen.hardware.price import COMPUTE_TIME
from snngen.hardware.quantity import PER_OPERATION, Quantity

TABLE_BYTES = 8  # cosine and sine of one angle, 4 bytes each


@dataclass(frozen=True)
class Shape:
    """The dimensions of a language model.

    dim: channels of the residual stream. hidden: of the feed-forward. layers. heads, groups: of queries and of keys;
    groups divide heads, heads divide dim. vocabulary: tokens known. context: tokens that fit, 1 for recurrent blocks.
    tied: True where one matrix embeds and un-embeds; a chip stores it twice, since weights live with their targets.
    recurrent: True for blocks that keep a state (four dim x dim matrices, MLGRU) in place of attention.
    source: where the dimensions are found.
    raises: UnsupportedError for dimensions that make no model.
    """

    dim: int
    hidden: int
    layers: int
    heads: int
    groups: int
    vocabulary: int
    context: int
    tied: bool
    recurrent: bool = False
    source: str = "given"

    def __post_init__(self) -> None:
        numbers = (self.dim, self.hidden, self.layers, self.heads, self.groups, self.vocabulary, self.context)
        if min(numbers) < 1 or self.dim % self.heads or self.heads % self.groups or self.width % 2:
            expected = "all >= 1, heads divide dim, groups divide heads, an even number of channels per head"
            raise UnsupportedError("Shape", str(numbers), expected)

    @property
    def width(self) -> int:
        """Channels per head."""
        return self.dim // self.heads

    @property
    def parameters(self) -> int:
        """Weights and gains of norms, a tied matrix once."""
        mixing = 4 if self.recurrent else 2 + 2 * self.groups / self.heads
        layer = round(mixing * self.dim**2) + 3 * self.dim * self.hidden + 2 * self.dim
        ends = self.vocabulary * self.dim * (1 if self.tied else 2)
        return self.layers * layer + ends + self.dim


@dataclass(frozen=True)
class Part:
    """A population as a plan sees it.

    unit: neurons that share weights. size: bytes of those weights. fan_in: neurons that drive one neuron.
    operations, updates: per token. stage: populations that must settle before it, within its section.
    """

    name: str
    neurons: int
    stage: int
    operations: float
    fan_in: int = 1
    size: int = 0
    unit: int = 1
    updates: float | None = None


@dataclass(frozen=True)
class Section:
    """A part of the model that begins on a core of its own: the embedding, a layer, the head.

    count: how many there are. neurons, bytes, cores, stages: of each. operations, updates: per token, of each.
    limit: what parts it most often from its next core, "" where it lies on one.
    busiest_operations, busiest_updates: at least what falls to the busiest core of each stage, summed over stages.
    """

    name: str
    count: int
    neurons: int
    bytes: int
    cores: int
    limit: str
    stages: int
    operations: float
    updates: float
    busiest_operations: float
    busiest_updates: float


@dataclass(frozen=True, eq=False)
class Plan:
    """What a model of a shape takes on a chip, per generated token; times and energies are lower bounds.

    In prefill tokens may follow each other more closely, which a plan does not tell.

    shape, chip, limits. activity: share of codes that are not zero. weight_bits. tokens: in the attention memory.
    sections: in order. terms: J/token by cause. static: W of all chips, or None. time: s/token, or None.
    unpriced: what the energy lacks, and why.
    """

    shape: Shape
    chip: Chip
    limits: Limits
    activity: float
    weight_bits: int
    tokens: int
    sections: tuple[Section, ...]
    terms: Mapping[str, Quantity]
    static: Quantity | None
    time: Quantity | None
    unpriced: Mapping[str, str]

    @property
    def cores(self) -> int:
        """Cores of all sections."""
        return sum(section.count * section.cores for section in self.sections)

    @property
    def stored(self) -> int:
        """Bytes of weights, attention memories and rotary tables."""
        return sum(section.count * section.bytes for section in self.sections)

    @property
    def ticks(self) -> int:
        """Ticks of one token, stage after stage, under a graded code."""
        return sum(section.count * section.stages for section in self.sections)

    @property
    def chips(self) -> int:
        """Chips, when a section that fits one chip is not parted over two."""
        return chips(self.sections, self.limits)

    @property
    def board(self) -> str:
        """The smallest board that holds so many chips."""
        return self.limits.board(self.chips)

    @property
    def energy(self) -> Quantity | None:
        """Sum of the terms, J/token: at least so much."""
        return reduce(operator.add, self.terms.values()) if self.terms else None

    def rows(self) -> list[dict[str, Any]]:
        """A line per section: name, count, neurons, bytes, cores, limit, operations; the numbers of one each."""
        kept = ("name", "count", "neurons", "bytes", "cores", "limit")
        return [
            {name: getattr(section, name) for name in kept} | {"operations": round(section.operations)}
            for section in self.sections
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and text, for JSON; energies in J/token, time in s/token, power in W."""
        figures = {"static_power": self.static, "time": self.time, "energy": self.energy}
        return {
            "shape": asdict(self.shape) | {"parameters": self.shape.parameters},
            "chip": self.chip.name,
            "activity": self.activity,
            "weight_bits": self.weight_bits,
            "tokens": self.tokens,
            "chips": self.chips,
            "chips_if_full": -(-self.cores // self.limits.cores),
            "cores": self.cores,
            "board": self.board,
            "bytes": self.stored,
            "ticks": self.ticks,
            **{name: None if figure is None else asdict(figure) for name, figure in figures.items()},
            "terms": {cause: asdict(term) for cause, term in self.terms.items()},
            "at_least": True,
            "unpriced": dict(self.unpriced),
            "not_published": dict(self.limits.missing),
            "sections": self.rows(),
            "notes": [*self.limits.notes, *self.chip.notes],
        }


def plan(
    shape: str | Shape,
    chip: str,
    activity: float = 1.0,
    weight_bits: int = 8,
    tokens: int | None = None,
    ends: bool = True,
    seconds: float | None = None,
) -> Plan:
    """Plan a model on a chip from its dimensions.

    shape: a name (SHAPES) or dimensions of your own. chip: a name that `snngen.hardware.limits` knows.
    activity: share of codes that are not zero, 0..1; each makes one event a token.
    weight_bits: of constant weights, packed, 1..8. Keys and values take a byte each.
    tokens: in the attention memory, by default as many as fit; operations grow with them, the memory does not.
    ends: False leaves embedding and un-embedding to the host, as published runs did.
    seconds: a token takes, where that is known; otherwise the least that the chip's constants allow.
    raises: UnsupportedError for unknown names and numbers out of range; CapacityError where one neuron is too much.
    """
    shape = shape_by_name(shape) if isinstance(shape, str) else shape
    tokens = shape.context if tokens is None else tokens
    if not 0 <= activity <= 1 or not 1 <= weight_bits <= 8 or not 1 <= tokens <= shape.context:
        got = f"activity {activity}, weight_bits {weight_bits}, tokens {tokens}"
        raise UnsupportedError("plan", got, f"activity in 0..1, weight_bits in 1..8, tokens in 1..{shape.context}")
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise UnsupportedError("plan", f"{seconds} seconds per token", "a finite time above 0")
    limits, profile = by_name(chip), chip_by_name(chip)
    named = [(shape.layers, "layer")]
    if ends:
        named = [(1, "embedding"), *named, (1, "head")]
    sections = tuple(
        _section(name, count, list(_parts(shape, name, weight_bits, tokens, activity)), limits) for count, name in named
    )
    terms, static, time = _figures(profile, sections, chips(sections, limits), shape.source, seconds)
    unpriced = {cause: why for cause, why in profile.missing.items() if cause not in terms}
    unpriced |= {"routing": "a plan has no places", "host link": "depends on the board"}
    if seconds is None and not {SYNAPSE_TIME, UPDATE_TIME} & set(profile.quantities):
        unpriced[COMPUTE_TIME] = "the chip's rates are not published: only ticks are counted, in static energy too"
    if not ends:
        unpriced["embedding and un-embedding"] = "left to the host"
    return Plan(
        shape, profile, limits, activity, weight_bits, tokens, sections, terms, static, time, MappingProxyType(unpriced)
    )


def chips(sections: tuple[Section, ...], limits: Limits) -> int:
    """Chips that sections fill one after the other; one that fits a chip is not parted over two."""
    used, room = 0, 0
    for section in sections:
        for _ in range(section.count):
            if room < section.cores <= limits.cores:
                room = 0
            more = max(0, -(-(section.cores - room) // limits.cores))
            used, room = used + more, room + more * limits.cores - section.cores
    return used


def shape_by_name(name: str) -> Shape:
    """The shape of that name; raises UnsupportedError for one that is not in SHAPES."""
    if name not in SHAPES:
        raise UnsupportedError("shapes", repr(name), "one of " + ", ".join(SHAPES))
    return SHAPES[name]


def _parts(shape: Shape, section: str, bits: int, tokens: int, activity: float) -> Iterator[Part]:
    """The populations of a section, in order, as the converter makes them."""
    dim, vocabulary = shape.dim, shape.vocabulary
    if section == "embedding":
        yield Part("token", vocabulary, 0, 0, 0, updates=0)
        yield Part("embedding", dim, 1, dim, vocabulary, _packed(vocabulary, bits))  # one token is one event
    elif section == "head":
        yield Part("norm", dim, 0, dim)
        yield Part("logits", vocabulary, 1, activity * dim * vocabulary, dim, _packed(dim, bits))
    else:
        mixing = _recurrence(shape, bits, activity) if shape.recurrent else _attention(shape, bits, tokens, activity)
        yield from mixing
        yield from _feed_forward(shape, bits, activity, 5 if shape.recurrent else 6)


def _attention(shape: Shape, bits: int, tokens: int, activity: float) -> Iterator[Part]:
    dim, heads, groups, width, context = shape.dim, shape.heads, shape.groups, shape.width, shape.context
    keys, share, column = groups * width, heads // groups, _packed(dim, bits)
    yield Part("norm", dim, 0, dim)
    for name, neurons in (("query", dim), ("key", keys), ("value", keys)):
        yield Part(name, neurons, 1, activity * dim * neurons, dim, column)
    for name, count in (("turned_query", heads), ("turned_key", groups)):
        yield Part(name, count * width, 2, activity * 2 * count * width, 2, TABLE_BYTES * context, 2 * count)
    read = activity * heads * width * tokens
    yield Part("attention_probability", heads * context, 3, read, 2 * width, width, share, updates=heads * tokens)
    yield Part("attention", dim, 4, read, context + 1, context, share)
    yield Part("attended", dim, 5, dim + activity * dim * dim, dim + 1, column)


def _recurrence(shape: Shape, bits: int, activity: float) -> Iterator[Part]:
    dim, column = shape.dim, _packed(shape.dim, bits)
    yield Part("norm", dim, 0, dim)
    for name in ("forget", "candidate", "output_gate"):
        yield Part(name, dim, 1, activity * dim * dim, dim, column)
    yield Part("state", dim, 2, activity * 2 * dim, 2)
    yield Part("gated_state", dim, 3, activity * 2 * dim, 2)
    yield Part("attended", dim, 4, dim + activity * dim * dim, dim + 1, column)


def _feed_forward(shape: Shape, bits: int, activity: float, stage: int) -> Iterator[Part]:
    dim, hidden = shape.dim, shape.hidden
    yield Part("feed_norm", dim, stage, dim)
    for name in ("gate", "up"):
        yield Part(name, hidden, stage + 1, activity * dim * hidden, dim, _packed(dim, bits))
    yield Part("gated", hidden, stage + 2, activity * 2 * hidden, 2)
    yield Part("fed", dim, stage + 3, dim + activity * dim * hidden, hidden + 1, _packed(hidden, bits))


def _packed(weights: int, bits: int) -> int:
    """Bytes of the weights of one neuron."""
    return -(-weights * bits // 8)


def _section(name: str, count: int, parts: list[Part], limits: Limits) -> Section:
    """Fill cores with the units of each part in turn, as many as fit: what the cut of a real network does."""
    neurons, memory = limits[NEURONS], limits[MEMORY]
    cores, used, held = 1, 0, 0
    stops: dict[str, int] = {}
    for part in parts:
        _check(part, limits)
        unit = min(part.unit, neurons)  # a unit with more neurons than a core's is parted, its weights are copied
        units = -(-part.neurons // unit)
        whole = min(neurons // unit, memory // part.size if part.size else units)
        room = min((neurons - used) // unit, (memory - held) // part.size if part.size else units)
        limit = MEMORY if part.size and memory // part.size < neurons // unit else NEURONS
        if units > room:
            more, used, held = -(-(units - room) // whole), 0, 0
            units -= room + (more - 1) * whole
            cores, stops[limit] = cores + more, stops.get(limit, 0) + more
        used, held = used + units * unit, held + units * part.size
    busiest = [_busiest(part, limits) for part in parts]
    stages = range(max(part.stage for part in parts) + 1)
    slowest = [[b for b, part in zip(busiest, parts, strict=True) if part.stage == stage] for stage in stages]
    return Section(
        name,
        count,
        sum(part.neurons for part in parts),
        sum(part.neurons // part.unit * part.size for part in parts),
        cores,
        max(stops, key=stops.__getitem__, default=""),
        len(stages),
        sum(part.operations for part in parts),
        sum(_updates(part) for part in parts),
        sum(max(operations for operations, _ in stage) for stage in slowest),
        sum(max(updates for _, updates in stage) for stage in slowest),
    )


def _check(part: Part, limits: Limits) -> None:
    for name, need in ((MEMORY, part.size), (IN_AXONS, part.fan_in)):
        if name in limits.per_core and need > limits[name]:
            unit = limits.per_core[name].unit.split("/")[0]
            raise CapacityError(
                f"{part.name}: {name}",
                f"{need:,} {unit} for one neuron alone, {need - limits[name]:,} too many",
                f"at most {limits[name]:,} {unit} on one core of {limits.name}",
                "Take another chip, or leave the ends to the host" if part.name in ("embedding", "logits") else "",
            )


def _updates(part: Part) -> float:
    return part.neurons if part.updates is None else part.updates


def _busiest(part: Part, limits: Limits) -> tuple[float, float]:
    """Operations and updates of a core that holds as much of a part as it can: no core of the busiest has less."""
    unit = min(part.unit, limits[NEURONS])
    whole = min(limits[NEURONS] // unit, limits[MEMORY] // part.size if part.size else part.neurons)
    cores = -(-part.neurons // (whole * unit))
    return part.operations / cores, _updates(part) / cores


def _figures(
    chip: Chip, sections: tuple[Section, ...], count: int, source: str, seconds: float | None
) -> tuple[Mapping[str, Quantity], Quantity | None, Quantity | None]:
    """Energy by cause, static power and time, from the chip's constants."""

    def given(number: float, unit: str) -> Quantity:
        return Quantity(number, number, number, unit, PER_OPERATION, "assumed", f"shapes: {source}")

    def due(name: str, unit: str) -> Quantity:
        return given(float(sum(section.count * getattr(section, name) for section in sections)), unit)

    figures, terms = chip.quantities, dict[str, Quantity]()
    if SYNAPSES in figures:
        terms[SYNAPSES] = figures[SYNAPSES] * due("operations", "synaptic operation/token")
    if NEURON_UPDATES in figures:
        terms[NEURON_UPDATES] = figures[NEURON_UPDATES] * due("updates", "neuron update/token")
    bounds = [
        figures[cause] * due(name, unit)
        for cause, name, unit in (
            (TICK, "stages", "tick/token"),
            (SYNAPSE_TIME, "busiest_operations", "synaptic operation/token"),
            (UPDATE_TIME, "busiest_updates", "neuron update/token"),
        )
        if cause in figures
    ]
    time = reduce(Quantity.maximum, bounds) if bounds else None
    if seconds is not None:
        time = given(seconds, "s/token")
    static = None
    if STATIC_POWER in figures:
        static = figures[STATIC_POWER] * given(count, "chip")
        if time is not None:
            terms[STATIC_POWER] = static * time
    return MappingProxyType(terms), static, time


_LLAMA2 = "Touvron et al. 2023, Llama 2; Meta's params.json; hidden by the rule of its model.py"
_LLAMA2C = "llama2.c, README, table of models; hidden by the rule of its model.py"
_TINYLLAMA = "TinyLlama, README, training details"
SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "llama2-7b": Shape(4096, 11008, 32, 32, 32, 32000, 4096, tied=False, source=_LLAMA2),
        "llama2-13b": Shape(5120, 13824, 40, 40, 40, 32000, 4096, tied=False, source=_LLAMA2),
        "llama2-70b": Shape(8192, 28672, 80, 64, 8, 32000, 4096, tied=False, source=_LLAMA2),
        "tinyllama-1.1b": Shape(2048, 5632, 22, 32, 4, 32000, 2048, tied=False, source=_TINYLLAMA),
        "stories260k": Shape(64, 172, 5, 8, 4, 512, 512, tied=True, source=_LLAMA2C),
        "stories15m": Shape(288, 768, 6, 6, 6, 32000, 256, tied=True, source=_LLAMA2C),
        "stories110m": Shape(768, 2048, 12, 12, 12, 32000, 1024, tied=True, source=_LLAMA2C),
        "matmulfree-370m": Shape(
            1024, 2816, 24, 1, 1, 32000, 1, tied=False, recurrent=True,
            source="Abreu et al. 2025, arXiv:2503.18002: 24 blocks of 4 h^2 + 3 h 2816; h = 1024 by the sum",
        ),
    }
)  # fmt: skip
