"""The journal: the durable log between acknowledgement and store. port.py is its interface, sqlite/ implements it."""
