"""millimetric doctor: what is wrong with this installation."""
