"""What other systems can do, asked of the systems themselves: a function per system, run where it is installed.

    PYTHON docs/comparison_probes.py snntorch     # prints JSON: version, and per question an answer with its evidence

An answer is ``yes`` where something was run that does it, or a public name of it was imported; ``partly`` with the
condition, which may be another package (`beside`); ``no`` where a run or a list shows it; ``no word`` where no Python
file of the package matches `WORDS`. Only the standard library and the system asked are imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = tuple[str, str]

WORDS = {
    "gradients": r"requires_grad|surrogate|autograd\.Function",
    "language models": r"llama|qwen|gpt-?2|\bbert\b|language.?model",
    "synaptic operations": r"syn(aptic)?_?op(s|eration|\b)",
    "joules": r"\bpJ\b|\bjoules?\b(?! *=)|energy_?(model|profil|estimat|report|cost|per_)",
    "static power": r"static.{0,10}power|power.{0,10}static|leakage.{0,10}power|idle.{0,10}power",
    "plasticity": r"\bR?-?STDP\b|plasticity|learning_rule",
    "NIR": r"\bimport nir\b|\bfrom nir\b|nirtorch",
    "chip": r"loihi|dynap|samna|spinnaker|akida",
}
SILENT = "no word"
NIR_LIST = "NIR's list of frameworks, neuroir.org/docs/support.html"


PACKAGES = {"lava-nc": "lava", "lava-dl": "lava", "nest-simulator": "nest", "llama-cpp-python": "llama_cpp"}


def sources(distribution: str) -> list[Path]:
    """Python files of an installed distribution's own package, tests aside."""
    package = PACKAGES.get(distribution, distribution)
    files = [file for file in importlib.metadata.files(distribution) or [] if file.suffix == ".py"]
    own = [file for file in files if file.parts[0] == package and not re.search(r"(^|/)tests?(/|_)", str(file))]
    return [Path(str(file.locate())) for file in own]


def read(distribution: str, ending: str, pattern: str) -> bool:
    """Whether the one source file of that ending matches a pattern."""
    (file,) = [file for file in sources(distribution) if file.as_posix().endswith(ending)]
    return re.search(pattern, file.read_text()) is not None


def silent(distribution: str, question: str) -> Answer:
    """``no word`` where no source file holds a word of a question; else the files that do, which is no answer."""
    files = sources(distribution)
    pattern = re.compile(WORDS[question], re.IGNORECASE)
    found = [file.name for file in files if pattern.search(file.read_text(errors="replace"))]
    if found:
        return "?", f"words of {WORDS[question]!r} in {found[:4]}"
    return SILENT, f"none of its words in {len(files)} Python files"


def named(*paths: str) -> Answer:
    """``yes`` where every ``module:name`` can be imported."""
    for path in paths:
        module, _, name = path.partition(":")
        value: Any = importlib.import_module(module)
        for part in name.split(".") if name else ():
            value = getattr(value, part)
    return "yes", "imported: " + ", ".join(f"`{path.replace(':', '.')}`" for path in paths)


def partly(condition: str, answer: Answer) -> Answer:
    """The answer under a condition."""
    return "partly", f"{condition}; {answer[1]}"


def beside(distribution: str, question: str, what: str) -> Answer:
    """``partly``, by another package or list that is named and was not asked; and what the system itself says."""
    answer, evidence = silent(distribution, question)
    own = f"; of its own: {evidence}" if answer == SILENT else ""
    return "partly", f"{what} (not asked here){own}"


def gradient(step: Callable[[Any], Any], what: str) -> Answer:
    """``yes`` where a gradient of summed spikes reaches the input."""
    import torch

    given = torch.full((1, 4), 1.5, requires_grad=True)
    spikes = step(given)
    spikes.sum().backward()
    reached = given.grad is not None and bool((given.grad != 0).any())
    binary = bool(((spikes == 0) | (spikes == 1)).all())
    return ("yes" if reached and binary else "no"), f"run: spikes of {what}, `.sum().backward()`, the input's gradient"


def rest(distribution: str, answers: dict[str, Answer]) -> dict[str, Answer]:
    """All questions: those that were answered, and the others by the words in the sources."""
    left = [question for question in WORDS if question not in answers]
    return {**answers, **{question: silent(distribution, question) for question in left}}


