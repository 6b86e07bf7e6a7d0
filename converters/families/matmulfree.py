"""MatMul-free language models (hgrn_bit): a gated linear recurrence and a gated feed-forward, ternary weights only."""

from __future__ import annotations

import numpy as np

from snngen.converters import configuration
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import BEFORE, Graph
from snngen.converters.operations import (
    Add,
    Embedding,
    Floats,
    Gate,
    Integers,
    Linear,
    Pointwise,
    Products,
    RMSNorm,
    Scale,
)
from snngen.errors import FormatError

MODEL_TYPES = ("hgrn_bit",)

USED = {
    "vocab_size", "hidden_size", "num_hidden_layers", "num_heads", "expand_ratio", "hidden_ratio", "intermediate_size",
    "hidden_act", "rms_norm_eps", "use_lower_bound", "tie_word_embeddings",
}  # fmt: skip
# Of training, of how the recurrence is computed, of convolutions that are off; there are no positions to run out of.
IGNORED = {"attn_mode", "conv_size", "conv_bias", "share_conv_kernel", "fuse_cross_entropy", "max_position_embeddings"}
OFF = {"use_short_conv", "use_moe"}
LINEAR_EPSILON = 1e-6  # of the norm in front of every linear map, as its fused kernel has it
GATE_EPSILON = 1e-5  # the source hands rms_norm_eps to another argument of this norm, so its default holds
SMALLEST = 1e-5  # scale of ternary weights


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a MatMul-free language model.

    Every linear map is BitLinear: RMSNorm, then weights of -s, 0 and s. Weights that are stored so are taken over;
    others are rounded as the source does whenever it runs, and only once.
    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    Source: Zhu et al., Scalable MatMul-free Language Modeling, 2024; equations of ridgerchu/matmulfreellm.
    """
    config = checkpoint.config
    wrong = configuration.unknown(config, USED | IGNORED, OFF)
    wrong += configuration.other_activation(config, "hidden_act", "swish", ("silu", "swish"))
    configuration.refuse(checkpoint, wrong, "a MatMul-free language model without convolutions and experts")
    vocabulary, dim = configuration.size(checkpoint, "vocab_size"), configuration.size(checkpoint, "hidden_size")
    inner = dim * configuration.size(checkpoint, "expand_ratio", 1)
    depth = configuration.size(checkpoint, "num_hidden_layers")
    epsilon = configuration.positive(checkpoint, "rms_norm_eps", config.get("rms_norm_eps", 1e-6))
    model = _Model(checkpoint, configuration.graph(checkpoint, vocabulary, None))
    bounds = _lower_bounds(checkpoint, depth, dim, inner)
    embedding = checkpoint.take("model.embeddings.weight", (vocabulary, dim))
    stream = model.graph.add("embedding", Embedding(embedding), "tokens")
    for index in range(depth):
        at, long = f"layer{index}", f"model.layers.{index}"
        normed = model.norm(f"{at}.norm", f"{long}.attn_norm", dim, epsilon, stream)
        out = model.mix(at, f"{long}.attn", normed, dim, inner, bounds[index])
        stream = model.graph.add(f"{at}.mixed", Add(), stream, out)
        normed = model.norm(f"{at}.feed_norm", f"{long}.mlp_norm", dim, epsilon, stream)
        out = model.feed(at, f"{long}.mlp", normed, dim, _intermediate(checkpoint, dim))
        stream = model.graph.add(f"{at}.fed", Add(), stream, out)
    normed = model.norm("norm", "model.norm", dim, epsilon, stream)
    if configuration.switch(checkpoint, "tie_word_embeddings"):
        head = checkpoint.tensors.setdefault("lm_head.weight", embedding)
        if not np.array_equal(head, embedding):
            raise FormatError(checkpoint.source, "lm_head.weight unlike the embedding", "tied weights, as configured")
    model.bit_linear(["logits"], "lm_head", normed, dim, [vocabulary])
    checkpoint.require_spent()
    model.report()
    return model.graph


class _Model:
    """Appends the parts of the model to its graph."""

    def __init__(self, checkpoint: Checkpoint, graph: Graph) -> None:
        self.checkpoint, self.graph = checkpoint, graph
        self.kept: list[str] = []
        self.rounded: list[str] = []

    def norm(self, name: str, long: str, channels: int, epsilon: float, x: str) -> str:
        """RMSNorm with the weight of the tensor `long`."""
        weight = self.checkpoint.take(f"{long}.weight", (channels,))
        return self.graph.add(name, RMSNorm(weight, epsilon), x)

    def bit_linear(self, names: list[str], long: str, x: str, inputs: int, outputs: list[int]) -> list[str]:
        """RMSNorm and ternary weights; one stored matrix may hold several maps, one below the other."""
        normed = self.norm(f"{names[0]}_norm", f"{long}.norm", inputs, LINEAR_EPSILON, x)
        weight = self.checkpoint.take(f"{long}.weight", (sum(outputs), inputs))
        whole, kept = ternary(weight)
        (self.kept if kept else self.rounded).append(long)
        edges = np.cumsum([0, *outputs])
        made = []
        for name, first, last in zip(names, edges[:-1], edges[1:], strict=True):
            matrix, scale = whole.matrix[first:last], whole.scale[first:last]
            part = Integers(np.ascontiguousarray(matrix), scale, whole.bits)
            made.append(self.graph.add(name, Linear((matrix * scale[:, None]).astype(np.float32), None, part), normed))
        return made

    def mix(self, at: str, long: str, x: str, dim: int, inner: int, bound: Floats | None) -> str:
        """The token mixer: h = f * h' + (1 - f) * silu(i), o = W (RMSNorm(g) * silu(h)); a dash is the token before.

        f = bound + (1 - bound) * sigmoid(W x), i = W x, g = W x, each with a norm of its own.
        """
        graph = self.graph
        (i,) = self.bit_linear([f"{at}.i"], f"{long}.i_proj", x, dim, [inner])
        (f,) = self.bit_linear([f"{at}.f"], f"{long}.f_proj", x, dim, [inner])
        (g,) = self.bit_linear([f"{at}.g"], f"{long}.g_proj", x, dim, [inner])
        candidate = graph.add(f"{at}.candidate", Pointwise("silu"), i)
        forget = graph.add(f"{at}.forget", Pointwise("sigmoid"), f)
        renew = graph.add(f"{at}.renew", Pointwise("complement"), f)
        if bound is not None:
            forget = graph.add(f"{at}.bounded", Scale((1 - bound,), bound), forget)
        weights = (None, None if bound is None else 1 - bound)
        pairs = (forget, f"{BEFORE}{at}.state", candidate, renew)
        state = graph.add(f"{at}.state", Products(weights), *pairs)
        gate = self.norm(f"{at}.g_normed", f"{long}.g_norm", inner, GATE_EPSILON, g)
        gated = graph.add(f"{at}.gated_state", Gate("silu"), state, gate)
        return self.bit_linear([f"{at}.mix_out"], f"{long}.o_proj", gated, inner, [dim])[0]

    def feed(self, at: str, long: str, x: str, dim: int, hidden: int) -> str:
        """The channel mixer: W (silu(gate) * up), gate and up halves of one matrix."""
        names = [f"{at}.gate", f"{at}.up"]
        gate, up = self.bit_linear(names, f"{long}.gate_proj", x, dim, [hidden, hidden])
        gated = self.graph.add(f"{at}.gated", Gate("silu"), gate, up)
        return self.bit_linear([f"{at}.feed_out"], f"{long}.down_proj", gated, hidden, [dim])[0]

    def report(self) -> None:
        """What a reader of the conversion report has to know."""
        self.graph.notes.append(
            f"{len(self.kept)} matrices came ternary and are taken over; {len(self.rounded)} were rounded to "
            "-1, 0, 1 times their mean magnitude, as the source does whenever it runs"
        )
        self.graph.notes.append(
            "the source rounds what enters a linear map to 8 bits of the largest magnitude of the token; codes here "
            "have ranges that calibration chose once"
        )


def ternary(weight: Floats) -> tuple[Integers, bool]:
    """Weights as -1, 0, 1 and one scale, and whether they came so.

    matrix = clip(round(w / s), -1, 1) with s the mean magnitude, at least 1e-5; weights that are all -s, 0 or s keep
    that s, for their mean magnitude is smaller and they would be rounded twice.
    """
    magnitudes = np.abs(weight)
    peak = magnitudes.max(initial=0.0)
    kept = bool(peak > 0 and np.isin(magnitudes, (0.0, peak)).all())
    if kept:
        scale, matrix = float(peak), np.sign(weight)
    else:
        factor = np.float32(1.0) / max(magnitudes.mean(dtype=np.float32), np.float32(SMALLEST))
        scale, matrix = float(1.0 / factor), np.clip(np.rint(weight * factor), -1, 1)
    return Integers(matrix.astype(np.int8), np.full(len(weight), scale), bits=2), kept


def _lower_bounds(checkpoint: Checkpoint, depth: int, dim: int, inner: int) -> list[Floats | None]:
    """Per layer the least value of its forget gates: the softmax over layers, summed up from the second layer on."""
    if not configuration.switch(checkpoint, "use_lower_bound", True):
        return [None] * depth
    if inner != dim:
        raise FormatError(checkpoint.source, f"lower bounds of {dim} channels for {inner} gates", "expand_ratio 1")
    raw = checkpoint.take("model.lower_bounds", (depth, dim)).astype(np.float64)
    shares = np.exp(raw - raw.max(axis=0))
    shares /= shares.sum(axis=0)
    sums = (shares.cumsum(axis=0) - shares[0]).astype(np.float32)
    return [None, *sums[1:]]


def _intermediate(checkpoint: Checkpoint, dim: int) -> int:
    """Width of the feed-forward: given, or two thirds of hidden_ratio * dim, up to the next multiple of 256."""
    if checkpoint.config.get("intermediate_size") is not None:
        return configuration.size(checkpoint, "intermediate_size")
    return 256 * -(-int(dim * configuration.size(checkpoint, "hidden_ratio", 4) * 2 / 3) // 256)
