"""Effect: what each setting of a conversion reaches. What reaches nothing is refused, what reaches a part is noted.

A source that is quantized already has codes (`Node.codes`) and integer weights, which are kept as they are; kernels and
positions are stored in 8 bits each.
"""

from __future__ import annotations

from dataclasses import replace

from snngen.converters.coding import limits, role
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Attention, Convolution, Embedding, Gate, Linear, Pointwise, Position
from snngen.converters.settings import Settings
from snngen.errors import UnsupportedError
from snngen.synapses.packed import BITS

PLAIN = Settings()
MEND = "Leave it out, or convert graph.unquantized(), whose weights and codes are chosen anew"


def notes(graph: Graph, settings: Settings) -> list[str]:
    """What of the settings does not hold everywhere, for the conversion report.

    raises: UnsupportedError for a setting that would change nothing, since the source fixes all that it is about, and
    for bits of nodes that have no weights to be rounded.
    """
    _require_weights(graph, settings)
    return [*_on_weights(graph, settings), *_on_codes(graph, settings), *_on_nothing(graph, settings)]


def _require_weights(graph: Graph, settings: Settings) -> None:
    """Refuse bits for nodes that are not there, that have no weights, or whose integers have others."""
    kinds = (Linear, Embedding, Convolution, Position)
    weighed = {node.name: node for node in graph.nodes if isinstance(node.operation, kinds)}
    unheard = sorted(settings.bits.keys() - weighed.keys())
    if unheard:
        expected = f"names of nodes that have weights: {_some(list(weighed))}"
        raise UnsupportedError("Settings.bits", ", ".join(unheard), expected, "Rename them or leave them out")
    kept = [name for name in settings.bits if _taken(weighed[name]) not in (None, settings.bits[name])]
    if kept:
        got = f"{_some(kept)}, whose integers are the source's own"
        raise UnsupportedError("Settings.bits", got, "nodes whose weights are rounded here", MEND)


def _on_weights(graph: Graph, settings: Settings) -> list[str]:
    taken = [node for node in graph.nodes if _taken(node) is not None]
    free = [node for node in graph.nodes if _taken(node) is None]
    maps = [node.name for node in free if isinstance(node.operation, Linear | Embedding)]
    others = [node.name for node in free if isinstance(node.operation, Convolution | Position)]
    unlike = [node.name for node in taken if settings.bits_of(node.name) != _taken(node)]
    compensates = settings.rounding != PLAIN.rounding
    if unlike and settings.weight_bits != PLAIN.weight_bits and not maps and not others:
        got = f"{settings.weight_bits} for weights that are all integers of the source: {_some(unlike)}"
        raise UnsupportedError("Settings.weight_bits", got, "a map whose weights are rounded here", MEND)
    if compensates and not maps:
        got = f"{settings.rounding} without a linear map or an embedding of float weights"
        mend = MEND if taken else "Leave it out: kernels and positions are rounded to the nearest"
        raise UnsupportedError("Settings.rounding", got, "at least one", mend)
    found = []
    few = [name for name in others if settings.bits_of(name) <= max(BITS)]
    if few:
        found.append(f"rounded to fewer bits, but stored in 8 each (convolutions, positions): {', '.join(few)}")
    if others and compensates:
        found.append(f"rounded to the nearest, not compensated (convolutions, positions): {', '.join(others)}")
    if (unlike and settings.weight_bits != PLAIN.weight_bits) or (taken and compensates):
        names = ", ".join(node.name for node in taken)
        found.append(f"integers of the source, kept as they are whatever the settings: {names}")
    return found


def _on_codes(graph: Graph, settings: Settings) -> list[str]:
    found = []
    for name in ("activation_bits", "wide_bits"):
        bits = getattr(settings, name)
        if bits == getattr(PLAIN, name):
            continue
        heard, deaf = _asked(graph, settings, replace(PLAIN, **{name: bits}))
        if deaf and not heard:
            got = f"{bits} for codes that are all the source's own: {_some(deaf)}"
            raise UnsupportedError(f"Settings.{name}", got, "a value whose codes calibration chooses", MEND)
        if deaf:
            found.append(f"codes of the source, kept as they are whatever {name}: {', '.join(deaf)}")
        if name == "wide_bits" and not heard and not _reads(graph, Gate, Pointwise):
            found.append("wide_bits: every code of this model passes weights")
    return found


def _asked(graph: Graph, settings: Settings, only: Settings) -> tuple[bool, list[str]]:
    """Whether a value has the codes that one setting asks for, and the values that have others, of the source.

    only: that setting, all else as it is by default.
    """
    heard, deaf = False, []
    if graph.channels and only.high != PLAIN.high:
        given = graph.codes
        heard = given is None or given.high == settings.high
        deaf += [] if heard else [graph.entry]
    for node in graph.nodes:
        free = replace(node, codes=None)
        potential = node.codes is None and role(graph, node) is None
        if potential or limits(graph, free, only) == limits(graph, free, PLAIN):
            continue
        if node.codes is None or limits(graph, node, settings) == limits(graph, free, settings):
            heard = True
        else:
            deaf.append(node.name)
    return heard, deaf


def _on_nothing(graph: Graph, settings: Settings) -> list[str]:
    found = []
    if settings.probability_bits != PLAIN.probability_bits and not _reads(graph, Attention):
        found.append("probability_bits: this model has no attention")
    if settings.sparse_below is not None and not _reads(graph, Linear, Embedding):
        found.append("sparse_below: this model has no linear map")
    return found


def _reads(graph: Graph, *kinds: type) -> bool:
    return any(isinstance(node.operation, kinds) for node in graph.nodes)


def _taken(node: Node) -> int | None:
    """Bits of the integers that a node's weights came as; None where they are floats."""
    integers = getattr(node.operation, "integers", None)
    return None if integers is None else int(integers.bits)


def _some(names: list[str], most: int = 6) -> str:
    """A few of many names."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
