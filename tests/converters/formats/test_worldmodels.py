"""World Models' JSON: what was written is what is read, the real model dreams, and whatever is damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snngen.converters import families, formats
from snngen.converters.formats import worldmodels
from snngen.errors import FormatError

HIDDEN, LATENTS, ACTIONS = 6, 2, 3
OUTPUTS = 15 * LATENTS
SHAPES = ((HIDDEN, OUTPUTS), (OUTPUTS,), (LATENTS + ACTIONS + HIDDEN, 4 * HIDDEN), (4 * HIDDEN,))


def random_arrays(seed: int = 0) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [generator.integers(-9999, 9999, shape).tolist() for shape in SHAPES]


def written(folder: Path, value: Any) -> Path:
    path = folder / "rnn.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_arrays_become_torch_weights(tmp_path: Path) -> None:
    arrays = random_arrays()
    source = formats.read(written(tmp_path, arrays))
    assert source.format == "worldmodels"
    assert source.config == {
        "model_type": "mdn_rnn",
        "latent_size": LATENTS,
        "action_size": ACTIONS,
        "hidden_size": HIDDEN,
        "mixtures": 5,
    }
    head, head_bias, kernel, bias = (np.array(array) / 10000 for array in arrays)
    i, j, f, o = np.split(kernel, 4, axis=1)
    stacked = np.concatenate((i, f, j, o), axis=1).T
    np.testing.assert_allclose(source.tensors["rnn.weight_ih_l0"], stacked[:, : LATENTS + ACTIONS], rtol=1e-6)
    np.testing.assert_allclose(source.tensors["rnn.weight_hh_l0"], stacked[:, LATENTS + ACTIONS :], rtol=1e-6)
    i, j, f, o = np.split(bias, 4)
    np.testing.assert_allclose(source.tensors["rnn.bias_ih_l0"], np.concatenate((i, f + 1, j, o)), rtol=1e-6)
    assert not source.tensors["rnn.bias_hh_l0"].any()
    np.testing.assert_allclose(source.tensors["head.weight"], head.T, rtol=1e-6)
    np.testing.assert_allclose(source.tensors["head.bias"], head_bias, rtol=1e-6)


def test_the_real_model_equals_torch(shared: Path) -> None:
    """TensorFlow's cell, written with torch.nn.LSTMCell from the file's own arrays."""
    torch = pytest.importorskip("torch", reason="parity needs torch (pip install snngen[parity])")
    path = shared / "models" / "carracing_rnn.json"
    graph = families.build(formats.read(path))
    assert (graph.channels, graph.vocabulary, graph.width("mixture")) == (35, 0, 480)
    head, head_bias, kernel, bias = (
        torch.tensor(array, dtype=torch.float64).float() / 10000 for array in json.loads(path.read_text())
    )
    cell = torch.nn.LSTMCell(35, 256)
    i, j, f, o = torch.arange(1024).reshape(4, 256)
    order = torch.cat((i, f, j, o))
    forget = torch.zeros(1024)
    forget[256:512] = 1
    cell.load_state_dict(
        {
            "weight_ih": kernel.T[order][:, :35],
            "weight_hh": kernel.T[order][:, 35:],
            "bias_ih": bias[order],
            "bias_hh": forget,
        }
    )
    inputs = np.random.default_rng(0).normal(size=(2, 40, 35)).astype(np.float32)
    state, expected = None, []
    with torch.no_grad():
        for token in range(inputs.shape[1]):
            state = cell(torch.from_numpy(inputs[:, token]), state)
            expected.append((state[0] @ head + head_bias).numpy())
    got = graph.run(inputs)
    assert np.std(expected) > 0.5
    assert np.abs(got - np.stack(expected, axis=1)).max() < 1e-4


DAMAGED: dict[str, Any] = {
    "a list of four arrays": random_arrays()[:3],
    "integers": json.dumps(random_arrays()).replace("[[", "[[1.5, ", 1),
    "the character": json.dumps([{}, *random_arrays()]).replace("[{}", "[[{}]"),
    "JSON": "[[1,2],[3,4],[5,6],[7,8]",
    "all of one length": [[[1, 2], [3]], *random_arrays()[1:]],
    "deep": "[" * 5000 + "]" * 5000,
    "lists,": "[" + ",".join(["[]"] * 20000) + "]",
    "beyond 2": [*random_arrays()[:3], [2**40] * (4 * HIDDEN)],
    "arrays of shapes": [random_arrays()[0], random_arrays()[1], random_arrays()[3], random_arrays()[2]],
    "in fifteens": [np.ones((HIDDEN, 14), int).tolist(), [1] * 14, *random_arrays()[2:]],
    "latents as inputs": [*random_arrays()[:2], np.ones((HIDDEN + 1, 4 * HIDDEN), int).tolist(), random_arrays()[3]],
    r"\(24,\); expected": [*random_arrays()[:2], np.ones((11, 28), int).tolist(), random_arrays()[3]],
    "rows of integers": "[[" + "9" * 100 + "],[1],[[1]],[1]]",
    "digits": "[[" + "9" * 10000 + "],[1],[[1]],[1]]",
}


@pytest.mark.parametrize("complaint", DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, complaint: str) -> None:
    path = written(tmp_path, DAMAGED[complaint])
    with pytest.raises(FormatError, match=complaint):
        worldmodels.read(path)


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rnn.json"
    with path.open("wb") as file:
        file.write(b"[[")
        file.truncate(2**40)  # sparse: were it read, the test would not end
    with pytest.raises(FormatError, match="1099511627776 bytes"):
        formats.read(path)


def test_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="vectors, not text"):
        formats.read(written(tmp_path, random_arrays()), tmp_path / "tokenizer.json")


def test_other_json_is_not_taken(tmp_path: Path) -> None:
    for text in ("{}", "[1, 2]", "", "[{}]"):
        assert not worldmodels.recognizes(written(tmp_path, text))
    assert worldmodels.recognizes(written(tmp_path, "[\n[\n[\n1]]]"))
    assert not worldmodels.recognizes(tmp_path)


WHOLE = json.dumps(random_arrays()).encode()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    at=st.integers(0, len(WHOLE) - 1),
    length=st.integers(0, 40),
    inserted=st.one_of(st.binary(max_size=12), st.text("[]0123456789-, ", max_size=30).map(str.encode)),
)
def test_edited_files_are_read_or_refused(tmp_path: Path, at: int, length: int, inserted: bytes) -> None:
    path = tmp_path / "rnn.json"
    path.write_bytes(WHOLE[:at] + inserted + WHOLE[at + length :])
    try:
        source = worldmodels.read(path)
    except FormatError:
        return
    graph = families.build(source)
    assert np.isfinite(graph.run(np.zeros((1, 2, graph.channels), np.float32))).all()
