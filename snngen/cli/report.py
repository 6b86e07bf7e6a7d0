"""Report: a saved run as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import snngen
from snngen.aside import write_text
from snngen.cli.terminal import app, require_all_writable

SHOWN = "loihi2,loihi1,loihi1-fitted,jetson-orin-nano"


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a run saved by generate --save")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the page (.html); beside the run, if left out")
    ] = None,
    chip: Annotated[str, typer.Option(help="chips to price, comma-separated")] = SHOWN,
    code: Annotated[
        str, typer.Option(help="spike code to price; the one of the run, if left out, and where spikes were sent")
    ] = "",
    model: Annotated[
        str, typer.Option(help="the network of the run, if it is no longer where it was; its digest is checked")
    ] = "",
) -> None:
    """Write a saved run as one page that opens anywhere.

    Text shaded by energy, price, raster, sparsity, proof.
    """
    from snngen.hardware import chips
    from snngen.report import Subject, as_html
    from snngen.saved_run import read_saved_run

    priced = [chips.by_name(name) for name in chip.split(",") if name]
    page = run.with_suffix(".html") if out is None else out
    require_all_writable(page)
    saved = read_saved_run(run)
    network = snngen.load(model or saved.about.model or None)
    text = as_html(Subject(saved, network, priced, code))
    write_text(page, text)
    print(f"wrote {page}: {len(text.encode()):,} bytes, {len(saved.tokens):,} tokens, {len(priced)} chips")
