"""Raspberry Pi 4: what others measured for their models, all-in. Nothing here is scaled to another model."""

from snngen.hardware.chip import CONVENTIONAL, Chip, Cited
from snngen.hardware.quantity import ALL_IN, Quantity
from snngen.ledger import GENERATE

OLLAMA = "arXiv:2504.03360 (Raspberry Pi 4 4GB, Ollama, hardware meter), read in a table that quotes it"
BOUNDARY = "hardware meter; what it spans was not read"

CHIP = Chip(
    name="raspberry-pi",
    title="Raspberry Pi 4 4GB",
    kind=CONVENTIONAL,
    cited=(
        Cited(
            "Qwen2.5-0.5B, Q4_K_M, Ollama, batch 1",
            GENERATE,
            Quantity(2.6, 2.6, 2.6, "J/token", ALL_IN, "cited", OLLAMA),
            BOUNDARY,
        ),
        Cited(
            "Llama3.2-1.2B, Q3, Ollama, batch 1",
            GENERATE,
            Quantity(3.75, 3.75, 3.75, "J/token", ALL_IN, "cited", OLLAMA),
            BOUNDARY,
        ),
    ),
    notes=(
        "Figures of the models named, not of the network that was run: not scaled, and not to be scaled, to its size.",
        "Figures of the Raspberry Pi 5 exist and were not found in print per token.",
    ),
)
