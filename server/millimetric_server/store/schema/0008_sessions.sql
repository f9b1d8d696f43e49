-- Visits: when each began and ended, how it came in (its first event by time, then id), and its events.
-- Bots' events make visits of their own, so that a question can leave them out without touching people's visits.
-- The sort key finds the visits of a range of time by session_day. A row is a stray when an event of it lies outside of
-- that day, so that a visit that began elsewhere than its id says is found too. The entry is a text whose smallest
-- counts: it costs a twentieth of an argMin state, and a fifth of a tuple. Visitors are kept as a set, which has one
-- member as a rule.
-- The projection adds up the visits of each part by day and way in, `way` being the end of an entry; it is made anew with
-- the parts that merges and deletions write. A visit is wholly in it only if it lies in one part: sql/sources.sessions.
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
