"""Wiring: what a synapse asks of the cores that hold its targets: weights to store, and whose events must come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from snngen.integers import IntArray
from snngen.network import Network, Projection
from snngen.synapses import Synapse
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.broadcast import Broadcast
from snngen.synapses.convolution import Convolution
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.rotary import Rotary
from snngen.synapses.value_memory import ValueMemory


@dataclass(frozen=True, eq=False)
class Blocks:
    """Weights that targets read. Targets of one block read the same bytes, which a core stores once.

    block: (targets,) the block of each. size: (targets,) bytes of that block.
    """

    block: IntArray
    size: IntArray


@dataclass(frozen=True, eq=False)
class Wiring:
    """Which targets an event reaches: those of its neuron's class.

    sender: (senders,) class of each. receiver: (targets,) class of each.
    """

    sender: IntArray
    receiver: IntArray


@singledispatch
def blocks(synapse: Synapse) -> Blocks:
    """The weights of a synapse; by default every target has its own, all of one size."""
    targets = synapse.target_size
    return Blocks(np.arange(targets), np.full(targets, -(-synapse.weight_bytes // targets)))


@singledispatch
def wiring(synapse: Synapse) -> Wiring:
    """The ways of a synapse's events; by default each reaches every target."""
    return Wiring(np.zeros(synapse.source_size, np.int64), np.zeros(synapse.target_size, np.int64))


@singledispatch
def writing(synapse: Synapse) -> Wiring | None:
    """The ways of the events that write a synapse's weights; by default None, nothing writes them."""
    return None


@wiring.register
def _(synapse: OneToOne) -> Wiring:
    return Wiring(np.arange(synapse.neurons), np.arange(synapse.neurons))


@wiring.register
def _(synapse: Diagonal) -> Wiring:
    return Wiring(np.arange(synapse.source_size), np.arange(synapse.target_size))


@wiring.register
def _(synapse: Broadcast) -> Wiring:
    target = np.arange(synapse.target_size)
    sender = target // (synapse.copies * synapse.width) * synapse.width + target % synapse.width
    return Wiring(np.arange(synapse.source_size), sender)


@wiring.register
def _(synapse: Bilinear) -> Wiring:
    """Events of a head reach the rows of that head."""
    sender, receiver = np.arange(synapse.source_size), np.arange(synapse.target_size)
    return Wiring(sender // synapse.columns, receiver // synapse.rows)


@writing.register
def _(synapse: Bilinear) -> Wiring:
    """An element of the matrix is a weight of its row."""
    return Wiring(np.arange(synapse.writer_size) // synapse.columns, np.arange(synapse.target_size))


@blocks.register
def _(synapse: Convolution) -> Blocks:
    """All places of an output channel share its kernel."""
    outputs, targets = synapse.target_shape[0], synapse.target_size
    each = np.full(targets, -(-synapse.weight_bytes // outputs))
    return Blocks(np.arange(targets) * outputs // targets, each)


@wiring.register
def _(synapse: Convolution) -> Wiring:
    """Events of a group of channels reach that group. (Those far from a core's part of the picture are counted too.)"""
    sender, receiver = np.arange(synapse.source_size), np.arange(synapse.target_size)
    groups = synapse.groups
    return Wiring(sender * groups // synapse.source_size, receiver * groups // synapse.target_size)


@blocks.register
def _(synapse: Rotary) -> Blocks:
    """All heads turn by one table: channel i and its partner read column i of cosine and sine."""
    column = np.arange(synapse.target_size) % synapse.half
    return Blocks(column, np.full(synapse.target_size, synapse.weight_bytes // synapse.half))


@wiring.register
def _(synapse: Rotary) -> Wiring:
    channel = np.arange(synapse.target_size)
    pair = channel // (2 * synapse.half) * synapse.half + channel % synapse.half
    return Wiring(pair, pair)


@blocks.register
def _(synapse: KeyMemory) -> Blocks:
    """Query heads of one group read the same keys: `width` bytes per group and token."""
    block = _group(synapse, synapse.context) * synapse.context + np.arange(synapse.target_size) % synapse.context
    return Blocks(block, np.full(synapse.target_size, synapse.width))


@wiring.register
def _(synapse: KeyMemory) -> Wiring:
    sender, receiver = np.arange(synapse.source_size), np.arange(synapse.target_size)
    return Wiring(sender // synapse.width, receiver // synapse.context)


@writing.register
def _(synapse: KeyMemory) -> Wiring:
    return Wiring(np.arange(synapse.writer_size) // synapse.width, _group(synapse, synapse.context))


@blocks.register
def _(synapse: ValueMemory) -> Blocks:
    """Query heads of one group read the same values: `context` bytes per group and channel."""
    block = _group(synapse, synapse.width) * synapse.width + np.arange(synapse.target_size) % synapse.width
    return Blocks(block, np.full(synapse.target_size, synapse.context))


@wiring.register
def _(synapse: ValueMemory) -> Wiring:
    sender, receiver = np.arange(synapse.source_size), np.arange(synapse.target_size)
    return Wiring(sender // synapse.context, receiver // synapse.width)


@writing.register
def _(synapse: ValueMemory) -> Wiring:
    channel = np.arange(synapse.target_size) % synapse.width
    return Wiring(np.arange(synapse.writer_size), _group(synapse, synapse.width) * synapse.width + channel)


def ways(network: Network, projection: Projection) -> Iterator[tuple[str, Wiring]]:
    """Who sends into a projection, and which way: the source and, where there is one, the writer."""
    yield projection.source, wiring(projection.synapse)
    written = writing(projection.synapse)
    if projection.writer is not None and written is not None:
        yield projection.writer, written


def _group(synapse: KeyMemory | ValueMemory, per_head: int) -> IntArray:
    """(targets,) the group that each target reads, for `per_head` targets per query head."""
    return np.arange(synapse.target_size) // per_head * synapse.groups // synapse.heads
