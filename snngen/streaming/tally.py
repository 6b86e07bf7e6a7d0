"""Tally: where every event of a stream has gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tally:
    """sent = processed + dropped + merged + waiting, at every moment.

    sent: events that the source handed over. processed: that the application took. merged: that became one with an
    earlier event of their address. dropped: by reason: "queue full", "late" (time ran backwards), "outside" (of the
    application's sensor), "beyond" (what an engine can count), "stopped" (the stream ended before their turn),
    "failed" (the application did while it had them). waiting: in the queue, or in the simulator's hands.
    """

    sent: int = 0
    processed: int = 0
    merged: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

    @property
    def lost(self) -> int:
        """All dropped events."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """True where no event is missing; it always is."""
        return self.sent == self.processed + self.lost + self.merged + self.waiting

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for JSON."""
        return {
            "sent": self.sent, "processed": self.processed, "merged": self.merged,
            "dropped": dict(self.dropped), "waiting": self.waiting, "balanced": self.balanced,
        }  # fmt: skip
