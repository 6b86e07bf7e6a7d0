"""Bench: how fast this machine is, and how near to its limits the kernels and whole networks come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snngen.cli.terminal import (
    Json,
    Markdown,
    Quiet,
    app,
    is_stdout,
    progress,
    require_all_writable,
    require_picture,
    standard_output,
    write_json,
)
from snngen.errors import PromptError

if TYPE_CHECKING:
    from snngen.roofline import NetworkPoint, Point
    from snngen.synthetic import Shape

KINDS = ((8, 127), (8, 1), (4, 127), (2, 127))  # bits of a weight, largest payload


@app.command()
def bench(
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            help="LLaMA shapes to generate with, 15M and 110M if left out: 15M, 110M, 1.1B, "
            "DIM-HIDDEN-LAYERS-HEADS-KV_HEADS-VOCABULARY, or none",
        ),
    ] = None,
    large: Annotated[bool, typer.Option("--large", help="the shape 1.1B too, and 512 MB of weights")] = False,
    share: Annotated[float, typer.Option(help="of codes that are not zero, and of rows that events read")] = 0.98,
    dram: Annotated[int | None, typer.Option(help="MB of weights that stand for DRAM")] = None,
    tokens: Annotated[int, typer.Option(help="of a timing")] = 16,
    threads: Annotated[int, typer.Option(help="that share the work")] = 1,
    repeats: Annotated[int, typer.Option(help="of each timing")] = 7,
    plot: Annotated[Path | None, typer.Option("--plot", help="draw the roofline (.png, .svg or .pdf)")] = None,
    markdown: Markdown = False,
    json_path: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure how fast this machine is, and how near to its limits.

    Bandwidth, synaptic operations/s, tokens/s of LLaMA shapes, and their share of the roof.
    """
    from snngen import machine, roofline

    chosen = _shapes(shapes or ["15M", "110M"], large)
    given = {"--tokens": tokens, "--repeats": repeats, "--threads": threads, "--dram": 1 if dram is None else dram}
    for option, value in given.items():
        if value < 1:
            raise PromptError(option, str(value), "1 or more")
    if not 0.01 <= share <= 0.99:
        raise PromptError("--share", str(share), "0.01..0.99")
    require_picture(plot)
    require_all_writable(json_path)
    sizes = roofline.sizes(dram << 20 if dram is not None else 512 << 20 if large else None)
    points: list[Point] = []
    with progress("deliveries", quiet) as tell:
        for point in roofline.points(sizes, KINDS, repeats, share, threads):
            points.append(point)
            tell(len(points), len(sizes) * len(KINDS))
    points = roofline.under_one_roof(points)
    networks = _networks(chosen, share, tokens, threads, repeats, quiet)
    described = machine.describe()
    if plot is not None:
        _draw(points, networks, f"{described['processor']}, {_crew(threads)}", plot)
    if json_path is not None:
        measured = {"deliveries": [p.as_dict() for p in points], "networks": [n.as_dict() for n in networks]}
        write_json(json_path, {"machine": described, **measured})
    if not quiet and not is_stdout(json_path):
        _print(described, points, networks, _crew(threads), markdown)
        if plot is not None and not markdown:
            print(f"wrote {plot}")


def _shapes(names: Sequence[str], large: bool) -> dict[str, Shape]:
    """The shapes of these names."""
    from snngen.synthetic import SHAPES, Shape

    found = {}
    for name in [*names, *(["1.1B"] if large else [])]:
        sizes = name.split("-")
        if name == "none":
            continue
        if name in SHAPES:
            found[name] = SHAPES[name]
        elif len(sizes) == 6 and all(size.isdecimal() for size in sizes):
            found[name] = Shape(*map(int, sizes))
        else:
            raise PromptError("--shape", name, f"{', '.join(SHAPES)}, six sizes joined by -, or none")
    return found


def _networks(
    chosen: dict[str, Shape], share: float, tokens: int, threads: int, repeats: int, quiet: bool
) -> list[NetworkPoint]:  # fmt: skip
    """Generate with random networks of the shapes, one after the other, so that one is in memory at a time."""
    from snngen.roofline import measure_network
    from snngen.synthetic import llama

    found: list[NetworkPoint] = []
    with progress("networks", quiet) as tell:
        for name, shape in chosen.items():
            tell(len(found), len(chosen))
            network = llama(shape, share, context=max(tokens, 256))
            found.append(measure_network(name, network, tokens, threads, repeats))
    return found


def _draw(points: Sequence[Point], networks: Sequence[NetworkPoint], title: str, path: Path) -> None:
    from snngen.plots import save
    from snngen.roofline_plot import plot_roofline

    save(plot_roofline(points, networks, title), path)


def _print(
    described: dict[str, Any], points: Sequence[Point], networks: Sequence[NetworkPoint], crew: str, markdown: bool
) -> None:  # fmt: skip
    """The machine in a line, then a table of deliveries and one of networks."""
    from snngen.summary import print_rows

    console = standard_output()
    if not markdown:
        simd = ", ".join(described["simd"]) or "no known instruction sets"
        console.print(f"{described['processor']}, {described['cores']} cores, {simd}; {crew}", soft_wrap=True)
    print_rows(console, [_point_row(point) for point in points], markdown)
    if networks:
        if markdown:
            console.print()
        print_rows(console, [_network_row(network) for network in networks], markdown)


def _crew(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def _point_row(point: Point) -> dict[str, Any]:
    return {
        "weights in": point.level,
        "size": _bytes(point.size),
        "read, GB/s": f"{point.limit / 1e9:,.1f}",
        "weights": f"{point.bits} bits",
        "payloads": "±1" if point.largest == 1 else f"±1..{point.largest}",
        "synaptic operations/s": f"{point.rate / 1e9:,.1f} G",
        "of the limit": f"{100 * point.share:.0f} %",
    }


def _network_row(network: NetworkPoint) -> dict[str, Any]:
    return {
        "network": network.name,
        "weights": _bytes(network.size),
        "read, GB/s": f"{network.limit / 1e9:,.1f}",
        "tokens/s, best": f"{1 / network.token.best:,.0f}",
        "median": f"{1 / network.token.median:,.0f}",
        "synaptic operations/s": f"{network.rate / 1e9:,.1f} G",
        "of the limit": f"{100 * network.share:.0f} %",
        "tokens compared": network.compared,
    }


def _bytes(size: int) -> str:
    """Bytes, as KB or MB of 1024."""
    return f"{size >> 10:,} KB" if size < 1 << 20 else f"{size / (1 << 20):,.0f} MB"
