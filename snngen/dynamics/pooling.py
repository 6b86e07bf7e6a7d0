"""Pooling: the convolutions that sum or average the places of each channel."""

from __future__ import annotations

import numpy as np

from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.convolution import Convolution

Pair = tuple[int, int]


def pool(kind: str, shape: tuple[int, int, int], size: Pair, stride: Pair, padding: Pair) -> Convolution:
    """A pooling of a picture. kind: "sum", or "average", which divides by the whole window, its padding included.

    shape: (channels, height, width). size: of the window. All pairs are vertical, horizontal.
    Source: torch.nn.functional.avg_pool2d with its defaults; NIR's SumPool2d and AvgPool2d.
    """
    weight = 1.0 if kind == "sum" else 1.0 / (size[0] * size[1])
    kernel = np.full((shape[0], 1, *size), weight)
    return Convolution(kernel, shape, stride=stride, padding=padding, groups=shape[0])


def pooling(synapse: DynamicSynapse) -> str | None:
    """ "sum" or "average" where a convolution is such a pooling, else None."""
    if not isinstance(synapse, Convolution):
        return None
    kernel = synapse.kernel
    alone = synapse.groups == synapse.shape[0] == kernel.shape[0] and synapse.dilation == (1, 1)
    first = float(kernel.flat[0])
    if not alone or (kernel != first).any():
        return None
    return {1.0 / (kernel.shape[2] * kernel.shape[3]): "average", 1.0: "sum"}.get(first)
