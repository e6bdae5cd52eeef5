"""A recipe turns a domain into experts."""
