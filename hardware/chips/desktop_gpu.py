"""A desktop GPU: what one owner measured at the wall for models of others, all-in."""

from snngen.hardware.chip import CONVENTIONAL, Chip, Cited
from snngen.hardware.quantity import ALL_IN, Quantity
from snngen.ledger import GENERATE

WALL = "RX 7800 XT desktop, Tapo P110 wall plug, cold"
BOUNDARY = "at the wall plug, cold"

CHIP = Chip(
    name="desktop-gpu",
    title="AMD Radeon RX 7800 XT in a desktop computer",
    kind=CONVENTIONAL,
    cited=(
        Cited(
            "TinyLlama 1.1B",
            GENERATE,
            # 0.0718 mWh/token
            Quantity(0.258, 0.258, 0.258, "J/token", ALL_IN, "cited", f"{WALL}: 0.0718 mWh/token"),
            BOUNDARY,
        ),
        Cited(
            "Mistral 7B",
            GENERATE,
            # 0.9639 mWh/token
            Quantity(3.47, 3.47, 3.47, "J/token", ALL_IN, "cited", f"{WALL}: 0.9639 mWh/token"),
            BOUNDARY,
        ),
    ),
    notes=(
        "Figures of the models named, not of the network that was run: not scaled, and not to be scaled, to its size.",
        "A plug meter over a short run: low confidence for TinyLlama.",
    ),
)
