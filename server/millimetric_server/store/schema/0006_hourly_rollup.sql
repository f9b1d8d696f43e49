-- The same as daily_rollup by hour: for hours, and for days in every time zone whose offset is a whole number of hours.
DROP TABLE IF EXISTS hourly_rollup SYNC;
CREATE TABLE hourly_rollup
(
    project_id LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD),
    event LowCardinality(String),
    source LowCardinality(String),
    medium LowCardinality(String),
    campaign String,
    country LowCardinality(String),
    device_type LowCardinality(String),
    browser LowCardinality(String),
    os LowCardinality(String),
    is_bot Bool,
    events SimpleAggregateFunction(sum, UInt64),
    visitors AggregateFunction(uniqCombined64(14), UInt64),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (project_id, hour, event, source, medium, campaign, country, device_type, browser, os, is_bot)
TTL hour + toIntervalDay(retention_days)
SETTINGS non_replicated_deduplication_window = 10000;

INSERT INTO hourly_rollup
SELECT
    project_id, toStartOfHour(timestamp, 'UTC') AS hour, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, hour, event, source, medium, campaign, country, device_type, browser, os, is_bot
SETTINGS max_bytes_before_external_group_by = 1000000000, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW hourly_rollup_view TO hourly_rollup AS
SELECT
    project_id, toStartOfHour(timestamp, 'UTC') AS hour, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, hour, event, source, medium, campaign, country, device_type, browser, os, is_bot;
