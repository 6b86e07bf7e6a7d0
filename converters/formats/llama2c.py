"""llama2.c checkpoints: version 0 (float32) and version 2 (int8 in groups), with the tokenizer's .bin beside them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.operations import Floats
from snngen.converters.tokenizer import from_llama2c
from snngen.errors import FormatError

MAGIC = 0x616B3432  # "ak42"
HEADER_BYTES = 256  # of version 2
LARGEST = 2**24  # no dimension of a real model is beyond


@dataclass(frozen=True)
class Header:
    """Sizes as the file declares them."""

    dim: int
    hidden: int
    layers: int
    heads: int
    groups: int
    vocabulary: int
    context: int
    shared: bool
    group_size: int = 0

    @property
    def width(self) -> int:
        """Channels of a head."""
        return self.dim // self.heads


def recognizes(path: Path) -> bool:
    """True for a .bin file whose first number is the magic of version 2 or a plausible dimension."""
    if not path.is_file() or path.suffix != ".bin":
        return False
    with path.open("rb") as file:
        start = file.read(4)
    return len(start) == 4 and (struct.unpack("<I", start)[0] == MAGIC or 0 < struct.unpack("<i", start)[0] < LARGEST)


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read a llama2.c checkpoint; tensors get Hugging Face's names and channel order.

    raises: FormatError where magic, version, sizes or length are wrong.
    """
    where, size = str(path), path.stat().st_size
    if size < 28:
        raise FormatError(where, f"{size} bytes", "at least the 28 of a header", "Is the file truncated?")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    (first,) = struct.unpack("<I", data[:4].tobytes())
    if first == MAGIC:
        header, tensors = _read_version_2(data, where)
    else:
        header, tensors = _read_version_0(data, where)
    config = {
        "model_type": "llama",
        "hidden_size": header.dim,
        "intermediate_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "num_key_value_heads": header.groups,
        "vocab_size": header.vocabulary,
        "max_position_embeddings": header.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": header.shared,
    }
    notes = []
    if header.group_size:
        notes.append(
            f"the source holds int8 weights in groups of {header.group_size} with float scales; thresholds carry "
            "one scale per output neuron, so they were dequantized and quantized again"
        )
    return Checkpoint(
        source=where,
        format="llama2c",
        digest=digest_files([path]),
        config=config,
        tensors=_rename(tensors, header),
        tokenizer=None if tokenizer is None else from_llama2c(tokenizer, header.vocabulary),
        begin=1,
        end=(1, 2),  # llama2.c ends at the token that begins a text; 2 is the end token of its tokenizer
        notes=notes,
    )


def _read_version_0(data: np.memmap, where: str) -> tuple[Header, dict[str, Floats]]:
    sizes = struct.unpack("<7i", data[:28].tobytes())
    dim, hidden, layers, heads, groups, vocabulary, context = sizes
    header = Header(dim, hidden, layers, heads, groups, abs(vocabulary), context, shared=vocabulary > 0)
    _check(header, where)
    half = header.width // 2
    order = [("embed", (header.vocabulary, header.dim)), *_layer_shapes(header, norms=True)]
    order += [("norm", (header.dim,)), ("cosine", (header.context, half)), ("sine", (header.context, half))]
    if not header.shared:
        order.append(("head", (header.vocabulary, header.dim)))
    needed = 28 + 4 * sum(math.prod(shape) for _, shape in order)
    _check_length(data, needed, where)
    tensors, at = {}, 28
    for name, shape in order:
        size = 4 * math.prod(shape)
        tensors[name] = data[at : at + size].view("<f4").reshape(shape)
        at += size
    del tensors["cosine"], tensors["sine"]  # the family computes them from theta
    return header, tensors


