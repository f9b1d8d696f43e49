-- Events and visitors by UTC day and all group columns except path, which has too many values to roll up.
-- The sort key begins with project and day, which every query bounds, and event, which most queries name.
DROP TABLE IF EXISTS daily_rollup SYNC;
CREATE TABLE daily_rollup
(
    project_id LowCardinality(String),
    day Date,
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
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot)
TTL day + toIntervalDay(retention_days)
SETTINGS non_replicated_deduplication_window = 10000;

INSERT INTO daily_rollup
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot
SETTINGS max_bytes_before_external_group_by = 1000000000, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW daily_rollup_view TO daily_rollup AS
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot;
