"""ClickHouse, embedded or as a server: one client, the schema, and the loader that fills it."""
