"""Loads the journal into ClickHouse; the only package that knows both."""
