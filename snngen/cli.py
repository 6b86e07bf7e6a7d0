"""The command `snngen`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import snngen
from snngen import codes
from snngen.aside import require_writable, write_text
from snngen.certificate import Certificate, certify_codes
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import PromptError, SnngenError
from snngen.generation import Generation
from snngen.network import Network
from snngen.summary import describe_generation, print_energy, print_generation
from snngen.text import Text
from snngen.trace import TraceWriter

if TYPE_CHECKING:
    from snngen.hardware.chip import Chip
    from snngen.hardware.verdict import Verdict

app = typer.Typer(
    help="Spiking generative models: converted exactly, simulated event by event, priced honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ALL_CODES = "graded,delta,bitwise,ttfs,unary,rate:16"
ALL_CHIPS = "loihi2,loihi1,loihi1-fitted,jetson-orin-nano,h100,cpu"
CODE_NAMES = "graded, delta, bitwise, ttfs, unary, or rate:TICKS (lossy)"

Model = Annotated[Path, typer.Argument(help="a network (.h5)")]
ModelAndPrompt = Annotated[
    list[str],
    typer.Argument(metavar="[MODEL] PROMPT", help="a network (the one in the package, if left out) and a prompt"),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="print the table as Markdown")]
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
    arguments: ModelAndPrompt,
    tokens: Annotated[int, typer.Option(help="how many to generate, at most", min=1)] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token")] = 0.8,
    top_k: Annotated[int, typer.Option(help="only the k most likely tokens, 0 for all")] = 0,
    top_p: Annotated[float, typer.Option(help="only the most likely tokens that reach this probability")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the random numbers")] = 0,
    when_full: Annotated[
        str, typer.Option(help="when the context is full: stop, or slide to its newest half")
    ] = "slide",
    code: Annotated[str, typer.Option(help=f"spike code: {CODE_NAMES}")] = "graded",
    engine: Annotated[str | None, typer.Option(help="settled, or ticked: real spikes, tick by tick")] = None,
    schedule: Annotated[str | None, typer.Option(help="ticked: layered (the default) or eager")] = None,
    max_ticks: Annotated[int | None, typer.Option(help="ticked: end each token after so many (lossy)", min=1)] = None,
    stop_when_safe: Annotated[
        bool, typer.Option("--stop-when-safe", help="ticked: end a token once its answer cannot change any more")
    ] = False,
    trace: Annotated[Path | None, typer.Option(help="ticked: write every event to this file (.h5)")] = None,
    chip: Annotated[str, typer.Option(help="chips to price, comma-separated")] = "loihi2,loihi1,jetson-orin-nano",
    certificate: Annotated[bool, typer.Option(help="compare every code with the reference")] = True,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Generate text, and say what it cost."""
    from snngen.generation import generate as run
    from snngen.hardware import chips
    from snngen.hardware.price import price

    model, prompt = _model_and_prompt("generate", arguments)
    priced = [chips.by_name(name) for name in chip.split(",") if name]
    network = snngen.load(model)
    for path in (json_path, trace):
        _require_writable(path)
    if stop_when_safe and temperature > 0:
        raise PromptError(
            "--stop-when-safe", f"temperature {temperature}", "--temperature 0: only a leader can be safe"
        )
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "when_full": when_full}
    with ExitStack() as stack:
        runner = _engine(stack, network, code, engine, schedule, max_ticks, stop_when_safe, trace)
        generation = run(network, prompt, tokens, engine=runner, **sampling)  # type: ignore[arg-type]
        with Console(stderr=True).status("compiling the kernels (once)" if not quiet else "", spinner="dots"):
            runner.warm()
        _say(generation, silent=_is_stdout(json_path))
    checked = _certified(generation, quiet) if certificate else None
    sent = None if runner.spikes else code
    breakdowns = [price(generation.ledger, one, sent) for one in priced]
    if json_path is not None:
        _write_json(json_path, describe_generation(generation, checked, breakdowns))
    if not quiet:
        console = Console(stderr=True, highlight=False)
        print_generation(console, generation, checked, sent)
        print_energy(console, breakdowns)
    if checked is not None and runner.exact:
        checked.require()


