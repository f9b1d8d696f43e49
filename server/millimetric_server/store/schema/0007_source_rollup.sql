-- Events and visitors by UTC day, source and medium, as traffic charts need them. One state replaces some hundred in
-- daily_rollup, and a query about visitors spends its time on merging states.
DROP TABLE IF EXISTS source_rollup SYNC;
CREATE TABLE source_rollup
(
    project_id LowCardinality(String),
    day Date,
    source LowCardinality(String),
    medium LowCardinality(String),
    is_bot Bool,
    events SimpleAggregateFunction(sum, UInt64),
    visitors AggregateFunction(uniqCombined64(14), UInt64),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, source, medium, is_bot)
TTL day + toIntervalDay(retention_days)
SETTINGS non_replicated_deduplication_window = 10000;

INSERT INTO source_rollup
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, source, medium, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, source, medium, is_bot
SETTINGS max_bytes_before_external_group_by = 1000000000, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW source_rollup_view TO source_rollup AS
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, source, medium, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, source, medium, is_bot;
