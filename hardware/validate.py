"""Validate: the published closed cases, recomputed from their census with the chips' constants.

A case is a test where the constants come from elsewhere, a fit where they were drawn from the case itself: a fit
reproduces by construction and shows only that the arithmetic holds. No constant is tuned to a case here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from snngen.hardware.chip import NEURON_UPDATES, STATIC_POWER, SYNAPSES
from snngen.hardware.chips import by_name
from snngen.hardware.quantity import ALL_IN, PER_OPERATION, PriceError, Quantity

BAND = 0.25
TEST, FIT = "test", "fit"
KINDS = (TEST, FIT)

FRADY = "Frady et al. 2020, arXiv:2004.12691, read in a transcription"
AKOPYAN = "Akopyan et al. 2015, Fig. 17, read in a transcription"
ABREU = "Abreu et al. 2025, arXiv:2503.18002, read in a transcription"

# MatMul-free 370M: width, blocks; the inner width is 256 * ceil(2/3 * 4 * width / 256), as in the model's code.
WIDTH, BLOCKS = 1024, 24
BOARD_CHIPS = 24  # one block on each


@dataclass(frozen=True)
class Case:
    """A published measurement and what the constants make of its census.

    name: what was measured. chip: whose constants. kind: TEST or FIT. published: all-in, as its authors measured it.
    computed: of the same unit. census: what was counted, and what the constants were applied to.
    raises: PriceError for two units, another kind, or a measurement of 0.
    """

    name: str
    chip: str
    kind: str
    published: Quantity
    computed: Quantity
    census: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not self.census.strip():
            raise PriceError(
                f"Case {self.name}", f"kind {self.kind!r}, census {self.census!r}", "test or fit; a census"
            )
        if self.published.unit != self.computed.unit or not self.published.value > 0:
            got = f"{self.published} published, {self.computed} computed"
            raise PriceError(f"Case {self.name}", got, "one unit, above 0")

    @property
    def ratio(self) -> float:
        """Computed over published."""
        return self.computed.value / self.published.value

    @property
    def passed(self) -> bool:
        """True within the band."""
        return abs(self.ratio - 1) <= BAND

    def row(self) -> dict[str, Any]:
        """A line of the table."""
        return {
            "case": self.name,
            "chip": self.chip,
            "published": str(self.published),
            "computed": str(self.computed),
            "ratio": f"{self.ratio:.3f}",
            "band": f"{1 - BAND:.2f}..{1 + BAND:.2f}",
            "pass": "yes" if self.passed else "NO",
            "kind": self.kind,
            "census": self.census,
            "source": self.published.source,
        }

    def as_dict(self) -> dict[str, Any]:
        """The same in plain numbers, for JSON."""
        return asdict(self) | {"ratio": self.ratio, "band": BAND, "pass": self.passed}


def cases() -> tuple[Case, ...]:
    """All published closed cases."""
    return (*_neighbour_search(), _board(), *_sweep(), *_language_model())


def rows(of: tuple[Case, ...] | None = None) -> list[dict[str, Any]]:
    """The table of `snngen validate`: a row per case, with the same keys."""
    return [case.row() for case in (cases() if of is None else of)]


def passed(of: tuple[Case, ...] | None = None) -> bool:
    """True when every case lies within its band."""
    return all(case.passed for case in (cases() if of is None else of))


def _neighbour_search() -> Iterator[Case]:
    """Pohoiki Springs, k nearest neighbours: each query's spikes reach all neurons, which are idle in most steps."""
    figures = by_name("loihi1").quantities
    neurons, steps = 76_800, 60
    idle = figures[NEURON_UPDATES]
    # at each step nearly all neurons are inactive: the low end of the figure
    inactive = Quantity(idle.low, idle.low, idle.high, idle.unit, idle.scope, idle.evidence, idle.source)
    for spikes in (667, 750):
        yield Case(
            f"neighbour search, neurons, {spikes} spikes per query (a token here is a query)",
            "loihi1",
            TEST,
            _published(1.33e-3, "J/token", f"{FRADY}, Table 2"),
            figures[SYNAPSES] * _counted(spikes * neurons, "synaptic operation/token", FRADY)
            + inactive * _counted(neurons * steps, "neuron update/token", FRADY),
            f"{spikes} spikes x {neurons:,} targets at 23.6 pJ; {neurons:,} inactive neurons x {steps} steps at 52 pJ",
        )


def _board() -> Case:
    return Case(
        "static power of a board of 32 chips",
        "loihi1",
        FIT,
        _published(3.34, "W", f"{FRADY}, Table 1"),
        by_name("loihi1").quantities[STATIC_POWER] * _counted(32, "chip", FRADY),
        "32 chips x 104 mW, which the source itself divides from the same board",
    )


def _sweep() -> Iterator[Case]:
    """Power against rate of one chip; a token here is a second."""
    figures = by_name("truenorth").quantities
    neurons, fan_out = 1_048_576, 128
    for rate, milliwatts, kind in ((11.58, 68, FIT), (20.07, 71, TEST), (95.93, 94, FIT)):
        second = _counted(1, "s/token", AKOPYAN)
        static = figures[STATIC_POWER] * _counted(1, "chip", AKOPYAN) * second
        events = figures[SYNAPSES] * _counted(neurons * rate * fan_out, "synaptic operation/token", AKOPYAN)
        yield Case(
            f"power at {rate} Hz (a token here is one second)",
            "truenorth",
            kind,
            _published(milliwatts * 1e-3, "J/token", AKOPYAN),
            static + events,
            f"64.4 mW; {neurons:,} neurons x {rate} Hz x {fan_out} synapses at 2.297 pJ; "
            + ("held out of the fit" if kind == TEST else "one of the two points fitted"),
        )


def block_weights() -> int:
    """Weights of the recurrent blocks of the MatMul-free 370M, from its shapes."""
    inner = 256 * -(-(2 * 4 * WIDTH) // (3 * 256))
    return BLOCKS * (4 * WIDTH**2 + 3 * WIDTH * inner)


def _language_model() -> Iterator[Case]:
    figures = by_name("loihi2").quantities
    weights = block_weights()
    for phase, rate, joules in (("generate", 41.5, 405e-3), ("prefill", 6632.0, 3.7e-3)):
        static = figures[STATIC_POWER] * _counted(BOARD_CHIPS, "chip", ABREU) * _counted(1 / rate, "s/token", ABREU)
        dynamic = figures[SYNAPSES] * _counted(weights, "synaptic operation/token", ABREU)
        yield Case(
            f"MatMul-free 370M, {phase}",
            "loihi2",
            FIT,
            _published(joules, "J/token", ABREU),
            static + dynamic,
            f"{BOARD_CHIPS} chips at {rate:,} token/s as measured; {weights:,} block weights at 3.8 pJ; embedding and "
            "un-embedding were not on the chips",
        )


def _published(value: float, unit: str, source: str) -> Quantity:
    return Quantity(value, value, value, unit, ALL_IN, "cited", source)


def _counted(value: float, unit: str, source: str) -> Quantity:
    return Quantity(value, value, value, unit, PER_OPERATION, "cited", source)
