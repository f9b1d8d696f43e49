"""millimetric journal: what waits, what was refused, and retrying it."""
