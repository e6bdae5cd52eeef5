"""One file a strategy: each has a dataclass `Strategy`."""
