"""Subjects: the models of the table of conversions, each beside the framework that it comes from.

Every function gives one subject or several; it takes the folder that it may write to. Shared data and the models that
the examples train are found by themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from conversion_row import Array, Parity, Subject

from snngen import reference
from snngen.converters import exports, families, formats, mixture
from snngen.converters.checkpoint import Checkpoint
from snngen.converters.convert import Conversion, convert_graph
from snngen.converters.from_torch import from_torch
from snngen.converters.graph import Graph

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CORPUS = SHARED / "text" / "tinyshakespeare.txt"
STORIES, MNIST = SHARED / "models" / "stories260K", SHARED / "models" / "mnist"
sys.path.insert(0, str(ROOT / "examples"))

from trained_models import kept, run, trained  # noqa: E402

LENGTH = 128
UNET_STEPS, VAE_EPOCHS = 300, 60


def near(graph: Graph, given: Array, expected: Array, bound: float = 1e-4) -> Callable[[Conversion], Parity]:
    """Parity of a float graph whose original answers `expected` to `given`, in whatever shape."""

    def parity(_: Conversion) -> Parity:
        return Parity(float(np.abs(graph.run(given).reshape(expected.shape) - expected).max()), bound)

    return parity


def agreeing(given: Array, found: dict[str, Array], least: float = 0.999) -> Callable[[Conversion], Parity]:
    """Parity of a network whose original has the codes `found`, by population, from the input codes `given`."""

    def parity(conversion: Conversion) -> Parity:
        network = conversion.network
        source = {network.sources[0].name: given} if given.ndim == 2 else given
        codes = reference.run(network, source)
        equal = [codes[name].reshape(right.shape) == right for name, right in found.items() if name in network.order]
        count = sum(each.size for each in equal)
        return Parity(share=sum(int(each.sum()) for each in equal) / count, codes=count, least=least)

    return parity


# --- language models --------------------------------------------------------------------------------------------------


@cache
def stories() -> tuple[Graph, Array, Array]:
    """The float graph of stories260K, tokens to calibrate on and others to try, both sampled from it."""
    graph = families.build(formats.read(STORIES / "stories260K.bin", STORIES / "tok512.bin"))
    return graph, graph.sample(5, 256, seed=0), graph.sample(16, 256, seed=1)


def llama(checkpoint: Checkpoint) -> Any:
    """transformers' LLaMA with the tensors of a checkpoint."""
    import torch
    import transformers

    config = transformers.LlamaConfig(**checkpoint.config, attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config).eval()
    state = {name: torch.from_numpy(np.array(value)) for name, value in checkpoint.tensors.items()}
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict(state)
    return model


def said(model: Any, tokens: Array) -> Array:
    """Logits of a torch model, float32."""
    import torch

    with torch.no_grad():
        result = model(torch.from_numpy(tokens))
    return np.asarray(getattr(result, "logits", result).numpy())


def story(format: str, graph: Graph, expected: Array) -> Subject:
    """stories260K in a format; expected: logits of the original on the first sequences of the probe."""
    _, calibration, probe = stories()
    return Subject(format, "LLaMA", "stories260K", graph, calibration, probe, near(graph, probe[:2, :LENGTH], expected))


def llama2c(folder: Path) -> list[Subject]:
    """llama2.c, floats and groups of int8; the original: transformers with the same tensors."""
    found = []
    for name, format in (("stories260K.bin", "llama2.c v0"), ("stories260K-q8.bin", "llama2.c v2, int8 groups")):
        model = llama(formats.read(STORIES / name, STORIES / "tok512.bin"))
        graph = families.build(formats.read(STORIES / name, STORIES / "tok512.bin"))
        found.append(story(format, graph, said(model, stories()[2][:2, :LENGTH])))
    return found


