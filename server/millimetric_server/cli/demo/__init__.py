"""millimetric demo and quickstart: a server with something to see."""
