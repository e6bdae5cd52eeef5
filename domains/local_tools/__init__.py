"""The safe local tools: pure computations that a function call may run, by an allow-list of names."""
