"""Crew: the other threads of the settled engine, which share deliveries through large matrices with the first."""

from __future__ import annotations

import threading
import weakref

from snngen.kernels import settled as kernel


class Crew:
    """Threads that take parts of the deliveries on offer, and sleep when there has been none for a while.

    threads: how many run, the caller included. tables: of the engine, with its whole program.
    """

    def __init__(self, threads: int, tables: kernel.Tables) -> None:
        self._bunks = [_Bunk() for _ in range(threads - 1)]
        for number, bunk in enumerate(self._bunks, start=1):
            arguments = bunk, number, threads, tables
            threading.Thread(target=_serve, args=arguments, name=f"snngen {number}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._bunks)

    def wake(self) -> None:
        """Wake those who sleep. (One that falls asleep just now is not needed: the others take its parts.)"""
        for bunk in self._bunks:
            if bunk.asleep:
                bunk.asleep = False
                bunk.bell.release()


class _Bunk:
    """Where a thread sleeps until its bell rings. dismissed: it is not to come back."""

    def __init__(self) -> None:
        self.bell, self.asleep, self.dismissed = threading.Semaphore(0), False, False


def _serve(bunk: _Bunk, number: int, threads: int, tables: kernel.Tables) -> None:
    while not bunk.dismissed:
        bunk.asleep = True
        bunk.bell.acquire()
        kernel.assist(number, threads, tables)


def _dismiss(bunks: list[_Bunk]) -> None:
    for bunk in bunks:
        bunk.dismissed = True
        bunk.bell.release()
