"""Loihi 1: Intel's own figures per operation, from circuit simulation; static power from a 32-chip board."""

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
    UPDATE_TIME,
    Chip,
)
from snngen.hardware.quantity import PER_OPERATION, Quantity

DAVIES = "Davies et al. 2018, IEEE Micro 38(1), Table 2 (0.75 V, SDF and SPICE before silicon), read in a transcription"
DAVIES_TEXT = "Davies et al. 2018, IEEE Micro 38(1), p. 95, read in a transcription"
SANA_FE = "upper end: SANA-FE 2.2.1, arch/loihi.yaml, dense synapse, fitted to Intel's Nahuku board"
FRADY = "Frady et al. 2020, arXiv:2004.12691, Table 1 (3.34 W / 32 chips, voltage not stated), read in a transcription"

CHIP = Chip(
    name="loihi1",
    title="Intel Loihi (14 nm, 128 cores)",
    kind=NEUROMORPHIC,
    quantities={
        # 23.6 pJ is printed as a minimum, with no maximum.
        SYNAPSES: Quantity(
            23.6e-12, 23.6e-12, 35.5e-12, "J/synaptic operation", PER_OPERATION, "simulated", f"{DAVIES}; {SANA_FE}"
        ),
        # active 81 pJ, inactive 52 pJ
        NEURON_UPDATES: Quantity(81e-12, 52e-12, 81e-12, "J/neuron update", PER_OPERATION, "simulated", DAVIES),
        # within-tile spike
        MESSAGES: Quantity(1.7e-12, 1.7e-12, 1.7e-12, "J/message", PER_OPERATION, "simulated", DAVIES),
        # east-west 3.0 pJ, north-south 4.0 pJ; the value is their mean, as for routes that go as far in either way
        ROUTING: Quantity(3.5e-12, 3.0e-12, 4.0e-12, "J/hop", PER_OPERATION, "simulated", DAVIES),
        STATIC_POWER: Quantity(0.104, 0.104, 0.104, "W/chip", PER_OPERATION, "cited", FRADY),
        # barrier over 1 tile .. 32 tiles of one chip; the shortest is the bound
        TICK: Quantity(113e-9, 113e-9, 465e-9, "s/tick", PER_OPERATION, "simulated", DAVIES),
        # 3.5 ns is printed as a maximum, with no minimum.
        SYNAPSE_TIME: Quantity(3.5e-9, 0, 3.5e-9, "s/synaptic operation", PER_OPERATION, "simulated", DAVIES),
        UPDATE_TIME: Quantity(8.4e-9, 5.3e-9, 8.4e-9, "s/neuron update", PER_OPERATION, "simulated", DAVIES),
        MEMORY: Quantity(128 * 2**17, 128 * 2**17, 128 * 2**17, "bytes/chip", PER_OPERATION, "stated", DAVIES_TEXT),
    },
    missing={SPIKE_OUTPUT: "not published apart; the update of an active neuron (81 pJ against 52 pJ) holds it"},
    notes=(
        "23.6 pJ per synaptic operation is a minimum from simulation before silicon, not a measurement.",
        "A tick is one barrier of one chip, 113 ns over 1 tile to 465 ns over 32; across 256 chips 14.3 us were "
        "measured (Frady et al. 2020).",
        "3.5 ns per synaptic operation is a maximum of the same simulation, with no minimum: where a placement gives "
        "the work of the busiest core, the value of the time takes 3.5 ns and its low end leaves synapses out.",
        "Spikes of Loihi 1 carry no payload: the codes graded and delta, and 32-bit potentials under every code, "
        "cannot run on it as counted.",
    ),
)
