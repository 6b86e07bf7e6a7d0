"""The command `snngen`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import snngen
from snngen.aside import require_writable, write_text
from snngen.errors import PromptError, SnngenError

app = typer.Typer(
    help="Spiking generative models: converted exactly, simulated event by event, priced honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[Path, typer.Argument(help="a network (.h5)")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar and no summary")]
Json = Annotated[
    Path | None, typer.Option("--json", help="write the result as JSON to this file, or - for standard output")
]


# Typer brings its own copy of click, or the click that is installed, by its version: the class is taken from its own.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line: errors are one line and exit status 2, an interrupt is 130."""
    try:
        status = app(standalone_mode=False)
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except SnngenError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"snngen: {error}", markup=False)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"snngen {snngen.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Spiking generative models: converted exactly, simulated event by event, priced honestly."""


@app.command()
def generate(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[MODEL] PROMPT", help="a network (the one in the package, if left out) and a prompt"),
    ],
    tokens: Annotated[int, typer.Option(help="how many to generate, at most", min=1)] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token")] = 0.8,
    top_k: Annotated[int, typer.Option(help="only the k most likely tokens, 0 for all")] = 0,
    top_p: Annotated[float, typer.Option(help="only the most likely tokens that reach this probability")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the random numbers")] = 0,
    when_full: Annotated[
        str, typer.Option(help="when the context is full: stop, or slide to its newest half")
    ] = "slide",
    chip: Annotated[str, typer.Option(help="chips to price, comma-separated")] = "loihi2,loihi1,jetson-orin-nano",
    code: Annotated[str, typer.Option(help="spike code to price: graded, unary, bitwise, ttfs or delta")] = "graded",
    certificate: Annotated[bool, typer.Option(help="compare every code with the reference")] = True,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Generate text, and say what it cost."""
    from snngen.generation import generate as run
    from snngen.hardware import chips
    from snngen.hardware.price import price
    from snngen.ledger import CODES
    from snngen.text import Text

    if len(arguments) > 2:
        raise PromptError("generate", f"{len(arguments)} arguments", "[MODEL] PROMPT", "Quote the prompt")
    if code not in CODES:
        raise PromptError("--code", repr(code), "one of " + ", ".join(CODES))
    priced = [chips.by_name(name) for name in chip.split(",") if name]
    prompt = arguments[-1]
    network = snngen.load(arguments[0] if len(arguments) == 2 else None)
    to_stdout = _is_stdout(json_path)
    _require_writable(json_path)
    generation = run(
        network,
        prompt,
        tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        when_full=when_full,  # type: ignore[arg-type]
    )
    with Console(stderr=True).status("compiling the kernels (once)" if not quiet else "", spinner="dots"):
        generation.engine.warm()
    decoder = Text(network).stream()
    speak = (lambda text: None) if to_stdout else _speak
    for token in generation.prompt:
        speak(decoder.put(token))
    for token in generation:
        speak(decoder.put(token))
    speak("\n")
    checked = None
    if certificate:
        window = generation.tokens[: network.context]
        with _progress("certificate", quiet) as tell:
            checked = snngen.certify(network, window, progress=tell)
    breakdowns = [price(generation.ledger, one, code) for one in priced]
    if json_path is not None:
        result = {
            "text": generation.text,
            "tokens": generation.tokens,
            "prompt_tokens": len(generation.prompt),
            "stopped": generation.stopped,
            "slides": generation.slides,
            "speed": {
                "prefill_tokens_per_second": generation.prefill_rate,
                "generate_tokens_per_second": generation.generate_rate,
            },
            "ledger": generation.ledger.summary(),
            "certificate": None if checked is None else checked.as_dict(),
            "energy": {one.chip.name: one.as_dict() for one in breakdowns},
        }
        _write_json(json_path, result)
    if not quiet:
        from snngen.summary import print_energy, print_generation

        console = Console(stderr=True, highlight=False)
        print_generation(console, generation, checked)
        print_energy(console, breakdowns)
    if checked is not None:
        checked.require()


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="a model: llama2.c .bin, or a Hugging Face folder")],
    out: Annotated[Path, typer.Argument(help="the network to write (.h5)")],
    tokenizer: Annotated[Path | None, typer.Option(help="its tokenizer, where it is apart")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="a text to calibrate on; sampled from the model if left out")
    ] = None,
    weight_bits: Annotated[int, typer.Option(help="of weights, 2..8")] = 8,
    activation_bits: Annotated[int, typer.Option(help="of codes that pass weights, 2..8")] = 8,
    context: Annotated[int | None, typer.Option(help="tokens that fit, fewer than the model has learned")] = None,
    seed: Annotated[int, typer.Option(help="of the sampled calibration")] = 0,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a model into a spiking network."""
    from snngen.converters.convert import convert as run
    from snngen.converters.convert import report
    from snngen.converters.quantize import Settings

    if out.exists() and source.exists() and out.samefile(source):
        raise PromptError(str(out), "the source itself", "another file to write")
    _require_writable(out, json_path)
    with _progress("calibrating", quiet) as tell:
        conversion = run(source, tokenizer, calibrate, Settings(weight_bits, activation_bits), seed, tell, context)
    snngen.save(conversion.network, out)
    if json_path is not None:
        _write_json(json_path, report(conversion))
    if not quiet:
        from snngen.summary import print_layers

        console = Console(stderr=True, highlight=False)
        for note in conversion.graph.notes:
            console.print(f"note: {note}", markup=False)
        print_layers(console, conversion.layers)
        console.print(f"wrote {out}: {out.stat().st_size:,} bytes", markup=False)


@app.command()
def inspect(model: Model, json_path: Json = None) -> None:
    """Show the populations, projections, sizes, scales and provenance of a network."""
    from snngen.summary import describe, print_network

    network = snngen.load(model)
    if json_path is not None:
        _write_json(json_path, describe(network))
    else:
        # not on a terminal, nothing says how wide a line may be
        print_network(Console(highlight=False, width=None if sys.stdout.isatty() else 160), network)


@app.command()
def certify(model: Model, prompt: str, json_path: Json = None, quiet: Quiet = False) -> None:
    """Compare the engine with the reference on a prompt: every code of every population, every logit."""
    from snngen.text import Text

    _require_writable(json_path)
    network = snngen.load(model)
    tokens = Text(network).encode(prompt)
    if network.context is not None and len(tokens) > network.context:
        raise PromptError("prompt", f"{len(tokens)} tokens", f"at most {network.context}, the context")
    with _progress("certificate", quiet) as tell:
        certificate = snngen.certify(network, tokens, progress=tell)
    if json_path is not None:
        _write_json(json_path, certificate.as_dict())
    if not quiet and not _is_stdout(json_path):
        print(certificate)
    certificate.require()


@app.command()
def perplexity(
    model: Model,
    text: Annotated[Path, typer.Argument(help="a text file")],
    stride: Annotated[int, typer.Option(help="tokens from window to window; half the context if 0", min=0)] = 0,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure how well a network predicts a text, in windows of its context."""
    import math

    from snngen.likelihood import nats_per_token, windows
    from snngen.text import Text

    _require_writable(json_path)
    network = snngen.load(model)
    tokens = Text(network).encode(_read_text(text))
    cut = windows(tokens, network.context or len(tokens), stride)
    with _progress("perplexity", quiet) as tell:
        nats = nats_per_token(network, cut, progress=lambda done: tell(done, sum(len(part) for part, _ in cut)))
    result = {"nats_per_token": nats, "perplexity": math.exp(nats), "tokens": len(tokens)}
    if json_path is not None:
        _write_json(json_path, result)
    if not quiet and not _is_stdout(json_path):
        print(f"{nats:.4f} nats per token, perplexity {math.exp(nats):.4f}, over {len(tokens):,} tokens")


def _speak(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(str(path), str(error), "a UTF-8 text file") from error


def _is_stdout(path: Path | None) -> bool:
    return str(path) == "-"


def _require_writable(*paths: Path | None) -> None:
    """Refuse what cannot be written before the long work, not after it."""
    for path in paths:
        if path is not None and not _is_stdout(path):
            require_writable(path)


def _write_json(path: Path, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if _is_stdout(path):
        sys.stdout.write(text)
    else:
        write_text(path, text)


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, or nothing where it would only be noise."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    main()
