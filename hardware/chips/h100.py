"""NVIDIA H100: what others measured for their models, all-in. Nothing here is scaled to another model."""

from snngen.hardware.chip import CONVENTIONAL, Chip, Cited
from snngen.hardware.quantity import ALL_IN, Quantity
from snngen.ledger import GENERATE, PREFILL

ML_ENERGY = "ML.ENERGY benchmark (ml.energy), Zeus/NVML: 0.20 J/token in version 2, 0.12 in version 3"
ABREU = "Abreu et al. 2025, arXiv:2503.18002, read in a transcription"
MATMUL_FREE = "MatMul-free 370M, batch 1"

CHIP = Chip(
    name="h100",
    title="NVIDIA H100",
    kind=CONVENTIONAL,
    cited=(
        Cited(
            "Llama-3.1-8B, vLLM, batch 64",
            GENERATE,
            Quantity(0.12, 0.12, 0.20, "J/token", ALL_IN, "cited", ML_ENERGY),
            "GPU only, steady state",
        ),
        Cited(
            f"{MATMUL_FREE} (at least)",
            GENERATE,
            # 14 times the 405 mJ of Loihi 2, or more
            Quantity(5.67, 5.67, 5.67, "J/token", ALL_IN, "cited", f"{ABREU}: at least 14 times 405 mJ"),
            "system",
            # Loihi 2 had three times its throughput
            Quantity(41.5 / 3, 41.5 / 3, 41.5 / 3, "token/s", ALL_IN, "cited", f"{ABREU}: a third of 41.5 token/s"),
        ),
        Cited(
            f"{MATMUL_FREE}, 16,000 tokens (its best)",
            PREFILL,
            Quantity(0.9e-3, 0.9e-3, 0.9e-3, "J/token", ALL_IN, "cited", ABREU),
            "system",
            Quantity(84.6e3, 11.4e3, 84.6e3, "token/s", ALL_IN, "cited", ABREU),
        ),
    ),
    notes=(
        "Figures of the models named, not of the network that was run: not scaled, and not to be scaled, to its size.",
        "Batch 64 shares each read of the weights among 64 streams; batch 1 does not. NVML sees the GPU alone.",
    ),
)
