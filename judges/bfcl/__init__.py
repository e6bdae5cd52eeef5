"""The Berkeley Function Calling Leaderboard: the data and the checker of its own package, `bfcl-eval`."""