def huggingface(folder: Path) -> list[Subject]:
    """stories260K as transformers saves it."""
    model = llama(formats.read(STORIES / "stories260K.bin", STORIES / "tok512.bin"))
    model.save_pretrained(folder / "stories")
    graph = families.build(formats.read(folder / "stories"))
    return [story("safetensors", graph, said(model, stories()[2][:2, :LENGTH]))]


def trained_family(family: str, title: str, steps: int, folder: Path) -> list[Subject]:
    """A model of `examples/train_small.py`; the original: transformers, or the module that was trained."""
    import json

    import torch
    from recurrent import BitLinear, MatMulFree, Recurrent
    from safetensors.torch import load_file
    from torch.nn import functional as F
    from train_small import FAMILIES

    source = trained(family, steps, CORPUS)
    config = json.loads((source / "config.json").read_text())
    model = FAMILIES[family]()
    if isinstance(model, Recurrent | MatMulFree):
        model.load_state_dict(load_file(source / "model.safetensors"))
        for layer in model.modules():
            if isinstance(layer, BitLinear):  # the floats: weights are ternary already, codes are the network's matter
                layer.forward = partial(lambda layer, x: F.linear(layer.norm(x), layer.weight), layer)
    else:
        model = type(model).from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    text = np.frombuffer(CORPUS.read_bytes(), dtype=np.uint8).astype(np.int64)
    calibration, probe = pieces(text[: len(text) * 9 // 10], 8, LENGTH), pieces(text[len(text) * 9 // 10 :], 16, LENGTH)
    graph = families.build(formats.read(source))
    parity = near(graph, probe[:2], said(model.eval(), probe[:2]))
    size = sum(value.numel() for value in model.parameters())
    name = f"{config['model_type']}, {size:,} parameters, Shakespeare, {steps} steps"
    return [Subject("safetensors", title, name, graph, calibration, probe, parity)]


def pieces(text: Array, count: int, length: int) -> Array:
    """(count, length) from all over a text."""
    starts = np.linspace(0, len(text) - length, count).astype(np.int64)
    return np.stack([text[start : start + length] for start in starts])


def ggmf(folder: Path) -> list[Subject]:
    """rwkv.cpp's own test: the logits that it expects after three bytes."""
    source = SHARED / "models" / "rwkv"
    graph = families.build(formats.read(source / "tiny-rwkv-7v0-834K-FP32.bin"))
    expected = np.fromfile(source / "expected-logits-7v0-834K.bin", "<f4")
    tokens = np.array([list(b'"in')])

    def parity(_: Conversion) -> Parity:
        return Parity(float(np.abs(graph.run(tokens)[0, -1] - expected).max()), 1e-3)

    text = np.frombuffer(CORPUS.read_bytes(), dtype=np.uint8).astype(np.int64)
    border = len(text) * 9 // 10
    calibration, probe = pieces(text[:border], 3, 48), pieces(text[border:], 4, LENGTH)
    return [Subject("rwkv.cpp ggmf", "RWKV-7", "tiny-rwkv-7v0-834K", graph, calibration, probe, parity)]


def gguf(folder: Path) -> list[Subject]:
    """stories260K by gguf's own writer; the originals: llama2.c's graph, and what gguf itself dequantizes."""
    graph, _, probe = stories()
    plain = folder / "F32.gguf"
    exports.exports()["gguf"].write(graph, plain, precision="F32")
    found = []
    for kind in ("F32", "Q8_0", "Q4_0"):
        path = plain if kind == "F32" else requantized(plain, folder / f"{kind}.gguf", kind)
        given = probe[:2, :LENGTH]
        expected = graph.run(given) if kind == "F32" else said(llama(dequantized(path)), given)
        found.append(story(f"GGUF {kind}", families.build(formats.read(path)), expected))
    return found


def requantized(source: Path, path: Path, kind: str) -> Path:
    """A GGUF file with its matrices in another type, by the package gguf; rows that do not divide stay F16."""
    import gguf

    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        number = gguf.GGMLQuantizationType[kind]
        if tensor.data.ndim < 2:
            number = gguf.GGMLQuantizationType.F32
        elif tensor.data.shape[-1] % gguf.GGML_QUANT_SIZES[number][0]:
            number = gguf.GGMLQuantizationType.F16
        writer.add_tensor(tensor.name, gguf.quantize(np.array(tensor.data), number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def dequantized(path: Path) -> Checkpoint:
    """A GGUF LLaMA of the sizes of stories260K as gguf itself reads it, under transformers' names and order."""
    import gguf

    config = formats.read(STORIES / "stories260K.bin", STORIES / "tok512.bin").config
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    whole = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    width = config["hidden_size"] // config["num_attention_heads"]
    tensors = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.removesuffix(".weight")
        if part.startswith("blk."):
            _, layer, part = part.split(".")
            if part in ("attn_q", "attn_k"):  # llama.cpp keeps the two channels of a pair side by side
                values = values.reshape(-1, width // 2, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
            tensors[f"model.layers.{layer}.{names[part]}.weight"] = values
        else:
            tensors[f"{whole[part]}.weight"] = values
    return Checkpoint(str(path), "gguf", "", config, tensors)


def exported_gguf(folder: Path) -> list[Subject]:
    """The network of stories260K written as GGUF Q8_0 and read back; the original: what gguf itself dequantizes."""
    graph, calibration, probe = stories()
    path = folder / "exported.gguf"
    exports.write(convert_graph(graph, calibration).network, path, "gguf")
    expected = said(llama(dequantized(path)), probe[:2, :LENGTH])
    return [story("GGUF Q8_0, our export", families.build(formats.read(path)), expected)]


def exported_onnx(folder: Path) -> list[Subject]:
    """The network of stories260K written as ONNX QDQ and read back; the original: the codes of onnxruntime."""
    graph, calibration, probe = stories()
    path = folder / "exported.onnx"
    exports.write(convert_graph(graph, calibration).network, path, "onnx")
    found = {
        name.rsplit("_QuantizeLinear", 1)[0]: codes
        for name, codes in runtime_codes(path, "input_ids", probe[:1, :LENGTH]).items()
    }
    back = families.build(formats.read(path))
    parity = agreeing(probe[0, :LENGTH], found)
    return [Subject("ONNX QDQ, our export", "LLaMA", "stories260K", back, calibration, probe, parity)]


# --- pictures and dreams ----------------------------------------------------------------------------------------------


def latents(channels: int, seed: int, count: int = 64) -> Array:
    """(count, 1, channels) of N(0, 1)."""
    return np.random.default_rng(seed).standard_normal((count, 1, channels), dtype=np.float32)


def to_calibrate(channels: int) -> Array:
    """(8, 32, channels) of N(0, 1)."""
    return latents(channels, 0, 256).reshape(8, 32, channels)


def drawn(module: Any, vectors: Array, *shape: int) -> Array:
    """(n, 1, outputs) of a module on (n, 1, channels)."""
    import torch

    with torch.no_grad():
        result = module(torch.from_numpy(vectors.reshape(len(vectors), *(shape or (-1,)))))
    return np.asarray(result.numpy().reshape(len(vectors), 1, -1))


@cache
def mnist(kind: str) -> Any:
    """The module whose state dict the shared data have: the decoder of a VAE, or the generator of a GAN."""
    import torch
    from torch import nn

    if kind == "vae":
        state = torch.load(MNIST / "vae_epoch_25.pth", map_location="cpu", weights_only=True)
        module = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
        parts = {"0": "fc3", "2": "fc4"}
        names = {f"{k}.{part}": f"{v}.{part}" for k, v in parts.items() for part in ("weight", "bias")}
        module.load_state_dict({name: state[source] for name, source in names.items()})
        return module.eval()
    state = torch.load(MNIST / "gan_mlp_G--300.ckpt", map_location="cpu", weights_only=True)
    weights = [value for value in state.values() if value.ndim == 2]
    layers: list[Any] = [layer for w in weights for layer in (nn.Linear(w.shape[1], w.shape[0]), nn.ReLU())]
    module = nn.Sequential(*layers[:-1], nn.Tanh())
    module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))
    return module.eval()


def torch_state(folder: Path) -> list[Subject]:
    """State dicts of torch; the original: the module that has them."""
    found = []
    for kind, file, span in (("vae", "vae_epoch_25.pth", 1.0), ("gan", "gan_mlp_G--300.ckpt", 2.0)):
        graph, module = families.build(formats.read(MNIST / file)), mnist(kind)
        probe = latents(graph.channels, 1)
        parity = near(graph, probe, drawn(module, probe))
        calibration = to_calibrate(graph.channels)
        found.append(Subject("torch state dict", f"{kind.upper()} decoder, MLP", f"{file}, MNIST", graph,
                             calibration, probe, parity, span=span))  # fmt: skip
    return found


def world_models(folder: Path) -> list[Subject]:
    """The memory of World Models, on dreams of its own; the original: torch's LSTM with the same tensors."""
    import torch

    path = SHARED / "models" / "carracing_rnn.json"
    checkpoint, graph = formats.read(path), families.build(formats.read(path))
    sizes = (int(checkpoint.config[name]) for name in ("latent_size", "action_size", "hidden_size", "mixtures"))
    size, actions, hidden, mixtures = sizes

    def dreams(seed: int, tokens: int) -> Array:
        generator = np.random.default_rng(seed)
        walk = np.cumsum(generator.normal(0, 0.1, (8, tokens, actions)), axis=1)
        return mixture.dream(graph, mixtures, np.abs((walk + 1) % 4 - 2) - 1, generator)

    probe, rnn = dreams(2, 200), torch.nn.LSTM(size + actions, hidden, batch_first=True)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in checkpoint.tensors.items()}
    rnn.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("rnn.")})
    with torch.no_grad():
        answer = rnn(torch.from_numpy(probe[:2]))[0] @ tensors["head.weight"].T + tensors["head.bias"]
    return [Subject("World Models JSON", "MDN-RNN", "carracing_rnn.json", graph, dreams(1, LENGTH), probe,
                    near(graph, probe[:2], answer.numpy()), mixtures=mixtures)]  # fmt: skip


