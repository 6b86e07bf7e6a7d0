"""Decoders of VAEs and GANs: the float graph against torch, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snngen.converters import families
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.families import gan, vae
from snngen.converters.graph import Graph
from snngen.errors import FormatError, UnsupportedError

torch = pytest.importorskip("torch", reason="the original framework")
nn = torch.nn

MNIST = Path(__file__).parents[4] / "shared/data/models/mnist"

LAYERS: list[dict[str, Any]] = [
    {"kind": "linear", "name": "0"},
    {"kind": "batch_norm", "name": "1"},
    {"kind": "activation", "function": "relu"},
    {"kind": "view", "shape": [6, 2, 3]},
    {"kind": "transposed_convolution", "name": "4", "stride": 2, "padding": 1, "output_padding": [1, 0], "groups": 2},
    {"kind": "batch_norm", "name": "5", "epsilon": 1e-3},
    {"kind": "activation", "function": "silu"},
    {"kind": "upsample", "factor": [1, 2]},
    {"kind": "convolution", "name": "8", "padding": 1, "stride": [1, 2], "groups": 2},
    {"kind": "group_norm", "name": "9", "groups": 3},
    {"kind": "activation", "function": "tanh"},
    {"kind": "convolution", "name": "11", "dilation": 2, "padding": [2, 0]},
    {"kind": "batch_norm", "name": "12"},
    {"kind": "activation", "function": "sigmoid"},
]


def module(seed: int) -> Any:
    """The same in torch, with random weights and statistics."""
    torch.manual_seed(seed)
    stack = nn.Sequential(
        nn.Linear(5, 36), nn.BatchNorm1d(36), nn.ReLU(), nn.Unflatten(1, (6, 2, 3)),
        nn.ConvTranspose2d(6, 4, (4, 3), stride=2, padding=1, output_padding=(1, 0), groups=2),
        nn.BatchNorm2d(4, eps=1e-3), nn.SiLU(), nn.Upsample(scale_factor=(1, 2)),
        nn.Conv2d(4, 6, 3, stride=(1, 2), padding=1, groups=2), nn.GroupNorm(3, 6), nn.Tanh(),
        nn.Conv2d(6, 2, (3, 2), dilation=2, padding=(2, 0), bias=False), nn.BatchNorm2d(2, affine=False), nn.Sigmoid(),
    )  # fmt: skip
    with torch.no_grad():
        for name, value in stack.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.2, 3)
            elif "running_mean" in name or value.ndim == 1:
                value.normal_()
    return stack.eval()


def checkpoint(tensors: dict[str, Any], config: dict[str, Any]) -> Checkpoint:
    floats = {name: value.float().numpy() for name, value in tensors.items()}
    return Checkpoint("random", "test", "0", config, floats)


def configuration(**changes: Any) -> dict[str, Any]:
    config = {"model_type": "decoder", "latent": 5, "picture": [2, 5, 3], "layers": LAYERS}
    return {key: value for key, value in {**config, **changes}.items() if value is not None}


def pictures(graph: Graph, latents: np.ndarray) -> np.ndarray:
    assert graph.picture is not None
    return graph.run(latents[None].astype(np.float32))[0].reshape(-1, *graph.picture)


@pytest.mark.parametrize("seed", range(4))
def test_every_kind_of_layer_equals_torch(seed: int) -> None:
    stack = module(seed)
    latents = np.random.default_rng(seed).standard_normal((7, 5)).astype(np.float32)
    expected = stack(torch.tensor(latents)).detach().numpy()
    graph = families.build(checkpoint(stack.state_dict(), configuration()))
    assert graph.entry == "input"
    assert graph.picture_range == (0.0, 1.0)
    assert expected.std() > 0.02
    assert np.abs(pictures(graph, latents) - expected).max() < 1e-4


def test_what_is_left_out_is_said() -> None:
    tensors = {**module(0).state_dict(), "encoder.weight": torch.zeros(3), "encoder.bias": torch.zeros(3)}
    with pytest.raises(FormatError, match="left over"):
        families.build(checkpoint(tensors, configuration()))
    graph = families.build(checkpoint(tensors, configuration(left_out=["encoder."])))
    assert graph.notes == ["left out, as they are no part of the generator: encoder.bias, encoder.weight"]


def test_all_that_is_not_carried_is_refused_in_one_message() -> None:
    layers = [
        *LAYERS,
        {"kind": "lstm"},
        {"kind": "activation", "function": "mish"},
        {"kind": "upsample", "mode": 1},
        {"kind": []},
    ]
    with pytest.raises(UnsupportedError) as caught:
        families.build(checkpoint({}, configuration(layers=layers, dropout=0.5)))
    for part in ("dropout", "'lstm'", "'mish'", "mode of a upsample", "kind []"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"latent": 6}, "0.weight"),
        ({"latent": None}, "latent"),
        ({"picture": [2, 5, 4]}, "the picture"),
        ({"picture": [2, 5]}, "3 integers"),
        ({"picture": [2**20, 2**20, 1]}, "at most"),
        ({"range": [1, 1]}, "lowest"),
        ({"range": [0, float("nan")]}, "lowest"),
        ({"range": [True, 2]}, "lowest"),
        ({"range": 1}, "lowest"),
        ({"left_out": [""]}, "left_out"),
        ({"layers": None}, "layers"),
        ({"layers": []}, "layers"),
        ({"layers": [1]}, "layers"),
        ({"layers": [{"kind": "batch_norm", "name": "1"}, LAYERS[-1]]}, "fold"),
        ({"layers": [LAYERS[4], LAYERS[-1]]}, "view"),
        ({"layers": [{"kind": "linear"}, LAYERS[-1]]}, "name"),
        ({"layers": [LAYERS[0], {"kind": "view", "shape": [6, 2, 2]}, LAYERS[-1]]}, "36 values"),
        ({"layers": [*LAYERS[:4], {"kind": "upsample", "factor": 2**20}, LAYERS[-1]]}, "at most|up to"),
        ({"layers": [*LAYERS[:4], {**LAYERS[4], "groups": 4}, LAYERS[-1]]}, "divisor"),
        ({"layers": [*LAYERS[:4], {**LAYERS[4], "stride": 0}, LAYERS[-1]]}, "stride"),
        ({"layers": [*LAYERS[:4], {**LAYERS[4], "stride": 2**23}, LAYERS[-1]]}, "values"),
        ({"layers": [*LAYERS[:4], {**LAYERS[4], "padding": 2**23}, LAYERS[-1]]}, "values"),
        ({"layers": [*LAYERS[:8], {**LAYERS[8], "groups": 1}, LAYERS[-1]]}, "8.weight"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint(module(0).state_dict(), configuration(**changes)))


@pytest.mark.parametrize("broken", ["nan", "variance", "missing"])
def test_broken_tensors_are_refused(broken: str) -> None:
    tensors = module(0).state_dict()
    if broken == "nan":
        tensors["4.weight"][0, 0, 0, 0] = float("nan")
    elif broken == "variance":
        tensors["5.running_var"][0] = -1
    else:
        del tensors["8.weight"]
    with pytest.raises(FormatError, match=r"NaN|running_var|no such tensor"):
        families.build(checkpoint(tensors, configuration()))


def test_a_folder_with_a_configuration_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from snngen.converters import formats

    stack = module(1)
    tensors = {name: value for name, value in stack.state_dict().items() if "num_batches" not in name}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(configuration()))
    graph = families.build(formats.read(tmp_path))
    latents = np.random.default_rng(1).standard_normal((2, 5)).astype(np.float32)
    assert np.abs(pictures(graph, latents) - stack(torch.tensor(latents)).detach().numpy()).max() < 1e-4
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match="takes no tokens"):
        formats.read(tmp_path)


def state(name: str) -> dict[str, Any]:
    if not (MNIST / name).is_file():
        pytest.skip(f"{MNIST / name} is not there: it is no part of the project")
    tensors: dict[str, Any] = torch.load(MNIST / name, weights_only=True, map_location="cpu")
    return tensors


def test_the_vae_of_the_shared_data() -> None:
    tensors = state("vae_epoch_25.pth")
    given = checkpoint(tensors, {})
    assert vae.recognizes(given)
    assert not gan.recognizes(given)
    graph = families.build(given)
    latents = torch.randn(9, 20, generator=torch.Generator().manual_seed(0))
    hidden = torch.relu(latents @ tensors["fc3.weight"].T + tensors["fc3.bias"])
    expected = torch.sigmoid(hidden @ tensors["fc4.weight"].T + tensors["fc4.bias"]).numpy()
    assert np.abs(pictures(graph, latents.numpy()).reshape(9, 784) - expected).max() < 1e-4
    assert "fc1.weight" in graph.notes[-1]
    assert "fc22.bias" in graph.notes[-1]
    assert "fc3" not in graph.notes[-1]
    assert graph.picture == (1, 28, 28)


def test_the_gan_of_the_shared_data() -> None:
    tensors = state("gan_mlp_G--300.ckpt")
    given = checkpoint(tensors, {})
    assert gan.recognizes(given)
    assert not vae.recognizes(given)
    graph = families.build(given)
    stack = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())
    stack.load_state_dict(tensors)
    latents = torch.randn(9, 64, generator=torch.Generator().manual_seed(0))
    expected = stack(latents).detach().numpy()
    assert np.abs(pictures(graph, latents.numpy()).reshape(9, 784) - expected).max() < 1e-4
    assert graph.picture_range == (-1.0, 1.0)
    assert any("activations" in note for note in graph.notes)


@pytest.mark.parametrize(
    "names",
    [
        ["0.weight", "1.weight"],
        ["0.weight", "2.weight", "extra"],
        ["a.0.weight", "b.2.weight"],
        ["0.weight"],
        ["0.weight", "5.weight"],
    ],
)
def test_other_stacks_are_not_taken_for_a_generator(names: list[str]) -> None:
    given = checkpoint({name: torch.zeros(4, 4) for name in names}, {})
    assert not gan.recognizes(given)
    with pytest.raises(FormatError, match="stack"):
        gan.build(given)
    with pytest.raises(UnsupportedError, match="decoder"):
        families.build(given)


@pytest.mark.parametrize("rows", [12, 48])
def test_pictures_are_square(rows: int) -> None:
    given = checkpoint({"fc3.weight": torch.zeros(4, 3), "fc4.weight": torch.zeros(rows, 4)}, {})
    assert vae.square(given, "fc4.weight") == [3, int((rows / 3) ** 0.5), int((rows / 3) ** 0.5)]
    odd = checkpoint({"fc3.weight": torch.zeros(4, 3), "fc4.weight": torch.zeros(7, 4)}, {})
    with pytest.raises(FormatError, match="square"):
        vae.build(odd)
