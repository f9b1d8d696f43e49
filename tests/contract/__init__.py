"""The case files, run through every door, and what else holds at every door."""
