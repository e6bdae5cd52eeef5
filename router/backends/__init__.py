"""Where answers are generated: one file a back-end, each a `Backend`."""
