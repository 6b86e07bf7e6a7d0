"""torch modules: the float graph equals the module, integers are taken over, what is not carried is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch reads its own modules")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from snngen import reference  # noqa: E402
from snngen.certificate import certify  # noqa: E402
from snngen.converters.convert import convert_graph  # noqa: E402
from snngen.converters.from_torch import from_torch  # noqa: E402
from snngen.converters.graph import Graph  # noqa: E402
from snngen.converters.operations import (  # noqa: E402
    Add,
    Convolution,
    Embedding,
    GroupNorm,
    Integers,
    Linear,
    Pointwise,
    Position,
)
from snngen.encoding import decode, encode  # noqa: E402
from snngen.engines.ticked import TickedEngine  # noqa: E402
from snngen.errors import PromptError, UnsupportedError  # noqa: E402

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
    "mlp": (
        lambda: sequence(nn.Linear(5, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3)),
        (4, 5),
    ),
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
    "pixel shuffle": (
        lambda: sequence(nn.Conv2d(2, 12, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(3, 1, 1)),
        (2, 2, 4, 4),
    ),
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
                lambda s, x: (
                    torch.sub(s.a(x), s.b(x), alpha=0.5) * s.a(x) / torch.arange(1.0, 7.0) - 2 * (1 - s.b(x)) ** 2
                ),
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
            Forward(
                lambda s, x: s.a(x) * torch.sigmoid(s.b(x.mean((2, 3), keepdim=True))),
                a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1),
            )
        ),
        (2, 3, 4, 4),
    ),
    "weight norm": (lambda: randomized(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))), (3, 5)),
    "instance norm": (
        lambda: sequence(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 1, 1)),
        (2, 1, 6, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_equals_the_module(name: str) -> None:
    make, shape = MODULES[name]
    module = make()
    graph = from_torch(module, sample(*shape))
    assert_equal(module, sample(*shape, seed=2), graph)


def kinds(graph: Graph) -> list[type]:
    return [type(node.operation) for node in graph.nodes]


def test_batch_norms_and_scales_are_folded() -> None:
    make, shape = MODULES["decoder"]
    graph = from_torch(make(), sample(*shape))
    norms = [node.name for node in graph.nodes if node.name == "4"]
    assert not norms
    assert kinds(graph).count(Convolution) == 2
    assert graph.picture == (2, 12, 12)
    assert graph.picture_range == (-1.0, 1.0)
    make, shape = MODULES["convolutions"]
    graph = from_torch(make(), sample(*shape))
    assert kinds(graph) == [
        Convolution, Pointwise, Convolution, Convolution, Pointwise, Convolution, Linear,
    ]  # fmt: skip
    assert graph.picture is None


def test_a_residual_is_a_stream_and_norms_read_it() -> None:
    make, shape = MODULES["residual"]
    graph = from_torch(make(), sample(*shape))
    assert kinds(graph).count(Add) == 2
    (norm,) = (node for node in graph.nodes if isinstance(node.operation, GroupNorm))
    assert norm.inputs == ("0",)


def test_what_nobody_reads_is_dropped() -> None:
    module = randomized(Forward(lambda s, x: (s.a(x), s.b(x)), a=nn.Linear(5, 3), b=nn.Linear(5, 4)))
    graph = from_torch(module, sample(2, 5), output=1)
    assert [node.name for node in graph.nodes] == ["b"]
    assert_equal(Forward(lambda s, x: s.b(x), b=module.b), sample(2, 5, seed=2), graph)
    with pytest.raises(UnsupportedError, match=r"2 results.*output=0"):
        from_torch(module, sample(2, 5))


def test_token_models_have_a_vocabulary_and_positions_a_context() -> None:
    def forward(s: Any, x: Any) -> Any:
        return s.head(s.cell(s.words(x) + s.places(torch.arange(TOKENS)))[0])

    layers = {"words": nn.Embedding(11, 4), "places": nn.Embedding(9, 4)}
    module = randomized(Forward(forward, **layers, cell=nn.LSTM(4, 5, batch_first=True), head=nn.Linear(5, 11)))
    tokens = torch.arange(2 * TOKENS).reshape(2, TOKENS) % 11
    graph = from_torch(module, tokens)
    assert (graph.vocabulary, graph.channels, graph.context) == (11, 0, TOKENS)
    assert {Embedding, Position} <= set(kinds(graph))
    with torch.no_grad():
        np.testing.assert_allclose(graph.run(tokens.numpy()), module(tokens).numpy(), atol=1e-4)


def test_tied_weights_stay_one_array() -> None:
    module = Forward(lambda s, x: s.head(s.words(x)), words=nn.Embedding(7, 4), head=nn.Linear(4, 7, bias=False))
    module.head.weight = module.words.weight
    graph = from_torch(module, torch.zeros(2, 3, dtype=torch.int64))
    words, head = (node.operation for node in graph.nodes)
    assert isinstance(words, Embedding)
    assert isinstance(head, Linear)
    assert words.weight is head.weight


def test_the_last_token_of_a_sequence_is_said_to_be_it() -> None:
    cell = nn.GRU(4, 6, batch_first=True)
    module = randomized(Forward(lambda s, x: s.head(s.cell(x)[0][:, -1]), cell=cell, head=nn.Linear(6, 3)))
    x = sample(2, TOKENS, 4)
    graph = from_torch(module, x)
    assert any("after the last token only" in note for note in graph.notes)
    with torch.no_grad():
        np.testing.assert_allclose(run(graph, x)[:, -1], module(x).numpy(), atol=1e-4)


def test_a_picture_may_come_flat() -> None:
    module = randomized(nn.Sequential(nn.Linear(4, 12), nn.Sigmoid()))
    graph = from_torch(module, sample(2, 4), picture=(3, 2, 2))
    assert (graph.picture, graph.picture_range) == ((3, 2, 2), (0.0, 1.0))
    with pytest.raises(UnsupportedError, match="a shape of 12 values"):
        from_torch(module, sample(2, 4), picture=(3, 2, 3))


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.BatchNorm1d(3)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    from_torch(module, sample(2, 4))
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_hooks_of_old_norms_are_computed_once() -> None:
    module = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.utils.spectral_norm(nn.Linear(3, 2)))
    module(sample(2, 4))
    module.eval()
    graph = from_torch(module, sample(2, 4))
    assert kinds(graph) == [Linear, Linear]
    assert_equal(module, sample(3, 4, seed=2), graph)


def test_everything_unsupported_is_named_in_one_message() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ELU(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Flatten(),
        nn.Linear(144, 5), nn.Softmax(-1),
    )  # fmt: skip
    with pytest.raises(UnsupportedError) as refused:
        from_torch(module, sample(2, 1, 8, 8))
    message = str(refused.value)
    for part in ("1: aten.max_pool2d", "takes a maximum", "2: aten.elu", "ACTIVATIONS", "3: aten.upsample_bilinear2d",
                 "6: aten.softmax", "leave a last softmax"):  # fmt: skip
        assert part in message


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "directions": (
        lambda: Forward(lambda s, x: s.c(x)[0], c=nn.LSTM(4, 3, bidirectional=True, batch_first=True)),
        (2, TOKENS, 4),
        "bidirectional=True",
    ),
    "order": (lambda: Forward(lambda s, x: s.c(x)[0], c=nn.GRU(4, 3)), (2, TOKENS, 4), "batch_first=False"),
    "projection": (
        lambda: Forward(lambda s, x: s.c(x)[0], c=nn.LSTM(4, 3, proj_size=2, batch_first=True)),
        (2, TOKENS, 4),
        "proj_size",
    ),
    "final state": (
        lambda: Forward(lambda s, x: s.c(x)[1][0], c=nn.LSTM(4, 3, batch_first=True)),
        (2, TOKENS, 4),
        "final state",
    ),
    "attention": (
        lambda: Forward(lambda s, x: functional.scaled_dot_product_attention(x, x, x)),
        (2, TOKENS, 4),
        "attention is carried in families",
    ),
    "tokens mixed": (lambda: Forward(lambda s, x: x.flip(1)), (2, TOKENS, 4), "mixes batch or tokens"),
    "noise": (lambda: Forward(lambda s, x: x + torch.randn(2, 4)), (2, 4), "random numbers"),
    "no input": (lambda: Forward(lambda s, x: torch.ones(2, 2)), (2, 4), "does not depend on the input"),
    "branches": (lambda: Forward(lambda s, x: x if x.sum() > 0 else -x), (2, 4), r"torch\.export: "),
    "its own example": (lambda: nn.Linear(5, 3), (2, 4), r"torch\.export: "),
    "a shape": (lambda: nn.Linear(4, 3), (2, 3, 2, 2, 4), r"\(batch, channels\)"),
    "padding": (lambda: nn.Conv2d(1, 1, 2, padding="same"), (2, 1, 4, 4), "even kernel"),
    "windows": (lambda: nn.AdaptiveAvgPool2d(3), (2, 1, 4, 4), "windows of equal size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_carried_is_refused(name: str) -> None:
    make, shape, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        from_torch(make(), sample(*shape))


def test_a_state_that_changes_is_refused() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.count += 1
            return x * self.count

    with pytest.raises(UnsupportedError, match="count: a buffer that changes"):
        from_torch(Counting(), sample(2, 4))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["decoder", "unet", "residual", "lstm", "gru", "channels apart"])
def test_networks_say_what_modules_say(name: str) -> None:
    make, shape = MODULES[name]
    module = make()
    graph = from_torch(module, sample(*shape))
    tokens = TOKENS if len(shape) == 3 else 1
    generator = np.random.default_rng(0)
    calibration = generator.standard_normal((8, 16, graph.channels)).astype(np.float32)
    network = convert_graph(graph, calibration).network
    given = generator.standard_normal((tokens, graph.channels)).astype(np.float32)
    codes = encode(network, given)
    assert certify(network, codes).clean
    assert certify(network, codes, TickedEngine(network)).clean
    x = torch.from_numpy(given)[None] if tokens > 1 else torch.from_numpy(given).reshape(1, *shape[1:])
    with torch.no_grad():
        expected = module(x).numpy().reshape(tokens, -1)
    error = decode(network, reference.run(network, {network.sources[0].name: codes})[network.output]) - expected
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > 25


def test_a_model_of_vectors_needs_calibration() -> None:
    make, shape = MODULES["mlp"]
    with pytest.raises(PromptError, match=r"\(sequences, tokens, 5\)"):
        convert_graph(from_torch(make(), sample(*shape)))


# --- quantized modules ------------------------------------------------------------------------------------------------


def integers(graph: Graph) -> dict[str, Integers]:
    found = {node.name: getattr(node.operation, "integers", None) for node in graph.nodes}
    return {name: each for name, each in found.items() if each is not None}


def coded(graph: Graph) -> Callable[[str, Any], Any]:
    """Rounds the values that the module itself rounds."""

    def rounded(name: str, value: Any) -> Any:
        codes = graph.codes if name == graph.entry else graph.node(name).codes
        if codes is None:
            return value
        return np.asarray(np.clip(np.rint(value / codes.scale), codes.low, codes.high) * codes.scale, np.float32)

    return rounded


MATRICES = ("Dense", "Packed", "Sparse")


def network_weights(network: Any, target: str) -> list[np.ndarray]:
    """(outputs, inputs) integer weights of the dense projections onto a population, however they are stored."""
    found = [p.synapse for p in network.projections if p.target == target and type(p.synapse).__name__ in MATRICES]
    units = [np.eye(synapse.source_size, dtype=np.int64) for synapse in found]
    sums = [s.reference(unit, None) for s, unit in zip(found, units, strict=True)]
    assert all((total % s.gain == 0).all() for s, total in zip(found, sums, strict=True))
    return [(total // s.gain).T for s, total in zip(found, sums, strict=True)]


@pytest.fixture
def torchao() -> Any:
    return pytest.importorskip("torchao.quantization", reason="torchao quantizes the modules")


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_torchao_integers_are_taken_over(torchao: Any, config: str) -> None:
    module = randomized(nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 8)))
    torchao.quantize_(module, getattr(torchao, config)())
    graph = from_torch(module, sample(2, 32))
    taken = integers(graph)
    assert set(taken) == {"0", "2"}
    for name, each in taken.items():
        weight = module[int(name)].weight
        assert np.array_equal(each.matrix, weight.qdata.numpy())
        assert np.array_equal(each.scale, weight.scale.numpy().reshape(-1).astype(np.float64))
        assert each.bits == 8
    assert bool(graph.notes) == config.startswith("Int8Dynamic")
    if config == "Int8WeightOnlyConfig":
        assert_equal(module, sample(3, 32, seed=2), graph)
    calibration = np.random.default_rng(0).standard_normal((4, 8, 32)).astype(np.float32)
    network = convert_graph(graph, calibration).network
    for name, target in (("0", "1"), ("2", "2")):
        stored = [w for t in {name, target} for w in network_weights(network, t)]
        assert any(np.array_equal(weight, module[int(name)].weight.qdata.numpy()) for weight in stored)


def test_torchao_static_scales_are_codes(torchao: Any) -> None:
    module = randomized(nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 8)))
    config = torchao.Int8StaticActivationInt8WeightConfig(torch.tensor([[0.03]]), granularity=torchao.PerTensor())
    torchao.quantize_(module, config)
    graph = from_torch(module, sample(2, 32))
    assert graph.codes is not None
    assert float(graph.codes.scale[0]) == float(np.float32(0.03))
    assert graph.node("1").codes is not None
    assert len(integers(graph)) == 2
    with torch.no_grad():
        expected = module(sample(3, 32, seed=2)).numpy()
    got = graph.run(sample(3, 32, seed=2).numpy()[:, None], transform=coded(graph))[:, 0]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    network = convert_graph(graph, np.random.default_rng(0).standard_normal((4, 8, 32)).astype(np.float32)).network
    given = encode(network, sample(3, 32, seed=2).numpy())
    said = decode(network, reference.run(network, {network.sources[0].name: given})[network.output])
    assert np.abs(said - expected).max() < 0.03 * np.abs(expected).max()


def test_torchao_narrow_integers(torchao: Any) -> None:
    module = randomized(nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 8)))
    torchao.quantize_(module, torchao.IntxWeightOnlyConfig(torch.int4))
    (first, second) = integers(from_torch(module, sample(2, 32))).values()
    assert first.bits == second.bits == 4
    assert np.array_equal(first.matrix, module[0].weight.qdata.numpy())
    assert np.abs(first.matrix).max() <= 8


def test_torchao_blocks_are_quantized_again_and_said_so(torchao: Any) -> None:
    from torchao.quantization.granularity import PerGroup

    module = randomized(nn.Linear(64, 8))
    torchao.quantize_(module, torchao.IntxWeightOnlyConfig(torch.int4, granularity=PerGroup(32)))
    graph = from_torch(module, sample(2, 64))
    assert not integers(graph)
    assert any("block of [1, 32]" in note and "dB below" in note for note in graph.notes)
    assert_equal(module, sample(3, 64, seed=2), graph)


def test_brevitas_integers_and_codes_are_taken_over() -> None:
    qnn = pytest.importorskip("brevitas.nn", reason="brevitas quantizes the modules")
    quant = pytest.importorskip("brevitas.quant")
    per_channel = {"weight_quant": quant.Int8WeightPerChannelFloat}
    torch.manual_seed(0)
    module = nn.Sequential(
        qnn.QuantIdentity(), qnn.QuantConv2d(1, 4, 3, weight_bit_width=4), qnn.QuantReLU(bit_width=6), nn.Flatten(),
        qnn.QuantLinear(64, 16, bias=True, **per_channel), qnn.QuantTanh(),
        qnn.QuantLinear(16, 8, bias=True, weight_bit_width=4, **per_channel),
    )  # fmt: skip
    for seed in range(5):
        module(sample(32, 1, 6, 6, seed=seed))
    module.eval()
    graph = from_torch(module, sample(2, 1, 6, 6))
    assert graph.codes is not None
    assert (graph.codes.low, graph.codes.high) == (-128, 127)
    assert graph.node("2_0").codes is not None
    taken = integers(graph)
    assert set(taken) == {"1", "4", "6"}
    for name, each in taken.items():
        weight = module[int(name)].quant_weight()
        assert np.array_equal(each.matrix, weight.int().numpy())
        assert np.array_equal(each.scale, np.broadcast_to(weight.scale.detach().numpy().reshape(-1), each.scale.shape))
        assert each.bits == int(weight.bit_width)

    x = sample(4, 1, 6, 6, seed=9)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(
        graph.run(x.numpy().reshape(4, 1, -1), transform=coded(graph))[:, 0], expected, atol=1e-5
    )
    calibration = np.random.default_rng(0).standard_normal((4, 8, 36)).astype(np.float32)
    network = convert_graph(graph, calibration).network
    kernels = [p.synapse.kernel for p in network.projections if hasattr(p.synapse, "kernel")]
    assert any(np.array_equal(kernel, taken["1"].matrix) for kernel in kernels)
    matrices = [w for p in network.populations for w in network_weights(network, p.name)]
    for name in ("4", "6"):
        assert any(np.array_equal(matrix, taken[name].matrix) for matrix in matrices)
    given = encode(network, x.numpy().reshape(4, -1))
    error = decode(network, reference.run(network, {network.sources[0].name: given})[network.output]) - expected
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > 30


def test_brevitas_zero_points_are_refused() -> None:
    qnn = pytest.importorskip("brevitas.nn", reason="brevitas quantizes the modules")
    quant = pytest.importorskip("brevitas.quant")
    torch.manual_seed(0)
    module = nn.Sequential(qnn.QuantIdentity(act_quant=quant.ShiftedUint8ActPerTensorFloat), nn.Linear(4, 3)).train()
    for seed in range(5):
        module(sample(32, 4, seed=seed))
    with pytest.raises(UnsupportedError, match=r"0\.act_quant: a zero point"):
        from_torch(module, sample(2, 4))
