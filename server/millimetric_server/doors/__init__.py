"""The doors: each knows a protocol and no rule. All calls go through boundary.run."""
