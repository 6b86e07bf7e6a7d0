"""Hardware: a network and its ledger meet a chip: energy, time, placement, backends."""

if __name__ == "hardware":
    raise ImportError("import snngen.hardware, not hardware: the folder is part of the package snngen")
