"""One file a judge: each has a dataclass `Judge`."""
