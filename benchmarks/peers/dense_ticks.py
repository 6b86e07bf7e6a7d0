"""A decoder network as spiking torch modules are run: every tick, dense, whatever spikes; neurons from a library.

It follows SpikeZIP-TF and SpikingJelly's recipe for it. Every code is sent by a signed integrate-and-fire (ST-BIF)
neuron, at most one spike -1 or +1 per tick. A linear layer multiplies the spikes of every tick. A norm, a softmax or a
gate is evaluated, in integers, on the sum of its input so far at every tick, and the change of its result drives the
neurons that send it. Keys and values of the token under way are sums of spikes too. Linear layers are float32 (exact:
int8 weights times -1, 0, +1), drives float64, so that all is exact and the codes can be compared with `==`.

Three ways to run a token:

- single step: one tick after the other through the whole network, as in the loop of every tutorial;
- multi-step: layer after layer, each over all ticks of the token at once (as SpikingJelly recommends);
- layered: layer after layer, each begun when those before it are quiet, over as many ticks as it needs.

How many ticks that are (until all is quiet) is found beforehand and not timed; nothing looks for quiet when timed.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from link import Arrays, Run
from torch import Tensor

LIMIT, FRACTION, SHIFT, TABLE_BITS, POWER_BITS = 2**23 - 1, 16, 24, 10, 16  # as snngen's neurons define them
CHUNK = 64  # ticks at a time while it is looked for quiet


class Neurons(ABC):
    """Signed integrate-and-fire neurons of a library.

    theta: (n,) thresholds. first: (n,) potentials at the start, half a unit up, so that no comparison is a tie.
    low, high: the least and the largest sum of a neuron's spikes. count: that sum, now.
    """

    count: Tensor

    @abstractmethod
    def __init__(self, theta: Tensor, first: Tensor, low: int, high: int) -> None:
        """All float64."""

    @abstractmethod
    def begin(self) -> None:
        """Back to the start."""

    @abstractmethod
    def __call__(self, drive: Tensor) -> Tensor:
        """(ticks, n) float64 drive to (ticks, n) float64 spikes -1, 0, +1."""


class Population:
    """A population, its state within a token, and what it sends.

    kind: of neuron, as snngen names it. totals: input so far of each operand. wanted: the codes that it led to.
    """

    def __init__(self, about: dict[str, Any], arrays: dict[str, Tensor], make: type[Neurons]) -> None:
        self.name, self.kind, self.about, self.arrays = about["name"], about["kind"], about, arrays
        self.neurons: Neurons | None = None
        if self.kind == "threshold":
            theta = arrays["theta"]
            first = (torch.div(theta, 2, rounding_mode="floor") + arrays["bias"]).double() + 0.5
            self.neurons = make(theta.double(), first, about["low"], about["high"])
        elif self.kind not in ("source", "accumulator"):
            unit, half = torch.ones(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
            self.neurons = make(unit, half, about.get("low", 0), about["high"])

    def begin(self) -> None:
        self.totals: list[Tensor | float] = [0.0, 0.0]
        self.wanted: Tensor | None = None
        self.bias = self.arrays["bias"].double() if self.kind == "accumulator" else None
        if self.neurons is not None:
            self.neurons.begin()

    def send(self, drives: list[Tensor]) -> Tensor:
        """(ticks, n) drives of each operand to what is sent at each tick; an accumulator passes its input on."""
        if self.kind == "threshold":
            assert self.neurons is not None
            return self.neurons(drives[0])
        if self.kind == "accumulator":
            if self.bias is not None:  # part of the first tick
                drives = [torch.cat((drives[0][:1] + self.bias, drives[0][1:]))]
                self.bias = None
            self.totals[0] = self.totals[0] + (drives[0][0] if len(drives[0]) == 1 else drives[0].sum(0))
            return drives[0]
        sums = []
        for index, drive in enumerate(drives):
            running = self.totals[index] + (drive if len(drive) == 1 else drive.cumsum(0))
            self.totals[index] = running[-1]
            sums.append(running.long())
        wanted = SETTLINGS[self.kind](sums, self.arrays, self.about).double()
        before = torch.zeros_like(wanted[:1]) if self.wanted is None else self.wanted
        self.wanted = wanted[-1:]
        assert self.neurons is not None
        return self.neurons(torch.diff(wanted, dim=0, prepend=before))

    @property
    def codes(self) -> Tensor:
        """What has been sent so far."""
        if self.neurons is not None:
            return self.neurons.count
        assert isinstance(self.totals[0], Tensor)
        return self.totals[0]


def divide_rounding(numerator: Tensor, denominator: Tensor) -> Tensor:
    half = torch.div(denominator, 2, rounding_mode="floor")
    return torch.div(numerator + half, denominator, rounding_mode="floor")


def rms_norm(sums: list[Tensor], arrays: dict[str, Tensor], about: dict[str, Any]) -> Tensor:
    x = sums[0].clamp(-LIMIT, LIMIT)
    squares = (x * x).sum(dim=-1, keepdim=True)
    whole = torch.div(squares, x.shape[-1], rounding_mode="floor")
    rest = squares - whole * x.shape[-1]
    mean = (whole << FRACTION) + torch.div(rest << FRACTION, x.shape[-1], rounding_mode="floor") + about["epsilon"]
    root = mean.double().sqrt().long()
    root = root - (root * root > mean).long()
    root = root + ((root + 1) * (root + 1) <= mean).long()
    return divide_rounding(x * arrays["gain"], root.clamp(min=1)).clamp(about["low"], about["high"])


def softmax(sums: list[Tensor], arrays: dict[str, Tensor], about: dict[str, Any]) -> Tensor:
    scores = sums[0].reshape(len(sums[0]), len(arrays["multiplier"]), -1)
    x = ((scores.amax(dim=-1, keepdim=True) - scores) * arrays["multiplier"][:, None]) >> SHIFT
    power = arrays["table"][x & (2**TABLE_BITS - 1)] >> (x >> TABLE_BITS).clamp(max=POWER_BITS + 1)
    return divide_rounding(about["high"] * power, power.sum(dim=-1, keepdim=True)).flatten(1)


def gate(sums: list[Tensor], arrays: dict[str, Tensor], about: dict[str, Any]) -> Tensor:
    product = arrays["table"][sums[0] - about["first"]] * sums[1]
    return divide_rounding(product, arrays["theta"]).clamp(about["low"], about["high"])


SETTLINGS: dict[str, Callable[[list[Tensor], dict[str, Tensor], dict[str, Any]], Tensor]] = {
    "rms_norm": rms_norm, "softmax": softmax, "gate": gate,
}  # fmt: skip


class Projection:
    """What brings spikes of ticks to a population; a memory keeps the tokens before, and this token's sums."""

    def __init__(self, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        self.about, self.kind, self.arrays = about, about["kind"], arrays
        if "matrix" in arrays:
            self.weight = arrays["matrix"].T.float().contiguous()
            self.gain = None if bool((arrays["gain"] == 1).all()) else arrays["gain"].double()

    def forget(self) -> None:
        self.position = 0
        if self.kind in ("key_memory", "value_memory"):
            shape = (self.about["groups"], self.about["context"], self.about["width"])
            self.memory = torch.zeros(shape, dtype=torch.float64)

    def begin(self) -> None:
        self.read: Tensor | float = 0.0
        self.written: Tensor | float = 0.0
        self.product: Tensor | float = 0.0

    def end(self) -> None:
        """The token is done: what was written stays."""
        if self.kind in ("key_memory", "value_memory"):
            assert isinstance(self.written, Tensor)
            self.memory[:, self.position] = self.written.reshape(self.about["groups"], self.about["width"])
        self.position += 1

    def deliver(self, spikes: Tensor, written: Tensor | None) -> Tensor:
        """(ticks, targets) float64 drive of (ticks, sources) spikes; written: those of the writer."""
        if self.kind == "dense":
            drive = torch.nn.functional.linear(spikes.float(), self.weight).double()
            return drive if self.gain is None else drive * self.gain
        if self.kind == "one_to_one":
            return spikes
        if self.kind == "rotary":
            first, second = spikes.reshape(len(spikes), -1, 2, self.about["half"]).unbind(dim=2)
            c, s = self.arrays["cosine"][self.position], self.arrays["sine"][self.position]
            return torch.stack((c * first - s * second, c * second + s * first), dim=2).flatten(1)
        assert written is not None
        return self._memory(spikes, written)

    def look_up(self, token: int | None, ticks: int) -> Tensor:
        """(ticks, targets) float64 drive from the vocabulary: a token spikes at the first tick, None not at all."""
        drive = torch.zeros((ticks, len(self.weight)), dtype=torch.float64)
        if token is not None:
            drive[0] = self.weight[:, token]
        return drive if self.gain is None else drive * self.gain

    def _memory(self, spikes: Tensor, written: Tensor) -> Tensor:
        """Through the tokens before as a matrix; through this token, the change of the product of both sums so far."""
        groups, width, ticks = self.about["groups"], self.about["width"], len(spikes)
        keys = self.kind == "key_memory"
        sent = spikes.reshape(ticks, groups, self.about["heads"] // groups, -1)
        new = written.reshape(len(written), groups, 1, width)
        read = self.read + (sent if ticks == 1 else sent.cumsum(0))
        write = self.written + (new if len(new) == 1 else new.cumsum(0))
        self.read, self.written = read[-1], write[-1]
        past = self.memory[:, : self.position]
        if keys:
            before = torch.matmul(sent, past.transpose(-1, -2)) if self.position else sent[..., :0]
            product = (read * write).sum(-1, keepdim=True)
            change = torch.diff(product, dim=0, prepend=product[:1] * 0 + self.product)
            drive = torch.cat((before, change), dim=-1)
        else:
            product = read[..., -1:] * write
            drive = torch.diff(product, dim=0, prepend=product[:1] * 0 + self.product)
            if self.position:
                drive = drive + torch.matmul(sent[..., :-1], past)
        self.product = product[-1]
        return drive.reshape(ticks, -1)


class Lengths(NamedTuple):
    """Ticks of a token: of all populations together, and of each where each waits for those before it."""

    together: int
    each: list[int]


class DenseTicks:
    """The network. make: the library's neurons."""

    def __init__(self, case: Arrays, make: type[Neurons]) -> None:
        def of(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): torch.tensor(case[name]) for name in case if name.startswith(prefix)}

        about = json.loads(str(case["about"]))
        self.populations = [
            Population(row, of(f"population{index}."), make) for index, row in enumerate(about["populations"])
        ]
        self.projections = [
            Projection(row, of(f"projection{index}.")) for index, row in enumerate(about["projections"])
        ]
        self.output = about["output"]

    def forget(self) -> None:
        for projection in self.projections:
            projection.forget()

    def begin(self) -> None:
        for population in self.populations:
            population.begin()
        for projection in self.projections:
            projection.begin()

    def end(self) -> int:
        """Close the token; the most likely next one."""
        for projection in self.projections:
            projection.end()
        return int(self.populations[self.output].codes.argmax())

    def drives(
        self, target: int, sent: list[Tensor], token: int | None, sums: list[Tensor] | None = None
    ) -> list[Tensor]:
        """(ticks, n) of each operand. sent: by all before. sums: over all its ticks; where given, (1, n) of each."""
        found: dict[str, Tensor] = {}
        for projection in self.projections:
            about = projection.about
            if about["target"] == target:
                spikes, writer, written = sent[about["source"]], about["writer"], sent if sums is None else sums
                if self.populations[about["source"]].kind == "source":
                    drive = projection.look_up(token, len(spikes))
                else:
                    drive = projection.deliver(spikes, None if writer is None else written[writer])
                drive, operand = drive if sums is None else drive.sum(0, keepdim=True), about["operand"]
                found[operand] = found[operand] + drive if operand in found else drive
        return [found[operand] for operand in self.populations[target].about["operands"]]

    def ticks(self, count: int, token: int | None) -> list[Tensor]:
        """Some ticks of the whole network: what every population sent. token: at the first of a token's ticks."""
        sent: list[Tensor] = []
        for index, population in enumerate(self.populations):
            if population.kind == "source":
                sent.append(torch.zeros((count, 0)))
            else:
                sent.append(population.send(self.drives(index, sent, token)))
        return sent

    def layered(self, token: int, lengths: list[int] | None) -> list[int]:
        """A token, population after population; lengths of each, which are found where they are not given."""
        sent: list[Tensor] = []
        sums: list[Tensor] = []  # keys and values are whole when they are read
        found = []
        for index, population in enumerate(self.populations):
            if population.kind == "source":
                sent.append(torch.zeros((1, 0)))
                sums.append(sent[-1])
                found.append(1)
                continue
            drives = self.drives(index, sent, token, sums)
            wave = population.send(padded(drives, 1 if lengths is None else lengths[index]))
            if lengths is None and population.neurons is not None:
                wave = self.until_quiet(population, wave, drives)
            sent.append(wave)
            sums.append(wave.sum(0, keepdim=True))
            found.append(len(wave))
        return found

    def until_quiet(self, population: Population, wave: Tensor, drives: list[Tensor]) -> Tensor:
        """The spikes of a population that has its drive, to the last one."""
        waves, silence = [wave], [torch.zeros_like(drive).expand(CHUNK, -1) for drive in drives]
        while bool(waves[-1].any()):
            waves.append(population.send(silence))
        whole = torch.cat(waves)
        last = whole.any(dim=1).nonzero()
        return whole[: int(last[-1]) + 1 if len(last) else 1]

    def lengths(self, token: int) -> Lengths:
        """How many ticks a token needs, both ways. The token is not closed."""
        self.begin()
        each = self.layered(token, None)
        self.begin()
        done = together = 0
        while True:
            sent = self.ticks(CHUNK, token if done == 0 else None)
            spiked = torch.zeros(CHUNK, dtype=torch.bool)
            for population, spikes in zip(self.populations, sent, strict=True):
                if population.neurons is not None:
                    spiked |= spikes.any(dim=1)
            if not bool(spiked.any()):
                return Lengths(max(together, 1), each)
            together = done + int(spiked.nonzero()[-1]) + 1
            done += CHUNK


def padded(drives: list[Tensor], ticks: int) -> list[Tensor]:
    """Drives that arrive at the first of some ticks."""
    return [torch.nn.functional.pad(drive, (0, 0, 0, ticks - 1)) for drive in drives]


def build_with(make: type[Neurons]) -> Callable[[Arrays, int], Run]:
    """What `link.serve` asks for: works ``single step``, ``multi-step`` and ``layered``."""

    def build(case: Arrays, threads: int) -> Run:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        network, begun, count = DenseTicks(case, make), int(case["begin"]), int(case["tokens"])
        plans: list[Lengths] = []

        def token(work: str, given: int, plan: Lengths) -> None:
            network.begin()
            if work == "layered":
                network.layered(given, plan.each)
            elif work == "multi-step":
                network.ticks(plan.together, given)
            else:
                for tick in range(plan.together):
                    network.ticks(1, given if tick == 0 else None)

        def run(work: str) -> tuple[float, Arrays]:
            network.forget()
            tokens, seconds, codes = [begun], 0.0, {}
            for index in range(count):
                if index == len(plans):
                    plans.append(network.lengths(tokens[-1]))
                started = time.perf_counter()
                token(work, tokens[-1], plans[index])
                tokens.append(network.end())
                seconds += time.perf_counter() - started
                for number, population in enumerate(network.populations):
                    if population.kind != "source":
                        codes[f"token{index}.{number}"] = population.codes.flatten().long().numpy().copy()
            ticks = [sum(plan.each) if work == "layered" else plan.together for plan in plans]
            return seconds, {**codes, "tokens": np.array(tokens), "ticks": np.array(ticks)}

        return run

    return build
