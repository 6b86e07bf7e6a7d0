"""Place and validate: cores, and published figures recomputed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import snngen
from snngen.cli.terminal import (
    Json,
    Markdown,
    Model,
    app,
    is_stdout,
    require_all_writable,
    require_picture,
    standard_output,
    write_json,
)
from snngen.errors import PromptError, SnngenError


@app.command("place")
def show_placement(
    model: Model = None,
    chip: Annotated[str, typer.Option(help="the chip whose limits hold")] = "loihi2",
    shapes: Annotated[str | None, typer.Option(help="plan a model by its shapes alone, for example llama2-7b")] = None,
    out: Annotated[Path | None, typer.Option(help="draw the cores, coloured by load (.png, .svg or .pdf)")] = None,
    json_path: Json = None,
) -> None:
    """Place a network on the cores of a chip, or plan by shapes.

    Chips, cores, limits, board.
    """
    from snngen.hardware.placement import place
    from snngen.hardware.placement_plot import plot_placement
    from snngen.hardware.shapes import Plan, plan
    from snngen.plots import save
    from snngen.summary import cell, print_rows

    if model is not None and shapes is not None:
        raise PromptError("place", "a network and shapes", "[MODEL], or --shapes NAME")
    require_picture(out)
    require_all_writable(json_path)
    if shapes is not None and out is not None:
        raise PromptError("--out", "shapes, which have no places", "a network to draw")
    placed = plan(shapes, chip) if shapes is not None else place(snngen.load(model), chip)
    if out is not None:
        save(plot_placement(placed), out)  # type: ignore[arg-type]
    if json_path is not None:
        write_json(json_path, placed.as_dict())
    if not is_stdout(json_path):
        print_rows(standard_output(), placed.rows(), markdown=False)
        for key, value in placed.as_dict().items():
            if isinstance(value, int | float | str | None) and not isinstance(value, bool):
                print(f"{key.replace('_', ' ')}: {cell(value)}")
        if isinstance(placed, Plan):
            print(f"static power: {placed.static}")
            print(f"energy: at least {placed.energy}")
            print(f"time: at least {placed.time}")
            print("without a price: " + ", ".join(placed.unpriced))


@app.command("validate")
def show_validation(json_path: Json = None, markdown: Markdown = False) -> None:
    """Recompute published energies from their published counts.

    With the constants of the chips.
    """
    from snngen.hardware import validate
    from snngen.summary import print_rows

    rows = validate.rows()
    if json_path is not None:
        write_json(json_path, {"cases": rows})
    if not is_stdout(json_path):
        print_rows(standard_output(), rows, markdown, leave_out=("census", "source"))
    if not validate.passed():
        raise SnngenError("validate", "a case outside its band", "every ratio inside", "see the table")
