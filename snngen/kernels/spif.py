"""SPIF words: where the events are among the time stamps."""

from __future__ import annotations

from typing import Any

from numba import njit

UNSTAMPED = 1 << 31


@njit(cache=True)
def locate(words: Any, ends: Any, places: Any, packets: Any) -> Any:
    """Find the words that are events; the word after one without bit 31 is its time stamp.

    words: (n,) uint32 of all packets. ends: (k,) int64 where each packet ends. places, packets: (n,) int64, filled with
    the number of each event's word and of its packet.
    returns: how many events there are, and how many packets broke off before a time stamp.
    """
    found, broken, word = 0, 0, 0
    for packet in range(ends.size):
        while word < ends[packet]:
            width = 1 if words[word] & UNSTAMPED else 2
            if word + width <= ends[packet]:
                places[found], packets[found] = word, packet
                found += 1
            else:
                broken += 1
            word += width
        word = ends[packet]
    return found, broken
