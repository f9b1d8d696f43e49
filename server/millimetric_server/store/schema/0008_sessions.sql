-- Visits: when each began and ended, its entry (its first event by time, then id), and its number of events.
-- Events of bots form visits of their own, so that a query can leave them out without affecting people's visits.
-- The sort key finds the visits of a range of time by session_day. A row is a stray if it has an event outside that day,
-- because a caller chose the session_id; strays are looked up separately. The entry is a text of which the minimum counts:
-- that costs a twentieth of an argMin state, and a fifth of a tuple. Visitors are kept as a set, which usually has one
-- member.
-- The projection sums the visits of each part by day and entry channel (`way`, the end of an entry). ClickHouse rebuilds it
-- in the parts that merges and deletions write. It is complete for a visit only if the visit lies in one part; see
-- reads/sql/sources.sessions.sql.
DROP TABLE IF EXISTS sessions SYNC;
CREATE TABLE sessions
(
    project_id LowCardinality(String),
    session_day Date,
    session_hash UInt64,
    is_bot Bool,
    session_id SimpleAggregateFunction(any, String) CODEC(ZSTD),
    started_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(Delta, LZ4),
    ended_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta, LZ4),
    entry SimpleAggregateFunction(min, String),
    events SimpleAggregateFunction(sum, UInt64),
    paid_events SimpleAggregateFunction(sum, UInt64),
    visitors SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)),
    is_stray SimpleAggregateFunction(max, UInt8),
    retention_days SimpleAggregateFunction(max, UInt16),
    INDEX strays is_stray TYPE minmax GRANULARITY 1,
    PROJECTION ways
    (
        SELECT
            project_id, session_day, is_bot, is_stray,
            substring(entry, position(entry, '\0') + 1) AS way,
            sum(events),
            sum(paid_events),
            uniqCombined64ArrayState(14)(visitors)
        GROUP BY project_id, session_day, is_bot, is_stray, way
    )
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, session_day, session_hash, is_bot)
TTL toDateTime(ended_at) + toIntervalDay(retention_days)
SETTINGS
    non_replicated_deduplication_window = 10000,
    deduplicate_merge_projection_mode = 'rebuild',
    lightweight_mutation_projection_mode = 'rebuild';

INSERT INTO sessions
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
GROUP BY project_id, session_day, session_hash, is_bot
SETTINGS max_bytes_before_external_group_by = 1000000000;

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
