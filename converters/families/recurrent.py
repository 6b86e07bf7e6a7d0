"""Gated recurrent networks as language models: embedding, stacked LSTM or GRU, linear head, under torch's names."""

from __future__ import annotations

from snngen.converters import configuration, layers, recurrent
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.graph import Graph
from snngen.converters.operations import Embedding, Floats
from snngen.errors import FormatError

MODEL_TYPES = ("lstm", "gru")

USED = {"vocab_size", "hidden_size", "embedding_size", "num_layers", "tie_word_embeddings", "bias"}
IGNORED = {"dropout", "batch_first"}  # of training, and of how a batch lies in memory
OFF = {"bidirectional", "proj_size"}
# The second of each pair is what torch's own example of a language model calls it.
EMBEDDINGS, HEADS = ("embedding", "encoder"), ("head", "decoder")


def build(checkpoint: Checkpoint) -> Graph:
    """The float graph of a language model of LSTMs or GRUs.

    Tensors: embedding.weight (vocabulary, embedding), rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0,
    rnn.bias_hh_l0, ... as torch.nn.LSTM and torch.nn.GRU have them, head.weight (vocabulary, hidden) unless tied, and
    head.bias where the file has one.
    raises: UnsupportedError with all the parts that are not carried, FormatError for tensors that are missing,
    left over, of a wrong shape or not finite.
    """
    config = checkpoint.config
    configuration.refuse(
        checkpoint, configuration.unknown(config, USED | IGNORED, OFF), "a plain LSTM or GRU that reads forwards"
    )
    vocabulary, hidden = configuration.size(checkpoint, "vocab_size"), configuration.size(checkpoint, "hidden_size")
    width = configuration.size(checkpoint, "embedding_size", hidden)
    tied = configuration.switch(checkpoint, "tie_word_embeddings")
    if tied and width != hidden:
        raise FormatError(checkpoint.source, f"tied weights, {width} and {hidden} channels", "equal sizes")
    graph = configuration.graph(checkpoint, vocabulary, None)
    name = _present(checkpoint, EMBEDDINGS)
    embedding = checkpoint.take(f"{name}.weight", (vocabulary, width))
    x = graph.add("embedding", Embedding(embedding), "tokens")
    for index in range(configuration.size(checkpoint, "num_layers")):
        x = cell(graph, checkpoint, index, (x,), (width if index == 0 else hidden, hidden))
    name = _present(checkpoint, HEADS)
    with_bias = f"{name}.bias" in checkpoint.tensors
    if tied:
        graph.add("logits", layers.head(checkpoint, name, embedding, tied, with_bias), x)
    else:
        graph.add("logits", layers.linear(checkpoint, name, vocabulary, hidden, with_bias), x)
    checkpoint.require_spent()
    return graph


def cell(graph: Graph, checkpoint: Checkpoint, index: int, inputs: tuple[str, ...], sizes: tuple[int, int]) -> str:
    """Append layer `index` of an LSTM or a GRU with torch's tensors; returns the name of its output.

    inputs: names of x. sizes: channels of x and of the output.
    """
    gated = checkpoint.config["model_type"] == "gru"
    names = "rzn" if gated else "ifgo"  # in the order in which torch stacks them
    parts = dict(zip(names, _gates(checkpoint, index, len(names), *sizes), strict=True))
    both: dict[str, recurrent.Weights] = {
        gate: (into, back, None if bias is None else bias[0] + bias[1]) for gate, (into, back, bias) in parts.items()
    }
    if not gated:
        return recurrent.lstm(graph, f"layer{index}", inputs, both)
    into, back, bias = parts["n"]
    both["n"] = (into, back, None if bias is None else bias[0])
    return recurrent.gru(graph, f"layer{index}", inputs, both, None if bias is None else bias[1])


def _gates(
    checkpoint: Checkpoint, index: int, count: int, inputs: int, hidden: int
) -> list[tuple[Floats, Floats, tuple[Floats, Floats] | None]]:
    """Per gate: weights of the input (hidden, inputs) and of the hidden value (hidden, hidden), and both biases."""
    into = checkpoint.take(f"rnn.weight_ih_l{index}", (count * hidden, inputs)).reshape(count, hidden, inputs)
    back = checkpoint.take(f"rnn.weight_hh_l{index}", (count * hidden, hidden)).reshape(count, hidden, hidden)
    if not configuration.switch(checkpoint, "bias", True):
        return [(w, u, None) for w, u in zip(into, back, strict=True)]
    names = (f"rnn.bias_ih_l{index}", f"rnn.bias_hh_l{index}")
    first, second = (checkpoint.take(name, (count * hidden,)).reshape(count, hidden) for name in names)
    return [(w, u, (b, d)) for w, u, b, d in zip(into, back, first, second, strict=True)]


def _present(checkpoint: Checkpoint, names: tuple[str, ...]) -> str:
    """The one of the names that the checkpoint uses; the first where it has none of them."""
    return next((name for name in names if any(key.startswith(f"{name}.") for key in checkpoint.tensors)), names[0])