def snntorch() -> dict[str, Answer]:
    import snntorch as snn

    return rest("snntorch", {
        "gradients": gradient(lambda x: snn.Leaky(beta=0.9)(x)[0], "`snntorch.Leaky`"),
        "plasticity": named("snntorch.functional.stdp_learner:STDPLearner"),
        "NIR": named("snntorch.export_nir:export_to_nir", "snntorch.import_nir:import_from_nir"),
    })  # fmt: skip


def norse() -> dict[str, Answer]:
    from norse.torch import LIFBoxCell

    return rest("norse", {
        "gradients": gradient(lambda x: LIFBoxCell(dt=1.0)(x)[0], "`norse.torch.LIFBoxCell`"),
        "plasticity": named("norse.torch.functional.stdp:stdp_step_linear"),
        "NIR": named("norse.torch:to_nir", "norse.torch:from_nir"),
    })  # fmt: skip


def spikingjelly() -> dict[str, Answer]:
    from spikingjelly.activation_based import neuron

    base = "spikingjelly.activation_based"
    return rest("spikingjelly", {
        "gradients": gradient(neuron.IFNode(), "`IFNode`"),
        "language models": named(f"{base}.ann2snn.recipes:Qwen2SNNRecipe"),
        "synaptic operations": named(f"{base}.op_counter:SynOpCounter"),
        "joules": named(f"{base}.op_counter.simple_energy:SimpleEnergyProfiler"),
        "plasticity": named(f"{base}.learning:STDPLearner"),
        "NIR": named(f"{base}.nir_exchange.to_nir", f"{base}.nir_exchange.from_nir"),
        "chip": partly("through Lava", named(f"{base}.lava_exchange:CubaLIFNode")),
    })  # fmt: skip


def sinabs() -> dict[str, Answer]:
    import sinabs.layers

    layer = sinabs.layers.IAF()
    return rest("sinabs", {
        "gradients": gradient(lambda x: layer(x[None]), "`sinabs.layers.IAF`"),
        "synaptic operations": named("sinabs.synopcounter:SNNAnalyzer"),
        "NIR": named("sinabs.nir:to_nir", "sinabs.nir:from_nir"),
        "chip": (
            "partly" if read("sinabs", "dynapcnn/dynapcnn_network.py", "import samna") else "no",
            "of SynSense; read: `sinabs/backend/dynapcnn` uses samna (not imported: it installs that from the network)",
        ),
    })  # fmt: skip


def lava() -> dict[str, Answer]:
    from lava.magma.core.run_configs import Loihi1SimCfg

    profiler = importlib.import_module("lava.utils.profiler")
    try:
        profiler.Profiler.init(Loihi1SimCfg())
        measured = "yes", "run: `Profiler.init(Loihi1SimCfg())`"
    except NotImplementedError as error:
        measured = "partly", f"measured, on the chip alone; run: `Profiler.init(Loihi1SimCfg())` says {str(error)!r}"
    return rest("lava-nc", {
        "joules": measured,
        "plasticity": named("lava.proc.learning_rules.stdp_learning_rule:STDPLoihi"),
        "chip": partly("for members of INRC", named("lava.magma.core.run_configs:Loihi2HwCfg")),
    })  # fmt: skip


def lava_dl() -> dict[str, Answer]:
    learns = read("lava-dl", "slayer/spike/spike.py", r"class \w+\(torch\.autograd\.Function\)")
    builds = read("lava-dl", "netx/hdf5.py", r"from lava\.magma")
    spike = "read, not run: `slayer/spike/spike.py` has an `autograd.Function`"
    return rest("lava-dl", {
        "gradients": ("yes" if learns else "no", spike),
        "chip": ("partly" if builds else "no", "through Lava; read: `netx/hdf5.py` builds Lava processes"),
        "NIR": beside("lava-dl", "NIR", f"out, says {NIR_LIST}"),
    })  # fmt: skip


