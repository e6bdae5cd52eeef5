"""One file a verifier: each has a dataclass `Verifier`."""
