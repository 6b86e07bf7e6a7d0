"""Chips: one file per chip, found by its name; each holds sourced numbers in `CHIP`."""
