"""Measurements of routing, each a file with `run` and a command: `expertsmith bench NAME`."""
