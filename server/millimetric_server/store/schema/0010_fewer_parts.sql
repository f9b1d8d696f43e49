-- Bounds how many parts one block can make (docs/adr/0013): each part costs a sync, and every `ack: stored` waits for
-- the block. Events that arrived within 31 days of their timestamp are partitioned by month, later ones by decade, so that a
-- block makes at most 6 parts of events from 2000 to 2029, whatever its timestamps. Roll-ups are small beside the events and
-- have no partitions; their TTL, and that of sessions, removes expired days at most once a day.
-- A project may keep events for 36,500 days, longer than DateTime reaches (2106), so no row's end is set later than that.
-- Each table is copied and then exchanged, which ClickHouse does atomically. So each name always refers to a complete table,
-- and the file can run again from any point. Meanwhile the schema lock keeps inserts out.
DROP VIEW IF EXISTS daily_rollup_view SYNC;
DROP VIEW IF EXISTS hourly_rollup_view SYNC;
DROP VIEW IF EXISTS source_rollup_view SYNC;
DROP VIEW IF EXISTS sessions_view SYNC;

DROP TABLE IF EXISTS events_next SYNC;
CREATE TABLE events_next AS events
ENGINE = MergeTree
PARTITION BY if(timestamp >= received_at - toIntervalDay(31), toYYYYMM(timestamp), intDiv(toYear(timestamp), 10))
ORDER BY (project_id, timestamp, event_id)
TTL toDateTime(least(toUnixTimestamp(timestamp) + retention_days * 86400, 4294967295))
SETTINGS
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
INSERT INTO events_next SELECT * FROM events SETTINGS max_partitions_per_insert_block = 0;
EXCHANGE TABLES events AND events_next;
DROP TABLE events_next SYNC;

DROP TABLE IF EXISTS daily_rollup_next SYNC;
CREATE TABLE daily_rollup_next AS daily_rollup
ENGINE = AggregatingMergeTree
PARTITION BY tuple()
ORDER BY (project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot)
TTL day + toIntervalDay(retention_days)
SETTINGS
    merge_with_ttl_timeout = 86400,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
INSERT INTO daily_rollup_next SELECT * FROM daily_rollup;
EXCHANGE TABLES daily_rollup AND daily_rollup_next;
DROP TABLE daily_rollup_next SYNC;

DROP TABLE IF EXISTS hourly_rollup_next SYNC;
CREATE TABLE hourly_rollup_next AS hourly_rollup
ENGINE = AggregatingMergeTree
PARTITION BY tuple()
ORDER BY (project_id, hour, event, source, medium, campaign, country, device_type, browser, os, is_bot)
TTL toDateTime(least(toUnixTimestamp(hour) + retention_days * 86400, 4294967295))
SETTINGS
    merge_with_ttl_timeout = 86400,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
INSERT INTO hourly_rollup_next SELECT * FROM hourly_rollup;
EXCHANGE TABLES hourly_rollup AND hourly_rollup_next;
DROP TABLE hourly_rollup_next SYNC;

DROP TABLE IF EXISTS source_rollup_next SYNC;
CREATE TABLE source_rollup_next AS source_rollup
ENGINE = AggregatingMergeTree
PARTITION BY tuple()
ORDER BY (project_id, day, source, medium, is_bot)
TTL day + toIntervalDay(retention_days)
SETTINGS
    merge_with_ttl_timeout = 86400,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
INSERT INTO source_rollup_next SELECT * FROM source_rollup;
EXCHANGE TABLES source_rollup AND source_rollup_next;
DROP TABLE source_rollup_next SYNC;

ALTER TABLE sessions MODIFY SETTING merge_with_ttl_timeout = 86400;
ALTER TABLE sessions MODIFY TTL toDateTime(least(toUnixTimestamp(ended_at) + retention_days * 86400, 4294967295))
SETTINGS materialize_ttl_after_modify = 0;

CREATE MATERIALIZED VIEW daily_rollup_view TO daily_rollup AS
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot;

CREATE MATERIALIZED VIEW hourly_rollup_view TO hourly_rollup AS
SELECT
    project_id, toStartOfHour(timestamp, 'UTC') AS hour, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, hour, event, source, medium, campaign, country, device_type, browser, os, is_bot;

CREATE MATERIALIZED VIEW source_rollup_view TO source_rollup AS
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, source, medium, is_bot,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, day, source, medium, is_bot;

CREATE MATERIALIZED VIEW sessions_view TO sessions AS
SELECT
    project_id, session_day, session_hash, is_bot,
    any(session_id) AS session_id,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    min(session_entry) AS entry,
    count() AS events,
    countIf(medium = 'paid') AS paid_events,
    groupUniqArray(visitor) AS visitors,
    max(session_day != toDate(0) AND toDate(timestamp, 'UTC') != session_day) AS is_stray,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, session_day, session_hash, is_bot;
