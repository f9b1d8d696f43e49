"""The checks that every call must pass, in the same order over every protocol.

The boundary passes them: those of `caller.py` with the headers alone; then it decodes the message, which nobody looks
at before; then those of `request.py`, with the RPC's own check between them.
"""
