"""Backups of a running server as of one moment, and their restore (docs/adr/0018)."""
