"""One file a stage of a build."""
