"""Hugging Face folders: config.json, model.safetensors (whole or in shards) and tokenizer.json.

Nothing is unpickled and no code of the folder is run. Tensors are views of the files where they are float32 there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.operations import Floats
from snngen.errors import FormatError, UnsupportedError

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
JSON_LIMIT = 10 * 2**20  # bytes; real configurations, indices and tensor headers have less than one MiB
TOKENIZER_LIMIT = 100 * 2**20  # the largest vocabularies in use take 35 MiB
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
BUFFER = re.compile(r"(^|\.)rotary_emb\.inv_freq\Z")  # follows from rope_theta; only old checkpoints hold it


def recognizes(path: Path) -> bool:
    """True for a folder with a config.json."""
    return path.is_dir() and (path / CONFIG).is_file()


@dataclass(eq=False)
class Description:
    """What a model's folder says beside its weights.

    begin: the tokens that open a text, none or one. sources: files that say it, before and after the weights.
    """

    config: dict[str, Any]
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    tokenizer: str | None = None
    notes: list[str] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    more_sources: list[Path] = field(default_factory=list)


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read a Hugging Face folder; tensors keep their names and become float32.

    tokenizer: a tokenizer.json, or a folder with one, to use in place of the folder's own.
    The tokens that end a text are those of generation_config.json where it names any, else those of config.json.
    raises: FormatError for files that are missing, damaged or inconsistent; UnsupportedError for quantized or
    pickled weights.
    """
    if not recognizes(path):
        raise FormatError(str(path), f"no {CONFIG}", "a Hugging Face folder")
    said = describe(path / CONFIG)
    shards = _shards(path)
    tensors: dict[str, Floats] = {}
    for shard, listed in shards.items():
        tensors.update(_read_shard(shard, listed))
    said.notes += drop_buffers(tensors)
    said.sources += [path / INDEX] if (path / INDEX).is_file() else []
    said.sources += sorted(shards)
    add_tokenizer(said, path, tokenizer)
    return Checkpoint(
        source=str(path),
        format="huggingface",
        digest=digest_files([*said.sources, *said.more_sources]),
        config=said.config,
        tensors=tensors,
        tokenizer=said.tokenizer,
        begin=said.begin[0] if said.begin else None,
        end=said.end,
        notes=said.notes,
    )


def takes_vectors(config: dict[str, Any]) -> bool:
    """True for the configuration of a model that takes no tokens."""
    return "latent" in config and "vocab_size" not in config


def describe(path: Path) -> Description:
    """A configuration, and the special tokens of its model; path: of the config.json.

    raises: FormatError for files that are damaged; UnsupportedError for quantized weights.
    """
    config = read_object(path)
    if config.pop("quantization_config", None) is not None:
        raise UnsupportedError(
            str(path),
            "quantization_config",
            "float weights",
            "snngen quantizes them itself: give the original",
        )
    vocabulary = config.get("vocab_size")
    if takes_vectors(config):
        vocabulary = 0
    elif not isinstance(vocabulary, int) or isinstance(vocabulary, bool) or vocabulary < 1:
        raise FormatError(f"{path}: vocab_size", f"{vocabulary!r:.60}", "a positive integer")
    said = Description(config, sources=[path])
    said.begin = _tokens(config, "bos_token_id", vocabulary, path)
    if len(said.begin) > 1:
        raise FormatError(f"{path}: bos_token_id", f"{said.begin}", "at most one token that begins a text")
    said.end = _tokens(config, "eos_token_id", vocabulary, path)
    generation = path.parent / GENERATION
    if generation.is_file():
        said.sources.append(generation)
        said.end = _tokens(read_object(generation), "eos_token_id", vocabulary, generation) or said.end
    return said


def drop_buffers(tensors: dict[str, Floats]) -> list[str]:
    """Remove what follows from the configuration; returns the notes on it."""
    buffers = [name for name in tensors if BUFFER.search(name)]
    for name in buffers:
        del tensors[name]
    if not buffers:
        return []
    return [f"{len(buffers)} rotary_emb.inv_freq buffers were dropped: positions follow from rope_theta"]


