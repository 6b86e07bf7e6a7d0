"""Rotary positions: how fast each pair of a head's channels turns, and in which order the channels stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.checkpoint import Checkpoint
from snngen.converters.configuration import positive
from snngen.converters.operations import Floats
from snngen.errors import FormatError

KEYS = {"rope_type", "type", "rope_theta"}
SHARE = "partial_rotary_factor"


@dataclass(frozen=True, eq=False)
class RotaryLayout:
    """A head's pairs of channels: place i and i + width / 2 turn by position * frequencies[i].

    frequencies: (width / 2,) float64 radians per position, 0 for channels that do not turn.
    order: (width,) int64, the source's channel at each place.
    """

    frequencies: npt.NDArray[np.float64]
    order: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(2 * len(self.frequencies))):
            raise ValueError(f"order {self.order} is no order of {2 * len(self.frequencies)} channels")

    def arrange(self, values: Floats) -> Floats:
        """Rows (heads * width, ...) of a weight or a bias, each head's in `order`; scores do not change by it."""
        if (self.order[1:] > self.order[:-1]).all():
            return values
        heads = values.reshape(-1, len(self.order), *values.shape[1:])
        return np.ascontiguousarray(heads[:, self.order].reshape(values.shape))


def layout(checkpoint: Checkpoint, width: int, share: float | None = None) -> RotaryLayout:
    """The layout of heads of `width` channels that a configuration describes.

    share: of a head's channels that turn, where the configuration does not say; None: all of them, always.
    Those that turn come first in the source, as pairs i and i + turning / 2.
    raises: FormatError for values that contradict one another or cannot be.
    """
    theta = _agreed(checkpoint, "rope_theta", 10000.0)
    factor = 1.0 if share is None else _agreed(checkpoint, SHARE, share)
    turning = int(width * factor)
    if not 2 <= turning <= width or turning % 2 or width % 2:
        raise FormatError(checkpoint.source, f"{turning} of {width} channels of a head turn", "even numbers of them")
    still = (width - turning) // 2
    frequencies = np.concatenate((theta ** (-np.arange(0, turning, 2) / turning), np.zeros(still)))
    turned, rest = np.arange(turning).reshape(2, -1), np.arange(turning, width).reshape(2, -1)
    return RotaryLayout(frequencies, np.concatenate((turned, rest), axis=1).reshape(-1).astype(np.int64))


def other_positions(config: dict[str, Any], carried: Iterable[str] = KEYS) -> list[str]:
    """Complaints about rotary positions other than the default ones."""
    wrong = []
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        if (
            not isinstance(rope, dict)
            or rope.keys() - set(carried)
            or any(rope.get(name, "default") != "default" for name in ("rope_type", "type"))
        ):
            wrong.append(f"{key} = {rope!r:.120} (only the default rotary positions)")
    return wrong


def _agreed(checkpoint: Checkpoint, key: str, default: float) -> float:
    """A positive number that may stand in several places, in all of which it must be the same."""
    config = checkpoint.config
    places = [config.get("rope_scaling") or {}, config.get("rope_parameters") or {}, config]
    given = {positive(checkpoint, key, place[key]) for place in places if key in place}
    if len(given) > 1:
        raise FormatError(f"{checkpoint.source}: {key}", f"{sorted(given)}", "one value")
    return given.pop() if given else default
