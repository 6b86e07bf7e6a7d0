"""Engines: how a network is run. One file per engine."""