def _read_version_2(data: np.memmap, where: str) -> tuple[Header, dict[str, Floats]]:
    _check_length(data, HEADER_BYTES, where, exact=False)
    version, *sizes = struct.unpack("<8i", data[4:36].tobytes())
    shared, group_size = struct.unpack("<Bi", data[36:41].tobytes())
    if version != 2:
        raise FormatError(where, f"version {version}", "version 0 or 2 of llama2.c")
    dim, hidden, layers, heads, groups, vocabulary, context = sizes
    header = Header(dim, hidden, layers, heads, groups, vocabulary, context, bool(shared), group_size)
    _check(header, where)
    floats: list[tuple[str, tuple[int, ...]]] = [
        ("input_norm", (header.layers, header.dim)),
        ("post_norm", (header.layers, header.dim)),
        ("norm", (header.dim,)),
    ]
    quantized = [("embed", (1, header.vocabulary, header.dim)), *_layer_shapes(header, norms=False)]
    if not header.shared:
        quantized.append(("head", (1, header.vocabulary, header.dim)))
    for name, shape in quantized:
        if group_size < 1 or math.prod(shape[1:]) % group_size:
            raise FormatError(f"{where}: {name}", f"group size {group_size}", f"a divisor of {math.prod(shape[1:])}")
    counts = [math.prod(shape) for _, shape in quantized]
    needed = HEADER_BYTES + 4 * sum(math.prod(shape) for _, shape in floats)
    needed += sum(count + 4 * (count // group_size) for count in counts)
    _check_length(data, needed, where)
    tensors, at = {}, HEADER_BYTES
    for name, shape in floats:
        size = 4 * math.prod(shape)
        tensors[name] = data[at : at + size].view("<f4").reshape(shape)
        at += size
    for name, shape in quantized:
        parts = []
        each = math.prod(shape[1:])
        for _ in range(shape[0]):
            codes = data[at : at + each].view(np.int8).reshape(-1, group_size)
            scales = data[at + each : at + each + 4 * (each // group_size)].view("<f4")
            with np.errstate(over="ignore", invalid="ignore"):  # whoever takes the tensor refuses what is not finite
                parts.append((codes * scales[:, None]).astype(np.float32).reshape(shape[1:]))
            at += each + 4 * (each // group_size)
        tensors[name] = np.stack(parts) if shape[0] > 1 or name not in ("embed", "head") else parts[0]
    return header, tensors


def _layer_shapes(header: Header, norms: bool) -> list[tuple[str, tuple[int, ...]]]:
    """Per-layer tensors in the order of the file, stacked over layers."""
    layers, dim, keys = header.layers, header.dim, header.groups * header.width
    attention: list[tuple[str, tuple[int, ...]]] = [
        ("q", (layers, dim, dim)),
        ("k", (layers, keys, dim)),
        ("v", (layers, keys, dim)),
        ("o", (layers, dim, dim)),
    ]
    feed: list[tuple[str, tuple[int, ...]]] = [
        ("gate", (layers, header.hidden, dim)),
        ("down", (layers, dim, header.hidden)),
        ("up", (layers, header.hidden, dim)),
    ]
    if not norms:
        return attention + feed
    return [("input_norm", (layers, dim)), *attention, ("post_norm", (layers, dim)), *feed]


def _rename(tensors: dict[str, Floats], header: Header) -> dict[str, Floats]:
    """Hugging Face's names; queries and keys go from interleaved to half-split channel pairs."""
    names = {
        "input_norm": "input_layernorm",
        "post_norm": "post_attention_layernorm",
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    named = {"model.embed_tokens.weight": tensors["embed"], "model.norm.weight": tensors["norm"]}
    if not header.shared:
        named["lm_head.weight"] = tensors["head"]
    for short, long in names.items():
        for layer in range(header.layers):
            weight = tensors[short][layer]
            if short in "qk":
                weight = half_split(weight, header.width)
            named[f"model.layers.{layer}.{long}.weight"] = weight
    return named


def half_split(weight: Floats, width: int) -> Floats:
    """Reorder the output channels of each head from (0, 0', 1, 1', ...) to (0, 1, ..., 0', 1', ...)."""
    pairs = weight.reshape(-1, width // 2, 2, weight.shape[-1])
    split: Floats = pairs.transpose(0, 2, 1, 3).reshape(weight.shape)
    return split


def _check(header: Header, where: str) -> None:
    sizes = (header.dim, header.hidden, header.layers, header.heads, header.groups, header.vocabulary, header.context)
    if not all(0 < size < LARGEST for size in sizes):
        raise FormatError(where, f"sizes {sizes}", "positive sizes of a real model", "Is this a llama2.c checkpoint?")
    if header.dim % header.heads or header.heads % header.groups or header.width % 2:
        raise FormatError(
            where, f"dim {header.dim}, {header.heads} heads, {header.groups} key heads", "heads that divide evenly"
        )


def _check_length(data: np.memmap, needed: int, where: str, exact: bool = True) -> None:
    if len(data) < needed or (exact and len(data) != needed):
        raise FormatError(
            where, f"{len(data)} bytes", f"{'' if exact else 'at least '}{needed} from its header", "Is it truncated?"
        )
