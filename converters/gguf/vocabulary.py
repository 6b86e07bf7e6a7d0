"""GGUF's vocabularies as `tokenizers` JSON texts, and back.

Two kinds are carried: ``llama`` (SentencePiece's BPE: pieces with scores) and ``gpt2`` (BPE over bytes: merges, and a
rule by name for how a text is cut before they apply).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from snngen.converters.tokenizer import scored, spells_byte
from snngen.errors import FormatError, UnsupportedError

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)  # token types
AT = "tokenizer.ggml"
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
ABSENT = ("none", "no_vocab")

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Cut:
    """How a text is cut into words before merges apply, as llama.cpp's `tokenizer.ggml.pre` names it.

    pattern: of words; None for GPT-2's own. digits: every digit is a word. composed: the text is brought to NFC first.
    whole: a word that is a token is taken without merges. begins: texts begin with a token where the file says nothing.
    Source: llama.cpp, src/llama-vocab.cpp; the tokenizer.json of the models themselves.
    """

    pattern: str | None = None
    digits: bool = False
    composed: bool = False
    whole: bool = False
    begins: bool = False

    def apply(self, tokenizer: Tokenizer) -> None:
        """Give a tokenizer this cut."""
        if self.composed:
            tokenizer.normalizer = normalizers.NFC()
        steps: list[pre_tokenizers.PreTokenizer] = [pre_tokenizers.Digits(True)] if self.digits else []
        if self.pattern is not None:
            steps.append(pre_tokenizers.Split(Regex(self.pattern), "isolated"))
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=self.pattern is None)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, level]) if steps else level
        tokenizer.decoder = decoders.ByteLevel()


CUTS = {
    "gpt-2": Cut(),
    "llama-bpe": Cut(_WORDS + r"\p{N}{1,3}" + _REST, whole=True, begins=True),
    "qwen2": Cut(_WORDS + r"\p{N}" + _REST, composed=True),
    "smollm": Cut(digits=True),
}
ALIASES = {"phi-2": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe", "starcoder": "smollm"}


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as JSON, or None; the token that begins a text, or None; those that end one."""

    tokenizer: str | None
    begin: int | None = None
    end: tuple[int, ...] = ()


def unsupported(metadata: Mapping[str, Any], architecture: str) -> list[str]:
    """Complaints about a vocabulary that is not carried."""
    kind = metadata.get(f"{AT}.model", ABSENT[0])
    if kind in ("llama", *ABSENT):
        return [f"{AT}.precompiled_charsmap"] if f"{AT}.precompiled_charsmap" in metadata else []
    if kind != "gpt2":
        return [f"{AT}.model = {kind!r:.60} (only llama and gpt2)"]
    if _cut(metadata, architecture) is None:
        return [f"{AT}.pre = {metadata.get(f'{AT}.pre')!r:.60} (only {', '.join((*CUTS, *ALIASES))})"]
    return []


def read(metadata: Mapping[str, Any], architecture: str, size: int, where: str) -> Vocabulary:
    """The vocabulary that a file's metadata describe, which must be of `size` tokens.

    raises: FormatError for one that is damaged, inconsistent, or not of this size.
    """
    kind = metadata.get(f"{AT}.model", ABSENT[0])
    if kind in ABSENT:
        return Vocabulary(None)
    tokens = metadata.get(f"{AT}.tokens")
    if not isinstance(tokens, list) or len(tokens) != size:
        got = f"{len(tokens)} tokens" if isinstance(tokens, list) else f"{tokens!r:.60}"
        raise FormatError(f"{where}: {AT}.tokens", got, f"{size} texts, the rows of the embedding")
    if len(set(tokens)) != size:
        raise FormatError(f"{where}: {AT}.tokens", "the same token twice", "every token once")
    types = _numbers(metadata, "token_type", size, where)
    try:
        if kind == "llama":
            tokenizer = _from_scores(metadata, tokens, types, where)
        else:
            tokenizer = _from_merges(metadata, architecture, tokens, where)
        tokenizer.add_tokens([AddedToken(tokens[i], normalized=False) for i in np.flatnonzero(types == USER)])
        special = [AddedToken(tokens[i], normalized=False, special=True) for i in np.flatnonzero(types == CONTROL)]
        tokenizer.add_special_tokens(special)
        text: str = tokenizer.to_str()
    except FormatError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise FormatError(f"{where}: {AT}", f"{error!s:.200}", "a vocabulary of the library `tokenizers`") from error
    if tokenizer.get_vocab_size() != size:
        raise FormatError(f"{where}: {AT}", f"{tokenizer.get_vocab_size()} distinct tokens", f"{size}")
    return Vocabulary(text, *begin_and_end(metadata, architecture, size, where))


