"""Parameters: float arrays with one value per neuron, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.errors import NetworkError
from snngen.integers import FloatArray


def checked_floats(values: npt.ArrayLike, where: str, ndim: int = 1) -> FloatArray:
    """Read-only float64 array of `values`.

    raises: NetworkError where a value is not a finite number or the number of axes is not `ndim`.
    """
    given = np.asarray(values)
    if given.ndim != ndim:
        raise NetworkError(where, f"an array with {given.ndim} axes", f"{ndim} axes")
    if given.dtype.kind not in "iuf":
        raise NetworkError(where, f"dtype {given.dtype}", "numbers")
    array = np.array(given, dtype=np.float64)
    if not np.isfinite(array).all():
        raise NetworkError(where, "infinite or undefined values", "finite numbers")
    array.flags.writeable = False
    return array


def spread(model: Any, names: Iterable[str], positive: Iterable[str] = ()) -> None:
    """Make the fields `names` of a frozen dataclass arrays of one size (n,) float64; single values are repeated.

    raises: NetworkError for unequal sizes, no neurons, values that are not finite, or `positive` ones that are not.
    """
    kind = type(model).__name__
    arrays = {}
    for name in names:
        given = np.asarray(getattr(model, name))
        arrays[name] = checked_floats(given.reshape(-1) if given.ndim == 0 else given, f"{kind}.{name}")
    sizes = {array.size for array in arrays.values()} - {1} or {1}
    if len(sizes) != 1 or 0 in sizes:
        got = ", ".join(f"{name} {array.size}" for name, array in arrays.items())
        raise NetworkError(kind, f"parameters of sizes {got}", "one size, at least 1 neuron")
    (size,) = sizes
    for name, array in arrays.items():
        if name in positive and array.min() <= 0:
            raise NetworkError(f"{kind}.{name}", f"a lowest value of {array.min()}", "more than 0")
        full = np.array(np.broadcast_to(array, (size,)))
        full.flags.writeable = False
        object.__setattr__(model, name, full)


def check_reset(model: Any) -> None:
    """Refuse resets after which a neuron would fire for ever at one moment.

    raises: NetworkError where `reset` is unknown, `v_reset` is above the threshold, or a subtracted threshold is not
    positive.
    """
    kind = type(model).__name__
    if model.reset not in ("value", "subtract"):
        raise NetworkError(f"{kind}.reset", repr(model.reset), "'value' or 'subtract'")
    if model.reset == "value" and (model.v_reset > model.v_threshold).any():
        raise NetworkError(f"{kind}.v_reset", "values above the threshold", "at most v_threshold")
    if model.reset == "subtract" and model.v_threshold.min() <= 0:
        raise NetworkError(f"{kind}.v_threshold", f"{model.v_threshold.min()} to subtract", "more than 0")
