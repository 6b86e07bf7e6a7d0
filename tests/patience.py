"""Waiting for another thread or process: until it has done something, not for a time that a busy machine exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0  # seconds: ends a test that hangs, says nothing of speed


def until(done: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as `done()` is true; a test fails that waits for longer."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited in vain for {seconds} seconds"
        time.sleep(0.001)
