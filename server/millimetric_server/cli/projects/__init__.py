"""millimetric project, key and origin: the control database."""
