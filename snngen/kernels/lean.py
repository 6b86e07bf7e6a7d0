"""Lean: how kernels are compiled that look at small slices of arrays very often.

Numba counts references of every slice, atomically: in the continuous kernel that took three quarters of the time. A
kernel under `LEAN` counts none: it may neither allocate nor return arrays, and its caller keeps the arrays alive, which
Python does for the time of a call. `_nrt` is Numba's own name for it, in all versions that snngen allows.
"""

from __future__ import annotations

from typing import Any

LEAN: dict[str, Any] = {"_nrt": False}
