"""The control plane: accounts, projects, keys and origins, in SQLite or PostgreSQL.

`store` reads and writes them, `directory` keeps them in memory for the request path.
"""
