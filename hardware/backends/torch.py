"""torch: the settled engine batched over prompts, on a GPU or the CPU, in exact integers.

Codes and potentials are int64. Matrix products run in float64, which CUDA has and int64 products it has not, and are
exact: a network is refused when it is built unless the sum of magnitudes of every drive fits int32, so that every
partial sum, in whatever order, is an integer below 2**31, and float64 holds all integers up to 2**53. Everything else
(division, square root, shifts) is int64 arithmetic, the same on every device.

The price: a weight and a remembered key or value take 8 bytes, where the settled engine takes one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from snngen.engines.layout import Layout, check_room
from snngen.errors import CapacityError, PromptError, UnsupportedError
from snngen.integers import IntArray
from snngen.network import Network, Projection
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.rms_norm import FRACTION_BITS, INPUT_LIMIT, RMSNorm
from snngen.neurons.softmax import POWER_BITS, SHIFT, Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS, power_table
from snngen.sampling import Sampling
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.rotary import Rotary
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory
from snngen.text import Text

Settle: TypeAlias = Callable[[list[Tensor], int], Tensor]  # drives per operand, position -> codes
Deliver: TypeAlias = Callable[[Tensor, int], Tensor]  # codes of the source, position -> drive

NEURONS = (Source, Threshold, Accumulator, RMSNorm, Softmax, Gate)
MATRICES = (Dense, Packed, Sparse)  # whatever the bits of their weights
SYNAPSES = (*MATRICES, OneToOne, Rotary, KeyMemory, ValueMemory)


def choose_device(device: str) -> tuple[torch.device, str]:
    """The device of a name, and a line that says what was chosen and why.

    device: ``auto`` takes the GPU where torch sees one; otherwise torch's own names (``cpu``, ``cuda``, ``cuda:1``).
    raises: UnsupportedError for a device that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"device auto: cuda ({torch.cuda.get_device_name()})"
        return torch.device("cpu"), f"device auto: cpu (torch {torch.__version__} sees no CUDA device)"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UnsupportedError("device", repr(device), "'auto', 'cpu' or 'cuda'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UnsupportedError("device", repr(device), "'auto', 'cpu' or 'cuda': others have no float64")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        seen = f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        raise UnsupportedError("device", repr(device), f"a device that is there; {seen}", "device='auto'")
    return chosen, f"device {chosen}: as asked"


class TorchEngine:
    """Runs a batch of token sequences, all at the same position, one token of each per step.

    network: what to run. device: what runs it. log: a line that says why that device. batch: sequences at once.
    position: tokens of each sequence run since the last reset.
    raises: UnsupportedError naming every population and projection that it cannot run.
    """

    def __init__(self, network: Network, device: str = "auto", batch: int = 1) -> None:
        if batch < 1:
            raise PromptError("batch", str(batch), "1 or more")
        _check_supported(network)
        self.network, self.batch = network, batch
        self.device, self.log = choose_device(device)
        self._tokens: Tensor | None = None
        self._codes: dict[str, Tensor] = {}
        self._memory: dict[Projection, Tensor] = {}
        self._feeding = Layout(network).feeding
        self._settle = {p.name: _settling(p.neuron, self.device) for p in network.populations if p.neuron.operands}
        self._deliver = {projection: self._delivery(projection) for projection in network.projections}
        self.reset()

    def reset(self, batch: int | None = None) -> None:
        """Forget all tokens; the next ones are the first of `batch` sequences, by default as many as before."""
        self.batch = self.batch if batch is None else batch
        self.position = 0
        self._codes = {}
        for projection in self.network.projections:
            synapse = projection.synapse
            if isinstance(synapse, (KeyMemory, ValueMemory)):
                shape = (self.batch, synapse.groups, synapse.context, synapse.width)
                self._memory[projection] = torch.zeros(shape, dtype=torch.float64, device=self.device)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these sequences only, in this order.

        raises: PromptError for none, or a number outside the batch.
        """
        if not len(rows) or not all(0 <= row < self.batch for row in rows):
            raise PromptError("rows", str(list(rows)), f"one or more of 0..{self.batch - 1}")
        chosen = torch.tensor(rows, device=self.device)
        self._memory = {projection: memory[chosen] for projection, memory in self._memory.items()}
        self._codes = {name: codes[chosen] for name, codes in self._codes.items()}
        self.batch = len(rows)

    @torch.inference_mode()
    def step(
        self,
        tokens: Sequence[int] | IntArray | None = None,
        codes: Mapping[str, IntArray] | None = None,
        read: bool = True,
    ) -> None:
        """Run one token of every sequence.

        tokens: (batch,) numbers, for a network whose only source is a vocabulary; or
        codes: (batch, size) integers by the name of each source.
        read: False where no output is wanted: populations that feed no memory are then left out, and have no codes.
        raises: PromptError for a token or code outside the source's range, CapacityError when the context is full.
        """
        check_room(self.network, self.position)
        self._codes = {}
        self._take_tokens(tokens) if tokens is not None else self._take_codes(codes or {})
        for population in self.network.populations:
            name = population.name
            if name not in self._settle or not (read or not self._feeding or name in self._feeding):
                continue
            drives = [self._drive(name, operand) for operand in population.neuron.operands]
            self._codes[name] = self._settle[name](drives, self.position)
        for projection, memory in self._memory.items():
            if not read and projection.target not in self._feeding:
                self._write(projection, memory)
        self.position += 1

    def codes(self, name: str) -> IntArray:
        """(batch, size) int64 codes (or potentials) of a population after the last step.

        raises: PromptError for a population that the last step left out.
        """
        size = self.network[name].size
        if name not in self._codes:
            raise PromptError(name, "a population that the last step left out", "one that ran", "step(..., read=True)")
        codes = self._codes[name]
        if self._tokens is not None and name == self.network.sources[0].name:
            codes = torch.nn.functional.one_hot(codes, size)
        return cast(IntArray, codes.reshape(self.batch, size).cpu().numpy())

    @property
    def output(self) -> IntArray:
        """(batch, size) codes or potentials of the output population."""
        return self.codes(self.network.output)

    def _take_tokens(self, tokens: Sequence[int] | IntArray) -> None:
        network, given = self.network, np.asarray(tokens)
        if given.shape != (self.batch,) or given.dtype.kind not in "iu":
            raise PromptError("tokens", f"shape {given.shape} of {given.dtype}", f"({self.batch},) integers")
        if len(network.sources) != 1 or not 0 <= given.min() <= given.max() < network.vocabulary:
            raise PromptError("tokens", f"{given.tolist()}", f"0..{network.vocabulary - 1} of the only source")
        name, chosen = network.sources[0].name, torch.tensor(given.astype(np.int64), device=self.device)
        self._codes[name] = self._tokens = chosen
        reading = [p for p in network.projections if name in (p.source, p.writer)]
        if any(p.writer == name or not isinstance(p.synapse, MATRICES) for p in reading):
            self._tokens = None  # only a matrix can be looked up by the token's number
            self._codes[name] = torch.nn.functional.one_hot(chosen, network.vocabulary)

    def _take_codes(self, codes: Mapping[str, IntArray]) -> None:
        self._tokens = None
        for source in self.network.sources:
            if source.name not in codes:
                raise PromptError("codes", f"sources {sorted(codes)}", f"codes for {source.name!r} too")
            given, (low, high) = np.asarray(codes[source.name]), source.neuron.range
            if given.shape != (self.batch, source.size) or given.dtype.kind not in "iu":
                shape = f"({self.batch}, {source.size}) integers"
                raise PromptError(source.name, f"shape {given.shape} of {given.dtype}", shape)
            if not low <= given.min() <= given.max() <= high:
                raise PromptError(source.name, f"codes {given.min()}..{given.max()}", f"{low}..{high}")
            self._codes[source.name] = torch.tensor(given.astype(np.int64), device=self.device)

    def _drive(self, name: str, operand: str) -> Tensor:
        total: Tensor | None = None
        for projection in self.network.into(name):
            if projection.operand != operand:
                continue
            if projection in self._memory:
                self._write(projection, self._memory[projection])
            drive = self._deliver[projection](self._codes[projection.source], self.position)
            total = drive if total is None else total + drive
        assert total is not None  # a network with an operand that nothing drives is refused when it is built
        return total

    def _write(self, projection: Projection, memory: Tensor) -> None:
        """The present token's keys or values, before they are read."""
        assert projection.writer is not None
        batch, groups, _, width = memory.shape
        memory[:, :, self.position] = self._codes[projection.writer].reshape(batch, groups, width).double()

    def _delivery(self, projection: Projection) -> Deliver:
        synapse = projection.synapse
        if isinstance(synapse, Dense | Packed | Sparse):
            return self._dense(projection, synapse)
        if isinstance(synapse, Rotary):
            return _rotary(synapse, self.device)
        if isinstance(synapse, KeyMemory):
            return self._read_keys(projection, synapse)
        if isinstance(synapse, ValueMemory):
            return self._read_values(projection, synapse)
        return lambda codes, position: codes

    def _dense(self, projection: Projection, synapse: Dense | Packed | Sparse) -> Deliver:
        gain = _integers(synapse.gain, self.device)
        sources = self.network.sources
        if len(sources) == 1 and projection.source == sources[0].name:  # a token is one row of the matrix
            rows = torch.tensor(synapse.matrix, device=self.device)

            def look_up(codes: Tensor, position: int) -> Tensor:
                if codes.dim() == 1:
                    return rows[codes].long() * gain
                return (codes.double() @ rows.double()).long() * gain

            return look_up
        matrix = torch.tensor(synapse.matrix, device=self.device).double()
        return lambda codes, position: (codes.double() @ matrix).long() * gain

    def _read_keys(self, projection: Projection, synapse: KeyMemory) -> Deliver:
        heads, groups, width, context = synapse.heads, synapse.groups, synapse.width, synapse.context

        def read(codes: Tensor, position: int) -> Tensor:
            keys = self._memory[projection][:, :, : position + 1]
            queries = codes.double().reshape(len(codes), groups, heads // groups, width)
            drive = torch.zeros((len(codes), heads, context), dtype=torch.int64, device=codes.device)
            scores = queries @ keys.transpose(-1, -2)
            drive[:, :, : position + 1] = scores.long().reshape(len(codes), heads, position + 1)
            return drive.reshape(len(codes), heads * context)

        return read

    def _read_values(self, projection: Projection, synapse: ValueMemory) -> Deliver:
        heads, groups, width, context = synapse.heads, synapse.groups, synapse.width, synapse.context

        def read(codes: Tensor, position: int) -> Tensor:
            values = self._memory[projection][:, :, : position + 1]
            shares = codes.reshape(len(codes), groups, heads // groups, context)[..., : position + 1]
            return (shares.double() @ values).long().reshape(len(codes), heads * width)

        return read


def _check_supported(network: Network) -> None:
    """Refuse a network with models that settled codes cannot express, or that this file does not know."""
    wrong = [f"population {p.name} ({p.neuron.kind})" for p in network.populations if type(p.neuron) not in NEURONS]
    wrong += [f"projection {p.name} ({p.synapse.kind})" for p in network.projections if type(p.synapse) not in SYNAPSES]
    wrong += [f"projection {p.name} (delayed)" for p in network.projections if p.delayed]
    if wrong:
        known = ", ".join(sorted(model.__name__ for model in (*NEURONS, *SYNAPSES)))
        raise UnsupportedError("TorchEngine", ", ".join(wrong), f"only {known}", "TickedEngine or SettledEngine")


def _integers(values: IntArray, device: torch.device) -> Tensor:
    return torch.tensor(values.astype(np.int64), device=device)


def _divide_rounding(numerator: Tensor, denominator: Tensor) -> Tensor:
    """floor((numerator + denominator // 2) / denominator) in int64; denominator > 0."""
    half = torch.div(denominator, 2, rounding_mode="floor")
    return torch.div(numerator + half, denominator, rounding_mode="floor")


def _square_root(values: Tensor) -> Tensor:
    """floor(sqrt(v)) of int64 0 <= v < 2**62: the float64 estimate is off by at most one, which is mended."""
    root = values.double().sqrt().long()
    root = root - (root * root > values).long()
    return root + ((root + 1) * (root + 1) <= values).long()


def _settling(neuron: Neuron, device: torch.device) -> Settle:
    """What a population does with its drives, its constants already on the device."""
    if isinstance(neuron, Threshold):
        return _threshold(neuron, device)
    if isinstance(neuron, Accumulator):
        bias = _integers(neuron.bias, device)
        return lambda drives, position: drives[0] + bias
    if isinstance(neuron, RMSNorm):
        return _rms_norm(neuron, device)
    if isinstance(neuron, Softmax):
        return _softmax(neuron, device)
    assert isinstance(neuron, Gate)  # _check_supported refused the rest
    return _gate(neuron, device)


def _threshold(neuron: Threshold, device: torch.device) -> Settle:
    theta, bias = _integers(neuron.theta, device), _integers(neuron.bias, device)
    return lambda drives, position: _divide_rounding(drives[0] + bias, theta).clamp(neuron.low, neuron.high)


def _rms_norm(neuron: RMSNorm, device: torch.device) -> Settle:
    gain, size, shift = _integers(neuron.gain, device), neuron.size, 2 * FRACTION_BITS

    def settle(drives: list[Tensor], position: int) -> Tensor:
        x = drives[0].clamp(-INPUT_LIMIT, INPUT_LIMIT)
        squares = (x * x).sum(dim=-1, keepdim=True)
        whole = torch.div(squares, size, rounding_mode="floor")
        rest = squares - whole * size
        mean = (whole << shift) + torch.div(rest << shift, size, rounding_mode="floor")
        theta = _square_root(mean + neuron.epsilon).clamp(min=1)
        return _divide_rounding(x * gain, theta).clamp(neuron.low, neuron.high)

    return settle


def _softmax(neuron: Softmax, device: torch.device) -> Settle:
    multiplier = _integers(neuron.multiplier, device)[:, None]
    table = _integers(power_table(POWER_BITS), device)

    def settle(drives: list[Tensor], position: int) -> Tensor:
        batch, keys = len(drives[0]), position + 1
        scores = drives[0].reshape(batch, neuron.heads, neuron.context)[..., :keys]
        x = ((scores.amax(dim=-1, keepdim=True) - scores) * multiplier) >> SHIFT
        power = table[x & (2**TABLE_BITS - 1)] >> (x >> TABLE_BITS).clamp(max=POWER_BITS + 1)
        codes = torch.zeros((batch, neuron.heads, neuron.context), dtype=torch.int64, device=device)
        codes[..., :keys] = _divide_rounding(neuron.high * power, power.sum(dim=-1, keepdim=True))
        return codes.reshape(batch, neuron.size)

    return settle


def _gate(neuron: Gate, device: torch.device) -> Settle:
    table, theta = _integers(neuron.table, device), _integers(neuron.theta, device)

    def settle(drives: list[Tensor], position: int) -> Tensor:
        gate, value = drives
        return _divide_rounding(table[gate - neuron.first] * value, theta).clamp(neuron.low, neuron.high)

    return settle


def _rotary(synapse: Rotary, device: torch.device) -> Deliver:
    cosine, sine = _integers(synapse.cosine, device), _integers(synapse.sine, device)

    def turn(codes: Tensor, position: int) -> Tensor:
        first, second = codes.reshape(len(codes), synapse.heads, 2, synapse.half).unbind(dim=2)
        c, s = cosine[position], sine[position]
        return torch.stack((c * first - s * second, c * second + s * first), dim=2).reshape(len(codes), -1)

    return turn


@dataclass(frozen=True)
class BatchGeneration:
    """What a batch of prompts became.

    prompts, generated: token numbers, one list per prompt. stopped: why each ended: ``length``, ``end`` or ``context``.
    device: what ran it. log: a line that says why that device. seconds: of wall time, the sampling included.
    """

    network: Network
    prompts: list[list[int]]
    generated: list[list[int]]
    stopped: list[str]
    device: str
    log: str
    seconds: float

    @property
    def tokens(self) -> list[list[int]]:
        """Prompt and generated tokens of each."""
        return [[*prompt, *new] for prompt, new in zip(self.prompts, self.generated, strict=True)]

    @property
    def texts(self) -> list[str]:
        """Prompt and generated text of each."""
        text = Text(self.network)
        return [text.decode(tokens) for tokens in self.tokens]

    @property
    def rate(self) -> float:
        """Tokens run or generated per second, over all prompts."""
        return sum(len(tokens) for tokens in self.tokens) / self.seconds


def generate_batch(
    network: Network,
    prompts: Sequence[str | Sequence[int]],
    max_new_tokens: int = 100,
    sampling: Sampling | None = None,
    device: str = "auto",
) -> BatchGeneration:
    """Generate from many prompts at once: for each exactly the tokens that `snngen.generate` gives for it alone.

    All sequences advance by one token per step, so that they are always at the same position: a shorter prompt begins
    to generate while a longer one is still being read, and one that ended leaves the batch. Every prompt has its own
    random numbers, from the same seed.

    prompts: texts, or token numbers. max_new_tokens: at most so many of each. sampling: by default the most likely.
    raises: as `snngen.generate`, and UnsupportedError as `TorchEngine`.
    """
    sampling = Sampling() if sampling is None else sampling
    given = [_tokens(network, prompt, index) for index, prompt in enumerate(prompts)]
    if not given or max_new_tokens < 1:
        what = f"{len(given)} prompts, max_new_tokens {max_new_tokens}"
        raise PromptError("generate_batch", what, "1 or more of both")
    engine = TorchEngine(network, device, len(given))
    unit = float(network[network.output].scale[0])
    streams = [sampling.stream() for _ in given]
    generated: list[list[int]] = [[] for _ in given]
    stopped = ["" for _ in given]
    running, started = list(range(len(given))), time.perf_counter()
    while running:
        at = engine.position
        now = [given[row][at] if at < len(given[row]) else generated[row][-1] for row in running]
        due = [row for row in running if at + 1 >= len(given[row])]
        engine.step(now, read=bool(due))
        logits = engine.output if due else None
        for index, row in enumerate(running):
            if logits is not None and at + 1 >= len(given[row]):
                generated[row].append(sampling.choose(logits[index], unit, streams[row]))
                stopped[row] = _stopped(network, generated[row], max_new_tokens, engine.position)
        left = [index for index, row in enumerate(running) if not stopped[row]]
        if left and len(left) < len(running):
            engine.keep(left)
        running = [running[index] for index in left]
    seconds = time.perf_counter() - started
    return BatchGeneration(network, given, generated, stopped, str(engine.device), engine.log, seconds)


def _stopped(network: Network, generated: list[int], limit: int, position: int) -> str:
    """Why a sequence ends after its newest token, or an empty text."""
    if generated[-1] in network.end:
        return "end"
    if len(generated) >= limit:
        return "length"
    return "context" if network.context is not None and position >= network.context else ""


def _tokens(network: Network, prompt: str | Sequence[int], index: int) -> list[int]:
    where = f"prompts[{index}]"
    tokens = Text(network).encode(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
    if not tokens:
        raise PromptError(where, "no tokens", "at least one: this network has no token that begins a text")
    wrong = [token for token in tokens if not 0 <= token < network.vocabulary]
    if wrong:
        raise PromptError(where, f"token {wrong[0]}", f"0..{network.vocabulary - 1}")
    if network.context is not None and len(tokens) > network.context:
        room = f"at most {network.context}, the context"
        raise CapacityError(where, f"{len(tokens)} tokens", room, "Shorten the prompt")
    return tokens