def _from_scores(metadata: Mapping[str, Any], tokens: list[str], types: Any, where: str) -> Tokenizer:
    scores = _numbers(metadata, "scores", len(tokens), where)
    if not np.isfinite(scores).all():
        raise FormatError(f"{where}: {AT}.scores", "values that are NaN or infinite", "finite scores")
    unknown = _token(metadata, "unknown_token_id", len(tokens), where)
    merged = [kind in (0, NORMAL, USER) and not spells_byte(token) for token, kind in zip(tokens, types, strict=True)]
    prefix = _flag(metadata, "add_space_prefix", True, where)
    return scored(tokens, scores.tolist(), merged, tokens[0 if unknown is None else unknown], prefix)


def _from_merges(metadata: Mapping[str, Any], architecture: str, tokens: list[str], where: str) -> Tokenizer:
    merges = metadata.get(f"{AT}.merges", [])
    pairs = [tuple(merge.split(" ")) for merge in merges] if isinstance(merges, list) else None
    if pairs is None or any(len(pair) != 2 for pair in pairs):
        raise FormatError(f"{where}: {AT}.merges", f"{merges!r:.60}", "two tokens with a space between them, each")
    cut = _cut(metadata, architecture)
    if cut is None:
        raise UnsupportedError(where, "; ".join(unsupported(metadata, architecture)), "a known one")
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=pairs, ignore_merges=cut.whole))
    cut.apply(tokenizer)
    return tokenizer


def _cut(metadata: Mapping[str, Any], architecture: str) -> Cut | None:
    name = metadata.get(f"{AT}.pre", "gpt-2" if architecture == "gpt2" else None)
    return CUTS.get(ALIASES.get(name, name)) if isinstance(name, str) else None


def begin_and_end(
    metadata: Mapping[str, Any], architecture: str, size: int, where: str
) -> tuple[int | None, tuple[int, ...]]:
    """The token that begins a text, and those that end one; llama.cpp's defaults where the file says nothing.

    raises: FormatError for tokens beyond the `size` of the vocabulary.
    """
    scores = metadata.get(f"{AT}.model") == "llama"
    cut = None if scores else _cut(metadata, architecture)
    begins = _flag(metadata, "add_bos_token", scores or (cut is not None and cut.begins), where)
    begin = _token(metadata, "bos_token_id", size, where)
    named = [_token(metadata, key, size, where) for key in ENDS]
    if scores:
        begin = 1 if begin is None and size > 1 else begin
        named[0] = 2 if named[0] is None and size > 2 else named[0]
    return begin if begins else None, tuple(sorted({token for token in named if token is not None}))


def _numbers(metadata: Mapping[str, Any], key: str, size: int, where: str) -> Any:
    """(size,) numbers; zeros where the file has none."""
    values = metadata.get(f"{AT}.{key}", np.zeros(size))
    if not isinstance(values, np.ndarray) or values.shape != (size,) or values.dtype.kind not in "iuf":
        raise FormatError(f"{where}: {AT}.{key}", f"{values!r:.60}", f"{size} numbers, one per token")
    return values


def _token(metadata: Mapping[str, Any], key: str, size: int, where: str) -> int | None:
    value = metadata.get(f"{AT}.{key}")
    if value is not None and (type(value) is not int or not 0 <= value < size):
        raise FormatError(f"{where}: {AT}.{key}", f"{value!r:.60}", f"a token of 0..{size - 1}")
    return value


def _flag(metadata: Mapping[str, Any], key: str, default: bool, where: str) -> bool:
    value = metadata.get(f"{AT}.{key}", default)
    if not isinstance(value, bool):
        raise FormatError(f"{where}: {AT}.{key}", f"{value!r:.60}", "true or false")
    return value


