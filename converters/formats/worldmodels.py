"""World Models' recurrent networks as their web page loads them: a JSON list of four arrays of integers.

The arrays are the head (hidden, outputs) and its bias, the kernel of TensorFlow's BasicLSTMCell (inputs + hidden,
4 * hidden) and its bias, all in units of 1 / 10000. The cell's gates lie in the order i, j, f, o, and it adds 1 to
what enters the forget gate.
Source: worldmodels.github.io, demo/carmodel.js.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snngen.converters.checkpoint import Checkpoint, digest_files
from snngen.converters.operations import Floats
from snngen.errors import FormatError

UNIT = 10000
FORGET_BIAS = 1.0
MIXTURES = 5  # of each latent; the file does not say, and every published one has 5
LIMIT = 16 * 2**20  # bytes; the real one has 2.2 MiB
LISTS, DEPTH = 2**14, 3  # of a file; the real one has 553 lists
CHARACTERS = b"0123456789-,[] \t\r\n"
SHAPES = "(hidden, outputs), (outputs), (inputs + hidden, 4 * hidden), (4 * hidden)"


def recognizes(path: Path) -> bool:
    """True for a .json file that begins with a list in a list."""
    if not path.is_file() or path.suffix != ".json":
        return False
    with path.open("rb") as file:
        return b"".join(file.read(64).split()).startswith(b"[[")


def read(path: Path, tokenizer: Path | None = None) -> Checkpoint:
    """Read the four arrays; tensors get torch's names, order of gates and orientation.

    raises: FormatError for a file that is no such list, or whose shapes do not belong together.
    """
    if tokenizer is not None:
        raise FormatError(str(tokenizer), "a tokenizer", "none: the model reads vectors, not text")
    arrays = _arrays(path)
    head, head_bias, kernel, bias = arrays
    shapes = ", ".join(str(array.shape) for array in arrays)
    if (head.ndim, head_bias.ndim, kernel.ndim, bias.ndim) != (2, 1, 2, 1):
        raise FormatError(str(path), f"arrays of shapes {shapes}", SHAPES)
    hidden, outputs = head.shape
    latents, rest = divmod(outputs, 3 * MIXTURES)
    actions = len(kernel) - hidden - latents
    if rest or min(hidden, latents, actions) < 1 or head_bias.shape != (outputs,):
        raise FormatError(str(path), f"arrays of shapes {shapes}", f"{SHAPES}, outputs in fifteens, latents as inputs")
    if kernel.shape[1] != 4 * hidden or bias.shape != (4 * hidden,):
        raise FormatError(str(path), f"arrays of shapes {shapes}", SHAPES)
    weights, biases = _as_torch(kernel.T, hidden), _as_torch(bias, hidden)
    biases[hidden : 2 * hidden] += FORGET_BIAS
    tensors = {
        "rnn.weight_ih_l0": weights[:, :-hidden],
        "rnn.weight_hh_l0": weights[:, -hidden:],
        "rnn.bias_ih_l0": biases,
        "rnn.bias_hh_l0": np.zeros_like(biases),
        "head.weight": head.T,
        "head.bias": head_bias,
    }
    sizes = {"latent_size": latents, "action_size": actions, "hidden_size": hidden, "mixtures": MIXTURES}
    return Checkpoint(
        source=str(path),
        format="worldmodels",
        digest=digest_files([path]),
        config={"model_type": "mdn_rnn", **sizes},
        tensors={name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        notes=["the source adds 1 to what enters the forget gate; the bias holds it"],
    )


def _as_torch(stacked: Floats, hidden: int) -> Floats:
    """Gates along the first axis from TensorFlow's order i, j, f, o to torch's i, f, g, o."""
    i, j, f, o = stacked.reshape(4, hidden, -1)
    return np.concatenate((i, f, j, o)).reshape(stacked.shape)


def _arrays(path: Path) -> list[Floats]:
    """The four arrays as floats."""
    where, size = str(path), path.stat().st_size
    if size > LIMIT:
        raise FormatError(where, f"{size} bytes", f"at most {LIMIT}")
    text = path.read_bytes()
    foreign = text.translate(None, CHARACTERS)
    if foreign:
        raise FormatError(where, f"the character {foreign[:1]!r}", "a list of lists of integers")
    flat = np.frombuffer(text, dtype=np.uint8)
    depth = int(np.cumsum((flat == ord("[")).astype(np.int64) - (flat == ord("]"))).max(initial=0))
    lists = int((flat == ord("[")).sum())
    if depth > DEPTH or lists > LISTS:
        raise FormatError(where, f"{lists} lists, {depth} deep", f"at most {LISTS} lists, {DEPTH} deep")
    try:
        values = json.loads(text)
    except ValueError as error:  # digits without end, too
        raise FormatError(where, str(error), "JSON") from error
    if not isinstance(values, list) or len(values) != 4:
        raise FormatError(where, f"{type(values).__name__} of JSON", "a list of four arrays")
    return [_array(value, where) for value in values]


def _array(value: object, where: str) -> Floats:
    """Integers, in rows of one length or in one row."""
    try:
        array: npt.NDArray[np.int64] = np.array(value, dtype=np.int64)
    except (ValueError, OverflowError, TypeError) as error:
        raise FormatError(where, str(error), "rows of integers, all of one length") from error
    if np.abs(array).max(initial=0) > 2**31:
        raise FormatError(where, "integers beyond 2**31", "weights in units of 1 / 10000")
    return np.asarray(array / UNIT, dtype=np.float32)
