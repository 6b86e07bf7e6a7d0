"""Crew: the other threads of the settled engine, which share the columns of large weight matrices with the first."""

from __future__ import annotations

import threading
import weakref

from snngen.kernels import settled as kernel


class Crew:
    """Threads that wait until the engine runs a block of tokens, and then take their part in it.

    threads: how many run a block, the caller included. tables: of the engine.
    """

    def __init__(self, threads: int, tables: kernel.Tables) -> None:
        self.threads = threads
        self._calls = [_Call(tables) for _ in range(threads - 1)]
        for number, call in enumerate(self._calls, start=1):
            threading.Thread(target=_serve, args=(call, number, threads), name=f"snngen {number}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._calls)

    def run(self, tokens: int, tables: kernel.Tables) -> None:
        """Call the others to a block of so many tokens, which the caller then runs itself."""
        for call in self._calls:
            call.tokens, call.tables = tokens, tables
            call.bell.release()


class _Call:
    """What one thread is called to. bell: rung once for every block. tokens: in the block; 0 dismisses."""

    def __init__(self, tables: kernel.Tables) -> None:
        self.bell = threading.Semaphore(0)
        self.tokens, self.tables = 0, tables


def _serve(call: _Call, number: int, threads: int) -> None:
    while True:
        call.bell.acquire()
        if call.tokens == 0:
            return
        kernel.assist(call.tokens, number, threads, call.tables)


def _dismiss(calls: list[_Call]) -> None:
    for call in calls:
        call.tokens = 0
        call.bell.release()
