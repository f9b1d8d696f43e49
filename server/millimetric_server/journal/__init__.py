"""The journal: the durable log between acknowledgement and store. port.py says what it promises, sqlite/ keeps it."""
