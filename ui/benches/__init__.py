"""Measurements that need the whole program: one file each, with `run(quick, home)`."""
