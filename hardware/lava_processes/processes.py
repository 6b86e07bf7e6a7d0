"""The Lava processes of a network and their fixed-point models. Only a Python that has Lava can import this file.

Time. A token takes `period` time steps, one for each stage of the network. A population of stage s adds up what reaches
it and acts at step s of the token: it sends its codes as graded spikes once, and zeros at all other steps. Every
connection holds what it delivers back by one step, as Lava's own do, so that it arrives before the next stage acts.

Spiking networks (integrate-and-fire neurons) have no stages: every neuron may fire at every time step.

The models keep the neuron's and the synapse's own constants and evaluate the integer formula that
`snngen/reference.py` defines, at the position of the token that they run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from snngen.integers import IntArray
from snngen.neurons import Neuron
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.synapses import Synapse

PORTS = ("a_in", "b_in")  # where the first and the second operand of a population arrive


def last_row(values: IntArray, position: int) -> IntArray:
    """(position + 1, n) int64 whose last row is `values`: one token's drive or codes, where the reference has them."""
    rows = np.zeros((position + 1, values.size), dtype=np.int64)
    rows[position] = values
    return rows


class Neurons(AbstractProcess):  # type: ignore[misc,unused-ignore]
    """A population with one operand.

    neuron: the model with its constants. stage: when it acts. period: time steps of a token. tokens: how many are run.
    """

    def __init__(self, neuron: Neuron, stage: int, period: int, tokens: int) -> None:
        super().__init__(neuron=neuron, stage=stage, period=period)
        self.a_in = InPort(shape=(neuron.size,))
        self.s_out = OutPort(shape=(neuron.size,))
        self.codes = Var(shape=(tokens, neuron.size), init=0)


class PairedNeurons(AbstractProcess):  # type: ignore[misc,unused-ignore]
    """A population with two operands, such as a gate and what it lets through; parameters as for `Neurons`."""

    def __init__(self, neuron: Neuron, stage: int, period: int, tokens: int) -> None:
        super().__init__(neuron=neuron, stage=stage, period=period)
        self.a_in = InPort(shape=(neuron.size,))
        self.b_in = InPort(shape=(neuron.size,))
        self.s_out = OutPort(shape=(neuron.size,))
        self.codes = Var(shape=(tokens, neuron.size), init=0)


class SpikingNeurons(AbstractProcess):  # type: ignore[misc,unused-ignore]
    """Integrate-and-fire neurons, reset by subtraction (Lava's LIF resets to zero, so it cannot stand in).

    neuron: the model with its thresholds. ticks: time steps to run.
    """

    def __init__(self, neuron: IntegrateAndFire, ticks: int) -> None:
        super().__init__(neuron=neuron)
        self.a_in = InPort(shape=(neuron.size,))
        self.s_out = OutPort(shape=(neuron.size,))
        self.v = Var(shape=(neuron.size,), init=0)
        self.codes = Var(shape=(ticks, neuron.size), init=0)


class Connection(AbstractProcess):  # type: ignore[misc,unused-ignore]
    """Synapses that Lava's Dense does not carry: gains, weights that turn with the position, one to one.

    synapse: the model. period: time steps of a token.
    """

    def __init__(self, synapse: Synapse, period: int) -> None:
        super().__init__(synapse=synapse, period=period)
        self.s_in = InPort(shape=(synapse.source_size,))
        self.a_out = OutPort(shape=(synapse.target_size,))
        self.a_buff = Var(shape=(synapse.target_size,), init=0)


class WrittenConnection(AbstractProcess):  # type: ignore[misc,unused-ignore]
    """Synapses whose weights a population writes, one row or column for each token.

    synapse: the model. stage: of the target; the drive arrives there just before. period, tokens: as for `Neurons`.
    """

    def __init__(self, synapse: Synapse, stage: int, period: int, tokens: int) -> None:
        super().__init__(synapse=synapse, stage=stage, period=period)
        self.s_in = InPort(shape=(synapse.source_size,))
        self.w_in = InPort(shape=(synapse.writer_size,))
        self.a_out = OutPort(shape=(synapse.target_size,))
        self.a_buff = Var(shape=(synapse.target_size,), init=0)
        self.weights = Var(shape=(tokens, synapse.writer_size), init=0)


class Staged(PyLoihiProcessModel):  # type: ignore[misc,unused-ignore]
    """What the models share: the position of the token and the step within it."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.period: int = proc_params["period"]

    def place(self) -> tuple[int, int]:
        """(position of the token, step within it), both from 0."""
        step: int = self.time_step - 1
        return divmod(step, self.period)


class StagedNeurons(Staged):
    """Adds up the drives of a token, acts once at the stage of the population, and keeps the codes."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.neuron: Neuron = proc_params["neuron"]
        self.stage: int = proc_params["stage"]
        self.drives = [np.zeros(self.neuron.size, dtype=np.int64) for _ in self.neuron.operands]

    def run_spk(self) -> None:
        position, step = self.place()
        for drive, name in zip(self.drives, PORTS, strict=False):
            drive += getattr(self, name).recv()
        sent = np.zeros(self.neuron.size, dtype=np.int32)
        if step == self.stage:
            rows = self.neuron.reference(*(last_row(drive, position) for drive in self.drives))
            sent[:] = self.codes[position] = rows[position]
        if step == self.period - 1:
            for drive in self.drives:
                drive[:] = 0
        self.s_out.send(sent)


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronsModel(StagedNeurons):
    """`Neurons` on a CPU, in integers."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    codes: Any = LavaPyType(np.ndarray, np.int32)


@implements(proc=PairedNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PairedNeuronsModel(StagedNeurons):
    """`PairedNeurons` on a CPU, in integers."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    b_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    codes: Any = LavaPyType(np.ndarray, np.int32)


@implements(proc=SpikingNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SpikingNeuronsModel(PyLoihiProcessModel):  # type: ignore[misc,unused-ignore]
    """`SpikingNeurons` on a CPU, in integers: the neuron\'s own step at every time step."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    v: Any = LavaPyType(np.ndarray, np.int32)
    codes: Any = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        drive = self.a_in.recv().astype(np.int64)
        self.v[:], spikes = self.proc_params["neuron"].step(self.v.astype(np.int64), drive)
        self.codes[self.time_step - 1] = spikes
        self.s_out.send(spikes.astype(np.int32))


@implements(proc=Connection, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ConnectionModel(Staged):
    """`Connection` on a CPU, in integers: what arrives is delivered at the next step."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    a_buff: Any = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        self.a_out.send(self.a_buff)
        position, _ = self.place()
        codes = self.s_in.recv()
        self.a_buff[:] = 0
        if codes.any():
            self.a_buff[:] = self.proc_params["synapse"].reference(last_row(codes, position), None)[position]


@implements(proc=WrittenConnection, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class WrittenConnectionModel(Staged):
    """`WrittenConnection` on a CPU: collects what is written and read, and delivers once for each token."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    w_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    a_buff: Any = LavaPyType(np.ndarray, np.int32)
    weights: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.synapse: Synapse = proc_params["synapse"]
        self.reading = np.zeros(self.synapse.source_size, dtype=np.int64)

    def run_spk(self) -> None:
        self.a_out.send(self.a_buff)
        position, step = self.place()
        self.reading += self.s_in.recv()
        self.weights[position] += self.w_in.recv()
        self.a_buff[:] = 0
        if step == self.proc_params["stage"] - 1:
            written = self.weights[: position + 1].astype(np.int64)
            self.a_buff[:] = self.synapse.reference(last_row(self.reading, position), written)[position]
            self.reading[:] = 0