@cache
def digits_vae() -> tuple[Path, Any, Array, Array, Array]:
    """Folder and module of the VAE of digits; latents to calibrate on, held-out ones, and the digits they stand for."""
    import torch
    from safetensors.torch import load_file
    from train_digits_vae import Autoencoder, digits

    script = "train_digits_vae.py"
    folder = kept(
        f"digits-vae-{VAE_EPOCHS}", [script], lambda out: run(script, "--out", str(out), "--epochs", str(VAE_EPOCHS))
    )
    model = Autoencoder()
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    learned, held_out = digits()
    with torch.no_grad():
        seen, unseen = (model.eval().encode(pictures)[0].numpy()[:, None] for pictures in (learned, held_out))
    calibration = np.concatenate((latents(unseen.shape[-1], 0, 128), seen[:128])).reshape(8, 32, -1)
    return folder, model.decoder, calibration, unseen, held_out.numpy().reshape(len(held_out), 1, -1)


def digit(format: str, graph: Graph, parity: Callable[[Conversion], Parity], original: Array | None = None) -> Subject:
    """The decoder of the VAE of digits in a format."""
    _, _, calibration, probe, target = digits_vae()
    return Subject(format, "VAE decoder, convolutions", "8 x 8 digits", graph, calibration, probe, parity, target,
                   original)  # fmt: skip


