"""Real servers and real stores."""
