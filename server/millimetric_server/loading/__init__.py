"""From the journal to ClickHouse: the only room that knows both."""
