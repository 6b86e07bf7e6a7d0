"""Spikes: which neurons were active at which token, tick by tick where ticks were run, and how sparse each layer is."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from snngen.integers import FloatArray, IntArray
from snngen.report.markup import Markup, bar, details, join, table, tag
from snngen.report.subject import Subject
from snngen.saved_run import NEURON, PAYLOAD, POPULATION, TICK

MOST_COLUMNS, MOST_LINES = 800, 800  # of a raster, in pixels
LINES_OF_ONE = 10  # that a population has at most
MOST_NAMES = 24  # beside a raster
INK, LEAST_INK = (32, 52, 84), 0.1


def raster_section(subject: Subject) -> Markup:
    """The raster over tokens, and that of the last token over ticks where there is one."""
    run, about = subject.run, subject.run.about
    neurons = sum(size for _, size in about.populations)
    shown = activity(run.codes_active(), [size for _, size in about.populations])
    caption = (
        f"{neurons:,} neurons in {len(about.populations)} populations, from the input (top) to the output; "
        f"{len(run.active):,} tokens from the first generated (left) to the last. Ink: the neuron's code was not zero "
        "when that token was chosen. Neurons or tokens that share a pixel: its ink is their share, a tenth at least."
    )
    parts = [tag("h2", "Spike raster"), _raster(subject, shown, caption, "Neurons active at each generated token")]
    if run.last is not None:
        parts.append(_of_last_token(subject, run.last))
    else:
        parts.append(
            tag(
                "p",
                "This run counted settled codes and sent no spikes tick by tick; ",
                tag("code", "snngen generate --engine ticked --save"),
                " shows the ticks of a token as well.",
            )
        )
    return tag("section", *parts, id="raster")


def _of_last_token(subject: Subject, events: IntArray) -> Markup:
    about = subject.run.about
    kept = "" if about.last_every == 1 else f", one in {about.last_every} of them drawn"
    negative = np.count_nonzero(events[:, PAYLOAD] < 0)
    caption = (
        f"The last token that was read: {about.last_events:,} spikes in {about.last_ticks:,} ticks{kept}, "
        f"{negative:,} of those drawn negative; {about.code} code, {about.schedule} schedule. Ticks run from left to "
        "right; ink is the spikes in a pixel beside the fullest of its population, but a tenth at least."
    )
    sizes = [size for _, size in about.populations]
    shown = over_ticks(events, sizes, about.last_ticks)
    return _raster(subject, shown, caption, "Spikes of the last token, tick by tick")


def lines_of(sizes: Sequence[int]) -> IntArray:
    """(populations,) lines of pixels that each population has: one per neuron up to a limit, the same for all."""
    most = max(1, min(LINES_OF_ONE, MOST_LINES // len(sizes)))
    lines: IntArray = np.minimum(np.array(sizes), most)
    return lines


def line_of_neuron(sizes: Sequence[int]) -> IntArray:
    """(neurons,) line of each neuron, population after population."""
    lines = lines_of(sizes)
    first = np.cumsum(lines) - lines
    parts = [start + np.arange(size) * count // size for size, count, start in zip(sizes, lines, first, strict=True)]
    return np.concatenate(parts).astype(np.int64)


def activity(active: npt.NDArray[np.bool_], sizes: Sequence[int]) -> FloatArray:
    """(lines, columns) ink 0..1: the share of (tokens, neurons) that were active in each pixel."""
    lines = line_of_neuron(sizes)
    starts = np.flatnonzero(np.diff(lines, prepend=-1))
    within = np.add.reduceat(active.astype(np.float64), starts, axis=1) / np.diff(starts, append=len(lines))
    columns = np.arange(len(active)) * min(len(active), MOST_COLUMNS) // len(active)
    begins = np.flatnonzero(np.diff(columns, prepend=-1))
    share = np.add.reduceat(within, begins, axis=0) / np.diff(begins, append=len(active))[:, None]
    return _seen(share.T)


def over_ticks(events: IntArray, sizes: Sequence[int], ticks: int) -> FloatArray:
    """(lines, columns) ink 0..1: the spikes in each pixel, beside the fullest of its population."""
    lines, columns = lines_of(sizes), max(1, min(ticks, MOST_COLUMNS))
    counts = np.zeros((int(lines.sum()), columns))
    first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    place = line_of_neuron(sizes)[first[events[:, POPULATION]] + events[:, NEURON]]
    at = np.minimum(events[:, TICK].astype(np.int64) * columns // max(ticks, 1), columns - 1)
    np.add.at(counts, (place, at), 1)
    fullest = np.maximum.reduceat(counts.max(axis=1), np.cumsum(lines) - lines).repeat(lines)
    return _seen(counts / np.maximum(fullest, 1)[:, None])


def _seen(share: FloatArray) -> FloatArray:
    """Ink of shares 0..1: what is not nothing can be seen."""
    ink: FloatArray = np.where(share > 0, LEAST_INK + (1 - LEAST_INK) * share, 0.0)
    return ink


def png(ink: FloatArray) -> str:
    """A PNG as a data address: dark ink on nothing, so that a dark page can turn it light."""
    from matplotlib.image import imsave

    pixels = np.zeros((*ink.shape, 4), dtype=np.uint8)
    pixels[:, :, :3], pixels[:, :, 3] = INK, np.rint(255 * ink)
    picture = io.BytesIO()
    imsave(picture, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()


def _raster(subject: Subject, ink: FloatArray, caption: str, title: str) -> Markup:
    names = (tag("span", name, class_=f"h{lines}", title=name) for name, lines in labels(subject))
    return tag(
        "figure",
        tag("h3", title),
        tag(
            "div",
            tag("div", *names, class_="names", aria_hidden="true"),
            tag("img", src=png(ink), alt=f"{title}. {caption}", class_="raster"),
            class_="drawn",
        ),
        tag("figcaption", caption),
    )


def labels(subject: Subject) -> list[tuple[str, int]]:
    """Names beside a raster and how many lines each spans; single populations, and layers where many, share one."""
    lines = lines_of([size for _, size in subject.run.about.populations])
    groups: list[tuple[list[str], int, bool]] = []
    for name, members in subject.layers.items():
        height, single = int(lines[members].sum()), len(members) == 1
        if single and groups and groups[-1][2]:
            groups[-1] = ([*groups[-1][0], name], groups[-1][1] + height, True)
        else:
            groups.append(([name], height, single))
    every = -(-len(groups) // MOST_NAMES)
    merged = [groups[at : at + every] for at in range(0, len(groups), every)]
    return [
        (", ".join(names) if len(names) < 3 else f"{names[0]} \u2026 {names[-1]}", sum(height for _, height, _ in part))
        for part in merged
        for names in [[name for group, _, _ in part for name in group]]
    ]


def heights(subject: Subject) -> str:
    """The rules of style that give each name beside a raster its height."""
    return "".join(f".names .h{lines}{{flex:{lines} 1 0}}" for lines in sorted({lines for _, lines in labels(subject)}))


def sparsity_section(subject: Subject) -> Markup:
    """Silent neurons, events and energy of each layer, and of each population on demand."""
    about = subject.run.about
    layers = [(name, members) for name, members in subject.layers.items()]
    single = [(name, [number]) for number, (name, _) in enumerate(about.populations)]
    return tag(
        "section",
        tag("h2", "Sparsity of each layer"),
        tag(
            "p",
            f"Silent: neurons whose code was zero, mean over the {len(subject.run.active):,} generated tokens; places ",
            "in the context that hold no token yet are among them. Updated: neurons that the network computed; as ",
            f"events and energy, the mean per token of the {subject.phase} phase, {subject.code} code. Static power ",
            "belongs to no layer.",
        ),
        _layers(subject, "layers", layers),
        details("Each population", _layers(subject, "populations", single)),
        id="sparsity",
    )


def _layers(subject: Subject, caption: str, groups: Sequence[tuple[str, list[int]]]) -> Markup:
    sizes = np.array([size for _, size in subject.run.about.populations])
    tokens = subject.ledger.tokens(subject.phase)
    events = subject.ledger.events(subject.code, subject.phase).sum(axis=0) / tokens
    updates = subject.ledger.neuron_updates(subject.phase).sum(axis=0) / tokens
    shares = [_dynamic(subject, at) for at in range(len(subject.priced))]
    rows = []
    for name, members in groups:
        silent = 1 - float((subject.active * sizes)[members].sum() / sizes[members].sum())
        cells = [f"{sizes[members].sum():,}", f"{updates[members].sum():,.0f}"]
        cells += [join([f"{silent:.1%}", bar(silent)]), f"{events[members].sum():,.0f}"]
        cells += [joules(float(energy[members].sum())) for energy in shares]
        rows.append([name, *cells])
    chips = (f"energy, {breakdown.chip.name}" for breakdown in subject.priced)
    return table(caption, ["name", "neurons", "updated", "silent", "events", *chips], rows, "layers")


def _dynamic(subject: Subject, at: int) -> FloatArray:
    """(populations,) J/token without static power, on a priced chip."""
    shares = subject.priced[at][subject.phase].shares
    return np.array([sum(term.energy.value for term in share.terms) for share in shares])


def joules(energy: float) -> str:
    """J/token to three digits with a prefix."""
    from snngen.hardware.quantity import PER_OPERATION, Quantity

    return str(Quantity(energy, energy, energy, "J/token", PER_OPERATION, "counted", "run")).removesuffix("/token")
