"""What an expert should know, as data."""
