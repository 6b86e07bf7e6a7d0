"""Converters: others' models become networks. ``file -> formats -> families -> graph -> quantize -> Network``."""

if __name__ == "converters":
    raise ImportError("import snngen.converters, not converters: the folder is part of the package snngen")
