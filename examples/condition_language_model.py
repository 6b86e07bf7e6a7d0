"""What an event camera sees decides who speaks: digits condition the Shakespeare model that ships in the package.

Each digit stands for a character of the plays (0 is Romeo). A ridge regression from the encoder's spikes to the
embeddings of "blank line, first two letters of the name" makes four prefix positions of a digit; no token is given.
The model goes on from there: it spells the rest of the name, and speaks.

What this shows: events of a sensor enter the language model as events, at positions of its own context, counted in the
same ledger and certified. What it does not show: understanding. The model was not trained on digits, and knows of them
only what a linear map can put into four embeddings.

    python examples/condition_language_model.py

`--features label` conditions on the digit that was read, one of ten; `spikes` on the spike counts as they are, which a
linear map tells apart less well. Needs scikit-learn (``pip install snngen[digits]``).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np

import snngen
from snngen import digits
from snngen.certificate import Certificate, certify
from snngen.conditioning import Conditioned, condition, fit, targets
from snngen.generation import positions
from snngen.integers import FloatArray, IntArray
from snngen.ledger import PREFILL
from snngen.text import Text

CAST = (
    "ROMEO", "JULIET", "KING RICHARD III", "MENENIUS", "CORIOLANUS",
    "GLOUCESTER", "DUKE VINCENTIO", "PETRUCHIO", "BRUTUS", "WARWICK",
)  # fmt: skip
GIVEN = 2  # letters of a name that the prefix stands for
HIGH = 63  # largest code of a feature
PENALTY = 30.0


@dataclass(frozen=True, eq=False)
class Seen:
    """features: (n, ...) integers 0..HIGH of digits as they were read. labels: (n,) what they are."""

    features: IntArray
    labels: IntArray


def seen(held_out: bool, kind: str, count: int | None = None) -> Seen:
    """Digits shown to the camera one after the other, and read by the encoder.

    kind: "label": HIGH for the digit that was read, 0 for the others; "spikes": counts of label and latent neurons.
    """
    pictures, labels = digits.digits(held_out)
    rows = []
    for reading in digits.readings(pictures[:count]):
        if kind == "spikes":
            rows.append(np.minimum(reading.spikes, HIGH))
        else:
            rows.append(HIGH * (np.arange(digits.CLASSES) == reading.label).astype(np.int64))
    return Seen(np.stack(rows), labels[:count])


def conditioned(network: snngen.Network, training: Seen) -> Conditioned:
    """The network with a prefix that was fitted to digits trained on."""
    text = Text(network)
    wanted: FloatArray = targets(network, [text.encode("\n\n" + name[:GIVEN]) for name in CAST])
    return condition(network, fit(training.features, wanted[training.labels], HIGH, PENALTY), HIGH)


def named(model: Conditioned, features: IntArray, label: int) -> bool:
    """Whether the model, given what was seen and no token, spells the rest of the name that belongs to a digit."""
    rest = CAST[label][GIVEN:] + ":"
    return snngen.generate(model.network, "", len(rest), prefix=model.prefix(features)).text == rest


def proof(model: Conditioned, features: IntArray, tokens: list[int]) -> Certificate:
    """Prefix and tokens in the engine against the reference, every code."""
    network, prefix = model.network, model.prefix(features)
    rows = [positions(network, None, codes) for codes in prefix] + [positions(network, token) for token in tokens]
    return certify(network, {name: np.stack([row[name] for row in rows]) for name in rows[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", choices=("label", "spikes"), default="label")
    parser.add_argument("--digits", type=int, default=100, help="held-out digits to try")
    parser.add_argument("--tokens", type=int, default=60, help="characters to show of the first of each")
    arguments = parser.parse_args()
    network = snngen.load()
    model = conditioned(network, seen(held_out=False, kind=arguments.features))
    trial = seen(True, arguments.features, arguments.digits)
    right = [named(model, *pair) for pair in zip(trial.features, trial.labels.tolist(), strict=True)]
    others = np.random.default_rng(0).permutation(len(trial.labels))
    shuffled = [named(model, *pair) for pair in zip(trial.features[others], trial.labels.tolist(), strict=True)]
    for digit in range(digits.CLASSES):
        at = int(np.argmax(trial.labels == digit))
        run = snngen.generate(model.network, "", arguments.tokens, prefix=model.prefix(trial.features[at]))
        print(f"{digit}: [{CAST[digit][:GIVEN]}]{run.text!r}")
    certificate = proof(model, trial.features[0], run.tokens[:20])
    prefill = run.ledger.per_token("graded", PREFILL)
    report = {
        "features": arguments.features, "held-out digits": len(right), "right name": float(np.mean(right)),
        "right name, features of other digits": float(np.mean(shuffled)),
        "prefix positions": model.positions, "synaptic operations per prefix position": prefill["synaptic_operations"],
        "certificate": str(certificate),
    }  # fmt: skip
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
