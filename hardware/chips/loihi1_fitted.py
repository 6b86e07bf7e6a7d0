"""Loihi 1 as SANA-FE has it: constants per operation, fitted to measured totals of Intel's Nahuku board."""

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
from snngen.hardware.chips.loihi1 import DAVIES_TEXT, FRADY
from snngen.hardware.quantity import PER_OPERATION, Quantity

SANA_FE = "SANA-FE, arch/loihi.yaml at 8951ab0 (2026-05-28); fit described in Boyle et al. 2025, TCAD 44(8):3165"
MEMORY_BYTES = 128 * 2**17

CHIP = Chip(
    name="loihi1-fitted",
    title="Intel Loihi (14 nm, 128 cores), constants of SANA-FE",
    kind=NEUROMORPHIC,
    quantities={
        # dense 35.5 pJ, sparse 33.6 pJ, convolution 24.0 pJ
        SYNAPSES: Quantity(35.5e-12, 24.0e-12, 35.5e-12, "J/synaptic operation", PER_OPERATION, "fitted", SANA_FE),
        # access 51.2 pJ at every tick, and update 21.6 pJ
        NEURON_UPDATES: Quantity(72.8e-12, 51.2e-12, 72.8e-12, "J/neuron update", PER_OPERATION, "fitted", SANA_FE),
        SPIKE_OUTPUT: Quantity(69.3e-12, 69.3e-12, 69.3e-12, "J/event", PER_OPERATION, "fitted", SANA_FE),
        # message out 111 pJ, message in 0 pJ
        MESSAGES: Quantity(111e-12, 111e-12, 111e-12, "J/message", PER_OPERATION, "fitted", SANA_FE),
        # east-west 3.0 pJ, north-south 4.2 pJ; the value is their mean, as for routes that go as far in either way
        ROUTING: Quantity(3.6e-12, 3.0e-12, 4.2e-12, "J/hop", PER_OPERATION, "fitted", SANA_FE),
        STATIC_POWER: Quantity(0.104, 0.104, 0.104, "W/chip", PER_OPERATION, "cited", FRADY),
        # synchronization table: 0.6, 1.0, 1.4, 1.8 us over 1, 2, 4, 29 tiles; the shortest is the bound
        TICK: Quantity(0.6e-6, 0.6e-6, 1.8e-6, "s/tick", PER_OPERATION, "fitted", SANA_FE),
        # dense 3.8 ns, sparse 4.7 ns, convolution 3.1 ns
        SYNAPSE_TIME: Quantity(3.8e-9, 3.1e-9, 4.7e-9, "s/synaptic operation", PER_OPERATION, "fitted", SANA_FE),
        # access 6.0 ns, and update 3.7 ns
        UPDATE_TIME: Quantity(9.7e-9, 6.0e-9, 9.7e-9, "s/neuron update", PER_OPERATION, "fitted", SANA_FE),
        MEMORY: Quantity(MEMORY_BYTES, MEMORY_BYTES, MEMORY_BYTES, "bytes/chip", PER_OPERATION, "stated", DAVIES_TEXT),
    },
    notes=(
        "The header of SANA-FE's file names Davies et al. 2018; most of its numbers are regression fits instead, "
        "with errors of up to 11.7 % in energy and 24.3 % in latency on the authors' workloads.",
        "On the measured neighbour search of Frady et al. 2020 its 35.5 pJ comes out 55 to 71 % too high.",
        "SANA-FE has no static power; 0.104 W is Frady's board of 32 chips.",
        "A tick over 29 tiles takes 1.8 us. Spike output (30 ns) and messages (5.1 ns out, 16 ns in) take time as "
        "well, which is not counted here.",
        "Spikes of Loihi 1 carry no payload: the codes graded and delta, and 32-bit potentials under every code, "
        "cannot run on it as counted.",
    ),
)
