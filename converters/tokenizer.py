"""Tokenizers of others become `tokenizers` JSON texts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

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
    merged = [number >= len(SPECIAL) and not spells_byte(piece) for number, piece in enumerate(spelled)]
    text: str = scored(spelled, [score for _, score in pieces], merged).to_str()
    return text


def spells_byte(piece: str) -> bool:
    """True for the pieces <0x00> to <0xFF>."""
    return piece.startswith("<0x") and len(piece) == 6


def scored(
    pieces: Sequence[str],
    scores: Sequence[float],
    merged: Sequence[bool],
    unknown: str = SPECIAL[0],
    prefix: bool = True,
) -> Tokenizer:
    """SentencePiece's BPE, whose pieces have scores and no merges.

    A merge exists for every way to split a piece into two pieces, and the highest score merges first.
    pieces: each once, spaces spelled as SPACE. merged: of each piece, whether it may be made by a merge.
    unknown: the piece that stands for what nothing spells. prefix: a text is begun with a space.
    """
    numbers = {piece: number for number, piece in enumerate(pieces)}
    splits = [
        (-scores[number], number, cut, piece[:cut], piece[cut:])
        for piece, number in numbers.items()
        if merged[number]
        for cut in range(1, len(piece))
        if piece[:cut] in numbers and piece[cut:] in numbers
    ]
    merges = [(left, right) for *_, left, right in sorted(splits)]
    tokenizer = Tokenizer(
        models.BPE(vocab=numbers, merges=merges, unk_token=unknown, byte_fallback=True, fuse_unk=True)
    )
    spaces = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def byte_level() -> str:
    """A tokenizer whose 256 tokens are the bytes of UTF-8 text, as JSON: token b is byte b.

    Source of the letters that stand for bytes: Radford et al. 2019 (GPT-2), `bytes_to_unicode`: bytes that print stand
    for themselves, the others follow from U+0100 on in order.
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (byte for byte in range(256) if byte not in printed)
    letters = {byte: chr(byte) for byte in printed} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    tokenizer = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in letters.items()}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    text: str = tokenizer.to_str()
    return text