def _model_and_prompt(command: str, arguments: list[str]) -> tuple[str | None, str]:
    """[MODEL] PROMPT: the network in the package where none is named."""
    if len(arguments) > 2:
        raise PromptError(command, f"{len(arguments)} arguments", "[MODEL] PROMPT", "Quote the prompt")
    return (arguments[0] if len(arguments) == 2 else None), arguments[-1]


def _engine(
    stack: ExitStack,
    network: Network,
    code: str,
    engine: str | None,
    schedule: str | None,
    max_ticks: int | None,
    stop_when_safe: bool,
    trace: Path | None,
) -> Engine:
    """The engine that the options ask for; a trace is closed by the stack."""
    spike_code = codes.by_name(code)
    ticking = schedule or max_ticks or stop_when_safe or trace or not spike_code.exact
    kind = engine or ("ticked" if ticking else "settled")
    if kind not in ("settled", "ticked"):
        raise PromptError("--engine", repr(engine), "settled or ticked")
    if kind == "settled":
        if ticking:
            wrong = "--schedule, --max-ticks, --stop-when-safe, --trace or a lossy code"
            raise PromptError("--engine settled", wrong, "--engine ticked for these")
        return SettledEngine(network)
    order: Any = schedule or "layered"
    recorder = None if trace is None else stack.enter_context(TraceWriter(trace, network, spike_code.name, order))
    return TickedEngine(
        network, spike_code, order, max_ticks=max_ticks, recorder=recorder, stop_when_safe=stop_when_safe
    )


def _say(generation: Generation, silent: bool) -> None:
    """Stream prompt and text to standard output as they come."""
    decoder = Text(generation.network).stream()
    for token in chain(generation.prompt, generation):
        if not silent:
            _speak(decoder.put(token))
    if not silent:
        _speak("\n")


def _certified(generation: Generation, quiet: bool) -> Certificate:
    """The certificate of the tokens of a generation, as many as fit the context, by the engine that made them."""
    engine = generation.engine
    if isinstance(engine, TickedEngine):  # a fresh one, so that a trace holds the generation only
        engine = TickedEngine(
            generation.network, engine.code, engine.schedule, engine.max_ticks, stop_when_safe=engine.stop_when_safe
        )
    with _progress("certificate", quiet) as tell:
        return snngen.certify(generation.network, generation.tokens[: generation.network.context], engine, tell)


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
    from snngen.converters.settings import Settings

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
        print_network(_console(), network)


