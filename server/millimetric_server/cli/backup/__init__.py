"""millimetric backup and restore."""
