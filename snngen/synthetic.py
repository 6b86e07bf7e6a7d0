"""Synthetic: spiking networks of LLaMA's shape with random weights, of which a given share of the codes is not zero.

What a token costs depends on the shape and on how many codes spike, not on what the weights say, so such a network
shows the speed of a model of any size without its weights. Populations and projections are those that
`snngen.converters.convert` makes of a LLaMA.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, LINE, FloatArray, IntArray, aligned_bytes, sealed
from snngen.ledger import Ledger
from snngen.network import Network, Population, Projection
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.rms_norm import FRACTION_BITS, RMSNorm
from snngen.neurons.softmax import SHIFT, Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS
from snngen.synapses import Synapse
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.rotary import UNIT, Rotary
from snngen.synapses.value_memory import ValueMemory

HIGH = 127  # of codes that meet weights, and of weights: 8 bits
WIDE_HIGH = 2047  # of codes that meet none: 12 bits
PROBABILITY_HIGH = 255
SPREAD, WIDE_SPREAD = 30, 300  # standard deviation of codes whose share is not asked for, as converted models show
GATE_PEAK = 2**14  # largest entry of the gate's table
SCORE_SPREAD = 3.0  # standard deviation of attention scores, in nats: a few keys have most of the probability
STREAM_SPREAD = 2**19  # standard deviation of the residual stream at its end, 1/16 of what a norm can read
LOGIT_GAIN = 64
ROTARY_BASE = 10000.0
EPSILON = 1e-5  # of a norm, relative to the embedding's mean square
CALIBRATION = 64  # tokens on which thresholds are set

Values: TypeAlias = tuple[str, IntArray]  # a population's name and its (tokens, size) int64 codes


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaMA: channels, hidden channels, layers, heads of queries, of keys and values, and tokens known."""

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1 or self.dim % (2 * self.heads) or self.heads % self.kv_heads:
            raise NetworkError("Shape", str(self), "1 or more of each, heads that divide dim into even widths")

    @property
    def width(self) -> int:
        """Channels of a head."""
        return self.dim // self.heads

    @property
    def weights(self) -> int:
        """Weights of all matrices."""
        keys = self.kv_heads * self.width
        layer = 2 * self.dim * (self.dim + keys) + 3 * self.dim * self.hidden
        return self.layers * layer + 2 * self.dim * self.vocabulary


SHAPES = {
    "15M": Shape(288, 768, 6, 6, 6, 32000),
    "110M": Shape(768, 2048, 12, 12, 12, 32000),
    "1.1B": Shape(2048, 5632, 22, 32, 4, 32000),  # TinyLlama
}


def llama(shape: Shape, share: float = 0.98, seed: int = 0, context: int = 1024) -> Network:
    """A spiking network of a LLaMA's shape: random weights, and thresholds for a share of non-zero codes.

    Weights are uniform in -127..127, in one buffer. The network is built layer by layer, and with it what its
    populations do at 64 random tokens, as the reference says: the threshold of each population that feeds weights is
    twice the (1 - share) quantile of the magnitudes that reach it, theta = 2 * q, since a code is zero below theta / 2.
    Thresholds of the others give the spread of codes that converted models have.

    share: of the codes of each population that drives `Dense` synapses, the tokens aside; 0.01..0.99. At later tokens
        than those 64, attention mixes more values, so that fewer of its codes are not zero.
    seed: of weights and tokens. context: tokens that fit.
    raises: NetworkError for a share that 8-bit codes cannot have, or sizes whose drives leave int32.
    """
    if not 0.01 <= share <= 0.99 or context < 1:
        raise NetworkError("synthetic.llama", f"share {share}, context {context}", "share 0.01..0.99, context >= 1")
    growth = _Growth(shape, share, seed, context)
    stream = growth.embedding()
    for layer in range(shape.layers):
        stream = growth.feed(f"layer{layer}", growth.attend(f"layer{layer}", stream))
    growth.head(stream)
    provenance = {"source": "synthetic", "shape": vars(shape), "share": share, "seed": seed}
    return Network(tuple(growth.populations), tuple(growth.projections), provenance=provenance)


def weighed_share(ledger: Ledger) -> float:
    """The share of codes that are not zero, over the populations that drive `Dense` synapses, the tokens aside."""
    network = ledger.network
    feeding = {p.source for p in network.projections if isinstance(p.synapse, Dense)}
    feeding -= {source.name for source in network.sources}
    chosen = [index for index, population in enumerate(network.populations) if population.name in feeding]
    return float(ledger.events("graded")[:, chosen].sum() / ledger.neuron_updates()[:, chosen].sum())