def write(tokenizer: str | None, begin: int | None, end: tuple[int, ...], size: int) -> dict[str, Any]:
    """Metadata keys that describe a tokenizer; what `read` makes of them tokenizes every text alike.

    raises: UnsupportedError for a tokenizer that GGUF cannot express.
    """
    metadata: dict[str, Any] = {f"{AT}.model": ABSENT[0]}
    if tokenizer is not None:
        description = json.loads(Tokenizer.from_str(tokenizer).to_str())  # in today's spelling
        metadata = _described(description, {*end, *(() if begin is None else (begin,))}, size)
        again, given = json.loads(str(read(metadata, "", size, "export").tokenizer))["model"], description["model"]
        if again["merges"] != given["merges"] or not given["vocab"].items() <= again["vocab"].items():
            raise UnsupportedError(
                "tokenizer", "merges that follow from no scores", "SentencePiece's or a byte-level BPE"
            )
    metadata[f"{AT}.add_bos_token"] = begin is not None
    metadata[f"{AT}.add_eos_token"] = False
    if begin is not None:
        metadata[f"{AT}.bos_token_id"] = begin
    ordered = [*(token for token in end if token != begin), *(token for token in end if token == begin)]
    if len(ordered) > len(ENDS):
        raise UnsupportedError("end tokens", f"{len(ordered)} of them", f"at most {len(ENDS)}")
    metadata |= {f"{AT}.{key}": token for key, token in zip(ENDS, ordered, strict=False)}
    return metadata


def _described(description: dict[str, Any], silent: set[int], size: int) -> dict[str, Any]:
    """Tokens, types, and scores or merges of a tokenizer's JSON; `silent` tokens only begin or end a text."""
    model, added = description["model"], description.get("added_tokens") or []
    if model["type"] != "BPE":
        raise UnsupportedError("tokenizer", f"a {model['type']} model", "BPE")
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [UNUSED] * size
    for token, number in model["vocab"].items():
        tokens[number], types[number] = token, NORMAL
    for entry in added:
        tokens[entry["id"]], types[entry["id"]] = entry["content"], CONTROL if entry["special"] else USER
    silent |= {entry["id"] for entry in added}
    described: dict[str, Any] = {f"{AT}.tokens": tokens}
    if model.get("byte_fallback"):
        unknown = model["vocab"].get(model.get("unk_token"), 0)
        for number, token in enumerate(tokens):
            if types[number] == NORMAL:
                types[number] = UNKNOWN if number == unknown else BYTE if spells_byte(token) else NORMAL
        described |= {f"{AT}.model": "llama", f"{AT}.pre": "default", f"{AT}.unknown_token_id": unknown}
        scores, spellable = _scores(model, tokens)
        for number in range(size):
            if types[number] == NORMAL and not spellable[number]:
                types[number] = CONTROL if number in silent else UNUSED
        described |= {f"{AT}.scores": scores, f"{AT}.add_space_prefix": _prefixed(description.get("normalizer") or {})}
    else:
        described |= {f"{AT}.model": "gpt2", f"{AT}.pre": _cut_of(description)}
        described |= {f"{AT}.merges": [" ".join(merge) for merge in model["merges"]]}
    return described | {f"{AT}.token_type": np.array(types, np.int32)}


def _scores(model: dict[str, Any], tokens: list[str]) -> tuple[Any, list[bool]]:
    """Scores under which the merges come in their order, and of each token whether text can become it.

    A score is minus the place of the first merge that makes the piece.
    """
    place: dict[str, int] = {}
    for left, right in model["merges"]:
        place.setdefault(left + right, len(place))
    scores = np.array([-float(place.get(token, len(place))) for token in tokens], np.float32)
    return scores, [len(token) == 1 or token in place for token in tokens]


def _prefixed(normalizer: dict[str, Any]) -> bool:
    """True where a text is begun with a space."""
    steps = [step["type"] for step in normalizer.get("normalizers", [normalizer] if normalizer else [])]
    if steps not in (["Prepend", "Replace"], ["Replace"]):
        raise UnsupportedError("tokenizer", f"a normalizer {steps}", "spaces spelled by SentencePiece's rule")
    return bool(steps[0] == "Prepend")


def _cut_of(description: dict[str, Any]) -> str:
    """The name under which llama.cpp knows how a text is cut; without merges every cut gives the same bytes."""
    if not description["model"]["merges"]:
        return "gpt-2"
    for name, cut in CUTS.items():
        tokenizer = Tokenizer(models.BPE(ignore_merges=cut.whole))
        cut.apply(tokenizer)
        known = json.loads(tokenizer.to_str())
        if all(known[part] == description.get(part) for part in ("normalizer", "pre_tokenizer")):
            return name
    raise UnsupportedError("tokenizer", f"a cut {description.get('pre_tokenizer')!r:.120}", "one of " + ", ".join(CUTS))
