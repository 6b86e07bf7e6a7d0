"""snngen: spiking generative models, converted exactly, simulated event by event, priced honestly.

import snngen
network = snngen.load()                                  # the model in the package; or a path to your own
run = snngen.generate(network, "ROMEO:", max_new_tokens=100)
print(run.text)
print(snngen.certify(network, run.tokens))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from snngen.errors import (
    CapacityError,
    FormatError,
    MismatchError,
    NetworkError,
    PromptError,
    SnngenError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from snngen.certificate import Certificate, certify
    from snngen.engines.settled import SettledEngine
    from snngen.generation import Generation, generate
    from snngen.ledger import Ledger
    from snngen.likelihood import perplexity
    from snngen.network import Network, Population, Projection
    from snngen.sampling import Sampling
    from snngen.store import load, save
    from snngen.text_streamer import TextIteratorStreamer

__version__ = "0.1.0"

# What is offered here lives in other modules and is imported when it is first used: `import snngen` stays fast.
_HOMES = {
    "Certificate": "certificate",
    "certify": "certificate",
    "SettledEngine": "engines.settled",
    "Generation": "generation",
    "generate": "generation",
    "Ledger": "ledger",
    "Network": "network",
    "Population": "network",
    "Projection": "network",
    "perplexity": "likelihood",
    "Sampling": "sampling",
    "load": "store",
    "save": "store",
    "TextIteratorStreamer": "text_streamer",
}

__all__ = [
    "CapacityError",
    "Certificate",
    "FormatError",
    "Generation",
    "Ledger",
    "MismatchError",
    "Network",
    "NetworkError",
    "Population",
    "Projection",
    "PromptError",
    "Sampling",
    "SettledEngine",
    "SnngenError",
    "TextIteratorStreamer",
    "UnsupportedError",
    "__version__",
    "certify",
    "generate",
    "load",
    "perplexity",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'snngen' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"snngen.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
