"""Half blocks: a grey picture as text, two pixels a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from snngen.errors import PromptError

if TYPE_CHECKING:
    from rich.text import Text

UPPER_HALF = "\u2580"


def half_blocks(picture: npt.ArrayLike, columns: int = 1) -> Text:
    """A picture in which a character holds two pixels, one above the other, by its two colours.

    picture: (rows, columns) of 0..1, dark to bright. columns: characters a pixel is wide; 1 makes pixels about square.
    raises: PromptError for another shape, or numbers that are not finite.
    """
    from rich.text import Text

    grey = (_checked(picture) * 255).round().astype(int)
    if len(grey) % 2:
        grey = np.concatenate([grey, np.zeros((1, grey.shape[1]), dtype=int)])
    text = Text()
    for above, below in zip(grey[::2], grey[1::2], strict=True):
        for top, bottom in zip(above.tolist(), below.tolist(), strict=True):
            text.append(UPPER_HALF * columns, style=f"rgb({top},{top},{top}) on rgb({bottom},{bottom},{bottom})")
        text.append("\n")
    text.right_crop(1)
    return text


def _checked(picture: npt.ArrayLike) -> npt.NDArray[np.float64]:
    given = np.asarray(picture, dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape or not np.isfinite(given).all():
        raise PromptError("picture", f"shape {given.shape}", "(rows, columns) finite numbers")
    return np.clip(given, 0.0, 1.0)
