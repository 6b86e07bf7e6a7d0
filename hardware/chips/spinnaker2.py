"""SpiNNaker2: two figures for a synaptic operation, 45 times apart. Both stand."""

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

SENECA = "10 pJ: SENECA paper, PMC10326429, Table 3 (mixed scopes, 'only high-level comparison')"
KERAS_SPIKING = "450 pJ: KerasSpiking ModelEnergy, from the 28 nm test chip"
NEURON = "KerasSpiking ModelEnergy, SpiNNaker2, from the 28 nm test chip"
NO_SOURCE = "no figure in a source that was read"

CHIP = Chip(
    name="spinnaker2",
    title="SpiNNaker2 (processors in software)",
    kind=NEUROMORPHIC,
    quantities={
        # the value is the lower: totals are lower bounds
        SYNAPSES: Quantity(
            10e-12, 10e-12, 450e-12, "J/synaptic operation", PER_OPERATION, "cited", f"{SENECA}; {KERAS_SPIKING}"
        ),
        NEURON_UPDATES: Quantity(2.19e-9, 2.19e-9, 2.19e-9, "J/neuron update", PER_OPERATION, "cited", NEURON),
    },
    missing={
        **dict.fromkeys((SPIKE_OUTPUT, MESSAGES, ROUTING), NO_SOURCE),
        STATIC_POWER: "not published apart: 0.39 W of one chip is all-in",
        TICK: "set in software; the shortest is not published",
        MEMORY: f"{NO_SOURCE}; counted as one chip at least",
    },
    notes=(
        "10 and 450 pJ per synaptic operation are both in print. The value is the lower one; a verdict must hold over "
        "the whole range.",
        "All-in and measured, another model: EGRU 3x1350, WikiText-2, 0.39 W and 65.3 mJ per inference (Nazeer et al., "
        "arXiv:2312.09084); never added to these figures.",
    ),
)
