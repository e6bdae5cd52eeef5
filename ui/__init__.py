"""Shows; decides nothing."""
