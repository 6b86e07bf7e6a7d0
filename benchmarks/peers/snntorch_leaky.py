"""snnTorch: one matrix product over all ticks per layer, then `Leaky` with beta = 1 tick by tick (soft, >).

Its tutorials put the layer inside the loop over ticks, which is slower; between two layers nothing asks for that.
"""

from __future__ import annotations

import time

import snntorch
import torch
from link import Arrays, Run, serve


def build(case: Arrays, threads: int) -> Run:
    torch.set_num_threads(threads)
    linears, cells = [], []
    for index, theta in enumerate(case["thetas"].tolist()):
        weights = torch.tensor(case[f"weights{index}"], dtype=torch.float32)
        linears.append(torch.nn.Linear(weights.shape[0], weights.shape[1], bias=False))
        linears[-1].weight.data = weights.T.contiguous()
        cells.append(snntorch.Leaky(beta=1.0, threshold=float(theta), reset_mechanism="subtract").eval())
    inputs = {name: torch.tensor(case[name], dtype=torch.float32)[:, None] for name in case["works"].tolist()}

    @torch.inference_mode()
    def run(work: str) -> tuple[float, Arrays]:
        spikes, trains = inputs[work], []
        started = time.perf_counter()
        for linear, cell in zip(linears, cells, strict=True):
            potential = cell.reset_mem()
            fired = []
            for drive in linear(spikes):
                sent, potential = cell(drive, potential)
                fired.append(sent)
            spikes = torch.stack(fired)
            trains.append(spikes)
        seconds = time.perf_counter() - started
        return seconds, {f"counts{k}": train.sum(dim=(0, 1)).long().numpy() for k, train in enumerate(trains)}

    return run


if __name__ == "__main__":
    serve(build, ["snntorch", "torch"])
