"""Limits on what each project may use: rates, places, memory."""
