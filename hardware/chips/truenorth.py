"""TrueNorth: static power and energy per synaptic event, a line through two measured points of one chip.

Akopyan 2015, Fig. 17: 68, 71 and 94 mW at 11.58, 20.07 and 95.93 Hz, for 1,048,576 neurons of 128 synapses. The first
and the last give (94 - 68) mW / (84.35 Hz * 134,217,728) = 2.297 pJ/event and 68 mW - 3.57 mW = 64.4 mW; the middle
one is held out. The ranges are those of powers printed to 1 mW.
"""

from snngen.hardware.chip import (
    MEMORY,
    MESSAGES,
    NEUROMORPHIC,
    NEURON_UPDATES,
    ROUTING,
    SPIKE_OUTPUT,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    Chip,
)
from snngen.hardware.quantity import PER_OPERATION, Quantity

AKOPYAN = "fit to Akopyan et al. 2015, Fig. 17 (68 and 94 mW at 11.58 and 95.93 Hz, 0.8 V), read in a transcription"
MEROLLA = "Merolla et al. 2014, supplement S5, read in a transcription"
IN_THE_EVENT = "the fitted energy of an event holds it, since only the chip's total power was measured"

CHIP = Chip(
    name="truenorth",
    title="IBM TrueNorth (28 nm, 4,096 cores of 256 neurons)",
    kind=NEUROMORPHIC,
    quantities={
        SYNAPSES: Quantity(2.297e-12, 2.208e-12, 2.385e-12, "J/synaptic operation", PER_OPERATION, "fitted", AKOPYAN),
        STATIC_POWER: Quantity(64.4e-3, 63.8e-3, 65.1e-3, "W/chip", PER_OPERATION, "fitted", AKOPYAN),
        TICK: Quantity(1e-3, 1e-3, 1e-3, "s/tick", PER_OPERATION, "cited", MEROLLA),
    },
    missing={
        NEURON_UPDATES: "every neuron is updated at every tick, in the fitted static power",
        SPIKE_OUTPUT: IN_THE_EVENT,
        MESSAGES: IN_THE_EVENT,
        ROUTING: IN_THE_EVENT,
        MEMORY: "crossbars of one-bit synapses: 8-bit weights have no place of their own; counted as one chip at least",
    },
    notes=(
        "26 pJ per synaptic event, the figure mostly quoted, is all-in (72 mW over all events at 20 Hz, 128 synapses, "
        "0.775 V): static power is in it, and it is never added to these figures.",
        "Measured apart, a hop takes 2.3 pJ per spike (Merolla et al. 2014, supplement); the fitted event holds it for "
        "the routes of that network.",
        "Synapses are one bit and neurons leak by rule: this network's 8-bit weights cannot run on it as counted.",
    ),
)
