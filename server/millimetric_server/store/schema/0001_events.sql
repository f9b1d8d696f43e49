-- Every event, as it was sent and enriched.
-- The sort key serves the newest-first page of a project and any range of time of one project.
-- Microseconds are kept because callers' clocks have them. A row carries its project's retention, so that the
-- table's TTL can differ by project. The deduplication window lets a block be inserted again after a crash.
CREATE TABLE events
(
    project_id LowCardinality(String),
    event LowCardinality(String),
    event_id String,
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    anonymous_id String CODEC(ZSTD),
    user_id String CODEC(ZSTD),
    session_id String CODEC(ZSTD),
    url String CODEC(ZSTD),
    path String CODEC(ZSTD),
    referrer String CODEC(ZSTD),
    properties String CODEC(ZSTD),
    source LowCardinality(String),
    medium LowCardinality(String),
    campaign String CODEC(ZSTD),
    source_confidence LowCardinality(String),
    source_rule_id LowCardinality(String),
    rule_set LowCardinality(String),
    country LowCardinality(String),
    device_type LowCardinality(String),
    browser LowCardinality(String),
    os LowCardinality(String),
    is_bot Bool,
    ip_hash String CODEC(ZSTD),
    retention_days UInt16,
    INDEX by_user user_id TYPE bloom_filter GRANULARITY 4,
    INDEX by_device anonymous_id TYPE bloom_filter GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (project_id, timestamp, event_id)
TTL toDateTime(timestamp) + toIntervalDay(retention_days)
SETTINGS non_replicated_deduplication_window = 10000;
