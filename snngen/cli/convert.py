"""Convert, inspect, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import snngen
from snngen.cli.terminal import (
    NETWORK,
    Json,
    Model,
    Quiet,
    app,
    model_and,
    progress,
    require_all_writable,
    standard_output,
    write_json,
)
from snngen.errors import PromptError

if TYPE_CHECKING:
    from snngen.converters.pruning import Pruning


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="a Hugging Face folder, or a file: .gguf, .onnx, .pth, llama2.c's or rwkv.cpp's .bin"),
    ],
    out: Annotated[Path, typer.Argument(help="the network to write (.h5)")],
    tokenizer: Annotated[Path | None, typer.Option(help="its tokenizer, where it is apart")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="a text to calibrate on, or vectors (.npy); drawn from the model if left out")
    ] = None,
    weight_bits: Annotated[int, typer.Option(help="of weights, 2..8")] = 8,
    activation_bits: Annotated[int, typer.Option(help="of codes that pass weights, 2..8")] = 8,
    rounding: Annotated[str, typer.Option(help="of weights: nearest, or compensated (GPTQ) for few bits")] = "nearest",
    weight_budget: Annotated[
        int | None, typer.Option(help="bytes of linear maps and embeddings: 8, 4 or 2 bits each, by the cost", min=1)
    ] = None,
    prune: Annotated[
        str | None, typer.Option(help="what to keep: 0.5 of the weights, 2:4, or neurons:0.75 of hidden neurons")
    ] = None,
    sparse_below: Annotated[
        float | None, typer.Option(help="store maps with a smaller share of weights by their synapses (CSR)")
    ] = None,
    context: Annotated[int | None, typer.Option(help="tokens that fit, fewer than the model has learned")] = None,
    seed: Annotated[int, typer.Option(help="of the sampled calibration")] = 0,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a model into a spiking network."""
    from snngen.converters import report
    from snngen.converters.convert import convert as run
    from snngen.converters.settings import Settings

    if out.exists() and source.exists() and out.samefile(source):
        raise PromptError(str(out), "the source itself", "another file to write")
    require_all_writable(out, json_path, out.with_suffix(".report.md"), out.with_suffix(".report.json"))
    settings = Settings(weight_bits, activation_bits, rounding=rounding, sparse_below=sparse_below)
    pruning = _pruning(prune)
    with progress("calibrating", quiet) as tell:
        conversion = run(source, tokenizer, calibrate, settings, seed, tell, context, pruning, weight_budget)
    snngen.save(conversion.network, out)
    written = report.write(conversion, out)
    if json_path is not None:
        write_json(json_path, report.describe(conversion))
    if not quiet:
        from snngen.summary import print_layers

        console = Console(stderr=True, highlight=False)
        for note in conversion.network.provenance["notes"]:
            console.print(f"note: {note}", markup=False)
        print_layers(console, conversion.layers)
        console.print(f"wrote {out}: {out.stat().st_size:,} bytes, and {written[0].name}", markup=False, soft_wrap=True)


def _pruning(text: str | None) -> Pruning | None:
    """``0.5``, ``2:4`` or ``neurons:0.75``."""
    from snngen.converters.pruning import Pruning

    if text is None:
        return None
    kind, _, share = text.rpartition(":")
    try:
        if kind == "neurons":
            return Pruning(float(share), neurons=True)
        return Pruning((int(kind), int(share))) if kind else Pruning(float(share))
    except ValueError as error:
        raise PromptError("--prune", repr(text), "0.5, 2:4 or neurons:0.75") from error


@app.command()
def inspect(model: Model = None, json_path: Json = None) -> None:
    """Show what a network is made of.

    Its populations, projections, sizes, scales and provenance.
    """
    from snngen.summary import describe, print_network

    network = snngen.load(model)
    if json_path is not None:
        write_json(json_path, describe(network))
    else:
        # not on a terminal, nothing says how wide a line may be
        print_network(standard_output(), network)


@app.command()
def export(
    arguments: Annotated[list[str], typer.Argument(metavar="[MODEL] OUT", help=f"{NETWORK} and the file to write")],
    kind: Annotated[str | None, typer.Option(help="gguf, nir or onnx; by the file's ending if left out")] = None,
    precision: Annotated[str | None, typer.Option(help="gguf: Q8_0, F16 or F32")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="onnx: standard operators alone")] = False,
) -> None:
    """Write a network in another format: ONNX (QDQ int8), GGUF, NIR."""
    from snngen.converters import exports

    model, last = model_and(arguments, "OUT")
    out = Path(last)
    chosen = kind or out.suffix.removeprefix(".")
    options: dict[str, str | bool] = {} if precision is None else {"precision": precision}
    if plain:
        options["exact"] = False
    require_all_writable(out)
    if precision is not None and chosen != "gguf":
        raise PromptError("--precision", f"{precision} for {chosen}", "only with gguf")
    if plain and chosen != "onnx":
        raise PromptError("--plain", f"for {chosen}", "only with onnx")
    for note in exports.write(snngen.load(model), out, chosen, **options):
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {out}: {out.stat().st_size:,} bytes")
