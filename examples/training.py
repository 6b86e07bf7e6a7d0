"""Training of byte-level models: the corpus, the optimizers, the loop, the tokenizer. Needs the extra ``torch``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F

Forward = Callable[[Tensor], Tensor]  # (batch, tokens) integers -> (batch, tokens, vocabulary) logits
TRAINED = 0.9  # share of a corpus, from its beginning; the rest validates


@dataclass(frozen=True)
class Schedule:
    """How a model is trained; batch: sequences of `context` bytes per step; cooldown: share of the steps."""

    context: int
    steps: int
    batch: int
    rate: float
    warmup: int
    cooldown: float
    seed: int

    def rate_at(self, step: int) -> float:
        """Learning rate: linear warm-up, a plateau, linear cool-down to zero."""
        warm = min(1.0, (step + 1) / self.warmup)
        cool = min(1.0, (self.steps - step) / (self.cooldown * self.steps))
        return self.rate * warm * cool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def split(corpus: bytes) -> tuple[Tensor, Tensor]:
    """Training and validation bytes, uint8."""
    data = torch.frombuffer(bytearray(corpus), dtype=torch.uint8)
    border = int(TRAINED * len(data))
    return data[:border], data[border:]


def byte_tokenizer() -> Tokenizer:
    """A tokenizer whose token number is the byte itself."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]  # as GPT-2 spells bytes
    spelling = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        spelling.setdefault(byte, chr(256 + len(spelling) - len(printable)))
    tokenizer = Tokenizer(models.BPE(vocab={spelling[byte]: byte for byte in range(256)}, merges=[]))
    every = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([every, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@torch.no_grad()
def loss_over(model: nn.Module, forward: Forward, tokens: Tensor, context: int, stride: int) -> float:
    """Mean cross-entropy in nats per byte over the whole of `tokens`, in windows of the model's context.

    Every byte but the first is predicted once; each has at least `context - stride` bytes before it,
    except those of the first window.
    """
    model.eval()
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for start in range(0, len(tokens) - 1, stride):
        window = tokens[start : start + context + 1].long().to(device)[None]
        logits = forward(window[:, :-1]).float()
        fresh = logits.shape[1] if start == 0 else logits.shape[1] - (context - stride)
        if fresh <= 0:
            break
        part = F.cross_entropy(logits[0, -fresh:], window[0, -fresh:], reduction="sum")
        total, count = total + float(part), count + fresh
    model.train()
    return total / count


def optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks (few outliers, so they quantize well), AdamW for the rest."""
    inner = {
        name
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and not any(part in name for part in ("embed", "wte", "wpe", "head"))
    }
    matrices = [weight for name, weight in model.named_parameters() if name in inner]
    others = [weight for name, weight in model.named_parameters() if name not in inner]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


@dataclass(eq=False)
class Trainer:
    """A model under training; `state` and `load` stop it and let it go on."""

    model: nn.Module
    forward: Forward
    schedule: Schedule
    step: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.steppers = optimizers(self.model, self.schedule.rate)
        self.generator = torch.Generator().manual_seed(self.schedule.seed)
        self.device = next(self.model.parameters()).device

    def steps(self, training: Tensor, half: bool) -> Iterator[float]:
        """Take the steps that are left, one for each loss (nats per byte) that is asked for; half: in bfloat16."""
        schedule, context = self.schedule, self.schedule.context
        while self.step < schedule.steps:
            began = time.monotonic()
            for stepper in self.steppers:
                for group in stepper.param_groups:
                    group["lr"] = schedule.rate_at(self.step)
            starts = torch.randint(len(training) - context - 1, (schedule.batch,), generator=self.generator)
            batch = torch.stack([training[s : s + context + 1] for s in starts]).long().to(self.device)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
                logits = self.forward(batch[:, :-1])
            loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for stepper in self.steppers:
                stepper.step()
                stepper.zero_grad(set_to_none=True)
            self.step += 1
            self.seconds += time.monotonic() - began
            yield loss.item()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizers": [stepper.state_dict() for stepper in self.steppers],
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for stepper, saved in zip(self.steppers, state["optimizers"], strict=True):
            stepper.load_state_dict(saved)
        self.generator.set_state(state["generator"].cpu())
        self.step, self.seconds = state["step"], state["seconds"]


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name, then rename: a file is either whole or absent."""
    aside = path.with_name(path.name + ".part")
    write(aside)
    os.replace(aside, path)
