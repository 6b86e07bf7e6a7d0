"""Train a tiny byte-level model of a family on a text, in a minute or two on a processor.

The first 90 % of the corpus trains, the rest validates. The result is a Hugging Face folder (``config.json``,
``model.safetensors``, ``tokenizer.json``, ``training.json``) that ``snngen convert`` reads:

    python examples/train_small.py --family gpt2 --corpus tinyshakespeare.txt --out gpt2
    head -c 1003854 tinyshakespeare.txt > training.txt  # its first 90 %
    snngen convert gpt2 gpt2.h5 --calibrate training.txt
    snngen generate gpt2.h5 "ROMEO:"

Needs torch and transformers (``pip install snngen[parity]``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from recurrent import MatMulFree, Recurrent
from torch import Tensor, nn
from training import Schedule, Trainer, byte_tokenizer, loss_over, split

CONTEXT = 128
LLAMA = {
    "vocab_size": 256,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
NO_DROPOUT = {"attention_dropout": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=256,
            n_positions=CONTEXT,
            n_embd=96,
            n_layer=4,
            n_head=4,
            bos_token_id=None,
            eos_token_id=None,
            initializer_range=0.1,  # positions that begin near zero take long to be noticed
            attn_pdrop=0.0,
            embd_pdrop=0.0,
            resid_pdrop=0.0,
        )
    )


def gemma() -> nn.Module:
    return transformers.GemmaForCausalLM(transformers.GemmaConfig(**LLAMA, head_dim=32))


def phi() -> nn.Module:
    config = {**LLAMA, **NO_DROPOUT, "intermediate_size": 384, "num_key_value_heads": 4, "tie_word_embeddings": False}
    return transformers.PhiForCausalLM(transformers.PhiConfig(**config))


def phi3() -> nn.Module:
    return transformers.Phi3ForCausalLM(transformers.Phi3Config(**LLAMA, **NO_DROPOUT))


def qwen3() -> nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LLAMA, head_dim=24))


# A family: a function that builds a fresh model. Called with (batch, tokens) it gives logits, or an object that has
# them as `logits`; `save_pretrained(folder)` writes config.json and model.safetensors.
FAMILIES: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2,
    "gemma": gemma,
    "phi": phi,
    "phi3": phi3,
    "qwen3": qwen3,
    "lstm": lambda: Recurrent("lstm", 160, 1),
    "gru": lambda: Recurrent("gru", 160, 1),
    "matmulfree": lambda: MatMulFree(128, 320, 2),
}


def train(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # threads slow so small a model down
    torch.manual_seed(options.seed)
    corpus = options.corpus.read_bytes()
    training, validation = split(corpus)
    model = FAMILIES[options.family]()
    model.train()

    def forward(tokens: Tensor) -> Tensor:
        result = model(tokens)
        return getattr(result, "logits", result)

    schedule = Schedule(CONTEXT, options.steps, options.batch, options.rate, 20, 0.6, options.seed)
    trainer = Trainer(model, forward, schedule)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{options.family}: {size:,} parameters")
    for loss in trainer.steps(training, half=False):
        if trainer.step % 50 == 0 or trainer.step == options.steps:
            print(f"step {trainer.step}/{options.steps}  training {loss:.4f}  {trainer.seconds:.0f} s", flush=True)
    final = loss_over(model, forward, validation[: options.validate], CONTEXT, CONTEXT // 2)
    print(f"validation: {final:.4f} nats per byte")
    options.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.out)
    byte_tokenizer().save(str(options.out / "tokenizer.json"))
    record = {
        "family": options.family,
        "corpus_sha256": hashlib.sha256(corpus).hexdigest(),
        "parameters": size,
        **schedule.as_dict(),
        "validation_nats_per_byte": final,
    }
    (options.out / "training.json").write_text(json.dumps(record, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="a text file")
    parser.add_argument("--out", type=Path, required=True, help="the folder that receives the model")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16, help=f"sequences of {CONTEXT} bytes per step")
    parser.add_argument("--rate", type=float, default=5e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validate", type=int, default=20_000, help="bytes of the last 10 %% to validate on")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