@app.command()
def certify(
    model: Model,
    prompt: str,
    backend: Annotated[
        str, typer.Option(help="what is compared: settled, ticked, torch (on a GPU where there is one) or lava")
    ] = "settled",
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare an engine or a backend with the reference on a prompt: every code of every population, every logit."""
    network = snngen.load(model)
    tokens = _tokens(network, prompt)
    _require_writable(json_path)
    if backend in ("settled", "ticked"):
        engine: Engine = SettledEngine(network) if backend == "settled" else TickedEngine(network)
        with _progress("certificate", quiet) as tell:
            certificate = snngen.certify(network, tokens, engine, tell)
    else:
        certificate = certify_codes(network, tokens, _codes_of(backend, network, tokens))
    if json_path is not None:
        _write_json(json_path, {"backend": backend, **certificate.as_dict()})
    if not quiet and not _is_stdout(json_path):
        print(certificate)
    certificate.require()


def _codes_of(backend: str, network: Network, tokens: list[int]) -> dict[str, Any]:
    """(tokens, size) codes of every population, run by another library."""
    if backend == "lava":
        from snngen.hardware.backends.lava import run_lava

        return run_lava(network, tokens)
    if backend != "torch":
        raise PromptError("--backend", repr(backend), "settled, ticked, torch or lava")
    from snngen.hardware import backends

    engine = backends.by_name("torch").TorchEngine(network)
    print(engine.log, file=sys.stderr)
    rows: dict[str, list[Any]] = {population.name: [] for population in network.populations}
    for token in tokens:
        engine.step([token])
        for name, codes_so_far in rows.items():
            codes_so_far.append(engine.codes(name)[0])
    return rows


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

    _require_writable(json_path)
    network = snngen.load(model)
    tokens = Text(network).encode(_read_text(text))
    cut = windows(tokens, network.context or len(tokens), stride)
    with _progress("perplexity", quiet) as tell:
        of = sum(len(part) for part, _ in cut)
        nats = nats_per_token(network, cut, progress=lambda done: tell(done, of))
    result = {"nats_per_token": nats, "perplexity": math.exp(nats), "tokens": len(tokens)}
    if json_path is not None:
        _write_json(json_path, result)
    if not quiet and not _is_stdout(json_path):
        print(f"{nats:.4f} nats per token, perplexity {math.exp(nats):.4f}, over {len(tokens):,} tokens")


@app.command()
def batch(
    model: Model,
    prompts: Annotated[Path, typer.Argument(help="a text file with one prompt per line")],
    tokens: Annotated[int, typer.Option(help="how many to generate for each, at most", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token")] = 0.8,
    seed: Annotated[int, typer.Option(help="of the random numbers")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    json_path: Json = None,
) -> None:
    """Generate for many prompts at once with torch, on a GPU where there is one.

    Each text is what `generate --when-full stop` gives for its prompt.
    """
    from snngen.hardware import backends
    from snngen.sampling import Sampling

    network = snngen.load(model)
    lines = [line for line in _read_text(prompts).splitlines() if line]
    _require_writable(json_path)
    sampling = Sampling(temperature, seed=seed)
    done = backends.by_name("torch").generate_batch(network, lines, tokens, sampling, device)
    print(f"{done.log}; {done.rate:,.0f} tokens/s", file=sys.stderr)
    if json_path is not None:
        result = {"device": str(done.device), "log": done.log, "texts": done.texts, "tokens": done.tokens}
        _write_json(json_path, {**result, "stopped": done.stopped, "tokens_per_second": done.rate})
    if not _is_stdout(json_path):
        print("\n---\n".join(done.texts))


@app.command("codes")
def show_codes(
    model: Model,
    prompt: str,
    schedule: Annotated[str, typer.Option(help="layered or eager")] = "layered",
    names: Annotated[str, typer.Option("--codes", help="which, comma-separated")] = ALL_CODES,
    chip: Annotated[str, typer.Option(help="the chip to price")] = "loihi2",
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a prompt under every spike code, with real spikes, and compare what they take."""
    from snngen.comparison import compare_codes
    from snngen.hardware import chips
    from snngen.hardware.price import price
    from snngen.summary import code_rows, print_rows

    network, chosen, priced = (
        snngen.load(model),
        [codes.by_name(name) for name in names.split(",")],
        chips.by_name(chip),
    )
    _require_writable(json_path)
    with _progress("codes", quiet) as tell:
        runs = compare_codes(network, _tokens(network, prompt), chosen, schedule, tell)  # type: ignore[arg-type]
    rows = code_rows(runs, [price(run.ledger, priced) for run in runs])
    if json_path is not None:
        _write_json(json_path, {"schedule": schedule, "chip": chip, "codes": rows})
    if not quiet and not _is_stdout(json_path):
        print_rows(_console(), rows, markdown)
    for run in runs:
        if run.code.exact:
            run.certificate.require()


@app.command()
def anytime(
    model: Model,
    prompt: str,
    names: Annotated[str, typer.Option("--codes", help="which, comma-separated")] = "graded,bitwise,unary,ttfs",
    schedule: Annotated[str, typer.Option(help="eager or layered, comma-separated")] = "eager",
    out: Annotated[Path, typer.Option(help="the picture (.png, .svg or .pdf)")] = Path("anytime.png"),
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Plot how the answer forms tick by tick: tokens and codes already right, and perplexity."""
    from snngen.anytime import anytime as run
    from snngen.plots import plot_anytime, save

    network = snngen.load(model)
    chosen = [(codes.by_name(name), order) for order in schedule.split(",") for name in names.split(",")]
    tokens = _tokens(network, prompt)
    for path in (out, json_path):
        _require_writable(path)
    curves = []
    for code, order in chosen:
        with _progress(f"{code.name}, {order}", quiet) as tell:
            curves.append(run(network, tokens, code, order, progress=tell))  # type: ignore[arg-type]
    save(plot_anytime(curves), out)
    if json_path is not None:
        _write_json(json_path, {"curves": [curve.as_dict() for curve in curves]})
    if not quiet and not _is_stdout(json_path):
        from snngen.summary import anytime_rows, print_rows

        print_rows(_console(), anytime_rows(curves), markdown)
        if not markdown:
            print(f"wrote {out}")


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="a trace written by generate --trace")],
    out: Annotated[Path | None, typer.Option(help="the picture (.png, .svg or .pdf)")] = None,
    nir: Annotated[Path | None, typer.Option(help="write the events as NIR event data too")] = None,
) -> None:
    """Draw a recorded run: raster, activity, rates and sparsity, events per token."""
    from snngen.plots import plot_trace, save
    from snngen.trace import describe, read_trace, write_nir

    recorded = read_trace(run)
    picture = run.with_suffix(".png") if out is None else out
    for path in (picture, nir):
        _require_writable(path)
    save(plot_trace(recorded), picture)
    if nir is not None:
        write_nir(recorded, nir)
    print(f"{describe(recorded)}; wrote {picture}")


@app.command()
def compare(
    arguments: ModelAndPrompt,
    tokens: Annotated[int, typer.Option(help="how many to generate, at most", min=1)] = 100,
    names: Annotated[str, typer.Option("--chips", help="which, comma-separated")] = ALL_CHIPS,
    code: Annotated[str, typer.Option(help="spike code to price: graded, delta, bitwise, ttfs or unary")] = "graded",
    against: Annotated[str, typer.Option(help="the chip whose cited rows are the rival")] = "jetson-orin-nano",
    seed: Annotated[int, typer.Option(help="of the random numbers")] = 0,
    out: Annotated[Path | None, typer.Option(help="the picture (.png, .svg or .pdf)")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="write all figures as CSV to this file")] = None,
    page: Annotated[Path | None, typer.Option("--html", help="write a page that holds all it shows")] = None,
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Price one run on several chips: energy by cause with intervals, time, chips, and whether spiking pays."""
    from snngen.generation import generate as run
    from snngen.hardware import chips, compare
    from snngen.plots import save
    from snngen.summary import print_comparison

    model, prompt = _model_and_prompt("compare", arguments)
    chosen, rival = [chips.by_name(name) for name in names.split(",")], chips.by_name(against)
    network = snngen.load(model)
    for path in (out, csv_path, page, json_path):
        _require_writable(path)
    generation = run(network, prompt, tokens, temperature=0.8, seed=seed, when_full="slide").finish()
    verdicts = [_judged(generation, chip, code, rival) for chip in chosen]
    breakdowns = [verdict.breakdown for verdict in verdicts]
    measured = _measured(network, generation.prompt, tokens) if "cpu" in names.split(",") else None
    figure = compare.plot_energy(breakdowns)
    if out is not None:
        save(figure, out)
    if csv_path is not None:
        write_text(csv_path, compare.as_csv(breakdowns))
    if page is not None:
        title = f"Energy per token: {len(generation.generated)} tokens, {code} code"
        write_text(page, compare.as_html(title, figure, breakdowns, verdicts, measured or ""))
    if json_path is not None:
        _write_json(json_path, compare.as_dict(breakdowns, verdicts) | {"measured on this machine": measured})
    if not quiet and not _is_stdout(json_path):
        print_comparison(_console(), breakdowns, verdicts, markdown)
        if measured is not None:
            print(f"measured on this machine, per token run: {measured}")


def _measured(network: Network, prompt: list[int], tokens: int) -> str:
    """Joules per token run, of prompt and text together, on this machine by its counters, or why there are none."""
    from snngen.errors import UnsupportedError
    from snngen.generation import generate as run
    from snngen.hardware.measure import measure

    engine = SettledEngine(network)
    try:
        measurement = measure(
            lambda: len(run(network, prompt, tokens, when_full="slide", engine=engine).finish().ledger)
        )
    except UnsupportedError as error:
        return f"nothing ({error})"
    return f"{measurement.energy} ({measurement.energy.source})"


def _judged(generation: Generation, chip: Chip, code: str, rival: Chip) -> Verdict:
    """The verdict on one chip, placed where its limits are known."""
    from snngen.hardware.limits import LIMITS
    from snngen.hardware.placement import place
    from snngen.hardware.verdict import judge

    placement = place(generation.network, chip.name) if chip.name in LIMITS else None
    return judge(generation.ledger, chip, code, placement, rival)


@app.command("place")
def show_placement(
    model: Annotated[Path | None, typer.Argument(help="a network (.h5)")] = None,
    chip: Annotated[str, typer.Option(help="the chip whose limits hold")] = "loihi2",
    shapes: Annotated[str | None, typer.Option(help="plan a model by its shapes alone, for example llama2-7b")] = None,
    out: Annotated[Path | None, typer.Option(help="draw the cores, coloured by load (.png, .svg or .pdf)")] = None,
    json_path: Json = None,
) -> None:
    """Place a network on the cores of a chip, or plan a model by its shapes: chips, cores, limits, board."""
    from snngen.hardware.placement import place
    from snngen.hardware.placement_plot import plot_placement
    from snngen.hardware.shapes import Plan, plan
    from snngen.plots import save
    from snngen.summary import print_rows

    if (model is None) == (shapes is None):
        raise PromptError("place", "a network and shapes, or neither", "MODEL.h5, or --shapes NAME")
    for path in (out, json_path):
        _require_writable(path)
    if shapes is not None and out is not None:
        raise PromptError("--out", "shapes, which have no places", "a network to draw")
    placed = plan(shapes, chip) if shapes is not None else place(snngen.load(model), chip)
    if out is not None:
        save(plot_placement(placed), out)  # type: ignore[arg-type]
    if json_path is not None:
        _write_json(json_path, placed.as_dict())
    if not _is_stdout(json_path):
        print_rows(_console(), placed.rows(), markdown=False)
        for key, value in placed.as_dict().items():
            if isinstance(value, int | float | str | None):
                print(f"{key.replace('_', ' ')}: {value}")
        if isinstance(placed, Plan):
            print(f"static power: {placed.static}")
            print(f"energy: at least {placed.energy}")
            print(f"time: at least {placed.time}")
            print("without a price: " + ", ".join(placed.unpriced))


@app.command("validate")
def show_validation(json_path: Json = None, markdown: Markdown = False) -> None:
    """Recompute published energies from their published counts, with the chips' constants."""
    from snngen.hardware import validate
    from snngen.summary import print_rows

    rows = validate.rows()
    if json_path is not None:
        _write_json(json_path, {"cases": rows})
    if not _is_stdout(json_path):
        print_rows(_console(), rows, markdown, leave_out=("census", "source"))
    if not validate.passed():
        raise SnngenError("validate", "a case outside its band", "every ratio inside", "see the table")


def _tokens(network: Network, prompt: str) -> list[int]:
    """The tokens of a prompt that fits the context."""
    tokens = Text(network).encode(prompt)
    if network.context is not None and len(tokens) > network.context:
        raise PromptError("prompt", f"{len(tokens)} tokens", f"at most {network.context}, the context")
    return tokens


def _console() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


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
