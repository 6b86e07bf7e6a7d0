"""GGUF out: a network of the LLaMA family as a file that llama.cpp loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from snngen.aside import written_aside
from snngen.converters.dequantize import dequantize
from snngen.converters.gguf import container as gguf_container
from snngen.converters.gguf import vocabulary as gguf_vocabulary
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Add, Attention, Embedding, Floats, Gate, Linear, Operation, RMSNorm, Rotary
from snngen.errors import UnsupportedError
from snngen.network import Network

PRECISIONS = {"Q8_0": 7, "F16": 1, "F32": 0}  # and llama.cpp's number of the file type
BLOCK = 32  # weights of Q8_0 that share a scale
TIED = 1e-3  # relative squared error between embedding and head below which they are one matrix, quantized twice

Kind = TypeVar("Kind", bound=Operation)


def write(network: Network | Graph, path: Path, precision: str = "Q8_0") -> list[str]:
    """Write a network as GGUF of architecture llama: weights, configuration, vocabulary.

    network: of the LLaMA family, or the float graph of one. precision: of matrices, ``Q8_0``, ``F16`` or ``F32``
    (exactly the values that the integers are worth); norms and biases are always float32.
    returns: notes: what differs from the network.
    raises: UnsupportedError for another family, with what is not LLaMA's; FormatError for a path that is not writable.
    """
    if precision not in PRECISIONS:
        raise UnsupportedError("precision", repr(precision), "one of " + ", ".join(PRECISIONS))
    if isinstance(network, Network):
        graph, notes = dequantize(network), ["codes are not rounded there: llama.cpp computes with float activations"]
    else:
        graph, notes = network, []
    model = _Model.of(graph)
    notes += _tie(model.tensors, exact=precision == "F32")
    kinds = {name: precision if values.ndim > 1 else "F32" for name, values in model.tensors.items()}
    fallen = [name for name, kind in kinds.items() if kind == "Q8_0" and model.tensors[name].shape[-1] % BLOCK]
    kinds |= dict.fromkeys(fallen, "F16")
    if fallen:
        notes.append(f"F16 for {len(fallen)} matrices whose rows are no multiple of {BLOCK}: {', '.join(fallen[:8])}")
    metadata = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": path.stem,
        "general.file_type": PRECISIONS[precision],
        "general.quantization_version": 2,
        **model.metadata,
        **gguf_vocabulary.write(graph.tokenizer, graph.begin, graph.end, graph.vocabulary),
    }
    stored = [
        (name, np.ascontiguousarray(values, dtype=np.float32), kinds[name]) for name, values in model.tensors.items()
    ]
    with written_aside(path) as aside:
        gguf_container.write(aside, metadata, stored)
    return notes


def _tie(tensors: dict[str, Floats], exact: bool) -> list[str]:
    """Leave the head out where it is the embedding; returns notes.

    exact: only where they are equal, not where they are one matrix that was quantized twice.
    """
    head, embedding = tensors["output.weight"], tensors["token_embd.weight"]
    apart = float(((head - embedding) ** 2).sum()) / max(float((embedding**2).sum()), 1e-30)
    if apart and (exact or apart > TIED):
        return []
    del tensors["output.weight"]
    if not apart:
        return []
    decibels = 10 * np.log10(apart)
    return [f"embedding and head are one matrix, quantized twice ({decibels:.1f} dB apart): the former stands for both"]


def interleave(values: Floats, width: int) -> Floats:
    """Reorder each head's output channels from (0, 1, ..., 0', 1', ...) to (0, 0', 1, 1', ...)."""
    halves = values.reshape(-1, 2, width // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


@dataclass
class _Model:
    """A graph, recognised as a LLaMA node by node.

    tensors, metadata: under llama.cpp's names.
    """

    graph: Graph
    tensors: dict[str, Floats] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, graph: Graph) -> _Model:
        """Recognise a whole graph.

        raises: UnsupportedError where it is no LLaMA.
        """
        model = cls(graph)
        (first,) = model._reading(graph.entry, Embedding, 1)
        embedding = model._take(first, Embedding)
        model.tensors["token_embd.weight"] = embedding.weight
        stream, layers = first.name, 0
        while len(graph.consumers(stream)) > 1:
            stream = model._layer(stream, layers)
            layers += 1
        (norm,) = model._reading(stream, RMSNorm, 1)
        model._norm("output_norm", norm)
        (head,) = model._reading(norm.name, Linear, 1)
        model._linear("output", head)
        left = [node.name for node in graph.nodes if node.name not in model.seen]
        if left or head is not graph.nodes[-1] or not layers or "output.bias" in model.tensors:
            raise _foreign(f"{layers} layers and then {', '.join(left[:8]) or 'a head with a bias'}")
        model._set("block_count", layers)
        model._set("context_length", graph.context)
        model._set("embedding_length", int(embedding.weight.shape[1]))
        model._set("vocab_size", graph.vocabulary)
        return model

    def _layer(self, stream: str, layer: int) -> str:
        """Recognise a layer; returns the node that has the stream after it."""
        at = f"blk.{layer}"
        norm, attended = self._branches(stream)
        self._norm(f"{at}.attn_norm", norm)
        mixed = self._attention(norm.name, at)
        self._linear(f"{at}.attn_output", self._between(mixed.name, attended))
        norm, fed = self._branches(attended.name)
        self._norm(f"{at}.ffn_norm", norm)
        gate, up = self._reading(norm.name, Linear, 2)
        (gated,) = self._reading(up.name, Gate, 1)
        if gated.inputs == (up.name, gate.name):
            gate, up = up, gate
        if gated.inputs != (gate.name, up.name) or self._take(gated, Gate).activation != "silu":
            raise _foreign(f"{gated.name}: a gate of {gated.inputs}, {vars(gated.operation)}")
        self._linear(f"{at}.ffn_gate", gate)
        self._linear(f"{at}.ffn_up", up)
        self._set("feed_forward_length", int(self.tensors[f"{at}.ffn_up.weight"].shape[0]))
        self._linear(f"{at}.ffn_down", self._between(gated.name, fed))
        return fed.name

    def _branches(self, stream: str) -> tuple[Node, Node]:
        """What reads the residual stream: a norm, and the sum of the stream and what came of it."""
        (norm,) = self._reading(stream, RMSNorm, 1)
        (total,) = self._reading(stream, Add, 1)
        self._take(total, Add)
        if len(self.graph.consumers(stream)) != 2 or len(total.inputs) != 2:
            raise _foreign(f"{stream} read by {', '.join(node.name for node in self.graph.consumers(stream))}")
        return norm, total

    def _attention(self, norm: str, at: str) -> Node:
        """Recognise queries, keys, values and what mixes them."""
        linears = self._reading(norm, Linear, 3)
        (mixed,) = {node.name: node for x in linears for node in self._past_turn(x) if node.name != norm}.values()
        attention = self._take(mixed, Attention)
        query, key = (self.graph.node(name) for name in mixed.inputs[:2])
        turns = [self._take(turned, Rotary) for turned in (query, key)]
        value = self.graph.node(mixed.inputs[2])
        sources = [self.graph.node(turned.inputs[0]) for turned in (query, key)]
        for name, node in zip(("attn_q", "attn_k", "attn_v"), (*sources, value), strict=True):
            self._linear(f"{at}.{name}", node)
        width = 2 * len(turns[0].frequencies)
        for name in ("attn_q", "attn_k"):
            for ending in ("weight", "bias"):
                if (full := f"{at}.{name}.{ending}") in self.tensors:
                    self.tensors[full] = interleave(self.tensors[full], width)
        usual = attention.scale is None or abs(attention.scale * width**0.5 - 1) < 1e-6
        if not usual or [turn.heads for turn in turns] != [attention.heads, attention.groups]:
            raise _foreign(f"{mixed.name}: {vars(attention)}")
        self._set("rope.freq_base", _theta(turns, mixed.name))
        self._set("rope.dimension_count", width)
        self._set("attention.key_length", width)
        self._set("attention.value_length", width)
        self._set("attention.head_count", attention.heads)
        self._set("attention.head_count_kv", attention.groups)
        return mixed

    def _past_turn(self, node: Node) -> list[Node]:
        readers = self.graph.consumers(node.name)
        turned = [reader for reader in readers if isinstance(reader.operation, Rotary)]
        return [reader for node in turned for reader in self.graph.consumers(node.name)] if turned else readers

    def _between(self, source: str, total: Node) -> Node:
        """The linear map from a value onto the stream."""
        (linear,) = self._reading(source, Linear, 1)
        if linear.name not in total.inputs:
            raise _foreign(f"{linear.name} apart from {total.name}")
        return linear

    def _reading(self, name: str, kind: type[Operation], count: int) -> list[Node]:
        """The `count` nodes of a kind that read a value."""
        readers = [node for node in self.graph.consumers(name) if isinstance(node.operation, kind)]
        if len(readers) != count:
            found = ", ".join(f"{node.name} ({type(node.operation).__name__})" for node in self.graph.consumers(name))
            raise _foreign(f"{name} read by {found or 'nothing'}, where LLaMA has {count} {kind.__name__}")
        return readers

    def _take(self, node: Node, kind: type[Kind]) -> Kind:
        if not isinstance(node.operation, kind) or any(name.startswith("~") for name in node.inputs):
            raise _foreign(f"{node.name}: {type(node.operation).__name__}, where LLaMA has {kind.__name__}")
        self.seen.add(node.name)
        return node.operation

    def _linear(self, name: str, node: Node) -> None:
        operation = self._take(node, Linear)
        self.tensors[f"{name}.weight"] = operation.weight
        if operation.bias is not None:
            self.tensors[f"{name}.bias"] = operation.bias

    def _norm(self, name: str, node: Node) -> None:
        operation = self._take(node, RMSNorm)
        self.tensors[f"{name}.weight"] = operation.weight
        self._set("attention.layer_norm_rms_epsilon", float(operation.epsilon))

    def _set(self, key: str, value: Any) -> None:
        """Note a value of the configuration, which must be the same in every layer."""
        known = self.metadata.setdefault(f"llama.{key}", value)
        if not (known == value or (isinstance(value, float) and abs(known - value) <= 1e-6 * abs(known))):
            raise _foreign(f"{key} of {known!r:.60} and {value!r:.60}")


def _theta(turns: list[Rotary], name: str) -> float:
    """The base of the rotary frequencies theta**(-2 i / width).

    raises: UnsupportedError where they are no such power law.
    """
    frequencies = turns[0].frequencies
    pairs = len(frequencies)
    theta = float(frequencies[1]) ** -pairs if pairs > 1 and frequencies[1] > 0 else 10000.0
    theta = float(f"{theta:.9g}")
    law = theta ** (-np.arange(pairs) / pairs)
    if not all(np.allclose(turn.frequencies, law, rtol=1e-6, atol=0) for turn in turns):
        raise _foreign(f"{name}: rotary frequencies that are no powers of one base")
    return theta


def _foreign(what: str) -> UnsupportedError:
    return UnsupportedError("export to GGUF", what, "a network of the LLaMA family")
