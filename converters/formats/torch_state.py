"""torch state dicts: .pt, .pth and .ckpt files of `torch.save`, new (zip) and old (pickles).

Only tensors are taken, by ``torch.load(weights_only=True)``, after the file was looked through
(`converters/torch/pickle.py`). A state dict does not say what it is a state of: the configuration lies beside it, as
``<name>.json`` or ``config.json``; without one a family recognises the names of the tensors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.formats import huggingface
from snngen.converters.operations import Floats
from snngen.converters.torch import pickle as torch_pickle
from snngen.errors import FormatError, UnsupportedError

SUFFIXES = (".pt", ".pth", ".ckpt")
NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "generator", "weights", "params")
PREFIXES = ("module.", "_orig_mod.")  # of what torch wraps around a model: data parallel, compile
COUNTER = re.compile(r"(^|\.)num_batches_tracked\Z")  # of batch norms in training
COPIES = 2  # half precision becomes twice as large; nothing else grows


def recognizes(path: Path) -> bool:
    """True for a file with one of torch's suffixes; ``pytorch_model.bin`` too where it begins like one of torch's."""
    return path.is_file() and (path.suffix in SUFFIXES or (path.suffix == ".bin" and torch_pickle.recognizes(path)))


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read a state dict; tensors keep their names and become float32, views of the file where they are float32 there.

    raises: FormatError for files that are damaged or declare more than they hold; UnsupportedError for what is not a
    state dict of float tensors, and where torch is not installed.
    """
    torch_pickle.inspect(path)
    notes: list[str] = []
    tensors = _floats(path, _state(path, _load(path), notes), notes)
    config, sidecar = _sidecar(path)
    said = huggingface.Description(config, sources=[] if sidecar is None else [sidecar])
    if "vocab_size" in config and sidecar is not None:
        said = huggingface.describe(sidecar)
    if "vocab_size" in config or tokenizer is not None:
        said.notes += huggingface.drop_buffers(tensors)
        huggingface.add_tokenizer(said, path.parent, tokenizer)
    return Checkpoint(
        source=str(path),
        format="torch_state",
        digest=digest_files([path, *said.sources, *said.more_sources]),
        config=said.config,
        tensors=tensors,
        tokenizer=said.tokenizer,
        begin=said.begin[0] if said.begin else None,
        end=said.end,
        notes=[*notes, *said.notes],
    )


def _sidecar(path: Path) -> tuple[dict[str, Any], Path | None]:
    """The configuration beside a state dict: <name>.json, else the folder's config.json, else none."""
    for beside in (path.with_suffix(".json"), path.parent / huggingface.CONFIG):
        if beside.is_file():
            return huggingface.read_object(beside), beside
    return {}, None


def _load(path: Path) -> Any:
    """What the file holds; its weights stay in the file until they are read, where it is an archive."""
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError(str(path), "no torch", "torch to read its files", "pip install torch") from error
    with path.open("rb") as file:
        archive = file.read(4) == torch_pickle.ZIP
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # torch raises what its readers raise, RuntimeError to UnpicklingError
        got = f"{type(error).__name__}: {error!s:.200}"
        raise FormatError(
            str(path), got, "a state dict that torch reads with weights_only", "Is it damaged?"
        ) from error


def _state(path: Path, loaded: Any, notes: list[str]) -> dict[str, Any]:
    """The state dict in what the file holds: all of it, or its one part that is one."""
    import torch

    if not isinstance(loaded, dict):
        raise UnsupportedError(str(path), f"a {type(loaded).__name__}", "a dict of tensors by name")
    if loaded and all(isinstance(x, torch.Tensor) for x in loaded.values()):
        state: dict[Any, Any] = loaded
    else:
        parts = [
            key for key in NESTED if isinstance(loaded.get(key), dict)
            and loaded[key] and all(isinstance(x, torch.Tensor) for x in loaded[key].values())
        ]  # fmt: skip
        if len(parts) != 1:
            got = f"a dict of {sorted(map(str, loaded))[:8]}"
            mend = "torch.save(model.state_dict(), path)"
            raise UnsupportedError(str(path), got, f"tensors by name, or one of {', '.join(NESTED)}", mend)
        state = loaded[parts[0]]
        left = sorted(str(key) for key in loaded if key != parts[0])
        notes.append(f"of the file only {parts[0]} was taken; left out: {', '.join(left)}" if left else "")
    if not all(isinstance(name, str) for name in state):
        raise FormatError(str(path), "names that are no text", "tensors by name")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            notes.append(f"the prefix {prefix} of all names was dropped")
    notes[:] = [note for note in notes if note]
    return state


def _floats(path: Path, state: dict[str, Any], notes: list[str]) -> dict[str, Floats]:
    """The tensors as float32; those that are the same numbers of the file are the same array.

    raises: UnsupportedError for tensors that are not float, FormatError where they would take more than the file.
    """
    import torch

    counters = [name for name in state if COUNTER.search(name)]
    if counters:
        notes.append(f"{len(counters)} counters of batches (num_batches_tracked) were dropped")
    kept = {name: tensor for name, tensor in state.items() if name not in set(counters)}
    floats = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    foreign = [f"{name} ({tensor.dtype})" for name, tensor in kept.items() if tensor.dtype not in floats]
    if foreign:
        raise UnsupportedError(str(path), f"{len(foreign)} tensors such as {foreign[0]:.80}", "float tensors")
    budget = COPIES * path.stat().st_size
    arrays: dict[tuple[Any, ...], Floats] = {}
    tensors = {}
    for name, tensor in kept.items():
        numbers = tensor.detach()
        key = (numbers.data_ptr(), tuple(numbers.shape), numbers.stride(), numbers.dtype)
        if key not in arrays or not numbers.numel():
            budget -= 4 * numbers.numel()
            if budget < 0:
                raise FormatError(str(path), "tensors that overlap", "tensors of together no more than the file")
            with np.errstate(over="ignore"):  # whoever takes the tensor refuses what is not finite
                arrays[key] = np.require(numbers.to(torch.float32).numpy(), dtype=np.float32, requirements="A")
        tensors[name] = arrays[key]
    return tensors
