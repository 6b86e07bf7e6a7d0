"""What the machine is: processor, cores, caches, memory, load. Whatever cannot be told is None, never a guess."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast integer rows are added, as /proc/cpuinfo names them
FLAGS = (
    "sse4_1", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512vbmi",
    "amx_int8", "asimd", "asimddp", "i8mm", "sve", "sve2",
)  # fmt: skip
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def describe() -> dict[str, Any]:
    """Processor, cores, bytes of the caches and of memory, load average, system, instruction sets that matter.

    returns: "processor" (str), "cores" (those this process may use), "L1", "L2", "L3" (bytes, or None), "memory"
        (bytes, or None), "load" (averages of 1, 5 and 15 minutes, or None), "system" (str), "simd" (list of str).
    """
    return {
        "processor": processor(),
        "cores": cores(),
        **{f"L{level}": cache(level) for level in (1, 2, 3)},
        "memory": _memory(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "simd": [flag for flag in FLAGS if flag in _cpuinfo("flags", "Features").split()],
    }


def processor() -> str:
    """The processor's name, as far as it is known; with its family and model, as "AMD EPYC" alone says little."""
    name = _cpuinfo("model name")
    if not name:
        return platform.processor() or platform.machine()
    family, model = _cpuinfo("cpu family"), _cpuinfo("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache(level: int) -> int | None:
    """Bytes of the data cache of a level (1, 2, 3) that the first core uses; None where the system does not say."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            found, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if found == str(level) and kind in ("Data", "Unified") and size[:-1].isdigit() and size[-1] in _UNITS:
            return int(size[:-1]) * _UNITS[size[-1]]
    return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _cpuinfo(*names: str) -> str:
    """The first core's value of a line of /proc/cpuinfo with one of these names; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""
