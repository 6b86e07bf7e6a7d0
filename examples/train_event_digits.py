"""Train the digits application: an encoder of camera events and a decoder of its spikes, in about two minutes.

1. The encoder is trained with snnTorch in steps of 2 ms by surrogate gradients, and its weights are rounded to 8 bits.
   A step sums up what cancels within it; event by event more spikes come of it. So whatever follows is trained on the
   spikes that `ContinuousEngine` gives, digit after digit without a reset:
2. the neurons of the label, with snnTorch in steps of 0.25 ms;
3. the decoder, in torch, on spike counts; then it is converted to integers.

Everything reported is measured on held-out digits in the event-driven engines.

    python examples/train_event_digits.py --out digits.h5

Needs scikit-learn and snnTorch (``pip install snngen[digits,torch]``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snngen import digits
from snngen.converters.convert import convert_graph
from snngen.converters.from_torch import from_torch
from snngen.converters.graph import Codes
from snngen.converters.settings import Settings
from snngen.dynamics.network import DynamicNetwork, DynamicPopulation, DynamicProjection
from snngen.dynamics.neurons.input import Input
from snngen.dynamics.neurons.leaky_integrate_and_fire import LeakyIntegrateAndFire
from snngen.dynamics.spikes import Spikes
from snngen.dynamics.synapses.dense import Dense
from snngen.engines.continuous import ContinuousEngine
from snngen.integers import FloatArray, IntArray
from snngen.network import Network
from snngen.picture import psnr

STEP_US = 2000
STEPS = digits.PERIOD_US // STEP_US
HIDDEN, LATENT = 128, 32
HIDDEN_TAU, OUTPUT_TAU = 0.010, 0.015  # seconds
WEIGHT_HIGH = 127
MOST_SPIKES = 63  # of one neuron in a period that the decoder tells apart
UNIT = 8.0  # spikes that are 1 for the torch decoder while it trains
VARIANTS = 4  # of each digit trained on: as shown, and shifted by parts of a pixel
SHIFT = 0.6  # camera pixels at most
FINE_US = 250
CODE_BITS = 6  # of the decoder: fewer levels, fewer spikes


def leaky(tau: float, step_us: int) -> snntorch.Leaky:
    """Neurons whose threshold, 1, is subtracted at once, as in continuous time."""
    return snntorch.Leaky(
        beta=float(np.exp(-step_us * 1e-6 / tau)), spike_grad=snntorch.surrogate.fast_sigmoid(10),
        reset_mechanism="subtract", reset_delay=False,
    )  # fmt: skip


class Encoder(nn.Module):
    """Two layers of leaky integrate-and-fire neurons without biases, in steps of STEP_US."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(digits.CAMERA.sensor.size, HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, digits.CLASSES + LATENT, bias=False)
        nn.init.normal_(self.into.weight, 0.02, 0.12)
        nn.init.normal_(self.out.weight, 0.03, 0.2)
        self.hidden, self.outputs = leaky(HIDDEN_TAU, STEP_US), leaky(OUTPUT_TAU, STEP_US)

    def forward(self, events: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 10 + LATENT) and (batch, HIDDEN) spike counts of (batch, STEPS, addresses) event counts."""
        drive = self.into(events)
        hidden, outputs = self.hidden.reset_mem(), self.outputs.reset_mem()
        counts, busy = torch.zeros(1), torch.zeros(1)
        for step in range(events.shape[1]):
            spikes, hidden = self.hidden(drive[:, step], hidden)
            said, outputs = self.outputs(self.out(spikes), outputs)
            counts, busy = counts + said, busy + spikes
        return counts, busy


def drawing_decoder() -> nn.Sequential:
    """Spike counts / UNIT -> 64 pixels of 0..1."""
    return nn.Sequential(nn.Linear(digits.CLASSES + LATENT, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())


def binned(pictures: FloatArray, shifts: FloatArray, seed: int) -> Tensor:
    """(n, STEPS, addresses) uint8 events per step of each picture, shifted by (n, 2) camera pixels."""
    sensor, saccades = digits.CAMERA.sensor, digits.SACCADES
    steps = np.zeros((len(pictures), STEPS, sensor.size), dtype=np.uint8)
    for index, (picture, shift) in enumerate(zip(pictures, shifts, strict=True)):
        film = saccades.film(picture, digits.CAMERA, (shift[0], shift[1]))
        events = digits.CAMERA.record(film, saccades.path[1], seed + index)
        np.add.at(steps[index], (events["t"].astype(np.int64) // STEP_US, sensor.neurons(events)), 1)
    return torch.from_numpy(steps)


def train_encoder(pictures: FloatArray, labels: IntArray, epochs: int, seed: int) -> Encoder:
    """An encoder whose label spikes name the digit, and whose spikes together are enough to draw it."""
    rng = np.random.default_rng(seed)
    shifts = [np.zeros((len(pictures), 2)), *rng.uniform(-SHIFT, SHIFT, (VARIANTS - 1, len(pictures), 2))]
    events = torch.cat([binned(pictures, shift, 10_000 * turn) for turn, shift in enumerate(shifts)])
    names = torch.from_numpy(labels).repeat(VARIANTS)
    targets = torch.from_numpy(pictures.reshape(-1, 64)).float().repeat(VARIANTS, 1)
    encoder, decoder = Encoder(), drawing_decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    batches = -(-len(pictures) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(events))[: len(pictures)].split(64):
            seen = events[batch].float() * (torch.rand(len(batch), 1, events.shape[2]) > 0.05)
            counts, busy = encoder(seen)
            spoken, latent = counts[:, : digits.CLASSES], counts[:, digits.CLASSES :]
            loss = F.cross_entropy(0.7 * spoken, names[batch]) + 20 * F.mse_loss(decoder(counts / UNIT), targets[batch])
            loss = loss + 1e-3 * busy.mean() + 0.01 * F.relu(latent - 16).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}/{epochs}  loss {total / len(pictures):.3f}", flush=True)
    return encoder.eval()


def in_continuous_time(into: Tensor, label: Tensor, latent: Tensor, metadata: dict[str, Any]) -> DynamicNetwork:
    """The encoder with weights of 8 bits, thresholds in their units; the weights (targets, sources) as in torch."""
    whole, thresholds = [], []
    for weight in (into, label, latent):
        unit = float(weight.detach().abs().max()) / WEIGHT_HIGH
        whole.append(Dense(np.rint(np.asarray(weight.detach().T, dtype=np.float64) / unit)))
        thresholds.append(1 / unit)

    def neurons(count: int, tau: float, threshold: float) -> LeakyIntegrateAndFire:
        # with r = tau_mem an event of weight w raises the potential by w
        times = np.full(count, tau)
        return LeakyIntegrateAndFire(times, np.full(count, threshold), times, reset="subtract")

    return DynamicNetwork(
        (
            DynamicPopulation(digits.INPUT, Input(digits.CAMERA.sensor.size)),
            DynamicPopulation(digits.HIDDEN, neurons(HIDDEN, HIDDEN_TAU, thresholds[0])),
            DynamicPopulation(digits.LABEL, neurons(digits.CLASSES, OUTPUT_TAU, thresholds[1])),
            DynamicPopulation(digits.LATENT, neurons(LATENT, OUTPUT_TAU, thresholds[2])),
        ),
        (
            DynamicProjection(digits.INPUT, digits.HIDDEN, whole[0]),
            DynamicProjection(digits.HIDDEN, digits.LABEL, whole[1]),
            DynamicProjection(digits.HIDDEN, digits.LATENT, whole[2]),
        ),
        outputs=(digits.LABEL, digits.LATENT),
        metadata=metadata,
    )


def shown(encoder: DynamicNetwork, pictures: FloatArray, seed: int) -> Iterator[tuple[int, Spikes, ContinuousEngine]]:
    """Every picture once, in a drawn order: its number, the spikes of its period (in its own time), the engine."""
    engine = ContinuousEngine(encoder, record=(digits.HIDDEN, digits.LABEL, digits.LATENT))
    for turn, index in enumerate(np.random.default_rng(seed).permutation(len(pictures))):
        begin = turn * digits.PERIOD_US
        events = digits.recording(pictures[index], begin, seed + turn)
        engine.push(events["t"].astype(np.int64), digits.CAMERA.sensor.neurons(events))
        spikes = engine.advance(begin + digits.PERIOD_US)
        yield int(index), replace(spikes, times_ns=spikes.times_ns - 1000 * begin), engine


def hidden_spikes(encoder: DynamicNetwork, pictures: FloatArray, seed: int) -> Tensor:
    """(n, fine steps, HIDDEN) uint8 spikes of the hidden neurons in continuous time."""
    steps = np.zeros((len(pictures), digits.PERIOD_US // FINE_US, HIDDEN), dtype=np.uint8)
    for index, spikes, _ in shown(encoder, pictures, seed):
        hidden = spikes.of(digits.HIDDEN)
        np.add.at(steps[index], (hidden.times_us // FINE_US, hidden.neurons), 1)
    return torch.from_numpy(steps)


def train_label(hidden: Tensor, labels: Tensor, epochs: int) -> Tensor:
    """(10, HIDDEN) weights of the label's neurons, of spikes (n, fine steps, HIDDEN)."""
    out, neurons = nn.Linear(HIDDEN, digits.CLASSES, bias=False), leaky(OUTPUT_TAU, FINE_US)
    nn.init.normal_(out.weight, 0.02, 0.05)
    optimizer = torch.optim.Adam(out.parameters(), lr=4e-3)
    batches = -(-len(hidden) // 192)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(hidden)).split(192):
            drive, membrane, counts = out(hidden[batch].float()), neurons.reset_mem(), torch.zeros(1)
            for step in range(drive.shape[1]):
                spikes, membrane = neurons(drive[:, step], membrane)
                counts = counts + spikes
            loss = F.cross_entropy(0.5 * counts, labels[batch]) + 1e-3 * counts.pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return out.weight.detach()


def heard(encoder: DynamicNetwork, pictures: FloatArray, seed: int) -> tuple[FloatArray, IntArray]:
    """(n, 10) scores and (n, 10 + LATENT) spike counts of every picture in continuous time."""
    counts = np.zeros((len(pictures), digits.CLASSES + LATENT), dtype=np.int64)
    parts = np.zeros((len(pictures), digits.CLASSES))
    threshold = encoder[digits.LABEL].neuron.v_threshold  # type: ignore[attr-defined]
    for index, spikes, engine in shown(encoder, pictures, seed):
        for name, first in ((digits.LABEL, 0), (digits.LATENT, digits.CLASSES)):
            size = encoder[name].size
            counts[index, first : first + size] = np.bincount(spikes.of(name).neurons, minlength=size)
        parts[index] = np.clip(engine.potential(digits.LABEL) / threshold, 0, 0.999)
    return counts[:, : digits.CLASSES] + parts, counts


def fitted_sharpness(scores: FloatArray, labels: IntArray) -> float:
    """The factor of the scores whose softmax gives the labels the least surprise."""
    candidates = np.geomspace(0.05, 5, 200)
    surprise = [F.cross_entropy(torch.from_numpy(s * scores), torch.from_numpy(labels)).item() for s in candidates]
    return float(candidates[int(np.argmin(surprise))])


def train_decoder(counts: IntArray, pictures: FloatArray, steps: int) -> Network:
    """A decoder of the spike counts that really came, converted to a network of integers."""
    decoder = drawing_decoder()
    inputs = torch.from_numpy(counts / UNIT).float()
    targets = torch.from_numpy(pictures.reshape(-1, 64)).float()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=4e-3, weight_decay=3e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = torch.randint(len(inputs), (256,))
        noisy = inputs[batch] + torch.randn(len(batch), inputs.shape[1]) * (0.7 / UNIT)  # a spike more or less
        optimizer.zero_grad()
        F.mse_loss(decoder(noisy.clamp(min=0)), targets[batch]).backward()
        optimizer.step()
        schedule.step()
    first: Any = decoder[0]
    with torch.no_grad():
        first.weight /= UNIT  # it takes spike counts from now on
    graph = from_torch(decoder.eval(), torch.zeros(2, inputs.shape[1]), picture=(1, 8, 8), picture_range=(0.0, 1.0))
    graph.codes = Codes(np.ones(1), 0, MOST_SPIKES)  # a code is a number of spikes
    chosen = counts[:: max(1, len(counts) // 1024)].astype(np.float32)
    return convert_graph(graph, chosen.reshape(-1, 1, counts.shape[1]), Settings(activation_bits=CODE_BITS)).network


def measure(model: digits.DigitModel) -> dict[str, float]:
    """On held-out digits, event by event: accuracy, PSNR in dB beside that of class means, counts per digit."""
    pictures, labels = digits.digits(held_out=True)
    known, names = digits.digits(held_out=False)
    means = np.stack([known[names == label].mean(axis=0) for label in range(digits.CLASSES)])
    said = list(digits.readings(pictures, model))
    drawn = np.stack([np.zeros((8, 8)) if one.picture is None else one.picture for one in said])
    right = np.array([one.label == label for one, label in zip(said, labels, strict=True)])
    guessed = means[[0 if one.label is None else one.label for one in said]]
    return {
        "held-out digits": len(said),
        "accuracy": float(right.mean()),
        "mean confidence": float(np.mean([one.confidence for one in said])),
        "PSNR of the redrawn digit, dB": psnr(drawn, pictures, 1.0),
        "PSNR of the mean of the true class, dB": psnr(means[labels], pictures, 1.0),
        "PSNR of the mean of the class it names, dB": psnr(guessed, pictures, 1.0),
        "PSNR of the mean of all digits, dB": psnr(np.broadcast_to(known.mean(axis=0), drawn.shape), pictures, 1.0),
        "events per digit": float(np.mean([one.work.events[digits.INPUT] for one in said])),
        "spikes of the encoder per digit": float(
            np.mean([sum(one.work.events.values()) - one.work.events[digits.INPUT] for one in said])
        ),
        "synaptic operations of the encoder per digit": float(np.mean([sum(one.work.operations) for one in said])),
    } | {
        f"synaptic operations of the decoder per digit, {code}": float(
            np.mean([one.ledger.synaptic_operations(code).sum() for one in said])
        )
        for code in ("unary", "graded")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file to write (.h5)")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--label-epochs", type=int, default=12)
    parser.add_argument("--digits", type=int, help="train on the first so many only, to try the script")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # threads slow so small a model down
    torch.manual_seed(arguments.seed)
    started = time.perf_counter()
    pictures, labels = (part[: arguments.digits] for part in digits.digits(held_out=False))
    trained = train_encoder(pictures, labels, arguments.epochs, arguments.seed)
    report = {"seed": arguments.seed, "epochs": arguments.epochs, "snntorch": snntorch.__version__}
    into, label, latent = trained.into.weight, *trained.out.weight.split((digits.CLASSES, LATENT))
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    passes = [hidden_spikes(in_continuous_time(into, label, latent, {}), pictures, 5000 + turn) for turn in range(2)]
    label = train_label(torch.cat(passes), torch.from_numpy(labels).repeat(2), arguments.label_epochs)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    encoder = in_continuous_time(into, label, latent, report)
    scores, counts = zip(*(heard(encoder, pictures, 1000 * turn) for turn in range(3)), strict=True)
    metadata = {**report, "sharpness": fitted_sharpness(np.concatenate(scores), np.tile(labels, 3))}
    decoder = train_decoder(np.concatenate(counts), np.tile(pictures, (3, 1, 1)), 4000)
    model = digits.DigitModel(in_continuous_time(into, label, latent, metadata), decoder)
    digits.save(model, arguments.out)
    print(f"trained in {time.perf_counter() - started:.0f} s, {arguments.out.stat().st_size:,} bytes")
    print(json.dumps(measure(model), indent=2))


if __name__ == "__main__":
    main()
