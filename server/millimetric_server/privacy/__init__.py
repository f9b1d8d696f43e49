"""Erasure of a person: the RPCs, and the deletion in ClickHouse."""
