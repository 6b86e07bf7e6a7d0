"""ONNX files: float models, and QDQ models as onnxruntime quantizes them, whose integers are taken over as they are."""

from __future__ import annotations

from pathlib import Path

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.formats.huggingface import read_tokenizer
from snngen.converters.onnx.model import Model, load
from snngen.errors import FormatError

METADATA = "snngen."  # how the keys of our own exports begin


def recognizes(path: Path) -> bool:
    """True for a file that ends in .onnx."""
    return path.is_file() and path.suffix.lower() == ".onnx"


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read an ONNX model; the checkpoint carries its graph.

    Values with QuantizeLinear and DequantizeLinear keep scale, zero point and range as the codes of their nodes;
    weights with DequantizeLinear keep their integers.
    raises: FormatError for a damaged file or a tokenizer that does not fit; UnsupportedError with all operators that
        are not carried.
    """
    # the three modules register the operators
    from snngen.converters.onnx import operators as onnx_operators  # noqa: F401
    from snngen.converters.onnx import pictures as onnx_pictures  # noqa: F401
    from snngen.converters.onnx import sequences as onnx_sequences  # noqa: F401
    from snngen.converters.onnx.translation import Translation

    model, others = load(path)
    graph = Translation(model).run()
    digest = digest_files([path, *others])
    if graph.channels == 0:
        _text(model, graph.vocabulary)
        graph.tokenizer = model.metadata.get(f"{METADATA}tokenizer")
        numbers = _tokens(model, "begin", graph.vocabulary)
        graph.begin = numbers[0] if numbers else None
        graph.end = _tokens(model, "end", graph.vocabulary)
        if tokenizer is not None:
            graph.tokenizer, opening = read_tokenizer(tokenizer, graph.vocabulary, numbers, graph.notes)
            graph.begin = opening[0] if opening else None
    elif tokenizer is not None:
        raise FormatError(str(tokenizer), "a tokenizer", "none: the model reads vectors, not text")
    graph.provenance = {"source": str(path), "format": "onnx", "source_sha256": digest}
    return Checkpoint(str(path), "onnx", digest, {}, {}, graph.tokenizer, graph.begin, graph.end, graph.notes, graph)


def _tokens(model: Model, key: str, vocabulary: int) -> tuple[int, ...]:
    """Token numbers of the file's metadata."""
    text = model.metadata.get(METADATA + key, "")
    words = text.split()
    if len(words) > 64 or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise FormatError(f"{model.where}: {METADATA}{key}", f"{text!r:.60}", "token numbers")
    found = tuple(int(word) for word in words)
    if any(token >= vocabulary for token in found):
        raise FormatError(f"{model.where}: {METADATA}{key}", f"{found}", f"tokens of 0..{vocabulary - 1}")
    return found


def _text(model: Model, vocabulary: int) -> None:
    """Refuse a tokenizer that is none, or that does not match the vocabulary."""
    from tokenizers import Tokenizer

    text = model.metadata.get(f"{METADATA}tokenizer")
    if text is None:
        return
    where = f"{model.where}: {METADATA}tokenizer"
    try:
        size = max(Tokenizer.from_str(text).get_vocab().values(), default=-1) + 1
    except Exception as error:  # the library raises bare Exception
        raise FormatError(where, f"{error}"[:200], "a text of the library `tokenizers`") from error
    if not 0 < size <= vocabulary:
        raise FormatError(where, f"{size} tokens", f"1..{vocabulary}, the rows of the embedding")
