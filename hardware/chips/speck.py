"""Speck: power at rest and the rate of a core are published; an energy per synaptic operation is not."""

from snngen.hardware.chip import (
    MEMORY,
    MESSAGES,
    NEUROMORPHIC,
    NEURON_UPDATES,
    ROUTING,
    SPIKE_OUTPUT,
    STATIC_POWER,
    SYNAPSE_TIME,
    SYNAPSES,
    TICK,
    Chip,
)
from snngen.hardware.quantity import PER_OPERATION, Quantity

YAO = "Yao et al. 2024, abstract (0.42 mW resting)"
RATE = "30-100 M synaptic operations per second and core, read in a source that quotes it, primary not opened"
ALL_IN_ONLY = "not published: 0.70 mW while running is all-in"

CHIP = Chip(
    name="speck",
    title="SynSense Speck (65 nm, asynchronous)",
    kind=NEUROMORPHIC,
    quantities={
        STATIC_POWER: Quantity(0.42e-3, 0.42e-3, 0.42e-3, "W/chip", PER_OPERATION, "measured", YAO),
        # 100 .. 30 M/s; the shortest is the bound
        SYNAPSE_TIME: Quantity(1 / 100e6, 1 / 100e6, 1 / 30e6, "s/synaptic operation", PER_OPERATION, "cited", RATE),
    },
    missing={
        **dict.fromkeys((SYNAPSES, NEURON_UPDATES, SPIKE_OUTPUT, MESSAGES, ROUTING), ALL_IN_ONLY),
        TICK: "asynchronous: it has no tick",
        MEMORY: "no figure in a source that was read; counted as one chip at least",
    },
    notes=(
        "All-in and measured, on its makers' vision tasks: 0.70 mW while running. Nothing here is an energy per event.",
        "Convolutions of a small sensor chip: the network that was run does not fit it.",
    ),
)
