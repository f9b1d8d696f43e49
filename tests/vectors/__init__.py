"""Data that more than one language must agree on."""
