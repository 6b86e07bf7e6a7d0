"""Small recurrent language models to train: LSTM, GRU, and the MatMul-free one with ternary weights. Needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F


class Saved(nn.Module):
    """A model that writes the folder that `snngen convert` reads."""

    config: dict[str, Any]

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / "model.safetensors"
        )
        (folder / "config.json").write_text(json.dumps(self.config, indent=2))


class Recurrent(Saved):
    """Embedding, stacked LSTM or GRU, linear head."""

    def __init__(self, model_type: str, hidden: int, depth: int) -> None:
        super().__init__()
        self.config = {"model_type": model_type, "vocab_size": 256, "hidden_size": hidden, "num_layers": depth}
        self.embedding = nn.Embedding(256, hidden)
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[model_type](hidden, hidden, depth, batch_first=True)
        self.head = nn.Linear(hidden, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.embedding(tokens))
        return self.head(hidden)


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` forwards, the gradient of `x` backwards."""
    return x + (rounded - x).detach()


class BitLinear(nn.Module):
    """RMSNorm, activations in 8 bits of the token's largest magnitude, weights -s, 0 and s; s their mean magnitude."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.norm = nn.RMSNorm(inputs, eps=1e-6)

    def ternary(self) -> Tensor:
        scale = self.weight.abs().mean().clamp(min=1e-5)
        return (self.weight / scale).round().clamp(-1, 1) * scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5) / 127
        x = straight_through(x, (x / step).round() * step)
        return F.linear(x, straight_through(self.weight, self.ternary()))


class Mixer(nn.Module):
    """MLGRU: h = f * h' + (1 - f) * silu(i); o = W (RMSNorm(g) * silu(h))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.i_proj, self.f_proj, self.g_proj, self.o_proj = (BitLinear(dim, dim) for _ in range(4))
        self.g_norm = nn.RMSNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        forget = self.f_proj(x).sigmoid()
        fresh = F.silu(self.i_proj(x)) * (1 - forget)
        state, states = torch.zeros_like(fresh[:, 0]), []
        for f, i in zip(forget.unbind(1), fresh.unbind(1), strict=True):
            state = f * state + i
            states.append(state)
        return self.o_proj(self.g_norm(self.g_proj(x)) * F.silu(torch.stack(states, dim=1)))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.down_proj = BitLinear(dim, 2 * hidden), BitLinear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.attn_norm, self.mlp_norm = nn.RMSNorm(dim, eps=1e-6), nn.RMSNorm(dim, eps=1e-6)
        self.attn, self.mlp = Mixer(dim), FeedForward(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class MatMulFree(Saved):
    """MatMul-free language model under the tensor names of ridger/MMfreeLM; its weights are saved ternary."""

    def __init__(self, dim: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.config = {
            "model_type": "hgrn_bit",
            "vocab_size": 256,
            "hidden_size": dim,
            "intermediate_size": hidden,
            "num_hidden_layers": depth,
            "num_heads": 1,
            "expand_ratio": 1,
            "use_lower_bound": False,
            "tie_word_embeddings": False,
        }
        self.model = nn.Module()
        self.model.embeddings = nn.Embedding(256, dim)
        self.model.layers = nn.ModuleList(Block(dim, hidden) for _ in range(depth))
        self.model.norm = nn.RMSNorm(dim, eps=1e-6)
        self.lm_head = BitLinear(dim, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.model.embeddings(tokens)
        for block in self.model.layers:
            x = block(x)
        return self.lm_head(self.model.norm(x))

    @torch.no_grad()
    def save_pretrained(self, folder: Path) -> None:
        for module in self.modules():
            if isinstance(module, BitLinear):
                module.weight.copy_(module.ternary())
        super().save_pretrained(folder)
