"""The journal in one SQLite file (docs/adr/0005). Nothing of SQLite leaves this folder; others use port.py."""
