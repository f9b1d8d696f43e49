"""Reads: one file a question, from what it accepts over its SQL to its answer."""
