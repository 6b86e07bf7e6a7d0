"""Comparison: the same tokens under every spike code, with real spikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snngen.certificate import Certificate, certify
from snngen.codes import SpikeCode
from snngen.engines.ticked import Schedule, TickedEngine
from snngen.ledger import Ledger
from snngen.network import Network


@dataclass(frozen=True, eq=False)
class CodeRun:
    """What one code took for a text.

    ledger: of the spikes really sent. certificate: whether the codes came out as the reference has them.
    """

    code: SpikeCode
    schedule: Schedule
    ledger: Ledger
    certificate: Certificate


def compare_codes(
    network: Network,
    tokens: Sequence[int],
    codes: Sequence[SpikeCode],
    schedule: Schedule = "layered",
    progress: Callable[[int, int], None] | None = None,
) -> list[CodeRun]:
    """Run a text under each code, tick by tick, and certify each run.

    tokens: at most the context. codes, schedule: how spikes are sent. progress: is told (tokens done, in all).
    """
    runs = []
    for index, code in enumerate(codes):
        ledger = Ledger(network, code.name)
        engine = TickedEngine(network, code, schedule)

        def tell(done: int, of: int, before: int = index * len(tokens)) -> None:
            if progress is not None:
                progress(before + done, len(codes) * len(tokens))

        runs.append(CodeRun(code, schedule, ledger, certify(network, tokens, engine, tell, ledger)))
    return runs
