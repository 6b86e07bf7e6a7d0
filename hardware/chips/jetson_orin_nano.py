"""Jetson Orin Nano: what others measured for their models, all-in. Nothing here is scaled to another model."""

from snngen.hardware.chip import CONVENTIONAL, Chip, Cited
from snngen.hardware.quantity import ALL_IN, Quantity
from snngen.ledger import GENERATE, PREFILL

SMOLHUB = (
    "Tiny LLM Benchmark, Jetson Orin Nano Super 8GB, smolhub.com 2026 (165.2 token/s, llama.cpp CUDA, 25 W mode); "
    "token/J and W as summarized by signal-ia"
)
ABREU = "Abreu et al. 2025, arXiv:2503.18002, Jetson Orin Nano 8GB rows, read in a transcription"
FP16 = "transformers of 400-500M parameters (Llama-style 400M, Qwen2-500M), FP16 PyTorch, batch 1"

CHIP = Chip(
    name="jetson-orin-nano",
    title="NVIDIA Jetson Orin Nano 8GB",
    kind=CONVENTIONAL,
    cited=(
        Cited(
            "SmolLM2-135M, quantized (101 MB), llama.cpp CUDA, batch 1",
            GENERATE,
            # 22.6 token/J as stated; 5.4 W / 165 token/s, also stated, would be less
            Quantity(1 / 22.6, 0.033, 1 / 22.6, "J/token", ALL_IN, "cited", SMOLHUB),
            "tegrastats; one summary says the rail VDD_CPU_GPU_CV only, without memory and board",
            Quantity(165.2, 165.2, 165.2, "token/s", ALL_IN, "cited", SMOLHUB),
        ),
        # the value is the best of the models measured: the one to be compared with
        Cited(
            FP16,
            GENERATE,
            Quantity(0.719, 0.719, 1.2, "J/token", ALL_IN, "cited", ABREU),
            "system",
            Quantity(15.4, 12.6, 15.4, "token/s", ALL_IN, "cited", ABREU),
        ),
        Cited(
            FP16,
            PREFILL,
            Quantity(4.4e-3, 4.4e-3, 17.9e-3, "J/token", ALL_IN, "cited", ABREU),
            "system",
            Quantity(3861, 627, 3861, "token/s", ALL_IN, "cited", ABREU),
        ),
    ),
    notes=(
        "Figures of the models named, not of the network that was run: not scaled, and not to be scaled, to its size.",
        "The range runs over the models and runs reported; the value is the best, save for SmolLM2-135M, where it is "
        "the efficiency as stated.",
        "FP16 PyTorch is not the strongest competitor: llama.cpp on the same board is.",
    ),
)
