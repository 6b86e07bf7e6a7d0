"""Draw: pictures of a network that makes pictures, and what they cost (`snngen generate MODEL --out picture.png`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import snngen
from snngen.cli.terminal import progress, write_json
from snngen.engines import Engine
from snngen.errors import PromptError
from snngen.network import Network
from snngen.summary import print_energy


def draw(
    network: Network,
    engine: Engine,
    out: Path,
    count: int,
    seed: int,
    code: str | None,
    chips: Sequence[Any],
    certificate: bool,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Draw pictures from latents drawn by a seed, write them as one PNG, and say what each cost.

    code: the spike code to price, None where the engine really sent one. chips: those to price.
    raises: PromptError for a network that draws nothing.
    """
    from snngen import picture
    from snngen.hardware.price import price

    if network.picture is None:
        raise PromptError("--out", "a network that draws no picture", "a decoder; text needs a prompt")
    with progress("pictures", quiet) as tell:
        drawing = picture.draw(network, count=count, seed=seed, engine=engine, progress=tell)
    drawing.save(out)
    checked = snngen.certify(network, drawing.codes, engine) if certificate else None
    breakdowns = [price(drawing.ledger, chip, code) for chip in chips]
    per_picture = drawing.ledger.per_token(code)
    if json_path is not None:
        result = {"picture": str(out), "pictures": count, "seed": seed, "per_picture": per_picture}
        result |= {"certificate": None if checked is None else checked.as_dict()}
        write_json(json_path, result | {"energy": [breakdown.as_dict() for breakdown in breakdowns]})
    if not quiet:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        figures = ", ".join(f"{value:,.0f} {name.replace('_', ' ')}" for name, value in per_picture.items())
        console.print(f"{count} pictures in {drawing.seconds:.2f} s; each: {figures}", markup=False)
        if checked is not None:
            console.print(f"certificate: {checked}", markup=False)
        print_energy(console, breakdowns)
        console.print(f"wrote {out}", markup=False)
    if checked is not None and engine.exact:
        checked.require()
