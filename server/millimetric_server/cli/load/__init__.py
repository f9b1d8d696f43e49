"""millimetric load: files of events to a server."""
