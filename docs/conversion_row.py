"""Row: what one conversion costs, measured: parity, figures of float and network, counts, energy, certificates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import snngen
from snngen.converters import mixture
from snngen.converters.convert import Conversion, convert_graph
from snngen.converters.graph import Graph
from snngen.encoding import encode
from snngen.engines.ticked import TickedEngine
from snngen.hardware.chips import by_name
from snngen.hardware.price import price
from snngen.ledger import Ledger
from snngen.likelihood import nats, nats_per_token
from snngen.network import Network
from snngen.picture import psnr

Array = npt.NDArray[Any]
CERTIFIED, TICKED = 32, 4  # tokens (or vectors) that the settled, and the ticked engine are certified on


@dataclass(frozen=True)
class Parity:
    """How near the float graph (or, of a quantized source, the network) is to the original.

    error: largest difference, up to `bound`; or share: of `codes` that are equal, at least `least`.
    """

    error: float = 0.0
    bound: float = 1e-4
    share: float = 1.0
    codes: int = 0
    least: float = 0.999

    @property
    def holds(self) -> bool:
        return self.error <= self.bound and self.share >= self.least

    def __str__(self) -> str:
        if self.codes:
            return f"{self.share:.4%} of {self.codes:,} codes"
        return f"{self.error:.0e}" if self.error else "0"


@dataclass(frozen=True, eq=False)
class Subject:
    """A model as it came from a file or a module, and what it is tried on.

    format, family, model: names, for the table. calibration, probe: (sequences, tokens) tokens or (sequences, tokens,
    channels) vectors; the probe was not calibrated on. parity: what there is to compare, given the conversion.
    target: (sequences, tokens, outputs) pictures that the model should draw, of values `span` apart.
    original: what the network is compared with where that is not the float graph.
    mixtures: of a model whose outputs are mixtures that predict the next latents.
    """

    format: str
    family: str
    model: str
    graph: Graph
    calibration: Array
    probe: Array
    parity: Callable[[Conversion], Parity]
    target: Array | None = None
    original: Array | None = None
    span: float = 1.0
    mixtures: int = 0


@dataclass(frozen=True)
class Figure:
    """kind: perplexity, nats per latent, or PSNR. change: percent of perplexity, or dB; None where nothing is right."""

    kind: str
    exact: float | None
    network: float
    change: float | None


@dataclass(frozen=True)
class Row:
    """A row of the table; energy: on Loihi 2, per token. settled, ticked: certificates."""

    format: str
    family: str
    model: str
    parity: Parity
    figure: Figure
    events: float
    operations: float
    energy: str
    settled: snngen.Certificate
    ticked: snngen.Certificate

    @property
    def key(self) -> tuple[str, str, str]:
        return self.format, self.family, self.model


def measured(subject: Subject) -> Row:
    """Convert a subject and measure it."""
    conversion = convert_graph(subject.graph, subject.calibration)
    network = conversion.network
    sequence = subject.probe[0] if subject.probe.shape[1] > 1 else subject.probe[:, 0]
    shown: Any = encode(network, sequence) if subject.graph.channels else sequence.tolist()
    ledger = Ledger(network)
    settled = snngen.certify(network, shown[:CERTIFIED], ledger=ledger)
    ticked = snngen.certify(network, shown[:TICKED], TickedEngine(network))
    counts, breakdown = ledger.per_token(), price(ledger, by_name("loihi2"))
    energy = f"{'at least ' if breakdown.at_least else ''}{breakdown['generate'].total}"
    return Row(
        subject.format, subject.family, subject.model, subject.parity(conversion), figure(subject, network),
        counts["events"], counts["synaptic_operations"], energy, settled, ticked,
    )  # fmt: skip


def figure(subject: Subject, network: Network) -> Figure:
    """How good float model and network are on the probe."""
    graph, probe = subject.graph, subject.probe
    if not graph.channels:
        logits = graph.run(probe[:, :-1]).astype(np.float64)
        pairs = zip(logits.reshape(-1, graph.vocabulary), probe[:, 1:].reshape(-1), strict=True)
        exact = float(np.mean([nats(*pair) for pair in pairs]))
        rounded = nats_per_token(network, [(row.tolist(), 1) for row in probe])
        return Figure("perplexity", np.exp(exact), np.exp(rounded), 100 * (np.exp(rounded - exact) - 1))
    floats = graph.run(probe) if subject.original is None else subject.original
    drawn = outputs(network, probe)
    if subject.mixtures:
        latents = probe[:, 1:, : drawn.shape[-1] // (3 * subject.mixtures)]
        exact, rounded = (float(mixture.nats(x[:, :-1], latents, subject.mixtures).mean()) for x in (floats, drawn))
        return Figure("nats per latent", exact, rounded, 100 * (np.exp(rounded - exact) - 1))
    if subject.target is None:
        return Figure("PSNR to float" if subject.original is None else "PSNR to original", None,
                      psnr(drawn, floats, subject.span), None)  # fmt: skip
    exact, rounded = (psnr(x, subject.target, subject.span) for x in (floats, drawn))
    return Figure("PSNR", exact, rounded, rounded - exact)


def outputs(network: Network, vectors: Array) -> Array:
    """What the network says of (sequences, tokens, channels) numbers, in the units of the float model."""
    engine, source, rows = snngen.SettledEngine(network), network.sources[0].name, []
    for sequence in vectors:
        engine.reset()
        for codes in encode(network, sequence):
            engine.step(codes={source: codes})
            rows.append(engine.output * network[network.output].scale)
    return np.array(rows).reshape(*vectors.shape[:2], -1)
