"""llama.cpp at the same work: a process that times it, run by the Python of `.venv/peers`.

    .venv/peers/bin/python benchmarks/llama_peer.py FILE.gguf [--sizes DIM HIDDEN LAYERS HEADS KV_HEADS VOCABULARY]

FILE.gguf is loaded; where --sizes are given and it is not there, it is written first, a LLaMA of random weights in
Q8_0 (blocks of 32 int8 and a float16 scale), and kept. The first line of output is JSON about file and library. Then
every line of input is JSON, {"tokens": [...], "threads": 1, "block": false}, answered by {"seconds": ...}: `block`
decodes all tokens in one call, as of a prompt, else one call decodes one token. Calls are `llama_decode` itself:
neither sampling nor text is timed, and the memory is cleared before the clock starts. All else is as the library
chooses (mapped file, float16 keys and values), with 512 tokens per batch.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import llama_cpp
import numpy as np
import numpy.typing as npt

BLOCK = 32  # weights that share a scale
BATCH = 512
ERROR = 4  # level of the library's log
CHUNK = 1 << 22  # weights that are drawn at a time


class Sizes(NamedTuple):
    """Of a LLaMA."""

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int

    def matrices(self) -> Iterator[tuple[str, int, int]]:
        """(name, outputs, inputs) of every matrix."""
        keys = self.dim // self.heads * self.kv_heads
        yield "token_embd", self.vocabulary, self.dim
        for layer in range(self.layers):
            at = f"blk.{layer}"
            yield f"{at}.attn_q", self.dim, self.dim
            yield f"{at}.attn_k", keys, self.dim
            yield f"{at}.attn_v", keys, self.dim
            yield f"{at}.attn_output", self.dim, self.dim
            yield f"{at}.ffn_gate", self.hidden, self.dim
            yield f"{at}.ffn_up", self.hidden, self.dim
            yield f"{at}.ffn_down", self.dim, self.hidden
        yield "output", self.vocabulary, self.dim

    def norms(self) -> Iterator[str]:
        """Name of every norm."""
        for layer in range(self.layers):
            yield f"blk.{layer}.attn_norm"
            yield f"blk.{layer}.ffn_norm"
        yield "output_norm"


def write(path: Path, sizes: Sizes, context: int, seed: int = 0) -> None:
    """Write a LLaMA of random Q8_0 weights, one matrix in memory at a time; aside, then renamed."""
    if sizes.dim % BLOCK or sizes.hidden % BLOCK:
        sys.exit(f"got dim {sizes.dim}, hidden {sizes.hidden}; expected multiples of {BLOCK}, the block of Q8_0")
    aside = path.with_suffix(".part")
    writer = gguf.GGUFWriter(aside, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(sizes.dim)
    writer.add_feed_forward_length(sizes.hidden)
    writer.add_block_count(sizes.layers)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.kv_heads)
    writer.add_rope_dimension_count(sizes.dim // sizes.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(sizes.vocabulary)
    writer.add_tokenizer_model("none")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, outputs, inputs in sizes.matrices():
        shape = (outputs, gguf.quant_shape_to_byte_shape((inputs,), kind)[0])
        writer.add_tensor_info(f"{name}.weight", shape, np.dtype(np.uint8), outputs * shape[1], kind)
    for name in sizes.norms():
        writer.add_tensor_info(f"{name}.weight", (sizes.dim,), np.dtype(np.float32), 4 * sizes.dim)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(seed)
    for _, outputs, inputs in sizes.matrices():
        writer.write_tensor_data(random_blocks(rng, outputs, inputs))
    for _ in sizes.norms():
        writer.write_tensor_data(np.ones(sizes.dim, dtype=np.float32))
    writer.close()
    aside.rename(path)


def random_blocks(rng: np.random.Generator, outputs: int, inputs: int) -> npt.NDArray[np.uint8]:
    """(outputs, inputs / 32 * 34) bytes of Q8_0: integers of -127..127, a scale that keeps products near 1."""
    count = outputs * inputs // BLOCK
    blocks = np.empty((count, 2 + BLOCK), dtype=np.uint8)
    scale = np.array([3**0.5 / 127 / inputs**0.5], dtype=np.float16)
    blocks[:, :2] = scale.view(np.uint8)
    for first in range(0, count, CHUNK // BLOCK):
        rows = blocks[first : first + CHUNK // BLOCK, 2:]
        rows[:] = rng.integers(-127, 128, rows.shape, dtype=np.int8).view(np.uint8)
    return blocks.reshape(outputs, -1)


class Llama:
    """A model in llama.cpp, by its C functions."""

    def __init__(self, path: Path, context: int) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        self.model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            sys.exit(f"llama.cpp does not load {path}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = context, BATCH, BATCH
        self.context: Any = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            sys.exit(f"llama.cpp gives no context of {context} tokens for {path}")

    def seconds(self, tokens: list[int], threads: int, block: bool) -> float:
        """Seconds that the tokens take from an empty memory to the last one's logits."""
        context = self.context
        llama_cpp.llama_set_n_threads(context, threads, threads)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        size = BATCH if block else 1
        pieces = [tokens[first : first + size] for first in range(0, len(tokens), size)]
        arrays = [(llama_cpp.llama_token * len(piece))(*piece) for piece in pieces]  # which batches only point to
        batches = [llama_cpp.llama_batch_get_one(array, len(array)) for array in arrays]
        decode, synchronize = llama_cpp.llama_decode, llama_cpp.llama_synchronize
        failed = 0
        begun = time.perf_counter()
        for batch in batches:
            failed |= decode(context, batch)
            synchronize(context)
        took = time.perf_counter() - begun
        if failed:
            sys.exit(f"llama_decode answered {failed}")
        return took

    def about(self) -> dict[str, Any]:
        """What was loaded, and by what."""
        return {
            "parameters": int(llama_cpp.llama_model_n_params(self.model)),
            "bytes": int(llama_cpp.llama_model_size(self.model)),
            "system": llama_cpp.llama_print_system_info().decode(),
            "versions": {name: metadata.version(name) for name in ("llama-cpp-python", "gguf")},
        }


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Errors only: the rest would stand between the lines of JSON."""
    if level == ERROR:
        sys.stderr.write(text.decode(errors="replace"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the model, .gguf")
    parser.add_argument(
        "--sizes", type=int, nargs=6, help="dim hidden layers heads kv_heads vocabulary: write it first"
    )
    parser.add_argument("--context", type=int, default=1024, help="tokens that fit")
    options = parser.parse_args()
    if options.sizes is not None and not options.file.exists():
        options.file.parent.mkdir(parents=True, exist_ok=True)
        write(options.file, Sizes(*options.sizes), options.context)
    model = Llama(options.file, options.context)
    print(json.dumps(model.about()), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        seconds = model.seconds(request["tokens"], request["threads"], request["block"])
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
