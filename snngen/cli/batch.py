"""Batch: many prompts at once by torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import snngen
from snngen.cli.terminal import (
    NETWORK,
    Json,
    app,
    is_stdout,
    model_and,
    read_text,
    require_all_writable,
    write_json,
)


@app.command()
def batch(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[MODEL] PROMPTS", help=f"{NETWORK} and a text file with one prompt per line"),
    ],
    tokens: Annotated[int, typer.Option(help="how many to generate for each, at most", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token")] = 0.8,
    seed: Annotated[int, typer.Option(help="of the random numbers")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    json_path: Json = None,
) -> None:
    """Generate for many prompts at once with torch.

    On a GPU where there is one. Each text is what `generate --when-full stop` gives for its prompt.
    """
    from snngen.errors import PromptError
    from snngen.hardware import backends
    from snngen.sampling import Sampling

    model, prompts = model_and(arguments, "PROMPTS")
    network = snngen.load(model)
    lines = [line for line in read_text(Path(prompts)).splitlines() if line]
    if not lines:
        raise PromptError(prompts, "no prompts", "a text file with one prompt per line")
    require_all_writable(json_path)
    sampling = Sampling(temperature, seed=seed)
    done = backends.by_name("torch").generate_batch(network, lines, tokens, sampling, device)
    print(f"{done.log}; {done.rate:,.0f} tokens/s", file=sys.stderr)
    if json_path is not None:
        result = {"device": str(done.device), "log": done.log, "texts": done.texts, "tokens": done.tokens}
        write_json(json_path, {**result, "stopped": done.stopped, "tokens_per_second": done.rate})
    if not is_stdout(json_path):
        print("\n---\n".join(done.texts))