class _Growth:
    """A network under way, and what its populations do at the calibration tokens."""

    def __init__(self, shape: Shape, share: float, seed: int, context: int) -> None:
        self.shape, self.share, self.context = shape, share, context
        self.rng = np.random.default_rng(seed)
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        matrices = 2 + 7 * shape.layers
        self._buffer = aligned_bytes(shape.weights + (matrices + 1) * LINE)  # and a line that kernels may read beyond
        self._used = 0
        self._worth = 0.5 / NormalDist().inv_cdf(1 - share / 2)  # root mean square of the codes of Gaussian values
        self._gain = self._stream_gain()
        self._epsilon = 0
        self._turns = [np.rint(turn * UNIT).astype(np.int32) for turn in self._rotations()]

    def _stream_gain(self) -> int:
        """Largest gain of what drives the residual stream, so that it keeps its spread and its bound fits int32."""
        shape = self.shape
        inputs = shape.layers * (shape.dim + shape.hidden)
        weight = HIGH / np.sqrt(3)
        wanted = STREAM_SPREAD / (self._worth * weight * np.sqrt(inputs + shape.hidden))
        return max(1, min(int(wanted), INT32_MAX // 2 // (HIGH * (HIGH + 1) // 2 * inputs)))

    def _rotations(self) -> Iterator[FloatArray]:
        half = self.shape.width // 2
        angles = np.outer(np.arange(self.context), ROTARY_BASE ** (-np.arange(half) / half))
        yield np.cos(angles)
        yield np.sin(angles)

    def embedding(self) -> Values:
        """Tokens, and the row of the embedding that each of them drives."""
        vocabulary, dim = self.shape.vocabulary, self.shape.dim
        tokens = self.rng.integers(vocabulary, size=min(CALIBRATION, self.context))
        self.populations.append(Population("token", Source(vocabulary, one_hot=1)))
        gain = max(1, int(self._gain * self._worth * np.sqrt(self.shape.hidden)))
        table = Dense(self._matrix(vocabulary, dim), self._gains(dim, gain))
        self.projections.append(Projection("token", "embedding", table))
        rows = table.matrix[tokens].astype(np.int64) * table.gain
        self._epsilon = int(EPSILON * 4.0**FRACTION_BITS * np.mean(rows.astype(np.float64) ** 2))
        return self._populate("embedding", Accumulator(np.zeros(dim, np.int32)), rows)

    def attend(self, at: str, stream: Values) -> Values:
        """Attention, onto the stream; returns the stream after it."""
        shape, context = self.shape, self.context
        heads, groups, width = shape.heads, shape.kv_heads, shape.width
        normed = self._norm(f"{at}.norm", stream)
        query, key = (
            self._turned(normed, f"{at}.{name}", f"{at}.turned_{name}", count)
            for name, count in (("query", heads), ("key", groups))
        )
        drive = self._dense(normed, f"{at}.value", groups * width)
        value = self._populate(f"{at}.value", _spread(drive, SPREAD, HIGH), drive)
        name = f"{at}.attention_probability"
        scores = self._drive(query, name, KeyMemory(heads, groups, width, context), writer=key)
        probability = self._populate(name, self._softmax(scores), scores)
        mixed = self._drive(probability, f"{at}.attention", ValueMemory(heads, groups, width, context), writer=value)
        attention = self._populate(f"{at}.attention", self._threshold(mixed), mixed)
        return self._add(f"{at}.attended", stream, attention)

    def feed(self, at: str, stream: Values) -> Values:
        """The gated feed-forward, onto the stream; returns the stream after it."""
        hidden = self.shape.hidden
        normed = self._norm(f"{at}.feed_norm", stream)
        parts = []
        for name in (f"{at}.gate", f"{at}.up"):
            drive = self._dense(normed, name, hidden)
            parts.append(self._populate(name, _spread(drive, WIDE_SPREAD, WIDE_HIGH), drive))
        for part, operand in zip(parts, ("gate", "value"), strict=True):
            self._drive(part, f"{at}.gated", OneToOne(hidden), operand)
        (_, gate), (_, up) = parts
        table = _silu_table()
        theta = self._theta(table.astype(np.int64)[gate + WIDE_HIGH] * up)
        neuron = Gate(table, -WIDE_HIGH, np.full(hidden, theta, np.int32), -HIGH, HIGH)
        return self._add(f"{at}.fed", stream, self._populate(f"{at}.gated", neuron, gate, up))

    def head(self, stream: Values) -> None:
        """The last norm and the logits."""
        dim, vocabulary = self.shape.dim, self.shape.vocabulary
        name, _ = self._norm("norm", stream)
        gain = max(1, min(LOGIT_GAIN, INT32_MAX // 2 // (HIGH * (HIGH + 1) // 2 * dim)))
        self.populations.append(Population("logits", Accumulator(np.zeros(vocabulary, np.int32))))
        synapse = Dense(self._matrix(dim, vocabulary), self._gains(vocabulary, gain))
        self.projections.append(Projection(name, "logits", synapse))

    def _norm(self, name: str, stream: Values) -> Values:
        drive = self._drive(stream, name, OneToOne(self.shape.dim))
        relative = np.abs(drive) / np.sqrt(np.mean(drive.astype(np.float64) ** 2, axis=1, keepdims=True))
        gain = round(2**FRACTION_BITS / 2 / float(np.quantile(relative, 1 - self.share)))
        neuron = RMSNorm(np.full(self.shape.dim, gain), self._epsilon, -HIGH, HIGH)
        return self._populate(name, neuron, drive)

    def _turned(self, normed: Values, name: str, turned: str, heads: int) -> Values:
        """Queries or keys, and what rotary positions make of them."""
        drive = self._dense(normed, name, heads * self.shape.width)
        codes = self._populate(name, _spread(drive, WIDE_SPREAD, WIDE_HIGH), drive)
        cosine, sine = self._turns
        drive = self._drive(codes, turned, Rotary(heads, cosine, sine))
        return self._populate(turned, _spread(drive, SPREAD, HIGH), drive)

    def _softmax(self, scores: IntArray) -> Softmax:
        """Softmax whose scores have the spread that is wanted, head by head."""
        tokens = len(scores)
        seen = np.tri(tokens, dtype=bool)
        heads = scores.reshape(tokens, self.shape.heads, self.context)[:, :, :tokens]
        spread = np.array([max(1.0, float(heads[:, head][seen].std())) for head in range(self.shape.heads)])
        multiplier = np.rint(SCORE_SPREAD / spread * np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS))
        return Softmax(multiplier.astype(np.int64), self.context, PROBABILITY_HIGH)

    def _add(self, name: str, stream: Values, source: Values) -> Values:
        """The stream, and what a matrix makes of the source's codes."""
        before = self._drive(stream, name, OneToOne(self.shape.dim))
        drive = self._dense(source, name, self.shape.dim, self._gain)
        return self._populate(name, Accumulator(np.zeros(self.shape.dim, np.int32)), before + drive)

    def _theta(self, values: IntArray) -> int:
        """The threshold that the wanted share of values passes by half of it."""
        return max(1, round(2 * float(np.quantile(np.abs(values), 1 - self.share))))

    def _threshold(self, drive: IntArray) -> Threshold:
        size = drive.shape[1]
        return Threshold(np.full(size, self._theta(drive), np.int32), np.zeros(size, np.int32), -HIGH, HIGH)

    def _dense(self, source: Values, target: str, outputs: int, gain: int = 1) -> IntArray:
        inputs = source[1].shape[1]
        return self._drive(source, target, Dense(self._matrix(inputs, outputs), self._gains(outputs, gain)))

    def _drive(
        self, source: Values, target: str, synapse: Synapse, operand: str = "drive", writer: Values | None = None
    ) -> IntArray:
        """Add a projection; returns the drive that it delivers."""
        self.projections.append(Projection(source[0], target, synapse, operand, None if writer is None else writer[0]))
        return synapse.reference(source[1], None if writer is None else writer[1])

    def _populate(self, name: str, neuron: Neuron, *drives: IntArray) -> Values:
        self.populations.append(Population(name, neuron))
        return name, neuron.reference(*drives)

    def _matrix(self, sources: int, targets: int) -> IntArray:
        """Random weights in the next place of the buffer, a read-only view of it."""
        matrix = self._buffer[self._used : self._used + sources * targets].reshape(sources, targets)
        self._used += matrix.size + -matrix.size % LINE
        for row in matrix:  # so that nothing is ever held twice
            row[:] = self.rng.integers(-HIGH, HIGH + 1, targets, dtype=np.int8)
        return sealed(matrix)

    def _gains(self, targets: int, most: int) -> IntArray:
        """Gains that differ from channel to channel, as converted ones do."""
        return self.rng.integers(max(1, most // 2), most + 1, targets, dtype=np.int32)


def _spread(drive: IntArray, spread: int, high: int) -> Threshold:
    """Neurons whose codes of this drive have a standard deviation."""
    size = drive.shape[1]
    theta = max(1, round(float(drive.std()) / spread))
    return Threshold(np.full(size, theta, np.int32), np.zeros(size, np.int32), -high, high)


def _silu_table() -> IntArray:
    """(4095,) int32: SiLU of every gate code, whose standard deviation is worth 1, in units of which it peaks at 2**14.

    Source: Shazeer 2020 (GLU Variants Improve Transformer), SwiGLU.
    """
    points = np.arange(-WIDE_HIGH, WIDE_HIGH + 1) / WIDE_SPREAD
    values = points / (1 + np.exp(-points))
    return np.asarray(np.rint(values / values.max() * GATE_PEAK), dtype=np.int32)
