"""Loihi 2: no energy per operation has been published; two constants fitted to the one published language model.

P = energy per token * tokens per second, in both phases of Abreu et al. 2025 (405 mJ at 41.5 token/s; 3.7 mJ at
6,632 token/s), and P = static + dynamic * tokens per second: dynamic = (24.54 W - 16.81 W) / (6632 - 41.5) token/s
= 1.17 mJ/token over 308.3 M stored block weights, static = 16.76 W over 24 chips.
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

ABREU = "fit of snngen to Abreu et al. 2025, arXiv:2503.18002 (405 and 3.7 mJ/token), table read in a transcription"
BRIEF = "Intel Labs 2021, Loihi 2 technology brief, read in a transcription"
UNPUBLISHED = "no figure is published; the fitted synapse constant holds those of the model it was fitted to"
MEMORY_BYTES = 128 * 2**17  # 128 cores of 128 KB

CHIP = Chip(
    name="loihi2",
    title="Intel Loihi 2 (Intel 4, 128 cores)",
    kind=NEUROMORPHIC,
    quantities={
        SYNAPSES: Quantity(3.8e-12, 3.65e-12, 3.96e-12, "J/synaptic operation", PER_OPERATION, "fitted", ABREU),
        # 24 chips held the model, of 32 on the board; which count was metered is not known
        STATIC_POWER: Quantity(16.76 / 24, 16.76 / 32, 16.76 / 24, "W/chip", PER_OPERATION, "fitted", ABREU),
        TICK: Quantity(200e-9, 200e-9, 200e-9, "s/tick", PER_OPERATION, "stated", BRIEF),
        MEMORY: Quantity(MEMORY_BYTES, MEMORY_BYTES, MEMORY_BYTES, "bytes/chip", PER_OPERATION, "stated", BRIEF),
    },
    missing=dict.fromkeys((NEURON_UPDATES, SPIKE_OUTPUT, MESSAGES, ROUTING), UNPUBLISHED),
    notes=(
        "3.8 pJ is 1.17 mJ/token of dynamic energy over 308.3 M stored block weights (dense count, each visited once "
        "a token, zeros included); it holds neuron updates, routing and barriers of that model. Pricing it per "
        "synaptic operation is an assumption. Over non-zero ternary weights alone it would be about 5.7 pJ.",
        "Two constants from two rows: the fit reproduces them and tests nothing. Its range is rounding only.",
        "The model: MatMul-free, 370 M parameters, 24 recurrent blocks on 24 chips, W8A16, batch 1; embedding and "
        "un-embedding were not on the chips.",
        "The authors' own estimate for a single chip, which they did not run, is 59 mJ/token at 71.3 token/s, 4.2 W; "
        "these constants give 11 mJ/token there. Static power does not simply divide by chips.",
        "Static power differs between systems: 0.282 W on a single chip (lava-dl PilotNet notebook), 16.05 W or "
        "1.003 W/chip on another board.",
        "Its rates (synaptic operations, neuron updates, memory reads, links per second) are drawn in a figure of "
        "arXiv:2601.10035 and printed nowhere: with or without a placement the time counts barriers alone.",
        "The maker says minimum time steps are under 200 ns; the steps of a real model are far longer, and static "
        "energy grows with them: the fitted model took 24 ms a token.",
    ),
)
