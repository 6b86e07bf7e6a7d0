"""NEST: `iaf_psc_delta` without leak (tau_m so long that its decay rounds to 1), hard reset, >=, delays of one step.

Timed is `nest.Simulate` of the ticks and of two more, one for each delay. Potentials are set to 0 before each run.
"""

from __future__ import annotations

import time

import nest
import numpy as np
from link import Arrays, Run, serve

NO_LEAK = 1e300  # ms


def build(case: Arrays, threads: int) -> Run:
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.local_num_threads, nest.resolution = threads, 1.0
    first = case["weights0"].shape[0]
    generators = nest.Create("spike_generator", first)
    sources, layers, recorders = generators, [], []
    for index, theta in enumerate(case["thetas"].tolist()):
        weights = case[f"weights{index}"].astype(np.float64)
        fixed = {"V_th": float(theta), "V_reset": 0.0, "E_L": 0.0, "V_m": 0.0, "C_m": 1.0, "t_ref": 0.0}
        layer = nest.Create("iaf_psc_delta", weights.shape[1], params={**fixed, "tau_m": NO_LEAK})
        nest.Connect(sources, layer, "all_to_all", {"weight": weights.T, "delay": 1.0})
        recorder = nest.Create("spike_recorder")
        nest.Connect(layer, recorder)
        sources = layer
        layers.append(layer)
        recorders.append(recorder)

    def run(work: str) -> tuple[float, Arrays]:
        spikes, now = case[work], nest.biological_time
        times = [{"spike_times": now + 1.0 + np.flatnonzero(spikes[:, neuron])} for neuron in range(first)]
        generators.set(times)
        for layer, recorder in zip(layers, recorders, strict=True):
            layer.V_m, recorder.n_events = 0.0, 0
        started = time.perf_counter()
        nest.Simulate(float(len(spikes) + 3))
        seconds = time.perf_counter() - started
        counts = {}
        for index, (layer, recorder) in enumerate(zip(layers, recorders, strict=True)):
            senders = np.asarray(recorder.events["senders"]) - layer[0].global_id
            counts[f"counts{index}"] = np.bincount(senders, minlength=len(layer))
        return seconds, counts

    return run


if __name__ == "__main__":
    serve(build, ["nest-simulator"])
