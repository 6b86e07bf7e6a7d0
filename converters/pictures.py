"""Constant steps on flat pictures that the float graph writes as convolutions: pools, enlargements, stacks."""

from __future__ import annotations

import numpy as np

from snngen.converters.operations import Convolution, Floats

Shape = tuple[int, int, int]
Pair = tuple[int, int]


def average_pool(
    shape: Shape, kernel: Pair, stride: Pair, padding: Pair = (0, 0), divisor: int | None = None
) -> Convolution:
    """Mean over windows of every channel; borders count as zeros.

    shape: (channels, height, width). divisor: what sums are divided by, the size of a window where None.
    """
    share = 1.0 / (kernel[0] * kernel[1] if divisor is None else divisor)
    weight = np.full((shape[0], 1, *kernel), share, dtype=np.float32)
    return Convolution(weight, None, shape, stride, padding, groups=shape[0])


def repeat(shape: Shape, factors: Pair) -> Convolution:
    """Every pixel as a block of factors[0] x factors[1]: nearest-neighbour upsampling, or the spread of one value."""
    weight = np.ones((shape[0], 1, *factors), dtype=np.float32)
    return Convolution(weight, None, shape, factors, groups=shape[0], transposed=True)


def stack(shape: Shape) -> Convolution:
    """The inputs as one picture, one above the other by channel; shape: (channels, height, width) of the result."""
    return Convolution(np.ones((shape[0], 1, 1, 1), dtype=np.float32), None, shape, groups=shape[0])


def pixel_shuffle(shape: Shape, factor: int) -> Convolution:
    """(channels * factor**2, height, width) to (channels, height * factor, width * factor).

    Source: Shi et al. 2016, torch.nn.PixelShuffle.
    """
    places = np.eye(factor**2, dtype=np.float32).reshape(-1, 1, factor, factor)
    groups = shape[0] // factor**2
    weight: Floats = np.tile(places, (groups, 1, 1, 1))
    return Convolution(weight, None, shape, (factor, factor), groups=groups, transposed=True)
