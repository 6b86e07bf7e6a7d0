"""Tokenizers of others become `tokenizers` JSON texts."""

from __future__ import annotations

import struct
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers

from snngen.errors import FormatError

SPACE = "▁"  # how SentencePiece spells a space
SPECIAL = ("<unk>", "<s>", "</s>")  # the first three pieces, however the file spells them


def from_llama2c(path: Path, vocabulary: int) -> str:
    """The SentencePiece BPE of a llama2.c tokenizer file (`tok512.bin`) as JSON.

    The file gives pieces with scores; a merge exists for every way to split a piece into two pieces, and the
    highest score merges first, as llama2.c's encoder does.
    raises: FormatError for a truncated file or one whose number of pieces is not `vocabulary`.
    """
    if not path.is_file():
        raise FormatError(str(path), "no such file", "a llama2.c tokenizer")
    data = path.read_bytes()
    pieces: list[tuple[str, float]] = []
    at = 4
    while at < len(data):
        if at + 8 > len(data):
            raise FormatError(str(path), f"{len(data)} bytes", "whole entries", "Is the file truncated?")
        score, length = struct.unpack_from("<fi", data, at)
        at += 8
        if length < 0 or at + length > len(data):
            raise FormatError(str(path), f"piece {len(pieces)} of {length} bytes", f"at most {len(data) - at}")
        try:
            piece = data[at : at + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(str(path), f"piece {len(pieces)} that is not UTF-8", "UTF-8 text") from error
        pieces.append((piece, score))
        at += length
    if len(pieces) != vocabulary or vocabulary <= len(SPECIAL):
        expected = f"{vocabulary}, the model's vocabulary, and more than {', '.join(SPECIAL)}"
        raise FormatError(str(path), f"{len(pieces)} pieces", expected)
    spelled = [*SPECIAL, *(piece.replace(" ", SPACE) for piece, _ in pieces[len(SPECIAL) :])]
    numbers: dict[str, int] = {}
    for number, piece in enumerate(spelled):
        numbers.setdefault(piece, number)
    if len(numbers) != len(spelled):
        raise FormatError(str(path), "the same piece twice", "every piece once")
    scores = [score for _, score in pieces]
    splits = [
        (-scores[number], number, len(piece[:cut]), piece[:cut], piece[cut:])
        for piece, number in numbers.items()
        if number >= len(SPECIAL) and not (piece.startswith("<0x") and len(piece) == 6)
        for cut in range(1, len(piece))
        if piece[:cut] in numbers and piece[cut:] in numbers
    ]
    merges = [(left, right) for *_, left, right in sorted(splits)]
    tokenizer = Tokenizer(
        models.BPE(vocab=numbers, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    text: str = tokenizer.to_str()
    return text
