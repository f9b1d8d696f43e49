"""Reads: one file per question, with what it accepts, its SQL and its answer."""
