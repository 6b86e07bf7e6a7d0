"""The llama2.c tokenizer as `tokenizers` JSON: held to llama2.c's own algorithm, written out plainly here."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from snngen.converters.tokenizer import SPACE, from_llama2c
from snngen.errors import FormatError

Pieces = list[tuple[str, float]]

BYTES: Pieces = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
SMALL: Pieces = [("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0), *BYTES, ("ab", -1.0), (" ", -2.0), ("a", -3.0)]
SMALL += [("b", -4.0), (" a", -5.0), ("aba", -6.0), ("abab", -7.0), ("é", -8.0)]
TEXTS = (
    "Once upon a time, there was a little girl named Lily.", " leading", "trailing ", "two  spaces", "\n\ttabs\r\n",
    "", " ", "abababa", "é", "日本語", "🙂 and 👩‍🚀", "a\N{NO-BREAK SPACE}b", "<s>", "</s>", "<0x41>", "\0",
    "café 50% – “x”",
)  # fmt: skip


def packed(pieces: Pieces) -> bytes:
    """A llama2.c tokenizer file."""
    parts = [struct.pack("<i", max((len(piece.encode()) for piece, _ in pieces), default=0))]
    parts += [struct.pack("<fi", score, len(piece.encode())) + piece.encode() for piece, score in pieces]
    return b"".join(parts)


def unpacked(path: Path) -> Pieces:
    data, at, pieces = path.read_bytes(), 4, []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append((data[at + 8 : at + 8 + length].decode(), score))
        at += 8 + length
    return pieces


def encoded_by_llama2c(pieces: Pieces, text: str) -> list[int]:
    """run.c's encoder: characters or their bytes, then always the best pair, until no pair is a piece."""
    numbers = {piece: number for number, (piece, _) in enumerate(pieces)}
    tokens = [numbers[" "]] if text else []
    for character in text:
        known = character in numbers
        tokens += [numbers[character]] if known else [byte + 3 for byte in character.encode()]
    while True:
        pairs = ((pieces[a][0] + pieces[b][0], at) for at, (a, b) in enumerate(pairwise(tokens)))
        merges = [(-pieces[numbers[pair]][1], at, numbers[pair]) for pair, at in pairs if pair in numbers]
        if not merges:
            return tokens
        _, at, merged = min(merges)
        tokens[at : at + 2] = [merged]


@pytest.fixture(scope="session")
def stories_file(shared: Path) -> Path:
    return shared / "models" / "stories260K" / "tok512.bin"


@pytest.fixture(scope="session")
def stories_tokenizer(stories_file: Path) -> Tokenizer:
    return Tokenizer.from_str(from_llama2c(stories_file, 512))


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "small.bin"
    path.write_bytes(packed(SMALL))
    return Tokenizer.from_str(from_llama2c(path, len(SMALL)))


@pytest.mark.parametrize("text", TEXTS)
def test_stories_text_comes_back(stories_tokenizer: Tokenizer, text: str) -> None:
    assert stories_tokenizer.decode(stories_tokenizer.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", TEXTS)
def test_stories_tokens_are_those_of_llama2c(stories_tokenizer: Tokenizer, stories_file: Path, text: str) -> None:
    assert stories_tokenizer.encode(text).ids == encoded_by_llama2c(unpacked(stories_file), text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE), max_size=30))
def test_any_text_comes_back_with_the_tokens_of_llama2c(small_tokenizer: Tokenizer, text: str) -> None:
    tokens = small_tokenizer.encode(text).ids
    assert tokens == encoded_by_llama2c(SMALL, text)
    assert small_tokenizer.decode(tokens, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab é☃", max_size=30))
def test_merges_come_in_the_order_of_llama2c(small_tokenizer: Tokenizer, text: str) -> None:
    assert small_tokenizer.encode(text).ids == encoded_by_llama2c(SMALL, text)


def test_what_no_piece_spells_becomes_its_bytes(stories_tokenizer: Tokenizer) -> None:
    emoji = "🙂"
    assert stories_tokenizer.encode(emoji).ids[1:] == [byte + 3 for byte in emoji.encode()]


def test_spaces_are_spelled_for_sentencepiece_and_special_pieces_have_their_names(tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(packed(SMALL))
    vocabulary = json.loads(from_llama2c(tmp_path / "small.bin", len(SMALL)))["model"]["vocab"]
    assert [vocabulary[piece] for piece in ("<unk>", "<s>", "</s>", f"{SPACE}a")] == [0, 1, 2, 263]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = packed(SMALL[:8])
    path = tmp_path / "cut.bin"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"cut\.bin"):
            from_llama2c(path, 8)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), vocabulary=st.integers(0, 8))
def test_foreign_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, vocabulary: int) -> None:
    path = tmp_path_factory.getbasetemp() / "foreign.bin"
    path.write_bytes(data)
    try:
        text = from_llama2c(path, vocabulary)
    except FormatError:
        return
    assert Tokenizer.from_str(text).get_vocab_size() == vocabulary


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (packed(SMALL[:7]), "7 pieces"),
        (packed(SMALL[:9]), "9 pieces"),
        (packed([*SMALL[:7], SMALL[6]]), "same piece twice"),
        (packed(SMALL[:7]) + struct.pack("<fi", 0.0, -1), "-1 bytes"),
        (packed(SMALL[:7]) + struct.pack("<fi", 0.0, 2**31 - 1), "2147483647 bytes"),
        (packed(SMALL[:7]) + struct.pack("<fi", 0.0, 1) + b"\xff", "not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_by_what_is_wrong(tmp_path: Path, data: bytes, complaint: str) -> None:
    (tmp_path / "bad.bin").write_bytes(data)
    with pytest.raises(FormatError, match=complaint):
        from_llama2c(tmp_path / "bad.bin", 8)


def test_a_vocabulary_without_room_for_the_special_pieces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.bin").write_bytes(packed(SMALL[:2]))
    with pytest.raises(FormatError, match="2 pieces"):
        from_llama2c(tmp_path / "tiny.bin", 2)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        from_llama2c(tmp_path / "absent.bin", 512)
