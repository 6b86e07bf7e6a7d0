"""The comparison with other systems: what each said when it was asked, and how fast the same network ran.

    python docs/comparison.py --ask .venv/peers/bin/python .venv/lava/bin/python   # asks all that these have, and this
    python docs/comparison.py            # prints the tables, from docs/comparison.json
    python docs/comparison.py --speed    # prints the table of speed, from benchmarks/results/integrate_and_fire.json
    python docs/comparison.py --short    # prints the table of answers alone, as the README has it

`python docs/remake.py docs/comparison.md README.md` fills all into the pages. Nothing in the tables is written by
hand: an answer comes from `docs/comparison_probes.py`, run by the Python that has the system, and is kept with its
version and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remake import line

DOCS = Path(__file__).parent
PROBES, RECORD = DOCS / "comparison_probes.py", DOCS / "comparison.json"
SPEED = DOCS.parent / "benchmarks" / "results" / "integrate_and_fire.json"
COMMANDS = ("python docs/comparison.py", "python docs/comparison.py --speed")
SHORT = "python docs/comparison.py --short"
OURS = "snngen"


def probes() -> Any:
    """The module of the probes."""
    sys.path.insert(0, str(DOCS))
    import comparison_probes

    return comparison_probes


def has(python: str, distribution: str) -> bool:
    """Whether an environment has a distribution."""
    code = f"import importlib.metadata as m; m.version({distribution!r})"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def asked(python: str, system: str) -> dict[str, Any]:
    """What a system says, asked by an environment that has it, and when.

    raises: RuntimeError with what was printed, where it fails.
    """
    done = subprocess.run([python, str(PROBES), system], capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"{system}: {done.stderr[-2000:]}")
    answers: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**answers, "date": datetime.date.today().isoformat()}


def ask(pythons: list[str], only: list[str]) -> None:
    """Ask every system that some environment has, and keep what it said; others stay as they were."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for system, (_, distribution, _) in probes().SYSTEMS.items():
        python = next((each for each in pythons if has(each, distribution)), None)
        if python is not None and (not only or system in only):
            record[system] = asked(python, system)
            print(f"{system} {record[system]['version']}: asked", file=sys.stderr)
    ordered = {system: record[system] for system in probes().SYSTEMS if system in record}
    RECORD.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def answers(record: dict[str, Any], page: str = "") -> Iterator[str]:
    """The table of answers; each system leads to how it was checked, on this page or another."""
    words = probes().WORDS
    yield line("system", *words)
    yield line(*["---"] * (1 + len(words)))
    for said in record.values():
        link = f"[{said['system']}]({page}#{anchor(said)})"
        yield line(link, *(shown(said["answers"][question][0]) for question in words))


def tables(record: dict[str, Any]) -> Iterator[str]:
    """The table of answers, what differs, how each was checked, and the words that were looked for."""
    words = probes().WORDS
    yield from answers(record)
    yield from ("", "## How each was checked")
    for system, said in record.items():
        yield from ("", f"### {said['system']}", "")
        yield f"`{said['distribution']}` {said['version']}, Python {said['python']}, {said['date']}:"
        yield f"`python docs/comparison_probes.py {system}`"
        yield ""
        if system != OURS:
            yield from differences(record[OURS], said)
        quiet = [question for question in words if said["answers"][question][0] == probes().SILENT]
        for question in words:
            if question not in quiet:
                answer, evidence = said["answers"][question]
                yield f"- {question}: {answer}: {evidence}"
        if quiet:
            yield f"- {', '.join(quiet)}: {said['answers'][quiet[0]][1]}"
    yield from ("", "### Words", "", line("question", "regular expression, case ignored"), line("---", "---"))
    for question, pattern in words.items():
        yield line(question, f"`{pattern}`")


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """What one of the two answers with yes or partly, and the other does not."""

    def can(said: dict[str, Any]) -> list[str]:
        return [question for question, (answer, _) in said["answers"].items() if answer in ("yes", "partly")]

    more, less = ([q for q in can(a) if q not in can(b)] for a, b in ((theirs, ours), (ours, theirs)))
    yield f"- it, and not snngen: {', '.join(more) or 'nothing of these'}"
    yield f"- snngen, and not it as far as was seen: {', '.join(less) or 'nothing of these'}"


def shown(answer: str) -> str:
    """An answer as a cell; no word of it is a dash."""
    return "–" if answer == probes().SILENT else answer


def anchor(said: dict[str, Any]) -> str:
    """The anchor that a heading with the system's name has."""
    return re.sub(r"[^\w -]", "", said["system"].lower()).replace(" ", "-")


def speed() -> Iterator[str]:
    """The same integrate-and-fire network in each simulator, as the benchmark left it."""
    if not SPEED.is_file():
        yield "not measured"
        return
    result = json.loads(SPEED.read_text())
    rows = [row for row in result["rows"] if "peer ms" in row and row["threads"] in (1, "all")]
    rates = sorted({row["input rate"] for row in rows})
    times: dict[str, dict[float, float]] = {}
    fires: dict[str, str] = {}
    for entry in rows:
        times.setdefault(entry["peer"], {})[entry["input rate"]] = entry["peer ms"]["best"]
        times.setdefault(OURS, {})[entry["input rate"]] = entry["ours ms"]["best"]
        fires[entry["peer"]] = " or ".join(entry["peer equals"]) or "none of them"
        fires[OURS] = entry["our spikes equal"]
    yield line("simulator", "reset, threshold", *(f"{rate:.0%} of inputs per tick" for rate in rates), "last / first")
    yield line(*["---"] * (3 + len(rates)))
    for name, by_rate in sorted(times.items(), key=lambda item: item[1][rates[0]]):
        cells = [f"{by_rate[rate]:.2f} ms" if rate in by_rate else "" for rate in rates]
        ratio = f"{by_rate[rates[-1]] / by_rate[rates[0]]:.1f}" if {rates[0], rates[-1]} <= by_rate.keys() else ""
        yield line(name, fires[name], *cells, ratio)
    yield from ("", f"`{result['command']}`, {result['date'][:10]}, {result['machine']['processor']},")
    yield "best of its runs, one thread (Lava: all):"
    yield ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))


def printed(command: str) -> str:
    """What a command of this script prints."""
    record = json.loads(RECORD.read_text())
    if command == SHORT:
        return "\n".join(answers(record, "docs/comparison.md"))
    return "\n".join(speed() if command.endswith("--speed") else tables(record))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ask", nargs="*", metavar="PYTHON", help="environments that have other systems")
    parser.add_argument("--only", nargs="+", default=[], help="systems to ask")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    if options.ask is not None:
        ask([sys.executable, *options.ask], options.only)
    else:
        print(printed(SHORT if options.short else COMMANDS[options.speed]))


if __name__ == "__main__":
    main()
