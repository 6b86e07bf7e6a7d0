"""SpikingJelly, multi-step: one matrix product over all ticks per layer, then `IFNode` over the ticks (soft, >=)."""

from __future__ import annotations

import time

import torch
from link import Arrays, Run, serve
from spikingjelly.activation_based import functional, layer, neuron


def linear(weights: torch.Tensor) -> layer.Linear:
    module = layer.Linear(*weights.shape, bias=False, step_mode="m")
    module.weight.data = weights.T.contiguous()
    return module


def build(case: Arrays, threads: int) -> Run:
    torch.set_num_threads(threads)
    net = torch.nn.ModuleList(
        module
        for index, theta in enumerate(case["thetas"].tolist())
        for module in (
            linear(torch.tensor(case[f"weights{index}"], dtype=torch.float32)),
            neuron.IFNode(v_threshold=float(theta), v_reset=None, step_mode="m"),
        )
    ).eval()
    inputs = {name: torch.tensor(case[name], dtype=torch.float32)[:, None] for name in case["works"].tolist()}

    @torch.inference_mode()
    def run(work: str) -> tuple[float, Arrays]:
        spikes, counts = inputs[work], {}
        started = time.perf_counter()
        functional.reset_net(net)
        trains = []
        for module in net:
            spikes = module(spikes)
            trains.append(spikes)
        seconds = time.perf_counter() - started
        for index, train in enumerate(trains[1::2]):
            counts[f"counts{index}"] = train.sum(dim=(0, 1)).long().numpy()
        return seconds, counts

    return run


if __name__ == "__main__":
    serve(build, ["spikingjelly", "torch"])