def nest() -> dict[str, Answer]:
    import nest as simulator

    rules, neurons = simulator.synapse_models, simulator.node_models
    eprop = [name for name in neurons if name.startswith("eprop_iaf")]
    chips = [name for name in neurons if re.search(WORDS["chip"], name, re.IGNORECASE)]
    stdp = [name for name in rules if name.startswith("stdp")]
    return rest("nest-simulator", {
        "gradients": ("partly" if eprop else "no", f"by e-prop; listed: node models {', '.join(eprop[:2])}, ..."),
        "plasticity": ("yes" if stdp else "no", f"listed: {len(stdp)} synapse models that begin with `stdp`"),
        "chip": ("?" if chips else "no", f"listed: {len(chips)} of its {len(neurons)} node models name a chip"),
    })  # fmt: skip


def brian2() -> dict[str, Answer]:
    import brian2 as b2

    b2.prefs.codegen.target = "numpy"
    source = b2.SpikeGeneratorGroup(1, [0, 0, 0], [1, 2, 3] * b2.ms)
    target = b2.NeuronGroup(1, "v : 1", threshold="v > 100", reset="v = 0")
    synapses = b2.Synapses(source, target, "w : 1", on_pre="w += 0.5\nv_post += w")
    synapses.connect()
    b2.run(5 * b2.ms)
    changed = abs(float(synapses.w[0]) - 1.5) < 1e-12
    return rest("brian2", {
        "plasticity": ("yes" if changed else "no", "run: a weight that `on_pre` raises at each of three spikes"),
        "joules": ("no", "`joule` is a unit of its physics; nothing in its public names counts energy")
        if not [name for name in dir(b2) if "energy" in name.lower()] else ("?", "a public name with energy"),
        "chip": beside("brian2", "chip", "an emulator of one, through the package brian2-loihi"),
    })  # fmt: skip


def nengo() -> dict[str, Answer]:
    return rest("nengo", {
        "plasticity": named("nengo:PES", "nengo:BCM", "nengo:Oja"),
        "gradients": beside("nengo", "gradients", "through the package nengo-dl"),
        "NIR": beside("nengo", "NIR", f"in and out, says {NIR_LIST}"),
        "chip": beside("nengo", "chip", "through the package nengo-loihi"),
    })  # fmt: skip


def sanafe() -> dict[str, Answer]:
    import sanafe as simulator

    arch, net = simulator.load_loihi(), simulator.Network()
    units = {"soma_hw_name": "loihi_lif", "default_synapse_hw_name": "loihi_dense_synapse",
             "default_dendrite_hw_name": "loihi_dendrites"}  # fmt: skip
    group = net.create_neuron_group(
        "n", 2, model_attributes={"threshold": 1.0, "bias": 1.0, "leak_decay": 1.0}, **units
    )
    group[0].connect_to_neuron(group[1], {"weight": 1.0})
    for neuron in group:
        neuron.map_to_core(arch.tiles[0].cores[0])
    chip = simulator.SpikingChip(arch)
    chip.load(net)
    result = chip.sim(10, timing_model="simple")
    parts = sorted(result["energy"])
    static = any(re.search("static|leak|idle", part) for part in parts)
    return rest("sanafe", {
        "joules": ("yes" if result["energy"]["total"] > 0 else "no", "run: `SpikingChip.sim(10)` of two neurons"),
        "static power": ("yes" if static else "no", f"run: its energy has the parts {', '.join(parts)}"),
        "chip": ("partly", "a model of it: " + named("sanafe:load_loihi", "sanafe:load_truenorth")[1]),
    })  # fmt: skip


def neurobench() -> dict[str, Answer]:
    from neurobench.metrics import static, workload

    metrics = [*static.__all__, *workload.__all__]
    nothing = ("no", f"listed: none of its metrics ({', '.join(sorted(metrics))})")
    return rest("neurobench", {
        "gradients": ("no", "it scores models of others"),
        "synaptic operations": named("neurobench.metrics.workload:SynapticOperations"),
        "joules": nothing if not any("nergy" in metric for metric in metrics) else ("?", "a metric of energy"),
        "NIR": partly("out, of snnTorch models", named("neurobench.benchmarks:Benchmark.to_nir")),
    })  # fmt: skip


def llama_cpp() -> dict[str, Answer]:
    import llama_cpp as library

    runs = hasattr(library, "Llama") and hasattr(library, "llama_decode")
    compiled = sorted(Path(library.__file__).parent.glob("lib/*.so"))
    spiking = [file.name for file in compiled if b"spik" in file.read_bytes().lower()]
    how = f"imported: `llama_cpp.Llama`; `spik` is in {len(spiking)} of {len(compiled)} compiled libraries"
    return rest(
        "llama-cpp-python", {"language models": ("partly" if runs else "no", f"runs them, without spikes; {how}")}
    )


