"""Checks of preference pairs, one file each: `check(pairs) -> findings`. See `judges/pair_audit.py`."""
