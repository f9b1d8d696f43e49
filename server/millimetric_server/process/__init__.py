"""The server as a process: its threads, folders, log and end."""
