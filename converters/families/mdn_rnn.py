"""World Models' memory: an LSTM reads a latent vector and an action and says how the next latent is distributed."""

from __future__ import annotations

from snngen.converters import configuration, layers
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.families.recurrent import cell
from snngen.converters.graph import Graph
from snngen.errors import FormatError

MODEL_TYPES = ("mdn_rnn",)

USED = {"vocab_size", "latent_size", "action_size", "hidden_size", "mixtures"}


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a mixture density recurrent network.

    Its input is a latent and an action side by side; its output, per latent, the logarithms of `mixtures` weights (not
    normalized), then as many means, then as many logarithms of standard deviations: see `snngen.converters.mixture`.
    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    Source: Ha and Schmidhuber, World Models, 2018.
    """
    wrong = configuration.unknown(checkpoint.config, USED)
    configuration.refuse(checkpoint, wrong, "an LSTM with a mixture density head")
    latents, hidden = configuration.size(checkpoint, "latent_size"), configuration.size(checkpoint, "hidden_size")
    actions, mixtures = configuration.size(checkpoint, "action_size"), configuration.size(checkpoint, "mixtures")
    if checkpoint.tokenizer is not None:
        raise FormatError(checkpoint.source, "a tokenizer", "none: the model reads vectors")
    graph = configuration.graph(checkpoint, 0, None)
    graph.channels = latents + actions
    x = cell(graph, checkpoint, 0, (graph.entry,), (latents + actions, hidden))
    graph.add("mixture", layers.linear(checkpoint, "head", 3 * latents * mixtures, hidden, True), x)
    checkpoint.require_spent()
    return graph
