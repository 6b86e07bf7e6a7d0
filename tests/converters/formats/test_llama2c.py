"""llama2.c files: what was written is what is read, the real model speaks, and whatever is damaged is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from snngen.converters import families, formats
from snngen.converters.formats import llama2c
from snngen.converters.graph import Cache, Graph
from snngen.converters.operations import Floats
from snngen.errors import FormatError

DIM, HIDDEN, LAYERS, HEADS, GROUPS, VOCABULARY, CONTEXT, GROUP_SIZE = 8, 12, 2, 2, 1, 5, 6, 4
WIDTH, KEYS = DIM // HEADS, GROUPS * DIM // HEADS
HEADER_BYTES = {0: 28, 2: 256}
GREEDY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."


def tensors(shared: bool = True, seed: int = 0) -> dict[str, Floats]:
    """Random weights under llama2.c's own names, per layer where there are layers."""
    shapes: dict[str, tuple[int, ...]] = {
        "embedding": (VOCABULARY, DIM),
        "attention_norm": (LAYERS, DIM),
        "wq": (LAYERS, DIM, DIM),
        "wk": (LAYERS, KEYS, DIM),
        "wv": (LAYERS, KEYS, DIM),
        "wo": (LAYERS, DIM, DIM),
        "feed_norm": (LAYERS, DIM),
        "w1": (LAYERS, HIDDEN, DIM),
        "w2": (LAYERS, DIM, HIDDEN),
        "w3": (LAYERS, HIDDEN, DIM),
        "norm": (DIM,),
    }
    if not shared:
        shapes["head"] = (VOCABULARY, DIM)
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def version_0(weights: dict[str, Floats]) -> bytes:
    shared = "head" not in weights
    sizes = (DIM, HIDDEN, LAYERS, HEADS, GROUPS, VOCABULARY if shared else -VOCABULARY, CONTEXT)
    tables = np.zeros((2, CONTEXT, WIDTH // 2), np.float32)
    parts = [weight for name, weight in weights.items() if name != "head"]
    return struct.pack("<7i", *sizes) + b"".join(
        part.tobytes() for part in (*parts, tables, *([] if shared else [weights["head"]]))
    )


def version_2(weights: dict[str, Floats]) -> bytes:
    """int8 in groups, the largest of each group at 127."""
    shared = "head" not in weights
    sizes = (DIM, HIDDEN, LAYERS, HEADS, GROUPS, VOCABULARY, CONTEXT)
    header = struct.pack("<Ii7iBi", llama2c.MAGIC, 2, *sizes, shared, GROUP_SIZE).ljust(256, b"\0")
    norms = [weights[name].tobytes() for name in ("attention_norm", "feed_norm", "norm")]
    quantized = []
    for name in ("embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", *([] if shared else ["head"])):
        for weight in weights[name] if weights[name].ndim == 3 else [weights[name]]:
            codes, scales = in_groups(weight)
            quantized += [codes.tobytes(), scales.tobytes()]
    return header + b"".join(norms + quantized)


def in_groups(weight: Floats) -> tuple[np.ndarray, Floats]:
    groups = weight.reshape(-1, GROUP_SIZE)
    scales = (np.abs(groups).max(axis=1) / 127).astype(np.float32)
    return np.rint(groups / scales[:, None]).astype(np.int8), scales


def dequantized(weight: Floats) -> Floats:
    codes, scales = in_groups(weight)
    return (codes * scales[:, None]).reshape(weight.shape)


WRITERS = {0: version_0, 2: version_2}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is written anew by each example of a property."""
    return tmp_path_factory.mktemp("llama2c") / "model.bin"


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("shared_head", [True, False])
def test_every_weight_arrives_under_its_name(model: Path, version: int, shared_head: bool) -> None:
    weights = tensors(shared_head)
    model.write_bytes(WRITERS[version](weights))
    checkpoint = llama2c.read(model)
    stored = {name: dequantized(w) if version == 2 and "norm" not in name else w for name, w in weights.items()}
    expected = {"model.embed_tokens.weight": stored["embedding"], "model.norm.weight": stored["norm"]}
    if not shared_head:
        expected["lm_head.weight"] = stored["head"]
    names = {
        "attention_norm": "input_layernorm",
        "wv": "self_attn.v_proj",
        "wo": "self_attn.o_proj",
        "feed_norm": "post_attention_layernorm",
        "w1": "mlp.gate_proj",
        "w2": "mlp.down_proj",
        "w3": "mlp.up_proj",
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        expected.update({f"{at}.{long}.weight": stored[short][layer] for short, long in names.items()})
        # pairs of channels lie side by side in llama2.c, half a head apart in Hugging Face's order
        order = [
            head * WIDTH + 2 * pair + half for head in range(HEADS) for half in (0, 1) for pair in range(WIDTH // 2)
        ]
        expected[f"{at}.self_attn.q_proj.weight"] = stored["wq"][layer][order]
        expected[f"{at}.self_attn.k_proj.weight"] = stored["wk"][layer][order[:KEYS]]
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor, err_msg=name)
    assert checkpoint.config["tie_word_embeddings"] is shared_head
    assert checkpoint.config["num_key_value_heads"] == GROUPS
    assert (checkpoint.begin, checkpoint.end) == (1, (1, 2))
    assert bool(checkpoint.notes) is (version == 2)


@pytest.mark.parametrize("version", WRITERS)
def test_the_graph_runs(model: Path, version: int) -> None:
    model.write_bytes(WRITERS[version](tensors()))
    graph = families.build(formats.read(model))
    assert (graph.vocabulary, graph.context) == (VOCABULARY, CONTEXT)
    assert np.isfinite(graph.run(np.array([[1, 2, 3]]))).all()


def greedy(graph: Graph, count: int) -> list[int]:
    tokens, cache = [1], Cache()
    for position in range(count):
        tokens.append(int(graph.run(np.array([tokens[-1:]]), position, cache)[0, -1].argmax()))
    return tokens[1:]


@pytest.mark.parametrize("name", ["stories260K.bin", "stories260K-q8.bin"])
def test_stories_begin_as_they_do_in_llama2c(shared: Path, name: str) -> None:
    folder = shared / "models" / "stories260K"
    graph = families.build(formats.read(folder / name, folder / "tok512.bin"))
    assert graph.tokenizer is not None
    assert Tokenizer.from_str(graph.tokenizer).decode(greedy(graph, 60)).startswith(GREEDY)


@pytest.mark.parametrize("version", WRITERS)
def test_every_truncation_is_refused(model: Path, version: int) -> None:
    whole = WRITERS[version](tensors())
    model.write_bytes(whole)
    for length in reversed(range(len(whole))):
        os.truncate(model, length)
        with pytest.raises(FormatError, match=r"model\.bin"):
            llama2c.read(model)


@pytest.mark.parametrize("version", WRITERS)
def test_bytes_left_over_are_refused(model: Path, version: int) -> None:
    model.write_bytes(WRITERS[version](tensors()) + b"\0")
    with pytest.raises(FormatError, match="from its header"):
        llama2c.read(model)


def read_or_refuse(path: Path) -> None:
    """Whatever is in a file, it becomes a graph that runs, or a FormatError."""
    try:
        graph = families.build(formats.read(path))
    except FormatError:
        return
    graph.run(np.zeros((1, 1), np.int64))


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from(sorted(WRITERS)),
    flips=st.dictionaries(st.integers(0, 255), st.integers(1, 255), min_size=1, max_size=4),
)
@example(version=0, flips={23: 0x80})  # a head of its own, without its bytes
@example(version=2, flips={36: 0x01})
def test_flipped_bytes_in_the_header_never_surprise(scratch: Path, version: int, flips: dict[int, int]) -> None:
    data = bytearray(WRITERS[version](tensors()))
    for at, mask in flips.items():
        data[at % HEADER_BYTES[version]] ^= mask
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from(sorted(WRITERS)),
    sizes=st.tuples(*[st.sampled_from([-(2**31), -1, 0, 1, 2, 6, 2**16, 2**23, 2**31 - 1])] * 7),
)
def test_any_sizes_never_surprise(scratch: Path, version: int, sizes: tuple[int, ...]) -> None:
    data = bytearray(WRITERS[version](tensors()))
    struct.pack_into("<7i", data, 0 if version == 0 else 8, *sizes)
    scratch.write_bytes(data)
    read_or_refuse(scratch)


def test_sizes_whose_product_overflows_are_refused(model: Path) -> None:
    sizes = (2**22, 2**22 - 1, 2**20, 2**21, 2**21, 2**20 - 1, 1)  # modulo 2**64 they ask for just these 36 bytes
    model.write_bytes(struct.pack("<7i", *sizes) + bytes(8))
    with pytest.raises(FormatError, match="36 bytes"):
        llama2c.read(model)


@settings(max_examples=200, deadline=None)
@given(
    version=st.sampled_from(sorted(WRITERS)),
    at=st.integers(0, 2**20),
    value=st.sampled_from([np.nan, np.inf, -np.inf, 3e38]),
)
def test_any_number_in_the_weights_never_surprises(scratch: Path, version: int, at: int, value: float) -> None:
    data = bytearray(WRITERS[version](tensors()))
    places = (len(data) - HEADER_BYTES[version]) // 4
    struct.pack_into("<f", data, HEADER_BYTES[version] + 4 * (at % places), value)
    scratch.write_bytes(data)
    with np.errstate(all="ignore"):  # a weight of 3e38 is a number, and overflows when it is used
        read_or_refuse(scratch)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_foreign_bytes_are_refused(scratch: Path, data: bytes) -> None:
    scratch.write_bytes(data)
    for reader in (formats.read, llama2c.read):
        with pytest.raises(FormatError):
            reader(scratch)


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(model: Path, version: int, value: float) -> None:
    weights = tensors()
    weights["feed_norm"][1, 3] = value
    model.write_bytes(WRITERS[version](weights))
    with pytest.raises(FormatError, match=r"model\.layers\.1\.post_attention_layernorm\.weight.*1 values that are NaN"):
        families.build(llama2c.read(model))


@pytest.mark.parametrize("scale", [np.nan, np.inf, 3e38])
def test_group_scales_that_are_no_numbers_are_refused(model: Path, scale: float) -> None:
    data = bytearray(version_2(tensors()))
    struct.pack_into("<f", data, len(data) - 4, scale)  # the last group of the last up projection
    model.write_bytes(data)
    with pytest.raises(FormatError, match=r"up_proj.*NaN or infinite"):
        families.build(llama2c.read(model))


@pytest.mark.parametrize(
    ("version", "offset", "layout", "value", "complaint"),
    [
        (2, 4, "<i", 1, "version 1"),
        (2, 4, "<i", 3, "version 3"),
        (2, 37, "<i", 0, "group size 0"),
        (2, 37, "<i", -4, "group size -4"),
        (2, 37, "<i", 7, "group size 7"),
        (2, 36, "<B", 0, "bytes"),  # the head's weights are not there
        (0, 0, "<i", 0, "sizes"),
        (0, 0, "<i", 7, "heads that divide evenly"),
        (0, 4, "<i", HIDDEN + 1, "bytes"),
        (0, 8, "<i", LAYERS + 1, "bytes"),
        (0, 12, "<i", 3, "heads that divide evenly"),
        (0, 12, "<i", 8, "heads that divide evenly"),  # heads of one channel have no pairs to turn
        (0, 16, "<i", 3, "heads that divide evenly"),
        (0, 20, "<i", 2**31 - 1, "sizes"),
        (0, 24, "<i", -1, "sizes"),
        (0, 24, "<i", CONTEXT + 1, "bytes"),
    ],
)
def test_a_wrong_header_is_refused_by_what_is_wrong(
    model: Path, version: int, offset: int, layout: str, value: int, complaint: str
) -> None:
    data = bytearray(WRITERS[version](tensors()))
    struct.pack_into(layout, data, offset, value)
    model.write_bytes(data)
    with pytest.raises(FormatError, match=complaint):
        llama2c.read(model)


def test_other_files_are_not_taken_for_models(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(FormatError):
        formats.read(shared / "models" / "stories260K" / "tok512.bin")
    (tmp_path / "model.txt").write_bytes(version_0(tensors()))
    with pytest.raises(FormatError, match="unknown format"):
        formats.read(tmp_path / "model.txt")
    with pytest.raises(FormatError, match="no such file"):
        formats.read(tmp_path / "absent.bin")


def test_a_tokenizer_of_another_model_is_refused(model: Path, shared: Path) -> None:
    model.write_bytes(version_0(tensors()))
    with pytest.raises(FormatError, match="512 pieces"):
        formats.read(model, shared / "models" / "stories260K" / "tok512.bin")
