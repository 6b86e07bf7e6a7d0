"""Train a convolutional variational autoencoder on scikit-learn's 8 x 8 digits, in under a minute on a processor.

The result is a folder (``config.json``, ``model.safetensors``, ``training.json``) that ``snngen convert`` reads: the
decoder as a list of layers, the encoder as tensors that are left out.

    python examples/train_digits_vae.py --out digits
    snngen convert digits digits.h5
    snngen generate digits.h5 --out digits.png --count 16 --seed 1

With ``--measure`` it also converts the folder, draws every held-out digit from its own encoding, and says how far
float decoder and network are from the digit (PSNR). Needs torch and scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

LATENT, HELD_OUT = 12, 297
CONFIG = {
    "model_type": "decoder",
    "latent": LATENT,
    "picture": [1, 8, 8],
    "range": [0, 1],
    "left_out": ["encoder."],
    "layers": [
        {"kind": "linear", "name": "decoder.0"},
        {"kind": "activation", "function": "relu"},
        {"kind": "view", "shape": [32, 2, 2]},
        {"kind": "transposed_convolution", "name": "decoder.3", "stride": 2, "padding": 1},
        {"kind": "batch_norm", "name": "decoder.4"},
        {"kind": "activation", "function": "relu"},
        {"kind": "transposed_convolution", "name": "decoder.6", "stride": 2, "padding": 1},
        {"kind": "activation", "function": "sigmoid"},
    ],
}


class Autoencoder(nn.Module):
    """Pictures (n, 1, 8, 8) of 0..1 to a normal distribution of latents, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(128, 2 * LATENT),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 128), nn.ReLU(), nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
            nn.Sigmoid(),
        )  # fmt: skip

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, (n, LATENT) each."""
        mean, spread = self.encoder(pictures).chunk(2, dim=1)
        return mean, spread

    def loss(self, pictures: Tensor) -> Tensor:
        """The negative evidence lower bound, in nats per picture."""
        mean, spread = self.encode(pictures)
        latents = mean + torch.randn_like(mean) * (spread / 2).exp()
        drawn = F.binary_cross_entropy(self.decoder(latents), pictures, reduction="sum")
        apart = -0.5 * (1 + spread - mean**2 - spread.exp()).sum()
        return (drawn + apart) / len(pictures)


def digits() -> tuple[Tensor, Tensor]:
    """(1500, 1, 8, 8) to train on and (297, 1, 8, 8) held out, values 0..1."""
    pictures = torch.tensor(load_digits().images[:, None] / 16, dtype=torch.float32)
    return pictures[:-HELD_OUT], pictures[-HELD_OUT:]


def train(seed: int, epochs: int) -> tuple[Autoencoder, list[float]]:
    """A trained autoencoder, and its loss by epoch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # threads slow so small a model down
    model, (pictures, _) = Autoencoder(), digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(pictures)).split(50):
            optimizer.zero_grad()
            loss = model.loss(pictures[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        losses.append(total / len(pictures))
    return model.eval(), losses


def measure(folder: Path, model: Autoencoder) -> dict[str, float]:
    """PSNR in dB against the held-out digits, of float decoder and network, and of one against the other."""
    from snngen.converters.convert import convert
    from snngen.picture import draw, psnr

    network = convert(folder).network
    _, pictures = digits()
    with torch.no_grad():
        latents, _ = model.encode(pictures)
        floats = model.decoder(latents).numpy()
    drawn = draw(network, latents=latents.numpy()).values
    target = pictures.numpy().reshape(drawn.shape)
    floats = floats.reshape(drawn.shape)
    return {
        "float against digits, dB": psnr(floats, target, 1.0),
        "network against digits, dB": psnr(drawn, target, 1.0),
        "network against float, dB": psnr(drawn, floats, 1.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="convert the result and measure both")
    arguments = parser.parse_args()
    started = time.perf_counter()
    model, losses = train(arguments.seed, arguments.epochs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items() if value.is_floating_point()}
    save_file(tensors, arguments.out / "model.safetensors")
    (arguments.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    report = {"seed": arguments.seed, "epochs": arguments.epochs, "seconds": round(time.perf_counter() - started, 1),
              "loss": [round(loss, 3) for loss in (losses[0], losses[-1])]}  # fmt: skip
    if arguments.measure:
        report.update({name: round(value, 2) for name, value in measure(arguments.out, model).items()})
    (arguments.out / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
