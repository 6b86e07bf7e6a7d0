"""Lava, fixed point: `Dense` and `LIF` without decay (hard reset, >); its processes use what cores they get.

Lava's signed 8-bit weights are even, so weights and thresholds are doubled. Timed is `run` of the ticks and of two
more, one for each Dense; the input repeats after them. Potentials are set to 0 before each run.
"""

from __future__ import annotations

import atexit
import time

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi1SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF
from link import Arrays, Run, serve

FULL_DECAY = 4095  # of the current: it lasts one step


class Model:
    """The network with one input, ready to run."""

    def __init__(self, case: Arrays, work: str) -> None:
        layers = len(case["thetas"])
        self.steps = len(case[work]) + layers
        data = np.zeros((case[work].shape[1], self.steps), dtype=np.int32)
        data[:, : len(case[work])] = case[work].T
        self.source = Source(data=data)
        port, self.layers, self.sinks = self.source.s_out, [], []
        for index, theta in enumerate(case["thetas"].tolist()):
            weights = 2 * case[f"weights{index}"].T.astype(np.int32)
            dense = Dense(weights=weights, num_weight_bits=8)
            neurons = LIF(shape=(len(weights),), du=FULL_DECAY, dv=0, vth=2 * theta, bias_mant=0)
            sink = Sink(shape=(len(weights),), buffer=self.steps)
            port.connect(dense.s_in)
            dense.a_out.connect(neurons.a_in)
            neurons.s_out.connect(sink.a_in)
            port = neurons.s_out
            self.layers.append(neurons)
            self.sinks.append(sink)
        self.run()

    def run(self) -> float:
        started = time.perf_counter()
        self.source.run(condition=RunSteps(num_steps=self.steps), run_cfg=Loihi1SimCfg(select_tag="fixed_pt"))
        return time.perf_counter() - started

    def again(self) -> float:
        for neurons in self.layers:
            neurons.v.set(np.zeros(neurons.v.shape, dtype=np.int32))
        return self.run()


def build(case: Arrays, threads: int) -> Run:
    models: dict[str, Model] = {}

    def stop() -> None:
        while models:
            models.popitem()[1].source.stop()

    atexit.register(stop)

    def run(work: str) -> tuple[float, Arrays]:
        if work not in models:
            stop()
            models[work] = Model(case, work)
        seconds = models[work].again()
        sinks = models[work].sinks
        return seconds, {f"counts{k}": sink.data.get().sum(axis=1).astype(np.int64) for k, sink in enumerate(sinks)}

    return run


if __name__ == "__main__":
    serve(build, ["lava-nc"])
