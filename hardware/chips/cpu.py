"""This machine: its energy is measured, where it has counters to measure it by, and never modelled."""

from pathlib import Path

from snngen.hardware.chip import CONVENTIONAL, MEASURED, Chip

POWERCAP = Path("/sys/class/powercap")


def counters(folder: Path = POWERCAP) -> tuple[Path, ...]:
    """The RAPL energy counters of this machine that may be read; none where there are none."""
    found = []
    for path in sorted(folder.glob("*rapl*/energy_uj")):
        try:
            path.read_text()
        except OSError:  # there, and for the administrator only
            continue
        found.append(path)
    return tuple(found)


def this_machine(folder: Path = POWERCAP) -> Chip:
    """The chip `cpu`: no figure, and why."""
    readable = counters(folder)
    if readable:
        names = ", ".join(path.parent.name for path in readable)
        reason = f"not measured in this run, though there are counters ({names})"
    else:
        reason = f"this machine has no RAPL counter that may be read under {folder}; no constant takes its place"
    return Chip(
        name="cpu",
        title="this machine's processor",
        kind=CONVENTIONAL,
        missing={MEASURED: reason},
        notes=("Measured or nothing: a rated power times a time is no measurement.",),
    )


CHIP = this_machine()
