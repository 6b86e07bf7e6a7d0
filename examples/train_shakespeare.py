"""Train the small LLaMA that ships with snngen, from a text file.

A byte-level LLaMA (RMSNorm, rotary positions, grouped queries, SwiGLU, tied head) is trained on the first
90 % of the corpus and validated on the last 10 %. The result is a Hugging Face directory (``config.json``,
``model.safetensors``, ``tokenizer.json``, ``training.json``) that ``snngen convert`` reads:

    python examples/train_shakespeare.py --corpus tinyshakespeare.txt --out shakespeare
    head -c 1003854 tinyshakespeare.txt > training.txt  # its first 90 %
    snngen convert shakespeare shakespeare.h5 --calibrate training.txt

Needs the extra ``torch``. Training stops and goes on: run the same command again and it resumes from the last
checkpoint in the output folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from training import Schedule, Trainer, byte_tokenizer, loss_over, split, write_aside


@dataclass(frozen=True)
class Shape:
    """The shape of a LLaMA, under Hugging Face's names."""

    vocab_size: int = 256
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 6
    num_key_value_heads: int = 3
    max_position_embeddings: int = 256
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions in Hugging Face's layout: channel i turns with channel i + head_dim / 2."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        keys = shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        shape = self.shape

        def heads(values: Tensor, count: int) -> Tensor:
            return values.view(batch, length, count, shape.head_dim).transpose(1, 2)

        query = rotate(heads(self.q_proj(x), shape.num_attention_heads), cos, sin)
        key = rotate(heads(self.k_proj(x), shape.num_key_value_heads), cos, sin)
        value = heads(self.v_proj(x), shape.num_key_value_heads)
        groups = shape.num_attention_heads // shape.num_key_value_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, dropout: float) -> Tensor:
        mixed = self.self_attn(self.input_layernorm(x), cos, sin)
        x = x + F.dropout(mixed, dropout, self.training)
        fed = self.mlp(self.post_attention_layernorm(x))
        return x + F.dropout(fed, dropout, self.training)


class Llama(nn.Module):
    """A LLaMA whose parameter names are Hugging Face's, so that its state is a valid checkpoint."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        exponent = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        angles = torch.outer(torch.arange(shape.max_position_embeddings), shape.rope_theta**-exponent)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                spread = 0.02 / math.sqrt(2 * shape.num_hidden_layers) if residual else 0.02
                nn.init.normal_(weight, std=spread)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = F.dropout(self.embed_tokens(tokens), self.dropout, self.training)
        for block in self.layers:
            x = block(x, self.cos[:length].to(x.dtype), self.sin[:length].to(x.dtype), self.dropout)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def train(options: argparse.Namespace) -> None:
    corpus = options.corpus.read_bytes()
    training, validation = split(corpus)
    shape = Shape()
    torch.manual_seed(options.seed)
    model = Llama(shape, options.dropout).to(torch.device(options.device))
    context = shape.max_position_embeddings
    asked = (options.steps, options.batch, options.rate, options.warmup, options.cooldown, options.seed)
    trainer = Trainer(model, model, Schedule(context, *asked))
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.pt"
    history: list[list[float]] = []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=trainer.device, weights_only=True)
        trainer.load(saved)
        history = saved["history"]
        print(f"resuming at step {trainer.step}")
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size:,} parameters, {len(training):,} training bytes, {len(validation):,} validation bytes")

    for loss in trainer.steps(training, half=True):
        done = trainer.step
        if done % options.report == 0 or done == options.steps:
            sample = loss_over(model, model, validation[: 64 * context], context, context)
            history.append([done, loss, sample])
            left = trainer.seconds / done * (options.steps - done)
            print(
                f"step {done}/{options.steps}  training {loss:.4f}  validation {sample:.4f}  "
                f"{trainer.seconds:.0f} s, {left:.0f} s left",
                flush=True,
            )
            state = {**trainer.state(), "history": history}
            write_aside(checkpoint, lambda path, state=state: torch.save(state, path))

    final = loss_over(model, model, validation, context, context // 2)
    print(f"validation over the last 10 %: {final:.4f} nats per byte")
    record = {
        "corpus_sha256": hashlib.sha256(corpus).hexdigest(),
        "corpus_bytes": len(corpus),
        "training_bytes": len(training),
        "parameters": size,
        "steps": options.steps,
        "batch": options.batch,
        "rate": options.rate,
        "dropout": options.dropout,
        "seed": options.seed,
        "validation_nats_per_byte": final,
        "history": history,
    }
    write(model, shape, record, options.out)


def write(model: Llama, shape: Shape, record: dict[str, Any], folder: Path) -> None:
    """The model as Hugging Face's Llama, with its tokenizer, and how it was trained."""
    weights = {f"model.{name}": weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": None,
        **asdict(shape),
    }
    write_aside(folder / "model.safetensors", lambda path: save_file(weights, path))
    write_aside(folder / "config.json", lambda path: path.write_text(json.dumps(config, indent=2)))
    write_aside(folder / "tokenizer.json", lambda path: byte_tokenizer().save(str(path)))
    write_aside(folder / "training.json", lambda path: path.write_text(json.dumps(record, indent=2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a text file")
    parser.add_argument("--out", type=Path, required=True, help="the folder that receives the model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32, help="sequences of 256 bytes per step")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=50, help="steps of linear warm-up")
    parser.add_argument("--cooldown", type=float, default=0.6, help="share of the steps that cool down to zero")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--report", type=int, default=50, help="steps between reports and checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
