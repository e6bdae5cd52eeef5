"""One file an objective: each has a dataclass `Objective`."""
