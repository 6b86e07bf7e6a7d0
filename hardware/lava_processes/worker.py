"""Build a network of Lava processes, run it, and read the codes: the part that needs a Python with Lava.

`python -m snngen.hardware.lava_processes.worker FOLDER` is what `hardware/backends/lava.py` starts. FOLDER holds
network.h5, inputs.h5 and job.json; codes.h5 is written there, or error.json where snngen refuses.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.io.source import RingBuffer
from lava.utils import loihi
from lava.utils.weightutils import SignMode

from snngen.errors import SnngenError, UnsupportedError
from snngen.hardware.lava_processes.processes import (
    PORTS,
    Connection,
    Neurons,
    PairedNeurons,
    SpikingNeurons,
    WrittenConnection,
)
from snngen.integers import INT32_MAX, IntArray
from snngen.network import Network, Projection
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.store import load
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne


class Graph:
    """A network as connected Lava processes.

    network: what to build. inputs: (rows, size) codes of every source: a row for each token, or for each time step of
    a spiking network. spiking: True for a network of integrate-and-fire neurons, whose populations act at every step.
    """

    def __init__(self, network: Network, inputs: Mapping[str, IntArray], spiking: bool = False) -> None:
        self.network, self.inputs, self.spiking = network, inputs, spiking
        self.rows = len(next(iter(inputs.values())))
        self.period = 1 if spiking else max(network.stages) + 1
        self.populations = {name: self._population(name) for name in network.order}
        self.connections = [self._connect(projection) for projection in network.projections]

    @property
    def steps(self) -> int:
        """Time steps that the inputs take."""
        return self.rows * self.period

    def run(self, hardware: bool = False) -> dict[str, IntArray]:
        """Codes of every population, (rows, size) int64.

        raises: UnsupportedError where hardware is asked for and Intel's extension is not installed.
        """
        settings = run_settings(hardware)
        started = []
        try:
            for name, process in self.populations.items():
                if process.runtime is None and name not in self.inputs:  # of a part that no other process leads to
                    started.append(process)
                    process.run(condition=RunSteps(num_steps=self.steps), run_cfg=settings)
            return {name: self._codes(name) for name in self.network.order}
        finally:
            for process in started:
                process.stop()

    def _codes(self, name: str) -> IntArray:
        if name in self.inputs:
            return self.inputs[name]
        return np.asarray(self.populations[name].codes.get()).astype(np.int64)

    def _population(self, name: str) -> Any:
        neuron, stage = self.network[name].neuron, self.network.stages[self.network.order[name]]
        if name in self.inputs:
            data = np.zeros((neuron.size, self.steps), dtype=np.int32)
            data[:, stage :: self.period] = self.inputs[name].T
            return RingBuffer(data=data)
        if isinstance(neuron, IntegrateAndFire):
            return SpikingNeurons(neuron, self.rows)
        process = Neurons if len(neuron.operands) == 1 else PairedNeurons
        return process(neuron, stage, self.period, self.rows)

    def _connect(self, projection: Projection) -> Any:
        """The process that stands for a projection, connected; None where a plain connection of ports does."""
        source, target = self.populations[projection.source], self.populations[projection.target]
        operand = self.network[projection.target].neuron.operands.index(projection.operand)
        into, synapse = getattr(target, PORTS[operand]), projection.synapse
        if isinstance(synapse, OneToOne) and not self.spiking:
            source.s_out.connect(into)
            return None
        process: Any
        if projection.writer is not None and self.spiking:
            raise UnsupportedError(
                projection.name, "weights that are written", "constant weights between spiking neurons"
            )
        if projection.writer is not None:
            stage = self.network.stages[self.network.order[projection.target]]
            process = WrittenConnection(synapse, stage, self.period, self.rows)
            self.populations[projection.writer].s_out.connect(process.w_in)
        elif isinstance(synapse, Dense) and fits_lava(self.network, projection):
            process = lava_dense(synapse.matrix, *self.network[projection.source].neuron.range)
        else:
            process = Connection(synapse, self.steps if self.spiking else self.period)
        source.s_out.connect(process.s_in)
        process.a_out.connect(into)
        return process


def fits_lava(network: Network, projection: Projection) -> bool:
    """True where Lava's Dense computes a projection exactly: all gains 1, and twice any drive within int32."""
    synapse = projection.synapse
    if not isinstance(synapse, Dense) or network[projection.source].neuron.wide or int(synapse.gain.max()) > 1:
        return False
    return 2 * synapse.bound(network.bound(projection.source), 0) <= INT32_MAX


def lava_dense(matrix: IntArray, low: int, high: int) -> Any:
    """Lava's Dense for int8 weights and codes of low..high.

    Of weights of both signs Lava's fixed-point model keeps the even ones of -256..254, so they are given doubled and
    the weight exponent -1 halves the sum again, exactly.
    """
    binary = (low, high) == (0, 1)
    return LavaDense(
        weights=2 * matrix.T.astype(np.int32),
        weight_exp=-1,
        num_weight_bits=8,
        sign_mode=SignMode.MIXED,
        num_message_bits=0 if binary else max(-low, high).bit_length() + 1,
    )


def run_settings(hardware: bool) -> Any:
    """Lava's run configuration: fixed point on this machine, or Loihi 2 where Intel's extension is installed."""
    if not hardware:
        return Loihi2SimCfg(select_tag="fixed_pt")
    if not loihi.is_installed():
        raise UnsupportedError(
            "hardware",
            "a Lava without Intel's extension for Loihi",
            "lava-loihi, which members of Intel's Neuromorphic Research Community have",
            "run_lava(network, tokens) simulates the same integers",
        )
    loihi.use_slurm_host()
    return Loihi2HwCfg(select_tag="fixed_pt")


def main(folder: Path) -> int:
    """Run the job of a folder."""
    job = json.loads((folder / "job.json").read_text())
    network = load(folder / "network.h5")
    names = list(network.order)
    try:
        with h5py.File(folder / "inputs.h5", "r") as given:
            inputs = {names[int(key)]: codes[()] for key, codes in given.items()}
        found = Graph(network, inputs, job["spiking"]).run(job["hardware"])
    except SnngenError as error:
        parts = [error.where, error.got, error.expected, error.mend]
        (folder / "error.json").write_text(json.dumps([type(error).__name__, *parts]))
        return 1
    with h5py.File(folder / "aside.h5", "w") as file:
        for name, values in found.items():
            file[str(names.index(name))] = values
    os.replace(folder / "aside.h5", folder / "codes.h5")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
