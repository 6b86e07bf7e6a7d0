"""Train a small diffusion U-Net on scikit-learn's 8 x 8 digits, convert it, and draw digits with spikes.

The U-Net (convolutions, GroupNorm, SiLU, a skip that is concatenated, nearest upsampling) predicts the noise in a
noisy digit; the time comes in as maps beside the picture. It becomes a spiking network by `from_torch`, and twenty
DDIM steps around it draw: each is one token of the network.

    python examples/train_digits_diffusion.py --out digits-diffusion --count 16

writes the network (``step.h5``), the digits that it drew (``network.png``), those that the float U-Net drew from the
same noise (``float.png``) and ``report.json``. Needs torch and scikit-learn; under three minutes on a processor.
Source: DDPM (Ho et al. 2020), the sampler of DDIM (Song et al. 2021) without noise, a cosine schedule.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from train_digits_vae import digits

import snngen
from snngen.codes import by_name
from snngen.converters.convert import convert_graph
from snngen.converters.from_torch import from_torch
from snngen.engines.ticked import TickedEngine
from snngen.network import Network
from snngen.picture import Drawing, draw, encode, psnr

MAPS, SIDE, STEPS = 4, 8, 20
CLEANEST = 0.998  # of the time at which sampling begins: at 1 a picture is nothing but noise


class UNet(nn.Module):
    """(n, 1 + MAPS, 8, 8) of noisy pictures and time to (n, 1, 8, 8) of the noise in them."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.SiLU())

        self.enter = nn.Sequential(block(1 + MAPS, channels), block(channels, channels))
        self.below = nn.Sequential(
            block(channels, 2 * channels, 2), block(2 * channels, 2 * channels), block(2 * channels, 2 * channels)
        )
        self.up = nn.Upsample(scale_factor=2)
        self.leave = nn.Sequential(block(3 * channels, channels), nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        low = self.up(self.below(high))
        noise: Tensor = self.leave(torch.cat((low, high), dim=1))
        return noise


def signal(t: Tensor) -> Tensor:
    """Share of the picture's variance that is left at time t of 0..1."""
    return torch.cos(t * math.pi / 2) ** 2


def with_time(pictures: Tensor, t: Tensor) -> Tensor:
    """The noisy pictures, and maps that tell the time."""
    tells = torch.stack((2 * t - 1, torch.sin(math.pi * t), torch.cos(math.pi * t), torch.sin(2 * math.pi * t)), dim=1)
    return torch.cat((pictures, tells[:, :, None, None].expand(-1, -1, SIDE, SIDE)), dim=1)


def noisy(pictures: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The forward process: sqrt(signal) * picture + sqrt(1 - signal) * noise."""
    kept = signal(t)[:, None, None, None]
    return kept.sqrt() * pictures + (1 - kept).sqrt() * noise


def train(seed: int, steps: int, batch: int = 96) -> tuple[UNet, list[float]]:
    """A trained U-Net (the running mean of its weights), and its mean squared error by hundred steps."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model, pictures = UNet(), digits()[0] * 2 - 1
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    errors = []
    for _ in range(steps):
        chosen = pictures[torch.randint(len(pictures), (batch,))]
        t, noise = torch.rand(batch) * CLEANEST, torch.randn(batch, 1, SIDE, SIDE)
        optimizer.zero_grad()
        error = ((model(with_time(noisy(chosen, t, noise), t)) - noise) ** 2).mean()
        error.backward()
        optimizer.step()
        schedule.step()
        mean.update_parameters(model)
        errors.append(error.item())
    trained: UNet = mean.module.eval()
    return trained, [float(np.mean(errors[k : k + 100])) for k in range(0, steps, 100)]


def sample(predict: Callable[[Tensor], Tensor], count: int, seed: int) -> Tensor:
    """(count, 1, 8, 8) pictures of -1..1 by DDIM: the noise that is predicted is taken out, and less of it put back."""
    x = torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    times = torch.linspace(CLEANEST, 0, STEPS + 1)
    for now, then in pairwise(times):
        noise = predict(with_time(x, now.expand(count)))
        kept, keeps = signal(now), signal(then)
        clean = ((x - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)
        noise = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
        x = keeps.sqrt() * clean + (1 - keeps).sqrt() * noise
    return x


def converted(model: UNet, seed: int) -> Network:
    """The spiking network of one step, calibrated on digits at all times."""
    graph = from_torch(model, torch.zeros(1, 1 + MAPS, SIDE, SIDE), picture_range=(-4.0, 4.0))
    generator = torch.Generator().manual_seed(seed)
    pictures = digits()[0] * 2 - 1
    chosen = pictures[torch.randint(len(pictures), (256,), generator=generator)]
    t = torch.linspace(0, CLEANEST, 64).repeat(4)
    noise = torch.randn(chosen.shape, generator=generator)
    vectors = with_time(noisy(chosen, t, noise), t).reshape(4, 64, -1).numpy()
    return convert_graph(graph, vectors).network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    model, errors = train(arguments.seed, arguments.steps)
    trained = time.perf_counter()
    network = converted(model, arguments.seed)
    snngen.save(network, arguments.out / "step.h5")
    steps: list[Drawing] = []

    def spiking(x: Tensor) -> Tensor:
        steps.append(draw(network, x.flatten(1).numpy()))
        return torch.tensor(steps[-1].values, dtype=torch.float32)

    with torch.no_grad():
        floats = sample(model, arguments.count, arguments.seed)
    drawn = sample(spiking, arguments.count, arguments.seed)
    for name, pictures in (("network.png", drawn), ("float.png", floats)):
        shown = Drawing(network, steps[-1].codes, pictures.double().numpy() * 4, steps[-1].ledger, 0.0)
        shown.save(arguments.out / name)
    tried = encode(network, with_time(drawn[:2], torch.tensor([0.1, 0.9])).flatten(1).numpy())
    exact = [snngen.certify(network, tried), snngen.certify(network, tried, TickedEngine(network, by_name("bitwise")))]
    report = {
        "seconds of training": round(trained - started, 1),
        "error by hundred steps": [round(error, 4) for error in errors],
        "network against float, dB": round(psnr(drawn.numpy(), floats.numpy(), 2.0), 2),
        "events per picture": sum(step.ledger.per_token()["events"] for step in steps),
        "synaptic operations per picture": sum(step.ledger.per_token()["synaptic_operations"] for step in steps),
        "certificates": [str(certificate) for certificate in exact],
    }
    (arguments.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
