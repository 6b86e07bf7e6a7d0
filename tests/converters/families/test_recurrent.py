"""LSTM and GRU language models: logits equal to those of torch, networks equal to the reference in every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trained

import snngen
from snngen import codes
from snngen.converters import families, formats
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import Conversion, convert, convert_graph
from snngen.converters.graph import Graph
from snngen.engines.ticked import TickedEngine
from snngen.errors import FormatError, UnsupportedError

TOLERANCE = 1e-4
VOCABULARY, WIDTH, HIDDEN, LAYERS, TOKENS = 19, 12, 20, 2, 30
GATES = {"lstm": 4, "gru": 3}
EXACT = [name for name in codes.kinds() if codes.by_name(name).exact]

# what the configuration and the tensors of a case have that those of `checkpoint` have not
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one layer": {"num_layers": 1},
    "three layers": {"num_layers": 3},
    "without biases": {"bias": False},
    "tied": {"tie_word_embeddings": True},
    "embedding of another width": {"embedding_size": 7},
    "torch's example": {"names": ("encoder", "decoder")},
    "head without bias": {"head_bias": False},
}


def checkpoint(model_type: str, names: tuple[str, str] = ("embedding", "head"), **changes: Any) -> Checkpoint:
    """A random checkpoint in memory; a change to ... removes the key of the configuration."""
    head_bias = changes.pop("head_bias", True)
    config = {"model_type": model_type, "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_layers": LAYERS}
    config = {key: value for key, value in (config | changes).items() if value is not ...}
    width = changes.get("embedding_size", HIDDEN)
    tensors: dict[str, tuple[int, ...]] = {f"{names[0]}.weight": (VOCABULARY, width)}
    rows = GATES.get(model_type, 4) * HIDDEN
    for layer in range(changes.get("num_layers", LAYERS) if isinstance(changes.get("num_layers", 1), int) else 1):
        tensors[f"rnn.weight_ih_l{layer}"] = (rows, width if layer == 0 else HIDDEN)
        tensors[f"rnn.weight_hh_l{layer}"] = (rows, HIDDEN)
        if changes.get("bias", True) is True:
            tensors |= {f"rnn.bias_{kind}_l{layer}": (rows,) for kind in ("ih", "hh")}
    if not changes.get("tie_word_embeddings"):
        tensors[f"{names[1]}.weight"] = (VOCABULARY, HIDDEN)
    if head_bias:
        tensors[f"{names[1]}.bias"] = (VOCABULARY,)
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(0, 0.5, shape).astype(np.float32) for name, shape in tensors.items()}
    return Checkpoint("somewhere", "test", "0" * 64, config, weights)


def torch_logits(source: Checkpoint, tokens: np.ndarray) -> np.ndarray:
    """The same by torch.nn.LSTM or torch.nn.GRU."""
    torch = pytest.importorskip("torch", reason="parity needs torch (pip install snngen[parity])")
    tensors = {name: torch.from_numpy(value) for name, value in source.tensors.items()}
    embedding = next(value for name, value in tensors.items() if name in ("embedding.weight", "encoder.weight"))
    head = next((value for name, value in tensors.items() if name in ("head.weight", "decoder.weight")), embedding)
    bias = next((value for name, value in tensors.items() if name in ("head.bias", "decoder.bias")), None)
    kind = torch.nn.LSTM if source.config["model_type"] == "lstm" else torch.nn.GRU
    options = {"num_layers": source.config["num_layers"], "bias": source.config.get("bias", True), "batch_first": True}
    rnn = kind(embedding.shape[1], HIDDEN, **options)
    rnn.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("rnn.")})
    with torch.no_grad():
        hidden, _ = rnn(embedding[torch.from_numpy(tokens)])
        return np.asarray(torch.nn.functional.linear(hidden, head, bias).numpy())


def random_tokens(batch: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(VOCABULARY, size=(batch, TOKENS))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model_type", GATES)
def test_logits_equal_those_of_torch(model_type: str, case: str) -> None:
    tokens = random_tokens()
    expected = torch_logits(checkpoint(model_type, **CASES[case]), tokens)
    assert expected.std() > 0.5  # so that the tolerance says something
    graph = families.build(checkpoint(model_type, **CASES[case]))
    assert graph.recurrent
    assert graph.context is None
    assert np.abs(graph.run(tokens) - expected).max() < TOLERANCE


@pytest.mark.parametrize("model_type", GATES)
def test_pieces_with_a_cache_equal_the_whole_sequence(model_type: str) -> None:
    graph, tokens = families.build(checkpoint(model_type)), random_tokens()
    cache: dict[str, Any] = {}
    pieces = [graph.run(tokens[:, a:b], a, cache) for a, b in ((0, 1), (1, 9), (9, TOKENS))]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), graph.run(tokens))


@pytest.mark.parametrize("model_type", GATES)
def test_the_past_matters(model_type: str) -> None:
    graph, tokens = families.build(checkpoint(model_type)), random_tokens()
    changed = tokens.copy()
    changed[:, 0] = (changed[:, 0] + 1) % VOCABULARY
    assert np.abs(graph.run(changed)[:, 3] - graph.run(tokens)[:, 3]).max() > 1e-3


@pytest.mark.parametrize("model_type", GATES)
def test_a_folder_is_read(tmp_path: Path, model_type: str) -> None:
    from safetensors.numpy import save_file

    source = checkpoint(model_type)
    save_file(source.tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(source.config | {"dropout": 0.1, "torch_dtype": "float32"}))
    graph: Graph = families.build(formats.read(tmp_path))
    tokens = random_tokens(1)
    np.testing.assert_array_equal(graph.run(tokens), families.build(source).run(tokens))


REFUSED: dict[str, dict[str, Any]] = {
    "bidirectional = True": {"bidirectional": True},
    "proj_size = 8": {"proj_size": 8},
    "surprise = 1": {"surprise": 1},
}


@pytest.mark.parametrize("complaint", REFUSED)
def test_what_would_change_the_result_is_refused(complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        families.build(checkpoint("lstm", **REFUSED[complaint]))


def test_everything_unsupported_stands_in_one_message() -> None:
    changes: dict[str, Any] = {key: value for part in REFUSED.values() for key, value in part.items()}
    with pytest.raises(UnsupportedError) as caught:
        families.build(checkpoint("gru", **changes))
    for complaint in REFUSED:
        assert complaint in caught.value.got


WRONG: dict[str, dict[str, Any]] = {
    "hidden_size: got None": {"hidden_size": ...},
    "num_layers: got '2'": {"num_layers": "2"},
    "vocab_size: got -1": {"vocab_size": -1},
    "tie_word_embeddings: got 1": {"tie_word_embeddings": 1, "embedding_size": 7},
    "bias: got 'yes'": {"bias": "yes"},
    "tied weights, 7 and 20 channels": {"tie_word_embeddings": True, "embedding_size": 7},
    "embedding.weight: got shape": {"vocab_size": 10**6},
    "rnn.weight_ih_l0: got shape": {"hidden_size": 2**20, "embedding_size": HIDDEN},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_configuration_that_cannot_be_is_refused(complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        families.build(checkpoint("lstm", **WRONG[complaint]))


def test_tensors_are_neither_missing_nor_left_over() -> None:
    source = checkpoint("gru")
    source.config["model_type"] = "lstm"
    with pytest.raises(FormatError, match=r"rnn\.weight_ih_l0: got shape"):
        families.build(source)
    source = checkpoint("lstm")
    source.config["num_layers"] = 1
    with pytest.raises(FormatError, match=r"left over.*l1"):
        families.build(source)
    source = checkpoint("lstm")
    del source.tensors["head.weight"]
    with pytest.raises(FormatError, match=r"head\.weight: got no such tensor"):
        families.build(source)
    source = checkpoint("gru")
    source.tensors["rnn.bias_hh_l1"][3] = np.nan
    with pytest.raises(FormatError, match="NaN"):
        families.build(source)


@pytest.fixture(scope="module", params=GATES)
def converted(request: pytest.FixtureRequest) -> Conversion:
    return convert_graph(families.build(checkpoint(request.param)), random_tokens(4))


def test_the_settled_engine_equals_the_reference(converted: Conversion) -> None:
    certificate = snngen.certify(converted.network, converted.calibration[0].tolist())
    assert certificate.clean, str(certificate)
    assert certificate.decided == len(converted.calibration[0])


@pytest.mark.parametrize(("code", "schedule"), list(product(EXACT, ("layered", "eager"))))
def test_the_ticked_engine_equals_the_reference(converted: Conversion, code: str, schedule: str) -> None:
    tokens = converted.calibration[0, :4].tolist()
    engine = TickedEngine(converted.network, codes.by_name(code), schedule)
    certificate = snngen.certify(converted.network, tokens, engine)
    assert certificate.clean, str(certificate)


def test_the_network_follows_the_float_graph(converted: Conversion) -> None:
    decibels = {layer.population: layer.decibels for layer in converted.layers}
    assert {"layer0_h", "layer1_h"} < decibels.keys()
    assert decibels["logits"] > 25


def test_a_new_text_begins_with_empty_cells(converted: Conversion) -> None:
    engine, outputs = snngen.SettledEngine(converted.network), []
    for sequence in (0, 1, 0):
        engine.reset()
        for token in converted.calibration[sequence, :6].tolist():
            engine.step(token)
        outputs.append(engine.output.copy())
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert (outputs[0] != outputs[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", GATES)
def test_a_trained_model_keeps_its_perplexity_and_speaks(
    model_type: str, learned: Callable[[str], Path], shared: Path, tmp_path: Path
) -> None:
    corpus, folder = shared / "text" / "tinyshakespeare.txt", learned(model_type)
    conversion = convert(folder, calibrate=trained.sequences(corpus, 8, 128, held_out=False))
    held_out = trained.sequences(corpus, 8, 200, held_out=True)
    assert abs(trained.perplexity_over_float(conversion, held_out)) < 0.01
    certificate = snngen.certify(conversion.network, held_out[0, :64].tolist())
    assert certificate.clean, str(certificate)
    said = trained.spoken(folder, corpus, tmp_path, "ROMEO:", 40)
    assert said.startswith("ROMEO:")
    assert len(said) > 46
