"""Models that the examples train, kept in ``.trained`` so that tests and tables do not train them again.

A folder is named after the family, the steps, and a hash of the training scripts and the corpus: another script is
another model. It is trained aside and renamed once it is whole.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
KEPT = EXAMPLES.parent / ".trained"
SCRIPTS = ("train_small.py", "recurrent.py", "training.py")
VALIDATED = 2000  # bytes of held-out text


def trained(family: str, steps: int, corpus: Path) -> Path:
    """Folder of a language model of `train_small.py`; trained on the first call.

    raises: RuntimeError where training fails.
    """

    def train(folder: Path) -> None:
        options = ["--family", family, "--corpus", corpus, "--out", folder, "--steps", steps, "--validate", VALIDATED]
        run("train_small.py", *map(str, options))

    return kept(f"{family}-{steps}", [*SCRIPTS, corpus], train)


def run(script: str, *options: str) -> None:
    """Run a script of this folder in a process of its own.

    raises: RuntimeError with what the script complained of, where it fails.
    """
    command = [sys.executable, str(EXAMPLES / script), *options]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{script} {' '.join(options)}: {error.stderr[-2000:]}") from error


def kept(name: str, sources: list[str | Path], make: Callable[[Path], None]) -> Path:
    """Folder `name`-`hash of the sources` in ``.trained``; `make` fills it where it is not there yet.

    sources: files that decide what the model is; names are of this folder.
    """
    digest = hashlib.sha256()
    for source in sources:
        digest.update((EXAMPLES / source).read_bytes())
    folder = KEPT / f"{name}-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    KEPT.mkdir(exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=KEPT))
    try:
        make(aside)
        try:
            aside.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
