"""Brian2, C++ standalone: `v_post += w`, threshold `v >= theta`, reset `v -= theta`, single precision.

Every work is a compiled program of its own. Timed is what Brian2 itself gives as the time of the simulated part
(`last_run_info.txt`): start of the program and making of the synapses are no part of it. Its synapses take a tick each,
so two ticks more are run, and spikes outside of each layer's own ticks are not counted.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import brian2 as b
import numpy as np
from link import Arrays, Run, serve


def compiled(case: Arrays, work: str, threads: int) -> tuple[Path, Arrays]:
    """The folder of a work's program, run once, and the spikes of each neuron in it."""
    b.device.reinit()
    b.device.activate(build_on_run=False)
    b.prefs.core.default_float_dtype = np.float32
    b.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
    b.defaultclock.dt = 1 * b.ms
    ticks, neurons = np.nonzero(case[work])
    source = b.SpikeGeneratorGroup(case[work].shape[1], neurons, ticks * b.ms)
    objects, monitors = [source], []
    for index, theta in enumerate(case["thetas"].tolist()):
        weights = case[f"weights{index}"]
        layer = b.NeuronGroup(weights.shape[1], "v : 1", threshold=f"v >= {theta}", reset=f"v -= {theta}")
        synapses = b.Synapses(source, layer, "w : 1", on_pre="v_post += w")
        synapses.connect()
        synapses.w = weights.ravel().astype(np.float32)
        monitors.append(b.SpikeMonitor(layer))
        objects += [layer, synapses, monitors[-1]]
        source = layer
    length = len(case[work])
    b.Network(*objects).run((length + len(monitors)) * b.ms)
    folder = Path.cwd() / work.replace(" ", "_")
    b.device.build(directory=str(folder), compile=True, run=True, with_output=False)
    counts = {}
    for index, monitor in enumerate(monitors):
        tick = np.round(monitor.t / b.ms).astype(int) - (index + 1)
        fired = np.asarray(monitor.i)[(tick >= 0) & (tick < length)]
        counts[f"counts{index}"] = np.bincount(fired, minlength=case[f"weights{index}"].shape[1])
    return folder, counts


def build(case: Arrays, threads: int) -> Run:
    b.set_device("cpp_standalone", build_on_run=False)
    programs = {work: compiled(case, work, threads) for work in case["works"].tolist()}

    def run(work: str) -> tuple[float, Arrays]:
        folder, counts = programs[work]
        subprocess.run(["./main"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return float((folder / "results" / "last_run_info.txt").read_text().split()[0]), counts

    return run


if __name__ == "__main__":
    serve(build, ["brian2"])
