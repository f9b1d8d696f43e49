"""millimetric journal: what waits, what was refused, and the retry of it."""
