"""Measurements that the README quotes, each a file with `run` and a command: `expertsmith bench NAME`."""
