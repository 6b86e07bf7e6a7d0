"""Compare: one run priced on several chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import snngen
from snngen.aside import write_text
from snngen.cli.terminal import (
    Json,
    Markdown,
    ModelAndPrompt,
    Quiet,
    app,
    is_stdout,
    model_and,
    require_all_writable,
    require_picture,
    standard_output,
    write_json,
)
from snngen.engines.settled import SettledEngine
from snngen.network import Network

ALL_CHIPS = "loihi2,loihi1,loihi1-fitted,jetson-orin-nano,h100,cpu"


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
    """Price one run on several chips, and say whether spiking pays.

    Energy by cause with intervals, time, and how many chips.
    """
    from snngen.generation import generate as run
    from snngen.hardware import chips, compare
    from snngen.hardware.verdict import judge
    from snngen.plots import save
    from snngen.summary import print_comparison

    model, prompt = model_and(arguments)
    chosen, rival = [chips.by_name(name) for name in names.split(",")], chips.by_name(against)
    require_picture(out)
    require_all_writable(csv_path, page, json_path)
    network = snngen.load(model)
    generation = run(network, prompt, tokens, temperature=0.8, seed=seed, when_full="slide").finish()
    verdicts = [judge(generation.ledger, chip, code, gpu=rival) for chip in chosen]
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
        write_json(json_path, compare.as_dict(breakdowns, verdicts) | {"measured on this machine": measured})
    if not quiet and not is_stdout(json_path):
        print_comparison(standard_output(), breakdowns, verdicts, markdown)
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
