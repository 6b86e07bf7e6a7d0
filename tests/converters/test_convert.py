"""Conversion as a whole: what is written down, what is calibrated on, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import CONTEXT, DIM, GROUPS, HEADS, HIDDEN, VOCABULARY, WIDTH, random_llama, random_tokens
from safetensors.numpy import save_file

import snngen
from snngen.converters import report
from snngen.converters.convert import (
    LATENTS,
    LENGTH,
    SEQUENCES,
    Conversion,
    calibration_tokens,
    calibration_vectors,
    convert,
    convert_graph,
)
from snngen.converters.graph import Graph
from snngen.converters.operations import Linear, Pointwise
from snngen.converters.pruning import Pruning
from snngen.converters.settings import Settings
from snngen.errors import FormatError, PromptError, SnngenError, UnsupportedError
from snngen.network import Network
from snngen.text import Text

LAYERS = 2
NAMES = {
    "query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj",
    "attention_out": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "feed_out": "mlp.down_proj",
    "norm": "input_layernorm", "feed_norm": "post_attention_layernorm",
}  # fmt: skip


def write_folder(folder: Path, silent: bool = False) -> Path:
    """A Hugging Face folder with the weights of `random_llama`, with biases; `silent`: its last layer says nothing."""
    tensors: dict[str, Any] = {}
    for node in random_llama(0, LAYERS).nodes:
        layer, _, part = node.name.rpartition(".")
        name = f"model.layers.{layer[5:]}.{NAMES[part]}" if part in NAMES and layer else ""
        name = name or {"embedding": "model.embed_tokens", "norm": "model.norm", "logits": "lm_head"}.get(part, "")
        if not name:
            continue
        tensors[f"{name}.weight"] = node.operation.weight  # type: ignore[attr-defined]
        bias = getattr(node.operation, "bias", None)
        if bias is not None and name != "lm_head":
            tensors[f"{name}.bias"] = bias
    if silent:
        for part in ("up_proj.weight", "up_proj.bias"):
            tensors[f"model.layers.1.mlp.{part}"] = np.zeros_like(tensors[f"model.layers.1.mlp.{part}"])
    config = {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": DIM, "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "head_dim": WIDTH,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 100.0, "tie_word_embeddings": False,
        "attention_bias": True, "mlp_bias": True,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("convert") / "model")


@pytest.fixture(scope="module")
def conversion(folder: Path) -> Conversion:
    return convert(folder)


@pytest.fixture(scope="module")
def prose(stories: Network) -> str:
    """About 2,000 tokens that a real tokenizer reads."""
    return snngen.generate(stories, "", 400, temperature=1.0, seed=5, when_full="slide").text * 5


def test_the_folder_holds_the_graph(conversion: Conversion) -> None:
    """So that what follows is about the model that these tests mean; the head of a LLaMA has no bias."""
    graph = random_llama(0, LAYERS)
    head = graph.nodes[-1].operation
    assert isinstance(head, Linear)
    graph.nodes[-1] = replace(graph.nodes[-1], operation=Linear(head.weight))
    tokens = random_tokens(2)
    np.testing.assert_allclose(conversion.graph.run(tokens), graph.run(tokens), rtol=1e-4, atol=1e-4)


def test_provenance_says_where_a_network_comes_from(folder: Path, conversion: Conversion) -> None:
    about = conversion.network.provenance
    assert about["snngen"] == snngen.__version__
    assert (about["source"], about["format"]) == (str(folder), "huggingface")
    assert about["quantizer"] == asdict(Settings())
    assert about["calibration"] == "sampled from the float model"
    assert about["calibration_tokens"] == conversion.calibration.size == 5 * CONTEXT
    assert set(about["ranges"]) == {"rmsnorm", "query", "key", "value", "attention", "gate"}
    assert about["signal_to_noise"] == {
        layer.population: pytest.approx(layer.decibels, abs=0.006) for layer in conversion.layers
    }
    assert min(about["signal_to_noise"].values()) > 15


def test_the_source_is_known_by_its_hash(stories: Network, shared: Path) -> None:
    source = shared / "models" / "stories260K" / "stories260K.bin"
    assert stories.provenance["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert stories.provenance["source"] == str(source)


def test_the_settings_are_written_down(folder: Path) -> None:
    given = random_tokens(2)
    network = convert(folder, calibrate=given, settings=Settings(5, 6, 9, 7)).network
    assert network.provenance["quantizer"] == asdict(Settings(5, 6, 9, 7))
    assert list(network.provenance["quantizer"].values())[:4] == [5, 6, 9, 7]
    assert network.provenance["calibration"] == "given"
    assert network.provenance["calibration_tokens"] == given.size


def test_the_same_conversion_gives_the_same_network(folder: Path, conversion: Conversion) -> None:
    again = convert(folder)
    assert again.network.digest == conversion.network.digest
    assert again.network.provenance == conversion.network.provenance
    other = convert(folder, seed=1)
    assert not np.array_equal(other.calibration, conversion.calibration)
    assert other.network.digest != conversion.network.digest


def test_the_network_speaks_as_the_model_does(conversion: Conversion) -> None:
    """Where the float model is sure, by more than the noise, the network says the same."""
    tokens = random_tokens(4, seed=7)
    sure = agreed = 0
    for sequence in tokens:
        right = conversion.graph.run(sequence[None])[0]
        got = snngen.SettledEngine(conversion.network)
        margin = np.diff(np.sort(right, axis=-1)[:, -2:], axis=-1)[:, 0]
        for token, logits, gap in zip(sequence, right, margin, strict=True):
            got.step(int(token))
            if gap > 0.5:
                sure += 1
                agreed += int(np.argmax(got.output)) == int(np.argmax(logits))
    assert sure > 30
    assert agreed == sure


def test_the_report_is_plain_json(folder: Path, conversion: Conversion, tmp_path: Path) -> None:
    told = json.loads(json.dumps(report.describe(conversion), allow_nan=False))
    assert told["provenance"] == json.loads(json.dumps(conversion.network.provenance))
    assert [layer["population"] for layer in told["layers"]] == [layer.population for layer in conversion.layers]
    silent = convert(write_folder(tmp_path / "silent", silent=True))  # has no signal in a layer, so no ratio
    told = json.loads(json.dumps(report.describe(silent), allow_nan=False))
    ratios = {layer["population"]: layer["decibels"] for layer in told["layers"]}
    assert ratios["layer1.gated"] is None
    assert told["provenance"]["signal_to_noise"] == ratios
    assert isinstance(ratios["layer0.gated"], float)
    assert snngen.certify(silent.network, list(range(VOCABULARY))).clean


def test_a_shorter_context_is_held_to(folder: Path) -> None:
    network = convert(folder, context=10).network
    assert network.context == 10
    assert network.provenance["calibration_tokens"] == 5 * 10
    assert len(snngen.generate(network, [1], 100).tokens) == 11  # the last is only predicted
    for context in (0, CONTEXT + 1):
        with pytest.raises(UnsupportedError, match=rf"context: got {context}; expected 1\.\.{CONTEXT}"):
            convert(folder, context=context)


def test_progress_is_told_to_the_end(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    convert(folder, calibrate=random_tokens(2), progress=lambda *done: told.append(done))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1] == (len(told), len(told))


def test_a_text_is_cut_evenly_from_end_to_end(stories_graph: Graph, tmp_path: Path, prose: str) -> None:
    path = tmp_path / "prose.txt"
    path.write_text(prose, encoding="utf-8")
    tokens = Text.of(str(stories_graph.tokenizer), stories_graph.vocabulary).encode(prose)
    cut = calibration_tokens(stories_graph, path)
    assert cut.shape == (min(SEQUENCES, len(tokens) // (LENGTH - 1)), LENGTH)
    assert len(cut) > 3
    assert (cut[:, 0] == stories_graph.begin).all()
    body = LENGTH - 1
    assert cut[0, 1:].tolist() == tokens[:body]
    assert cut[-1, 1:].tolist() == tokens[-body:]
    windows = {tuple(tokens[start : start + body]) for start in range(len(tokens) - body + 1)}
    assert all(tuple(row[1:]) in windows for row in cut.tolist())


def test_one_sequence_is_enough(stories_graph: Graph, shared: Path, tmp_path: Path, prose: str) -> None:
    """Nothing can be held out then, so the default ranges are taken."""
    path, models = tmp_path / "short.txt", shared / "models" / "stories260K"
    path.write_text(prose[:1000], encoding="utf-8")
    one = convert(models / "stories260K.bin", models / "tok512.bin", path)
    assert one.calibration.shape == (1, LENGTH)
    assert one.network.provenance["ranges"] == {}
    assert min(layer.decibels for layer in one.layers) > 15


def test_a_context_of_one_token_is_calibrated_on_its_beginning(stories_graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("Once upon a time", encoding="utf-8")
    tokens = calibration_tokens(replace(stories_graph, context=1), path)
    assert tokens.shape[1] == 1
    assert (tokens == stories_graph.begin).all()


def test_sampled_tokens_are_the_models_own(stories_graph: Graph) -> None:
    """The same seed, the same tokens; no longer than the context; begun as a text begins."""
    short = replace(stories_graph, context=20)
    tokens = calibration_tokens(short, None, seed=3)
    assert tokens.shape == (5, 20)
    assert (tokens[:, 0] == 1).all()
    np.testing.assert_array_equal(tokens, calibration_tokens(short, None, seed=3))
    assert not np.array_equal(tokens, calibration_tokens(short, None, seed=4))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (None, FormatError, "No such file"),
        (b"Once upon \xff a time" * 100, FormatError, "utf-8.*expected a UTF-8 text file"),
        (b"Once upon a time", PromptError, "tokens; expected at least 255 to calibrate on"),
        (b"", PromptError, "got 0 tokens"),
    ],
)
def test_unusable_texts_are_refused(
    stories_graph: Graph, tmp_path: Path, data: bytes | None, kind: type[SnngenError], message: str
) -> None:
    path = tmp_path / "text.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(kind, match=message) as caught:
        calibration_tokens(stories_graph, path)
    assert caught.value.where == str(path)


def test_a_text_needs_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="a text for a model without a tokenizer; expected --tokenizer"):
        convert(folder, calibrate=write(tmp_path / "text.txt", b"Once upon a time" * 100))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.arange(5), r"shape \(5,\)"),
        (np.array([[0.5, 1.5]]), "of float64"),  # never cut to integers in silence
        (np.array([[VOCABULARY]]), rf"tokens {VOCABULARY}\.\.{VOCABULARY}; expected 0\.\."),
        (np.zeros((1, CONTEXT + 1), np.int64), f"up to {CONTEXT} tokens"),
    ],
)
def test_unusable_tokens_are_refused(folder: Path, tokens: np.ndarray, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        convert(folder, calibrate=tokens)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        convert(tmp_path / "absent.bin")
    with pytest.raises(FormatError, match=r"an unknown format; expected one of .*huggingface, llama2c"):
        convert(write(tmp_path / "notes.txt", b"hello"))
    with pytest.raises(FormatError, match="an unknown format"):
        convert(tmp_path)


# --- models that take vectors -----------------------------------------------------------------------------------------


def decoder(channels: int = 3, picture: tuple[int, int, int] | None = (1, 2, 3)) -> Graph:
    """A linear map and a sigmoid from a vector to six numbers."""
    weight = np.random.default_rng(0).standard_normal((6, channels)).astype(np.float32)
    graph = Graph(0, None, channels=channels, picture=picture)
    graph.add("map", Linear(weight), "input")
    graph.add("squashed", Pointwise("sigmoid"), "map")
    return graph


def test_latents_of_a_decoder_are_drawn_by_seed() -> None:
    drawn = calibration_vectors(decoder(), None, seed=3)
    assert drawn.shape == (SEQUENCES, LATENTS, 3)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, calibration_vectors(decoder(), None, seed=3))
    assert not np.array_equal(drawn, calibration_vectors(decoder(), None, seed=4))
    assert abs(float(drawn.std()) - 1) < 0.1


@pytest.mark.parametrize("graph", [decoder(picture=None), decoder(channels=6)])
def test_what_is_no_decoder_needs_numbers(graph: Graph) -> None:
    with pytest.raises(PromptError, match=r"nothing for a model that takes vectors.*calibrate=array"):
        convert_graph(graph)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3, 4), np.float32),
        np.zeros((0, 3, 3), np.float32),
        np.full((1, 1, 3), np.nan, np.float32),
        np.full((1, 1, 3), "a"),
    ],
)
def test_unusable_vectors_are_refused(given: np.ndarray) -> None:
    with pytest.raises(PromptError, match=r"\(sequences, tokens, 3\)"):
        convert_graph(decoder(), given)


def test_vectors_may_lie_in_a_file(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((2, 4, 3))
    np.save(tmp_path / "a.npy", values)
    assert np.array_equal(calibration_vectors(decoder(), tmp_path / "a.npy"), values.astype(np.float32))
    conversion = convert_graph(decoder(), tmp_path / "a.npy")
    assert conversion.network.provenance["calibration"] == "given"
    assert conversion.network[conversion.network.output].size == 6


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez(tmp_path / "many.npy.npz", a=np.zeros(3))
    for path in (
        tmp_path / "object.npy",
        tmp_path / "many.npy.npz",
        tmp_path / "absent.npy",
        write(tmp_path / "t.npy", b"x"),
    ):
        with pytest.raises(FormatError, match=r"a \.npy file"):
            convert_graph(decoder(), path)


def test_a_graph_without_a_limit_takes_a_context() -> None:
    graph = decoder()
    assert convert_graph(graph, context=7).graph.context == 7
    with pytest.raises(UnsupportedError, match="at least 1"):
        convert_graph(decoder(), context=0)


# --- options that are wrong, or in each other's way -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"settings": {"weight_bits": 4}}, "settings"),
        ({"pruning": 0.5}, "pruning"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": None}, "seed"),
        ({"context": 2.5}, "context"),
        ({"context": "8"}, "context"),
        ({"calibrate": [[1, 2], [3, 4]]}, "calibrate"),
        ({"calibrate": 5}, "calibrate"),
        ({"weight_budget": 0}, "weight_budget"),
        ({"weight_budget": "2000"}, "weight_budget"),
        ({"weight_budget": 2000.5}, "weight_budget"),
        ({"weight_budget": 2000, "settings": Settings(weight_bits=4)}, "weight_budget"),
        ({"weight_budget": 2000, "settings": Settings(bits={"logits": 8})}, "weight_budget"),
        ({"weight_budget": 1200, "settings": Settings(sparse_below=1.01)}, "weight_budget"),
        ({"pruning": Pruning(0.5), "calibrate": np.zeros((1, 2))}, "calibration"),
        ({"pruning": Pruning(0.5, neurons=True), "calibrate": np.full((1, 2), VOCABULARY)}, "calibration"),
        ({"weight_budget": 2000, "calibrate": np.arange(4)}, "calibration"),
    ],
)
def test_options_that_do_not_hold_are_refused(options: dict[str, Any], where: str) -> None:
    with pytest.raises(SnngenError) as caught:
        convert_graph(random_llama(0, layers=1), **options)
    assert caught.value.where == where
    assert caught.value.mend


def test_a_graph_is_left_as_it_was() -> None:
    graph = random_llama(0, layers=1)
    assert convert_graph(graph, context=5).network.context == 5
    assert graph.context == CONTEXT


def test_a_seed_of_nothing_is_said() -> None:
    (note,) = convert_graph(random_llama(0, layers=1), random_tokens(2), seed=4).network.provenance["notes"]
    assert note == "seed: nothing was sampled by 4, the calibration was given"
    assert convert_graph(random_llama(0, layers=1), seed=4).network.provenance["notes"] == []


def test_a_context_that_nothing_counts_is_said() -> None:
    conversion = convert_graph(decoder(), context=7)
    assert conversion.network.context is None
    (note,) = conversion.network.provenance["notes"]
    assert note == "context: nothing in this network counts tokens, so 7 held the calibration alone"
    assert report.describe(conversion)["notes"] == [note]
