"""Codes, anytime, plot: spikes compared and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import snngen
from snngen import codes
from snngen.cli.terminal import (
    Json,
    Markdown,
    ModelAndPrompt,
    Quiet,
    app,
    is_stdout,
    model_and,
    progress,
    require_all_writable,
    require_picture,
    standard_output,
    tokens_of,
    write_json,
)

ALL_CODES = "graded,delta,bitwise,ttfs,unary,rate:16"


@app.command("codes")
def show_codes(
    arguments: ModelAndPrompt,
    schedule: Annotated[str, typer.Option(help="layered or eager")] = "layered",
    names: Annotated[str, typer.Option("--codes", help="which, comma-separated")] = ALL_CODES,
    chip: Annotated[str, typer.Option(help="the chip to price")] = "loihi2",
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a prompt under every spike code, side by side.

    With real spikes: what each takes, and whether it says the same.
    """
    from snngen.comparison import compare_codes
    from snngen.hardware import chips
    from snngen.hardware.price import price
    from snngen.summary import code_rows, print_rows

    model, prompt = model_and(arguments)
    chosen, priced = [codes.by_name(name) for name in names.split(",")], chips.by_name(chip)
    network = snngen.load(model)
    require_all_writable(json_path)
    with progress("codes", quiet) as tell:
        runs = compare_codes(network, tokens_of(network, prompt), chosen, schedule, tell)  # type: ignore[arg-type]
    breakdowns = [price(run.ledger, priced) for run in runs]
    rows = code_rows(runs, breakdowns)
    if json_path is not None:
        write_json(json_path, {"schedule": schedule, "chip": chip, "rests_on": breakdowns[0].rests_on, "codes": rows})
    if not quiet and not is_stdout(json_path):
        print_rows(standard_output(), rows, markdown)
        if not markdown:
            print(f"{chip}: {breakdowns[0].where}; {breakdowns[0].rests_on}")
    for run in runs:
        if run.code.exact:
            run.certificate.require()


@app.command()
def anytime(
    arguments: ModelAndPrompt,
    names: Annotated[str, typer.Option("--codes", help="which, comma-separated")] = "graded,bitwise,unary,ttfs",
    schedule: Annotated[str, typer.Option(help="eager or layered, comma-separated")] = "eager",
    out: Annotated[Path, typer.Option(help="the picture (.png, .svg or .pdf)")] = Path("anytime.png"),
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Plot how the answer forms tick by tick.

    Tokens and codes already right, and perplexity.
    """
    from snngen.anytime import anytime as run
    from snngen.plots import plot_anytime, save

    model, prompt = model_and(arguments)
    require_picture(out)
    require_all_writable(json_path)
    network = snngen.load(model)
    chosen = [(codes.by_name(name), order) for order in schedule.split(",") for name in names.split(",")]
    tokens = tokens_of(network, prompt)
    curves = []
    for code, order in chosen:
        with progress(f"{code.name}, {order}", quiet) as tell:
            curves.append(run(network, tokens, code, order, progress=tell))  # type: ignore[arg-type]
    save(plot_anytime(curves), out)
    if json_path is not None:
        write_json(json_path, {"curves": [curve.as_dict() for curve in curves]})
    if not quiet and not is_stdout(json_path):
        from snngen.summary import anytime_rows, print_rows

        print_rows(standard_output(), anytime_rows(curves), markdown)
        if not markdown:
            print(f"wrote {out}")


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="a trace written by generate --trace")],
    out: Annotated[Path | None, typer.Option(help="the picture (.png, .svg or .pdf)")] = None,
    nir: Annotated[Path | None, typer.Option(help="write the events as NIR event data too")] = None,
) -> None:
    """Draw a recorded run, raster and activity.

    Rates and sparsity of every population, and events per token, too.
    """
    from snngen.plots import plot_trace, save
    from snngen.trace import describe, read_trace, write_nir

    recorded = read_trace(run)
    picture = run.with_suffix(".png") if out is None else out
    require_picture(picture)
    require_all_writable(nir)
    save(plot_trace(recorded), picture)
    if nir is not None:
        write_nir(recorded, nir)
    print(f"{describe(recorded)}; wrote {picture}")
