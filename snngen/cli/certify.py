"""Certify and perplexity: does the network say the right thing?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import snngen
from snngen.certificate import certify_codes
from snngen.cli.terminal import (
    NETWORK,
    Json,
    ModelAndPrompt,
    Quiet,
    app,
    is_stdout,
    model_and,
    progress,
    read_text,
    require_all_writable,
    tokens_of,
    write_json,
)
from snngen.engines import Engine
from snngen.engines.settled import SettledEngine
from snngen.engines.ticked import TickedEngine
from snngen.errors import PromptError
from snngen.network import Network
from snngen.text import Text


@app.command()
def certify(
    arguments: ModelAndPrompt,
    backend: Annotated[
        str, typer.Option(help="what is compared: settled, ticked, torch (on a GPU where there is one) or lava")
    ] = "settled",
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare an engine or a backend with the reference.

    On a prompt: every code of every population, every logit.
    """
    model, prompt = model_and(arguments)
    network = snngen.load(model)
    tokens = tokens_of(network, prompt)
    require_all_writable(json_path)
    if backend in ("settled", "ticked"):
        engine: Engine = SettledEngine(network) if backend == "settled" else TickedEngine(network)
        with progress("certificate", quiet) as tell:
            certificate = snngen.certify(network, tokens, engine, tell)
    else:
        certificate = certify_codes(network, tokens, _codes_of(backend, network, tokens))
    if json_path is not None:
        write_json(json_path, {"backend": backend, **certificate.as_dict()})
    if not quiet and not is_stdout(json_path):
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
    arguments: Annotated[list[str], typer.Argument(metavar="[MODEL] TEXT", help=f"{NETWORK} and a text file")],
    stride: Annotated[int, typer.Option(help="tokens from window to window; half the context if 0", min=0)] = 0,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure how well a network predicts a text.

    In windows of its context.
    """
    import math

    from snngen.likelihood import nats_per_token, windows

    model, text = model_and(arguments, "TEXT")
    require_all_writable(json_path)
    network = snngen.load(model)
    tokens = Text(network).encode(read_text(Path(text)))
    cut = windows(tokens, network.context or len(tokens), stride)
    with progress("perplexity", quiet) as tell:
        of = sum(len(part) for part, _ in cut)
        nats = nats_per_token(network, cut, progress=lambda done: tell(done, of))
    result = {"nats_per_token": nats, "perplexity": math.exp(nats), "tokens": len(tokens)}
    if json_path is not None:
        write_json(json_path, result)
    if not quiet and not is_stdout(json_path):
        print(f"{nats:.4f} nats per token, perplexity {math.exp(nats):.4f}, over {len(tokens):,} tokens")
