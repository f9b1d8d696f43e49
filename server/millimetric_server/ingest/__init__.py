"""Writes: one file an RPC, with the checks and the storing that they share."""