def snngen() -> dict[str, Answer]:
    import numpy as np
    import torch

    import snngen as package
    from snngen.hardware import chips
    from snngen.hardware.backends import snntorch as backend
    from snngen.hardware.chip import STATIC_POWER
    from snngen.hardware.price import price
    from snngen.network import Network, Population, Projection
    from snngen.neurons.integrate_and_fire import IntegrateAndFire
    from snngen.neurons.source import Source
    from snngen.synapses.dense import Dense

    network = package.load()
    run = package.generate(network, "ROMEO:", 10).finish()
    cost = price(run.ledger, chips.by_name("loihi2"))["generate"]
    static = [term for term in cost.terms if term.cause == STATIC_POWER]
    weights = Dense(np.full((4, 3), 40, dtype=np.int8), np.ones(3, dtype=np.int32))
    layers = (Population("in", Source(4)), Population("out", IntegrateAndFire(np.full(3, 50, dtype=np.int32))))
    module = backend.to_module(Network(layers, (Projection("in", "out", weights),)))
    module(torch.ones((4, 1, 4), dtype=torch.float64)).sum().backward()
    learns = bool((module.weights[0].grad != 0).any())
    operations = int(run.ledger.synaptic_operations().sum())
    return rest("snngen", {
        "gradients": ("partly" if learns else "no", "as a module of snnTorch's; run: `to_module`, `.backward()`"),
        "language models": ("yes" if len(run.generated) == 10 else "no", "run: `snngen.generate` of the shipped LLaMA"),
        "synaptic operations": ("yes" if operations > 0 else "no", "run: `ledger.synaptic_operations()`, by kernels"),
        "joules": ("yes" if cost.total.high > 0 else "no", "run: `price(ledger, loihi2)`, with low and high"),
        "static power": ("yes" if static else "no", "run: a term of `price(ledger, loihi2)`"),
        "plasticity": ("no", "no file of `snngen/synapses` or `snngen/dynamics/synapses` learns while it runs")
        if silent_folder("plasticity") else ("?", "a synapse model names it"),
        "NIR": named("snngen.nir:read_nir", "snngen.nir:write_nir"),
        "chip": ("partly", "through Lava, and never run on one; `snngen certify --backend lava` runs its simulation"),
    })  # fmt: skip


def silent_folder(question: str) -> bool:
    """Whether no synapse model of ours holds a word of a question."""
    root = Path(importlib.import_module("snngen").__file__ or "").parent
    files = [*root.glob("synapses/*.py"), *root.glob("dynamics/synapses/*.py")]
    return bool(files) and not any(re.search(WORDS[question], file.read_text(), re.IGNORECASE) for file in files)


# Name for people, distribution on PyPI, function
SYSTEMS: dict[str, tuple[str, str, Callable[[], dict[str, Answer]]]] = {
    "snngen": ("snngen", "snngen", snngen),
    "snntorch": ("snnTorch", "snntorch", snntorch),
    "norse": ("norse", "norse", norse),
    "spikingjelly": ("SpikingJelly", "spikingjelly", spikingjelly),
    "sinabs": ("sinabs", "sinabs", sinabs),
    "lava": ("Lava", "lava-nc", lava),
    "lava_dl": ("lava-dl", "lava-dl", lava_dl),
    "nest": ("NEST", "nest-simulator", nest),
    "brian2": ("Brian2", "brian2", brian2),
    "nengo": ("Nengo", "nengo", nengo),
    "sanafe": ("SANA-FE", "sanafe", sanafe),
    "neurobench": ("NeuroBench", "neurobench", neurobench),
    "llama_cpp": ("llama.cpp", "llama-cpp-python", llama_cpp),
}


def main() -> None:
    warnings.simplefilter("ignore")
    name, distribution, ask = SYSTEMS[sys.argv[1]]
    answers = ask()
    found = {"system": name, "distribution": distribution, "version": importlib.metadata.version(distribution),
             "python": platform.python_version(), "answers": answers}  # fmt: skip
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