def add_tokenizer(said: Description, path: Path, tokenizer: Path | None) -> None:
    """Add the tokenizer that is given, or the folder's own, to what the folder says."""
    chosen = _tokenizer_path(path, tokenizer)
    if takes_vectors(said.config):
        if chosen is not None:
            raise FormatError(str(chosen), "a tokenizer", "none for a model that takes no tokens")
        return
    if chosen is None:
        said.notes.append(f"the folder has no {TOKENIZER}: prompts are token numbers")
        return
    if "vocab_size" not in said.config:  # a state dict without a configuration
        expected = "none, or a configuration that says the vocab_size"
        raise FormatError(str(chosen), "a tokenizer for a model of which no vocabulary is known", expected)
    vocabulary = int(said.config["vocab_size"])
    said.tokenizer, said.begin = read_tokenizer(chosen, vocabulary, said.begin, said.notes)
    said.more_sources.append(chosen)


def _shards(path: Path) -> dict[Path, set[str] | None]:
    """The files that hold tensors, each with the names that the index gives it (None where there is no index)."""
    whole, index = (path / WEIGHTS).is_file(), (path / INDEX).is_file()
    if whole and index:
        raise FormatError(str(path), f"{WEIGHTS} and {INDEX}", "one of them", "Remove the one that is out of date")
    if whole:
        return {path / WEIGHTS: None}
    if not index:
        pickles = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
        if pickles:
            raise UnsupportedError(
                str(path),
                f"weights in pickles ({', '.join(pickles[:3])}); a pickle can run any code, so none is ever loaded",
                WEIGHTS,
                "Give the file itself, of which only tensors are read, or convert it where you trust it: "
                "AutoModelForCausalLM.from_pretrained(path).save_pretrained(path, safe_serialization=True)",
            )
        raise FormatError(str(path), "no weights", f"{WEIGHTS}, or {INDEX} and its shards")
    weight_map = read_object(path / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{path / INDEX}: weight_map", f"{weight_map!r:.60}", "tensor names with their shards")
    shards: dict[Path, set[str] | None] = {}
    for name, file in weight_map.items():
        # a link inside the folder may lead out of it (the hub's own cache is made of them), a name may not
        if not isinstance(file, str) or not re.fullmatch(r"[^/\\:\0]+\.safetensors", file):
            raise FormatError(f"{path / INDEX}: {name}", f"{file!r:.60}", "the name of a .safetensors file beside it")
        listed = shards.setdefault(path / file, set())
        if listed is not None:
            listed.add(name)
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise FormatError(str(path), f"no {', '.join(sorted(missing)[:4])}", f"all {len(shards)} shards of {INDEX}")
    return shards


def _read_shard(path: Path, listed: set[str] | None) -> dict[str, Floats]:
    """All tensors of a safetensors file, by name; they must be those that are listed."""
    header, start = _read_header(path)
    if listed is not None and header.keys() != listed:
        missing, unlisted = sorted(listed - header.keys())[:4], sorted(header.keys() - listed)[:4]
        raise FormatError(str(path), f"without {missing}, with {unlisted}", f"exactly the tensors that {INDEX} lists")
    foreign = {name: entry["dtype"] for name, entry in header.items() if entry["dtype"] not in ("F32", "F16", "BF16")}
    if foreign:
        dtypes = ", ".join(sorted(set(foreign.values())))
        raise UnsupportedError(
            str(path),
            f"{len(foreign)} tensors of {dtypes}, such as {sorted(foreign)[0]}",
            "F32, F16 or BF16",
            "snngen quantizes float weights itself: give the original",
        )
    data = np.memmap(path, dtype=np.uint8, mode="r")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        tensors[name] = _floats(np.asarray(data[start + first : start + last]), entry["dtype"]).reshape(entry["shape"])
    return tensors


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """{name: dtype, shape, data_offsets} of a safetensors file and where its data starts."""
    limit = min(JSON_LIMIT, path.stat().st_size)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > limit:
            raise FormatError(str(path), f"a header of {length} bytes", f"at most {limit}", "Is it safetensors?")
        text = file.read(length)
    try:
        # the library holds every dtype, shape and offset against the length of the file, but NumPy has no BF16
        with safe_open(str(path), framework="numpy"):
            pass
    except SafetensorError as error:
        raise FormatError(str(path), str(error), "a whole safetensors file", "Is it truncated?") from error
    header = _parse(text, f"{path}: header")
    header.pop("__metadata__", None)
    return header, 8 + length


def _floats(raw: npt.NDArray[np.uint8], dtype: str) -> Floats:
    """Little-endian F32, F16 or BF16 bytes as float32, exactly; a view where it can be one."""
    if dtype == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return np.require(raw.view("<f4" if dtype == "F32" else "<f2"), dtype=np.float32, requirements="A")


def _tokenizer_path(path: Path, given: Path | None) -> Path | None:
    if given is None:
        return path / TOKENIZER if (path / TOKENIZER).is_file() else None
    chosen = given / TOKENIZER if given.is_dir() else given
    if not chosen.is_file():
        raise FormatError(str(chosen), "no such file", f"a {TOKENIZER}")
    return chosen


def read_tokenizer(
    path: Path, vocabulary: int, begin: tuple[int, ...], notes: list[str]
) -> tuple[str, tuple[int, ...]]:
    """A tokenizer.json that knows no token beyond the vocabulary, as JSON, and the token that it begins a text with.

    Appends what is worth knowing to `notes`.
    raises: FormatError for a file that is none, or that knows more tokens than the vocabulary has.
    """
    text = _read_text(path, TOKENIZER_LIMIT)
    try:
        tokenizer = Tokenizer.from_str(text)
        opening = tuple(tokenizer.encode("").ids[:1])
    except Exception as error:  # the library raises bare Exception
        raise FormatError(str(path), str(error), f"a {TOKENIZER} of the library `tokenizers`") from error
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    if not 0 < size <= vocabulary:
        raise FormatError(str(path), f"{size} tokens", f"1..{vocabulary}, the model's vocab_size", "Are they a pair?")
    if size < vocabulary:
        notes.append(f"the tokenizer knows {size} of the {vocabulary} tokens; the vocabulary is padded")
    if begin and opening != begin:
        notes.append(
            f"prompts do not begin with bos_token_id {begin[0]}: the tokenizer's own template does not put it there"
        )
        begin = ()
    tokenizer.no_truncation()  # settings of training that would cut or pad a prompt
    tokenizer.no_padding()
    normalized: str = tokenizer.to_str()
    return normalized, begin


def _tokens(settings: dict[str, Any], key: str, vocabulary: int, path: Path) -> tuple[int, ...]:
    """A number, a list of them or null, as distinct tokens of the vocabulary."""
    value = settings.get(key)
    tokens = value if isinstance(value, list) else [] if value is None else [value]
    for token in tokens:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocabulary:
            raise FormatError(f"{path}: {key}", f"{token!r:.60}", f"tokens of 0..{vocabulary - 1}")
    return tuple(dict.fromkeys(tokens))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file of at most `JSON_LIMIT` bytes, without repeated keys."""
    return _parse(_read_text(path, JSON_LIMIT), str(path))


def _read_text(path: Path, limit: int) -> str:
    size = path.stat().st_size
    if size > limit:
        raise FormatError(str(path), f"{size} bytes", f"at most {limit}, more than any real model needs")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(str(path), str(error), "UTF-8 text") from error


def _parse(text: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object without repeated keys."""
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(where, str(error), "JSON") from error
    if not isinstance(value, dict):
        raise FormatError(where, f"{value!r:.60}", "a JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    distinct = dict(pairs)
    if len(distinct) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r:.60} more than once")
    return distinct


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the number {name}")
