"""torch modules: the float graph equals the module, integers are taken over, and what is not carried is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch reads its own modules")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from snngen.converters.from_torch import from_torch  # noqa: E402
from snngen.converters.graph import Graph  # noqa: E402
from snngen.converters.operations import (  # noqa: E402
    Add,
    Convolution,
    Embedding,
    Gate,
    GroupNorm,
    Linear,
    Pointwise,
    Position,
    Scale,
)
from snngen.errors import UnsupportedError  # noqa: E402

TOKENS = 6


class Forward(nn.Module):
    """A module of some layers and a function of them."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return x + self.layers(x)


class Downsampled(nn.Module):
    """A small U-Net: encoder, decoder, and a skip beside."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(2, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.middle = Residual(nn.GroupNorm(3, 12), nn.SiLU(), nn.Conv2d(12, 12, 3, padding=1))
        self.up = nn.Upsample(scale_factor=2)
        self.norm = nn.GroupNorm(5, 20)
        self.out = nn.Conv2d(20, 2, 3, padding=1)

    def forward(self, x: Any) -> Any:
        first = self.enter(x)
        deep = self.middle(self.down(first))
        both = torch.cat((first, self.up(deep)), dim=1)
        return self.out(functional.silu(self.norm(both)))


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random parameters and statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.dtype.is_floating_point:
                spread = 1.0 / max(1, tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.3
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
                if "running_var" in name:
                    tensor.copy_(tensor.abs() + 0.5)
    return module.eval()


def sample(*shape: int, seed: int = 1) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run(graph: Graph, x: Any) -> np.ndarray:
    """The graph's answers in the layout of its input: (batch, tokens, channels), one token where there are none."""
    values = x.numpy()
    if graph.channels and values.ndim != 3:
        values = values.reshape(len(values), 1, -1)
    return graph.run(values)


def assert_equal(module: nn.Module, x: Any, graph: Graph) -> None:
    with torch.no_grad():
        expected = module(x).numpy()
    got = run(graph, x)
    assert np.abs(expected).max() > 1e-2  # or anything would equal it
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-4)


def sequence(*layers: nn.Module) -> nn.Module:
    return randomized(nn.Sequential(*layers))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: sequence(nn.Linear(5, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3)), (4, 5)),
    "functions": (
        lambda: sequence(
            nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(approximate="tanh"), nn.Linear(8, 8), nn.SiLU(),
            nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.PReLU(8), nn.Linear(8, 4), nn.Sigmoid(),
        ),
        (3, 5),
    ),
    "decoder": (
        lambda: sequence(
            nn.Linear(6, 8 * 3 * 3), nn.ReLU(inplace=True), nn.Unflatten(1, (8, 3, 3)),
            nn.ConvTranspose2d(8, 5, 4, stride=2, padding=1), nn.BatchNorm2d(5), nn.LeakyReLU(0.1, inplace=True),
            nn.ConvTranspose2d(5, 2, 3, stride=2, padding=1, output_padding=1), nn.Tanh(),
        ),
        (2, 6),
    ),
    "convolutions": (
        lambda: sequence(
            nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3, padding="same", dilation=2), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, 4), nn.BatchNorm1d(4),
        ),
        (2, 3, 8, 8),
    ),
    "unet": (lambda: randomized(Downsampled()), (2, 2, 8, 8)),
    "pixel shuffle": (lambda: sequence(nn.Conv2d(2, 12, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(3, 1, 1)), (2, 2, 4, 4)),
    "residual": (
        lambda: sequence(
            nn.Linear(5, 8), Residual(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)),
            Residual(nn.RMSNorm(8), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8)), nn.Linear(8, 3),
        ),
        (4, 5),
    ),
    "lstm": (
        lambda: randomized(
            Forward(lambda s, x: s.head(s.cell(x)[0]), cell=nn.LSTM(4, 6, 2, batch_first=True), head=nn.Linear(6, 3))
        ),
        (2, TOKENS, 4),
    ),
    "gru": (
        lambda: randomized(
            Forward(lambda s, x: s.head(s.cell(x)[0]), cell=nn.GRU(4, 6, 2, batch_first=True), head=nn.Linear(6, 3))
        ),
        (2, TOKENS, 4),
    ),
    "gru without bias": (
        lambda: randomized(Forward(lambda s, x: s.cell(x)[0], cell=nn.GRU(4, 6, bias=False, batch_first=True))),
        (2, TOKENS, 4),
    ),
    "rnn": (
        lambda: randomized(
            Forward(lambda s, x: s.b(s.a(x)[0])[0], a=nn.RNN(4, 6, batch_first=True),
                    b=nn.RNN(6, 5, nonlinearity="relu", batch_first=True))
        ),
        (2, TOKENS, 4),
    ),
    "a batch of one": (lambda: sequence(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), (1, 1, 4, 4)),
    "swiglu": (
        lambda: randomized(
            Forward(
                lambda s, x: s.down(functional.silu(s.up(x).chunk(2, -1)[0]) * s.up(x).chunk(2, -1)[1]),
                up=nn.Linear(5, 12), down=nn.Linear(6, 4),
            )
        ),
        (2, TOKENS, 5),
    ),
    "glu": (lambda: sequence(nn.Linear(5, 12), nn.GLU(), nn.Linear(6, 4)), (3, 5)),
    "sums": (
        lambda: randomized(
            Forward(
                lambda s, x: torch.sub(s.a(x), s.b(x), alpha=0.5) * s.a(x) / torch.arange(1.0, 7.0) - 2 * (1 - s.b(x)) ** 2,
                a=nn.Linear(5, 6), b=nn.Linear(5, 6),
            )
        ),
        (3, 5),
    ),
    "channels apart": (
        lambda: randomized(
            Forward(
                lambda s, x: torch.cat((s.a(x)[:, 1:3], x.flip(1)[:, :2], s.c(x.tanh())), 1),
                a=nn.Conv2d(3, 4, 1), c=nn.Conv2d(3, 2, 1),
            )
        ),
        (2, 3, 4, 4),
    ),
    "excitation": (
        lambda: randomized(
            Forward(lambda s, x: s.a(x) * torch.sigmoid(s.b(x.mean((2, 3), keepdim=True))), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1))
        ),
        (2, 3, 4, 4),
    ),
    "weight norm": (lambda: randomized(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))), (3, 5)),
    "instance norm": (lambda: sequence(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 1, 1)), (2, 1, 6, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_equals_the_module(name: str) -> None:
    make, shape = MODULES[name]
    module = make()
    graph = from_torch(module, sample(*shape))
    assert_equal(module, sample(*shape, seed=2), graph)
