"""Generate: text and what it cost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import snngen
from snngen import codes
from snngen.certificate import Certificate
from snngen.cli.draw import draw
from snngen.cli.terminal import (
    Json,
    ModelAndPrompt,
    Quiet,
    app,
    compiling,
    is_stdout,
    model_and,
    progress,
    require_all_writable,
    speak,
    write_json,
)
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import Recorder, TickedEngine
from snngen.errors import PromptError
from snngen.generation import Generation
from snngen.network import Network
from snngen.saved_run import LastToken, RunRecorder
from snngen.summary import describe_generation, print_energy, print_generation
from snngen.text import Text
from snngen.trace import TraceWriter

CODE_NAMES = "graded, delta, bitwise, ttfs, unary, or rate:TICKS (lossy)"


@app.command()
def generate(  # longer than 60 lines by its options, which typer reads here
    arguments: ModelAndPrompt,
    out: Annotated[
        Path | None, typer.Option(help="draw pictures into this file (.png): MODEL without a prompt")
    ] = None,
    count: Annotated[int, typer.Option(help="--out: how many pictures", min=1, max=4096)] = 16,
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
    save: Annotated[
        Path | None, typer.Option(help="write text, counts, certificate and spikes to this file (.h5), for report")
    ] = None,
    chip: Annotated[str, typer.Option(help="chips to price, comma-separated")] = "loihi2,loihi1,jetson-orin-nano",
    certificate: Annotated[bool, typer.Option(help="compare every code with the reference")] = True,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Generate text, or pictures with --out, and say what it cost."""
    from snngen.generation import generate as run
    from snngen.hardware import chips

    priced = [chips.by_name(name) for name in chip.split(",") if name]
    require_all_writable(json_path, trace, out, save)
    if out is not None:
        if len(arguments) != 1 or save is not None:
            got = "--save" if save is not None else f"{len(arguments)} arguments"
            raise PromptError("generate --out", got, "MODEL alone: a picture has no prompt, and no text to save")
        network = snngen.load(arguments[0])
        with ExitStack() as stack:
            runner = _engine(stack, network, code, engine, schedule, max_ticks, stop_when_safe, trace)
            sent = None if runner.spikes else code
            draw(network, runner, out, count, seed, sent, priced, certificate, json_path, quiet)
        return
    model, prompt = model_and(arguments)
    network = snngen.load(model)
    if stop_when_safe and temperature > 0:
        raise PromptError(
            "--stop-when-safe", f"temperature {temperature}", "--temperature 0: only a leader can be safe"
        )
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "when_full": when_full}
    with ExitStack() as stack:
        last = None if save is None else LastToken()
        runner = _engine(stack, network, code, engine, schedule, max_ticks, stop_when_safe, trace, last)
        generation = run(network, prompt, tokens, engine=runner, **sampling)  # type: ignore[arg-type]
        recorder = None if save is None else RunRecorder(generation, last if runner.spikes else None)
        with compiling(quiet):
            runner.warm()
        _say(generation, generation if recorder is None else recorder, silent=is_stdout(json_path))
    checked = _certified(generation, quiet) if certificate else None
    if save is not None and recorder is not None:
        typed = shlex.join(["snngen", *sys.argv[1:]])
        recorder.save(save, checked, code=code, model="" if model is None else model, command=typed)
    from snngen.hardware.price import price  # after the text: it need not wait for this

    sent = None if runner.spikes else code
    breakdowns = [price(generation.ledger, one, sent) for one in priced]
    if json_path is not None:
        write_json(json_path, describe_generation(generation, checked, breakdowns))
    if not quiet:
        console = Console(stderr=True, highlight=False)
        print_generation(console, generation, checked, sent)
        print_energy(console, breakdowns)
    if checked is not None and runner.exact:
        checked.require()


def _engine(
    stack: ExitStack,
    network: Network,
    code: str,
    engine: str | None,
    schedule: str | None,
    max_ticks: int | None,
    stop_when_safe: bool,
    trace: Path | None,
    last: LastToken | None = None,
) -> Engine:
    """The engine that the options ask for; a trace is closed by the stack, and told what `last` is told."""
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
    recorder: Recorder | None = None
    if trace is not None:
        recorder = stack.enter_context(TraceWriter(trace, network, spike_code.name, order))
    if last is not None:
        last.also, recorder = recorder, last
    return TickedEngine(
        network, spike_code, order, max_ticks=max_ticks, recorder=recorder, stop_when_safe=stop_when_safe
    )


def _say(generation: Generation, coming: Iterable[int], silent: bool) -> None:
    """Stream prompt and text to standard output as they come. coming: the tokens, as they are generated."""
    decoder = Text(generation.network).stream()
    for token in chain(generation.prompt, coming):
        if not silent:
            speak(decoder.put(token))
    if not silent:
        speak("\n")


def _certified(generation: Generation, quiet: bool) -> Certificate:
    """The certificate of the tokens of a generation, as many as fit the context, by the engine that made them."""
    engine = generation.engine
    if isinstance(engine, TickedEngine):  # a fresh one, so that a trace holds the generation only
        engine = TickedEngine(
            generation.network, engine.code, engine.schedule, engine.max_ticks, stop_when_safe=engine.stop_when_safe
        )
    with progress("certificate", quiet) as tell:
        return snngen.certify(generation.network, generation.tokens[: generation.network.context], engine, tell)
