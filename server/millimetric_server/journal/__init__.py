"""The durable log between a write's answer and ClickHouse, with the idempotency index and the erasures."""
