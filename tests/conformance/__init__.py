"""The suite of the Connect protocol, run against our adapters."""