def decoders(folder: Path) -> list[Subject]:
    """The VAE of digits as a folder and as a module; the original: the module."""
    path, module, _, probe, _ = digits_vae()
    graphs = {"safetensors": families.build(formats.read(path))}
    graphs["torch module (torch.export)"] = from_torch(module, module_example(probe))
    return [digit(name, graph, near(graph, probe, drawn(module, probe))) for name, graph in graphs.items()]


def module_example(vectors: Array) -> Any:
    import torch

    return torch.from_numpy(vectors[:2, 0])


def diffusion(folder: Path) -> list[Subject]:
    """One step of the U-Net of digits; the original: the module; the target: the noise that was put in."""
    import torch
    from safetensors.torch import load_file, save_file
    from train_digits_diffusion import CLEANEST, MAPS, SIDE, UNet, noisy, train, with_time
    from train_digits_vae import digits

    def make(out: Path) -> None:
        threads = torch.get_num_threads()
        save_file(train(0, UNET_STEPS)[0].state_dict(), out / "model.safetensors")
        torch.set_num_threads(threads)

    sources: list[str | Path] = ["train_digits_diffusion.py", "train_digits_vae.py"]
    module = UNet()
    module.load_state_dict(load_file(kept(f"digits-unet-{UNET_STEPS}", sources, make) / "model.safetensors"))

    def given(pictures: Any, count: int, seed: int) -> tuple[Array, Array]:
        generator = torch.Generator().manual_seed(seed)
        chosen = pictures[torch.randint(len(pictures), (count,), generator=generator)] * 2 - 1
        t = torch.linspace(0, CLEANEST, 32).repeat(count // 32)
        noise = torch.randn(chosen.shape, generator=generator)
        return tuple(x.reshape(count, 1, -1).numpy() for x in (with_time(noisy(chosen, t, noise), t), noise))  # type: ignore[return-value]

    graph = from_torch(module.eval(), torch.zeros(1, 1 + MAPS, SIDE, SIDE), picture_range=(-4.0, 4.0))
    learned, held_out = digits()
    (calibration, _), (probe, noise) = given(learned, 256, 0), given(held_out, 64, 1)
    parity = near(graph, probe, drawn(module, probe, 1 + MAPS, SIDE, SIDE))
    return [Subject("torch module (torch.export)", "diffusion U-Net step", "8 x 8 digits", graph,
                    calibration.reshape(4, 64, -1), probe, parity, noise, span=8.0)]  # fmt: skip


def quantized_module(format: str, module: Any, after: tuple[int, ...], least: float = 0.999) -> list[Subject]:
    """A quantized `Sequential`; the original: the codes that it computes itself, those after the layers `after`."""
    graph = from_torch(module, module_example(latents(20, 0)), picture=(1, 28, 28))
    probe = latents(20, 1)
    if graph.codes is None:
        raise RuntimeError(f"{format}: the input has no codes")

    def coded(values: Array, codes: Any) -> Array:
        return np.clip(np.rint(values / codes.scale), codes.low, codes.high).astype(np.int64)

    nodes = [node for node in graph.nodes if node.codes is not None]
    found = {
        node.name: coded(drawn(module[: index + 1], probe)[:, 0], node.codes)
        for node, index in zip(nodes, after, strict=True)
    }
    parity = agreeing(coded(probe[:, 0], graph.codes), found, least)
    return [Subject(format, "VAE decoder, MLP", "vae_epoch_25.pth, MNIST", graph, to_calibrate(20), probe, parity,
                    original=drawn(module, probe))]  # fmt: skip


def torchao(folder: Path) -> list[Subject]:
    """int8 weights and activations with scales that stand, by torchao."""
    import copy

    import torch
    from torchao.quantization import Int8StaticActivationInt8WeightConfig, PerTensor, quantize_

    module, given = copy.deepcopy(mnist("vae")), latents(20, 0, 256)
    ranges = {"0": np.abs(given).max(), "2": np.abs(drawn(module[:2], given)).max()}
    for name, largest in ranges.items():
        config = Int8StaticActivationInt8WeightConfig(torch.tensor([[float(largest) / 127]]), granularity=PerTensor())
        quantize_(module, config, filter_fn=lambda _, at, name=name: at == name)
    return quantized_module("torchao int8", module, (1,))


def brevitas(folder: Path) -> list[Subject]:
    """4-bit weights, 8-bit activations by brevitas, whose scales have seen N(0, 1)."""
    import brevitas.nn as qnn
    import torch
    from brevitas.quant import Int8WeightPerChannelFloat
    from torch import nn

    torch.manual_seed(0)
    options: dict[str, Any] = {"bias": True, "weight_quant": Int8WeightPerChannelFloat, "weight_bit_width": 4}
    module = nn.Sequential(
        qnn.QuantIdentity(), qnn.QuantLinear(20, 400, **options), qnn.QuantReLU(bit_width=8),
        qnn.QuantLinear(400, 784, **options), qnn.QuantSigmoid(),
    )  # fmt: skip
    for index, source in ((1, 0), (3, 2)):
        module[index].weight.data.copy_(mnist("vae")[source].weight)
        module[index].bias.data.copy_(mnist("vae")[source].bias)
    with torch.no_grad():
        for seed in range(5):
            module(torch.from_numpy(latents(20, seed)[:, 0]))
    # codes of the last sigmoid come from a table of 12-bit sums: some are its neighbours
    return quantized_module("brevitas 4-bit weights", module.eval(), (2, 4), least=0.9)


# --- ONNX -------------------------------------------------------------------------------------------------------------


def session(model: Any) -> Any:
    """onnxruntime on a path or bytes, one thread, nothing fused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options)


def runtime_codes(path: Path, entry: str, given: Array) -> dict[str, Array]:
    """Every code that onnxruntime rounds, zero point taken off, by the name of the rounded value."""
    import onnx

    whole = onnx.load(path)
    rounding = [node for node in whole.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {tensor.name: int(onnx.numpy_helper.to_array(tensor).reshape(-1)[0])
             for tensor in whole.graph.initializer if "zero" in tensor.name}  # fmt: skip
    names = [node.output[0] for node in rounding]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    results = session(whole.SerializeToString()).run(None, {entry: given})
    return {
        name: values.astype(np.int64) - (zeros.get(node.input[2], 0) if len(node.input) > 2 else 0)
        for name, values, node in zip(names, results, rounding, strict=True)
    }


def onnx_file(path: Path, kind: str) -> Path:
    """A decoder as an ONNX file: the MLP of MNIST, or the convolutions of digits."""
    import onnx

    make, module = onnx.helper.make_node, mnist("vae") if kind == "mlp" else digits_vae()[1]
    values = {name.replace(".", "_"): tensor.numpy() for name, tensor in module.state_dict().items()}
    values = {name: value for name, value in values.items() if value.dtype == np.float32}
    nodes = [make("Gemm", ["x", "0_weight", "0_bias"], ["h"], transB=1), make("Relu", ["h"], ["r"])]
    if kind == "mlp":
        nodes += [make("Gemm", ["r", "2_weight", "2_bias"], ["g"], transB=1), make("Sigmoid", ["g"], ["y"])]
    else:
        values["shape"] = np.array([0, 32, 2, 2])
        steps, norm = {"strides": [2, 2], "pads": [1, 1, 1, 1]}, ["weight", "bias", "running_mean", "running_var"]
        nodes += [
            make("Reshape", ["r", "shape"], ["p"]),
            make("ConvTranspose", ["p", "3_weight", "3_bias"], ["c"], **steps),
            make("BatchNormalization", ["c", *(f"4_{part}" for part in norm)], ["n"]),
            make("Relu", ["n"], ["k"]),
            make("ConvTranspose", ["k", "6_weight", "6_bias"], ["g"], **steps),
            make("Sigmoid", ["g"], ["y"]),
        ]
    entry = onnx.helper.make_tensor_value_info("x", 1, ["batch", values["0_weight"].shape[1]])
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = onnx.helper.make_graph(nodes, kind, [entry], [onnx.helper.make_empty_tensor_value_info("y")], stored)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def quantized_onnx(path: Path, plain: Path, calibration: Array) -> Path:
    """A QDQ int8 model by onnxruntime's own quantizer."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = list(calibration)

        def get_next(self) -> dict[str, Array] | None:
            return {"x": self.rest.pop()} if self.rest else None

    prepared = path.with_suffix(".prepared.onnx")
    quantization.quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # folds the batch norm
    quantization.quantize_static(prepared, path, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True)
    return path


def onnx_models(folder: Path) -> list[Subject]:
    """Decoders as ONNX, in floats and in int8; the original: onnxruntime, its values and its codes."""
    found = []
    for kind in ("mlp", "convolutions"):
        plain = onnx_file(folder / f"{kind}.onnx", kind)
        calibration = to_calibrate(20) if kind == "mlp" else digits_vae()[2]
        probe = latents(20, 1) if kind == "mlp" else digits_vae()[3]
        graph = families.build(formats.read(plain))
        values = session(plain).run(None, {"x": probe[:, 0]})[0].reshape(len(probe), 1, -1)
        coded = quantized_onnx(folder / f"{kind}.int8.onnx", plain, calibration)
        integers = families.build(formats.read(coded))
        codes = runtime_codes(coded, "x", probe[:, 0])
        by_value = {name.removesuffix("_QuantizeLinear_Output"): value for name, value in codes.items()}
        entry = by_value.pop("x")
        names = {node.name.removesuffix("_relu"): node.name for node in integers.nodes}  # a ReLU comes after its map
        right = {names[name]: value for name, value in by_value.items() if name in names}
        agree = agreeing(entry, right)
        original = session(coded).run(None, {"x": probe[:, 0]})[0].reshape(len(probe), 1, -1)
        if kind == "mlp":
            of = ("VAE decoder, MLP", "vae_epoch_25.pth, MNIST")
            found.append(Subject("ONNX float", *of, graph, calibration, probe, near(graph, probe, values)))
            found.append(Subject("ONNX QDQ int8", *of, integers, calibration, probe, agree, original=original))
        else:
            found.append(digit("ONNX float", graph, near(graph, probe, values)))
            found.append(digit("ONNX QDQ int8", integers, agree, original))
    return found


# The rows in order: title, libraries that are needed, what makes the subjects.
TRAINED = {
    "gpt2": ("GPT-2", 300), "gemma": ("Gemma", 150), "phi": ("Phi", 150), "phi3": ("Phi-3", 150),
    "qwen3": ("Qwen3", 150), "lstm": ("LSTM", 150), "gru": ("GRU", 150), "matmulfree": ("MatMul-free", 150),
}  # fmt: skip
Maker = Callable[[Path], list[Subject]]
SUBJECTS: list[tuple[str, tuple[str, ...], Maker]] = [
    ("llama2.c", ("torch", "transformers"), llama2c),
    ("safetensors LLaMA", ("torch", "transformers"), huggingface),
    *(
        (title, ("torch", "transformers"), partial(trained_family, family, title, steps))
        for family, (title, steps) in TRAINED.items()
    ),
    ("GGUF", ("gguf", "torch", "transformers"), gguf),
    ("GGUF export", ("gguf", "torch", "transformers"), exported_gguf),
    ("ONNX export", ("onnx", "onnxruntime"), exported_onnx),
    ("ggmf", (), ggmf),
    ("World Models", ("torch",), world_models),
    ("torch state dicts", ("torch",), torch_state),
    ("digits", ("torch", "sklearn"), decoders),
    ("diffusion", ("torch", "sklearn"), diffusion),
    ("torchao", ("torch", "torchao"), torchao),
    ("brevitas", ("torch", "brevitas"), brevitas),
    ("ONNX", ("onnx", "onnxruntime", "torch", "sklearn"), onnx_models),
]
