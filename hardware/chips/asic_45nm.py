"""A generic digital chip at 45 nm, from Horowitz's table: what spiking and not spiking cost in the same silicon.

A synaptic operation reads one weight byte (row by row from SRAM) and adds it into a 32-bit accumulator. Events arrive
in any order, so the accumulator is read from and written to SRAM each time, 4 bytes each way. A multiply-accumulate
of a network that does not spike runs neuron by neuron: its accumulator stays in a register, its weight byte is read
once. SRAM, per 64-bit access: 10, 20, 100 pJ from 8 KB, 32 KB, 1 MB; per byte an eighth of it.
"""

from snngen.hardware.chip import (
    MEMORY,
    MESSAGES,
    MULTIPLICATIONS,
    NEUROMORPHIC,
    NEURON_UPDATES,
    ROUTING,
    SPIKE_OUTPUT,
    STATIC_POWER,
    SYNAPSES,
    TICK,
    WEIGHT_READS,
    Chip,
)
from snngen.hardware.quantity import PER_OPERATION, Quantity

HOROWITZ = "Horowitz, ISSCC 2014 (45 nm, 0.9 V): int32 add 0.1 pJ, SRAM 10/20/100 pJ per 64 bits, in PMC8934428 T3"
INT8 = "Horowitz, ISSCC 2014, int8 multiply-accumulate 0.23 pJ, accumulate 0.03 pJ, as in SpikingJelly's source"
BYTE_8K, BYTE_32K, BYTE_1M = 10e-12 / 8, 20e-12 / 8, 100e-12 / 8
NO_CHIP = "not a chip that was built: the table has operations and memories only"

CHIP = Chip(
    name="asic-45nm",
    title="generic digital ASIC (45 nm, Horowitz)",
    kind=NEUROMORPHIC,
    quantities={
        # low: accumulators in registers, weights from 8 KB, int8 add. value: accumulators in 8 KB, weights from 32 KB,
        # int32 add. high: accumulators in 32 KB, weights from 1 MB, int8 multiply-accumulate of a graded event.
        SYNAPSES: Quantity(
            0.1e-12 + BYTE_32K + 2 * 4 * BYTE_8K,
            0.03e-12 + BYTE_8K,
            0.23e-12 + BYTE_1M + 2 * 4 * BYTE_32K,
            "J/synaptic operation",
            PER_OPERATION,
            "assumed",
            f"{HOROWITZ}; {INT8}; organization of the memories assumed by snngen",
        ),
        MULTIPLICATIONS: Quantity(0.23e-12, 0.23e-12, 0.23e-12, "J/multiply-accumulate", PER_OPERATION, "cited", INT8),
        WEIGHT_READS: Quantity(BYTE_32K, BYTE_8K, BYTE_1M, "J/byte", PER_OPERATION, "cited", HOROWITZ),
    },
    missing={
        NEURON_UPDATES: "depends on the neuron model; a network that does not spike has as many outputs to rescale",
        **dict.fromkeys((SPIKE_OUTPUT, MESSAGES, ROUTING, STATIC_POWER, TICK), NO_CHIP),
        MEMORY: f"{NO_CHIP}; counted as one chip",
    },
    notes=(
        "Operations and memory accesses of 45 nm; nothing was built or measured as a whole.",
        "The range of a synaptic operation is that of where weights and accumulators lie; memories, and not adders, "
        "decide it.",
        "A synaptic operation is charged a whole byte; packed weights of 4 or 2 bits favour the network without "
        "spikes, which is charged the bytes that are stored.",
    ),
)
