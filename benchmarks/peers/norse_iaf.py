"""norse: one matrix product over all ticks per layer, then its `IAF` over the ticks (hard reset, >: the only one)."""

from __future__ import annotations

import time

import norse.torch as norse
import torch
from link import Arrays, Run, serve


def build(case: Arrays, threads: int) -> Run:
    torch.set_num_threads(threads)
    linears, cells = [], []
    for index, theta in enumerate(case["thetas"].tolist()):
        weights = torch.tensor(case[f"weights{index}"], dtype=torch.float32)
        linears.append(torch.nn.Linear(weights.shape[0], weights.shape[1], bias=False))
        linears[-1].weight.data = weights.T.contiguous()
        cells.append(norse.IAF(norse.IAFParameters(v_th=torch.tensor(float(theta)), v_reset=torch.tensor(0.0))).eval())
    inputs = {name: torch.tensor(case[name], dtype=torch.float32)[:, None] for name in case["works"].tolist()}

    @torch.no_grad()  # its first state asks for a gradient, which inference_mode refuses
    def run(work: str) -> tuple[float, Arrays]:
        spikes, trains = inputs[work], []
        started = time.perf_counter()
        for linear, cell in zip(linears, cells, strict=True):
            spikes, _ = cell(linear(spikes))
            trains.append(spikes)
        seconds = time.perf_counter() - started
        return seconds, {f"counts{k}": train.sum(dim=(0, 1)).long().numpy() for k, train in enumerate(trains)}

    return run


if __name__ == "__main__":
    serve(build, ["norse", "torch"])
